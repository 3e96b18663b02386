/*
 * order_answer: what becomes of an order's answer once workers, a reload or an upgrade have told;
 * order.h has the contracts. Must never wait, nor know a command.
 */
#include "daemon/order.h"

#include "daemon/events.h"
#include "daemon/outcome.h"

#include <stdarg.h>
#include <stdio.h>

void order_refuse(struct order *o, const char *format, ...)
{
    char why[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(why, sizeof(why), format, ap);
    va_end(ap);
    o->kind = ORDER_ANSWERED;
    outcome_refuse(&o->show, why);
    show_end(&o->show);
}

static void show_events(struct order *o, const struct inquiry *q)
{
    for (size_t i = 0; i < q->count; i++) {
        show_item(&o->show);
        event_show(&o->show, &q->event[i]);
        show_item_end(&o->show);
    }
}

void order_slice(struct order *o, const struct inquiry *q, const struct conf *conf)
{
    o->count += q->count;
    if (q->kind == INQUIRY_TRACE) {
        show_events(o, q);
        return;
    }
    if (q->kind == INQUIRY_END)
        return;
    for (size_t i = 0; i < q->count; i++) {
        if (o->is_single)
            outcome_begin(&o->show);
        else
            show_item(&o->show);
        view_session(&o->show, &q->row[i], conf);
        if (!o->is_single)
            show_item_end(&o->show);
    }
}

size_t order_rows(const struct order *o)
{
    uint64_t wanted = o->ask == INQUIRY_LIST && o->limit > 0 ? o->limit - o->count : o->limit;

    return wanted == 0 || wanted > INQUIRY_ROWS ? INQUIRY_ROWS : (size_t)wanted;
}

bool order_is_satisfied(const struct order *o)
{
    if (o->filter.id != 0)
        return o->count > 0;
    return o->ask == INQUIRY_LIST && o->limit > 0 && o->count >= o->limit;
}

void order_finish(struct order *o)
{
    bool needs_some = o->is_single || o->ask == INQUIRY_END;

    if (needs_some && o->count == 0) {
        order_refuse(o, "there is no such session");
        return;
    }
    o->kind = ORDER_ANSWERED;
    if (o->ask == INQUIRY_END) {
        outcome_begin(&o->show);
        show_number(&o->show, "ended", o->count);
    } else if (!o->is_single) {
        show_list_end(&o->show);
        show_number(&o->show, "count", o->count);
        if (o->is_handed_over)
            show_flag(&o->show, "handed-over", true);
    }
    show_end(&o->show);
}

void order_upgraded(struct order *o, const struct errors *errors,
                    const struct upgrade_report *report)
{
    o->kind = ORDER_ANSWERED;
    outcome_of_upgrade(&o->show, errors, report);
}

void order_reloaded(struct order *o, const struct errors *errors)
{
    o->kind = ORDER_ANSWERED;
    outcome_of_reload(&o->show, errors);
}

void order_clear(struct order *o)
{
    show_clear(&o->show);
}
