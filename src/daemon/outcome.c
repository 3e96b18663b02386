/*
 * outcome: what came of it, and why not. See the header.
 * Must never know who has asked.
 */
#include "daemon/outcome.h"

void outcome_begin(struct show *s)
{
    text_add(&s->text, "ok\n");
    show_begin(s);
}

/* The text for people has it in the first line already. */
void outcome_refuse(struct show *s, const char *why)
{
    show_clear(s);
    text_format(&s->text, "error: %s\n", why);
    show_begin(s);
    if (s->form == SHOW_JSON)
        show_word(s, "error", why);
}

/* "error: WHAT" and the list of reasons. */
static void refuse_for(struct show *s, const char *what, const struct errors *errors)
{
    unsigned held = errors->count < ERRORS_MAX ? errors->count : ERRORS_MAX;

    outcome_refuse(s, what);
    show_list(s, "reasons", "");
    for (unsigned i = 0; i < held; i++)
        show_item_word(s, errors->line[i] != NULL ? errors->line[i] : "out of memory");
    show_list_end(s);
    if (errors->count > held)
        show_number(s, "further", errors->count - held);
    show_end(s);
}

void outcome_of_reload(struct show *s, const struct errors *errors)
{
    if (errors != NULL) {
        refuse_for(s, "reload failed, nothing changed", errors);
        return;
    }
    outcome_begin(s);
    show_flag(s, "reloaded", true);
    show_end(s);
}

void outcome_of_upgrade(struct show *s, const struct errors *errors,
                        const struct upgrade_report *report)
{
    if (errors != NULL) {
        refuse_for(s, "upgrade failed, the old process goes on", errors);
        return;
    }
    outcome_begin(s);
    show_flag(s, "upgraded", true);
    show_number(s, "pid", (uint64_t)report->pid);
    show_number(s, "sessions", report->sessions);
    show_number(s, "left-behind", report->left);
    show_number(s, "settled-ms", report->settle_ms);
    show_number(s, "still-us", report->still_us);
    show_end(s);
}
