/*
 * fuzz_control: any bytes as a line of the control socket, carried out on a made-up dtlsgate.
 * Checked: the answer begins with "ok" or "error: ", has printable lines only, and is one JSON
 * object where that was asked for.
 */
#include "daemon/order.h"
#include "daemon/words.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* What a fuzzer and a replay call; libFuzzer has no header for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEEPEST 8

/* Not assert(): a build without assertions would check nothing. */
static void require(bool holds)
{
    if (!holds)
        abort();
}

static void look(void *arg, struct view *v)
{
    static char name[] = "a";
    static struct conf_service service = {.name = name};
    static const struct conf conf = {.service = &service, .service_count = 1};

    (void)arg;
    *v = (struct view){.conf = &conf, .state = "running"};
}

static bool reopen_log(void *arg, char *why, size_t why_size)
{
    (void)arg;
    if (why_size > 0)
        *why = '\0';
    return false;
}

static void set_log_level(void *arg, enum log_level level)
{
    (void)arg;
    require(level <= LOG_LEVEL_DEBUG);
}

static unsigned drain(void *arg, bool is_on)
{
    (void)arg;
    return is_on ? 0 : 1;
}

/* ---- a strict reader of JSON, as far as we write it ---- */

static const char *skip_value(const char *p, unsigned depth);

/* Returns its last character. */
static const char *skip_escape(const char *p)
{
    if (*++p != 'u') {
        require(*p == '"' || *p == '\\');
        return p;
    }
    for (int i = 0; i < 4; i++)
        require(isxdigit((unsigned char)*++p));
    return p;
}

static const char *skip_string(const char *p)
{
    require(*p++ == '"');
    for (; *p != '"'; p++) {
        require(*p >= 0x20 && *p <= 0x7e);
        if (*p == '\\')
            p = skip_escape(p);
    }
    return p + 1;
}

static const char *skip_members(const char *p, bool has_keys, char end, unsigned depth)
{
    require(depth < DEEPEST);
    if (*++p == end)
        return p + 1;
    for (;; p++) {
        if (has_keys) {
            p = skip_string(p);
            require(*p++ == ':');
        }
        p = skip_value(p, depth + 1);
        if (*p == end)
            return p + 1;
        require(*p == ',');
    }
}

static const char *skip_value(const char *p, unsigned depth)
{
    size_t digits = strspn(p, "0123456789");

    if (*p == '"')
        return skip_string(p);
    if (*p == '{')
        return skip_members(p, true, '}', depth);
    if (*p == '[')
        return skip_members(p, false, ']', depth);
    if (digits > 0)
        return p + digits;
    require(strncmp(p, "true", 4) == 0 || strncmp(p, "false", 5) == 0);
    return p + (*p == 't' ? 4 : 5);
}

static void check_answer(const struct order *o)
{
    const char *text = o->show.text.data, *p = text;

    require(text != NULL && strlen(text) == o->show.text.len);
    require(strncmp(text, "ok\n", 3) == 0 || strncmp(text, "error: ", 7) == 0);
    require(text[o->show.text.len - 1] == '\n');
    for (; *p != '\0'; p++)
        require(*p == '\n' || (*p >= 0x20 && *p <= 0x7e));
    if (o->show.form == SHOW_JSON)
        require(strcmp(skip_value(strchr(text, '\n') + 1, 0), "\n") == 0);
}

/* A worker that has two sessions for everybody, with an identity of what was sent. */
static void walk(struct order *o, const uint8_t *data, size_t size)
{
    struct inquiry *q = calloc(1, sizeof *q);
    struct view view;

    require(q != NULL);
    look(NULL, &view);
    q->kind = o->ask;
    q->count = order_rows(o) < 2 ? 1 : 2;
    require(order_rows(o) >= 1 && order_rows(o) <= INQUIRY_ROWS);
    for (size_t i = 0; q->kind == INQUIRY_TRACE && i < q->count; i++) {
        q->event[i].what = (uint8_t)(size % (TRACE_LEFT_OUT + 1));
        q->event[i].type = data[0];
        q->event[i].fate = (uint8_t)(size % FATE_COUNT);
    }
    for (size_t i = 0; q->kind != INQUIRY_TRACE && i < q->count; i++) {
        q->row[i].identity_len = size < PSK_IDENTITY_MAX ? size : PSK_IDENTITY_MAX;
        memcpy(q->row[i].identity, data, q->row[i].identity_len);
    }
    if (size % 3 > 0)
        order_slice(o, q, view.conf);
    if (size % 3 > 1 && !order_is_satisfied(o))
        order_slice(o, q, view.conf);
    order_finish(o);
    free(q);
}

static unsigned tell_backend(void *arg, const struct relay_order *order)
{
    (void)arg;
    require(order->backend.family != 0 && !order->is_move);
    return 0;
}

static void reload(struct order *o, const uint8_t *data, size_t size)
{
    struct errors errors = {0};

    if (size % 2 > 0)
        errors_add(&errors, "x.ini:1: %.*s", (int)(size < 200 ? size : 200), (const char *)data);
    order_reloaded(o, errors.count > 0 ? &errors : NULL);
    errors_clear(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct order_hooks hooks = {.look = look,
                                             .reopen_log = reopen_log,
                                             .set_log_level = set_log_level,
                                             .drain = drain,
                                             .tell_backend = tell_backend,
                                             .event_library = "libevent"};
    struct order o;

    order_take(&o, data, size, &hooks);
    if (o.kind == ORDER_WALK || o.kind == ORDER_TRACE)
        walk(&o, data, size);
    else if (o.kind == ORDER_RELOAD)
        reload(&o, data, size);
    require(o.kind == ORDER_ANSWERED || o.kind == ORDER_STOP);
    check_answer(&o);
    order_clear(&o);
    return 0;
}
