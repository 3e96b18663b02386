/*
 * top: asks once a second, and draws what changed. See the header.
 * Must never change anything in dtlsgate.
 */
#include "ctl/top.h"

#include "base/clock.h"
#include "ctl/sample.h"
#include "ctl/terminal.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define REFRESH_MS 1000
#define BUSY_MOST 40
#define DROPS_MOST 12

static const struct {
    const char *name, *text;
} rows[] = {
    {"client_datagrams", "from clients, datagrams"},
    {"client_bytes", "from clients, bytes"},
    {"client_sent", "to clients, datagrams"},
    {"backend_datagrams", "from backends, datagrams"},
    {"backend_bytes", "from backends, bytes"},
    {"handshakes_started", "handshakes begun"},
    {"handshakes_completed", "handshakes completed"},
    {"handshakes_failed", "handshakes failed"},
    {"sessions_ended", "sessions ended"},
};

static bool take(struct talk *t, struct sample *s)
{
    static const char *const status[] = {"status"};
    static const char *const sessions[] = {"sessions", "--recent"};
    struct text text = {0};
    bool is_fine = talk_whole(t, status, 1, &text) == TALK_FINE;

    *s = (struct sample){.at_ms = clock_now_ms()};
    if (is_fine)
        sample_read_status(s, text.data != NULL ? text.data : "");
    text_empty(&text);
    is_fine = is_fine && talk_whole(t, sessions, 2, &text) == TALK_FINE;
    if (is_fine)
        sample_read_sessions(s, text.data != NULL ? text.data : "");
    text_clear(&text);
    return is_fine;
}

static void add_head(struct text *out, const struct sample *s)
{
    uint64_t up = sample_value(s, "uptime-ms") / 1000;

    text_format(out, "dtlsgate %s, pid %" PRIu64 ", %s%s, up ", s->version, sample_value(s, "pid"),
                s->state, strcmp(s->draining, "yes") == 0 ? ", draining" : "");
    if (up >= 86400)
        text_format(out, "%" PRIu64 " days ", up / 86400);
    text_format(out, "%02u:%02u:%02u\n", (unsigned)(up / 3600 % 24), (unsigned)(up / 60 % 60),
                (unsigned)(up % 60));
    text_format(out,
                "sessions %" PRIu64 " of %" PRIu64 ", handshakes %" PRIu64 " of %" PRIu64
                ", flows %" PRIu64 "\n\n",
                sample_value(s, "sessions"), sample_value(s, "max-sessions"),
                sample_value(s, "handshakes"), sample_value(s, "max-handshakes"),
                sample_value(s, "flows"));
}

static void add_row(struct text *out, const char *text, double rate, uint64_t total)
{
    text_format(out, "%-32s %14.1f %20" PRIu64 "\n", text, rate, total);
}

static void add_rates(struct text *out, const struct sample *now, const struct sample *before)
{
    text_format(out, "%-32s %14s %20s\n", "", "per second", "in all");
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        add_row(out, rows[i].text, sample_rate(now, before, rows[i].name),
                sample_value(now, rows[i].name));
}

/* The most of what was dropped in all comes first. */
static int by_value(const void *a, const void *b)
{
    const struct sample_figure *const *x = a, *const *y = b;

    if ((*x)->value != (*y)->value)
        return (*x)->value < (*y)->value ? 1 : -1;
    return strcmp((*x)->name, (*y)->name);
}

static void add_drops(struct text *out, const struct sample *now, const struct sample *before)
{
    const struct sample_figure *drop[SAMPLE_FIGURES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < now->figures; i++)
        if (strstr(now->figure[i].name, ".drop_") != NULL)
            drop[count++] = &now->figure[i];
    if (count == 0)
        return;
    qsort(drop, count, sizeof(*drop), by_value);
    text_format(out, "\n%-32s %14s %20s\n", "dropped", "per second", "in all");
    for (size_t i = 0; i < count && i < DROPS_MOST; i++)
        add_row(out, drop[i]->name, sample_rate(now, before, drop[i]->name), drop[i]->value);
}

static void add_busiest(struct text *out, const struct sample *now, const struct sample *before)
{
    struct sample_busy busy[BUSY_MOST];
    size_t count = sample_busiest(now, before, busy, BUSY_MOST);

    if (count == 0)
        return;
    text_format(out, "\n%-32s %14s %20s %9s  %s\n", "busiest identities", "datagrams/s", "bytes/s",
                "sessions", "peer");
    for (size_t i = 0; i < count; i++)
        text_format(out, "%-32.32s %14.1f %20.1f %9u  %s\n", busy[i].identity, busy[i].datagrams,
                    busy[i].bytes, busy[i].sessions, busy[i].peer);
}

static void describe(struct text *out, const struct sample *now, const struct sample *before)
{
    text_empty(out);
    add_head(out, now);
    add_rates(out, now, before);
    add_drops(out, now, before);
    add_busiest(out, now, before);
}

/* Draws until there is a reason to look anew. False: the end. */
static bool rest(const struct text *screen)
{
    uint64_t until = clock_now_ms() + REFRESH_MS;
    char key;

    for (;;) {
        uint64_t now = clock_now_ms();
        switch (terminal_wait(now < until ? (int)(until - now) : 0, &key)) {
        case TERMINAL_TIME:
            return true;
        case TERMINAL_END:
            return false;
        case TERMINAL_KEY:
            if (key == 'q' || key == 'Q')
                return false;
            break;
        case TERMINAL_RESIZE:
            terminal_draw(screen->data);
            break;
        }
    }
}

static bool run_live(struct talk *t, struct sample *now, struct sample *before)
{
    struct text screen = {0};
    bool is_fine;

    *before = *now;
    do {
        describe(&screen, now, before);
        terminal_draw(screen.data != NULL ? screen.data : "");
        if (screen.data == NULL || !rest(&screen)) {
            is_fine = true;
            break;
        }
        *before = *now;
        is_fine = take(t, now);
    } while (is_fine);
    text_clear(&screen);
    return is_fine;
}

/* A second's worth, for there are no rates without. */
static bool run_once(struct talk *t, struct sample *now, struct sample *before)
{
    struct text out = {0};

    *before = *now;
    (void)poll(NULL, 0, REFRESH_MS);
    if (!take(t, now))
        return false;
    describe(&out, now, before);
    fputs(out.data != NULL ? out.data : "", stdout);
    text_clear(&out);
    return true;
}

bool top_run(struct talk *t)
{
    struct sample *samples = calloc(2, sizeof(*samples));
    bool is_fine;

    if (samples == NULL) {
        snprintf(t->why, sizeof(t->why), "out of memory");
        return false;
    }
    is_fine = take(t, &samples[0]);
    if (is_fine && terminal_open()) {
        is_fine = run_live(t, &samples[0], &samples[1]);
        terminal_close();
    } else if (is_fine) {
        is_fine = run_once(t, &samples[0], &samples[1]);
    }
    free(samples);
    return is_fine;
}
