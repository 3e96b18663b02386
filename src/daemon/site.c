/*
 * site: the table of paths. See the header.
 */
#include "daemon/site.h"

#include "base/clock.h"
#include "daemon/history.h"
#include "daemon/metrics.h"
#include "daemon/page.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_USUAL 20

struct site {
    const struct status *status;
    struct roster *roster;
    struct history history;
};

/* The text becomes the answer, if it is whole. */
static void answer_text(struct answer *a, const char *type, struct text *text)
{
    if (text->is_short) {
        text_clear(text);
        answer_words(a, 500, "out of memory");
        return;
    }
    *a = (struct answer){
        .status = 200, .type = type, .body = text->data, .len = text->len, .made = *text};
}

static void tell_health(struct site *s, const struct request *r, struct answer *a)
{
    (void)s;
    (void)r;
    answer_words(a, 200, "ok");
}

static void tell_readiness(struct site *s, const struct request *r, struct answer *a)
{
    enum status_phase phase = s->status->phase;

    (void)r;
    answer_words(a, phase == STATUS_SERVING ? 200 : 503, status_phase_name(phase));
}

static void tell_metrics(struct site *s, const struct request *r, struct answer *a)
{
    struct text text = {0};

    (void)r;
    metrics_write(s->status, &text);
    answer_text(a, METRICS_TYPE, &text);
}

static void tell_status(struct site *s, const struct request *r, struct answer *a)
{
    struct text text = {0};
    struct json json;

    (void)r;
    json_init(&json, &text);
    status_write(s->status, clock_now_ms(), &json);
    answer_text(a, "application/json", &text);
}

static void tell_history(struct site *s, const struct request *r, struct answer *a)
{
    struct text text = {0};
    struct json json;
    char since[24];

    json_init(&json, &text);
    (void)request_argument(r, "since", since, sizeof(since));
    history_write(&s->history, strtoull(since, NULL, 10), clock_now_ms(), &json);
    answer_text(a, "application/json", &text);
}

static const struct {
    const char *path;
    void (*tell)(struct site *s, const struct request *r, struct answer *a);
} resources[] = {
    {"/healthz", tell_health},     {"/readyz", tell_readiness},     {"/metrics", tell_metrics},
    {"/status.json", tell_status}, {"/history.json", tell_history},
};

static void tell_page(const char *path, struct answer *a)
{
    const struct page *page = page_find(path);

    if (page == NULL)
        answer_words(a, 404, "not found");
    else
        *a = (struct answer){
            .status = 200, .type = page->type, .body = page->data, .len = page->len};
}

/* ---- sessions ---- */

static size_t limit_of(const struct request *r)
{
    char text[8];
    unsigned long limit;

    if (!request_argument(r, "limit", text, sizeof(text)))
        return ROWS_USUAL;
    limit = strtoul(text, NULL, 10);
    return limit < 1 ? 1 : limit > ROSTER_ROWS_MAX ? ROSTER_ROWS_MAX : limit;
}

static enum roster_order order_of(const struct request *r)
{
    char text[16];

    (void)request_argument(r, "order", text, sizeof(text));
    if (strcmp(text, "newest") == 0)
        return ROSTER_NEWEST;
    return strcmp(text, "busiest") == 0 ? ROSTER_BUSIEST : ROSTER_ACTIVE;
}

static void on_counted(void *arg, const struct census *census)
{
    struct site_wait *w = arg;
    struct text text = {0};
    struct json json;
    struct answer a;

    w->census = NULL;
    json_init(&json, &text);
    roster_write(census, &json);
    answer_text(&a, "application/json", &text);
    w->done(w->arg, &a);
    answer_clear(&a);
}

static bool ask_sessions(struct site *s, const struct request *r, struct answer *a,
                         struct site_wait *w)
{
    struct roster_question question = {.order = order_of(r), .limit = limit_of(r)};

    (void)request_argument(r, "search", question.search, sizeof(question.search));
    w->census = roster_ask(s->roster, &question, on_counted, w);
    if (w->census != NULL)
        return false;
    answer_words(a, 503, "too many ask for sessions; try again in a moment");
    return true;
}

void answer_clear(struct answer *a)
{
    text_clear(&a->made);
}

void answer_words(struct answer *a, unsigned status, const char *words)
{
    struct text text = {0};

    text_format(&text, "%s\n", words);
    *a = (struct answer){.status = status,
                         .type = "text/plain; charset=utf-8",
                         .body = text.data,
                         .len = text.len,
                         .made = text};
}

bool site_answer(struct site *s, const struct request *r, struct answer *a, struct site_wait *w)
{
    if (!request_is_for_us(r, s->status->conf->daemon.http_name)) {
        answer_words(a, 421, "ask by address, as localhost, or by daemon.http-name");
        return true;
    }
    if (strcmp(r->path, "/sessions.json") == 0)
        return ask_sessions(s, r, a, w);
    for (size_t i = 0; i < sizeof(resources) / sizeof(*resources); i++)
        if (strcmp(resources[i].path, r->path) == 0) {
            resources[i].tell(s, r, a);
            return true;
        }
    tell_page(r->path, a);
    return true;
}

void site_forget(struct site_wait *w)
{
    if (w->census != NULL)
        roster_forget(w->census);
    w->census = NULL;
}

int site_fd(const struct site *s)
{
    return roster_fd(s->roster);
}

void site_turn(struct site *s)
{
    roster_turn(s->roster);
}

void site_sample(struct site *s, uint64_t now_ms)
{
    struct stats sum;

    fleet_sum(s->status->fleet, &sum);
    history_take(&s->history, &sum, status_drops(&sum), now_ms);
}

void site_free(struct site *s)
{
    if (s == NULL)
        return;
    roster_free(s->roster);
    free(s);
}

struct site *site_new(const struct status *status)
{
    struct site *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->status = status;
    s->roster = roster_new(status->fleet, &status->conf);
    if (s->roster != NULL)
        return s;
    free(s);
    return NULL;
}
