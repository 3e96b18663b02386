/*
 * order: the table of commands, and what each of them says. See the header.
 * Must never wait, nor know who has sent the line.
 */
#include "daemon/order.h"

#include "base/bytes.h"
#include "conf/spell.h"
#include "conf/value.h"
#include "daemon/outcome.h"
#include "daemon/words.h"
#include "dtls/keylog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MOST 10000000
#define TRACE_MS_MOST (24 * 60 * 60 * UINT64_C(1000))

struct command;

/* One command on its way. */
struct call {
    const struct command *table; /* all there are */
    struct order *order;
    const struct order_hooks *hooks;
    const struct view *view;
    const char *const *arg; /* without the command */
    size_t count;
};

struct command {
    const char *name, *args, *help;
    size_t least, most; /* arguments */
    bool is_change;
    void (*run)(struct call *c);
};

/* ---- what arguments may be ---- */

static bool parse_number(const char *text, uint64_t most, uint64_t *v)
{
    char *end;

    if (*text < '1' || *text > '9')
        return false;
    errno = 0;
    *v = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && *v <= most;
}

static bool set_service(struct call *c, const char *name)
{
    const struct conf *conf = c->view->conf;

    for (unsigned i = 0; i < conf->service_count; i++)
        if (strcmp(conf->service[i].name, name) == 0) {
            c->order->filter.has_service = true;
            c->order->filter.service = i;
            return true;
        }
    order_refuse(c->order, "there is no service of this name; status lists them");
    return false;
}

static bool set_identity(struct call *c, const char *text)
{
    struct inquiry_filter *f = &c->order->filter;
    int n = bytes_unescape(f->identity, sizeof(f->identity), text, strlen(text));

    if (n <= 0) {
        order_refuse(c->order,
                     "an identity has 1 to %d bytes, those that the log shows as \\xNN "
                     "written just so",
                     PSK_IDENTITY_MAX);
        return false;
    }
    f->has_identity = true;
    f->identity_len = (size_t)n;
    return true;
}

static bool set_peer(struct call *c, const char *text)
{
    struct inquiry_filter *f = &c->order->filter;
    struct addr one;

    f->has_peer = true;
    if (addr_parse(&one, text)) {
        f->peer = prefix_of(&one, 128);
        f->port = one.port;
        return true;
    }
    if (prefix_parse(&f->peer, text))
        return true;
    order_refuse(c->order, "a peer is ADDR, ADDR:PORT or a prefix such as 192.0.2.0/24");
    return false;
}

static bool set_limit(struct call *c, const char *text)
{
    if (parse_number(text, LIMIT_MOST, &c->order->limit))
        return true;
    order_refuse(c->order, "a limit is a number from 1 to %d", LIMIT_MOST);
    return false;
}

static const struct {
    const char *name;
    bool (*set)(struct call *c, const char *value);
} session_options[] = {
    {"--service", set_service},
    {"--identity", set_identity},
    {"--peer", set_peer},
    {"--limit", set_limit},
};

static bool set_option(struct call *c, const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof(session_options) / sizeof(*session_options); i++) {
        if (strcmp(session_options[i].name, name) != 0)
            continue;
        if (value != NULL)
            return session_options[i].set(c, value);
        order_refuse(c->order, "%s needs a value", session_options[i].name);
        return false;
    }
    order_refuse(c->order, "sessions takes --service, --identity, --peer, --limit and --recent");
    return false;
}

/* ---- the commands ---- */

static void run_status(struct call *c)
{
    outcome_begin(&c->order->show);
    view_status(&c->order->show, c->view);
    show_end(&c->order->show);
}

static void run_sessions(struct call *c)
{
    struct order *o = c->order;

    o->ask = INQUIRY_LIST;
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->arg[i], "--recent") == 0)
            o->ask = INQUIRY_RECENT;
        else if (!set_option(c, c->arg[i], i + 1 < c->count ? c->arg[i + 1] : NULL))
            return;
        else
            i++;
    }
    o->kind = ORDER_WALK;
    outcome_begin(&o->show);
    show_list(&o->show, "sessions", "session");
}

/* One session by its id; its answer waits until it is found. */
static void run_session(struct call *c)
{
    struct order *o = c->order;

    if (!parse_number(c->arg[0], UINT64_MAX, &o->filter.id)) {
        order_refuse(o, "a session's id is a number; sessions lists them");
        return;
    }
    o->kind = ORDER_WALK;
    o->ask = INQUIRY_LIST;
    o->is_single = true;
    o->limit = 1;
}

static void run_end(struct call *c)
{
    static const char by_identity[] = "identity:";
    struct order *o = c->order;

    if (strncmp(c->arg[0], by_identity, strlen(by_identity)) == 0) {
        if (!set_identity(c, c->arg[0] + strlen(by_identity)))
            return;
    } else if (!parse_number(c->arg[0], UINT64_MAX, &o->filter.id)) {
        order_refuse(o, "what to end is a session's id, or identity:NAME");
        return;
    }
    o->kind = ORDER_WALK;
    o->ask = INQUIRY_END;
}

static bool set_duration(struct call *c, const char *text)
{
    static const struct option duration = {.type = OPTION_TIME, .min = 1000, .max = TRACE_MS_MOST};
    char why[VALUE_WHY_MAX];

    if (value_set(&duration, &c->order->trace_ms, text, why, sizeof(why)))
        return true;
    order_refuse(c->order, "the time %s", why);
    return false;
}

/* The one at *at; one with a value moves it on. */
static bool set_trace_option(struct call *c, size_t *at)
{
    if (strcmp(c->arg[*at], "--keylog") == 0) {
        c->order->wants_keys = true;
        return true;
    }
    if (strcmp(c->arg[*at], "--for") == 0 && *at + 1 < c->count)
        return set_duration(c, c->arg[++*at]);
    order_refuse(c->order, "trace takes an identity, --for TIME and --keylog");
    return false;
}

/* One identity's events as they happen. */
static void run_trace(struct call *c)
{
    struct order *o = c->order;

    if (!set_identity(c, c->arg[0]))
        return;
    for (size_t i = 1; i < c->count; i++)
        if (!set_trace_option(c, &i))
            return;
    if (o->wants_keys && !keylog_is_open()) {
        order_refuse(o, "no key log is permitted; daemon.trace-keylog says where one may be");
        return;
    }
    o->kind = ORDER_TRACE;
    o->ask = INQUIRY_TRACE;
    outcome_begin(&o->show);
    show_list(&o->show, "events", "event");
}

static void run_reload(struct call *c)
{
    c->order->kind = ORDER_RELOAD;
}

static void run_upgrade(struct call *c)
{
    c->order->kind = ORDER_UPGRADE;
}

static void run_reopen(struct call *c)
{
    char why[512];

    if (!c->hooks->reopen_log(c->hooks->arg, why, sizeof(why))) {
        order_refuse(c->order, "the log goes on in the old file: %s", why);
        return;
    }
    outcome_begin(&c->order->show);
    show_flag(&c->order->show, "reopened", true);
    show_end(&c->order->show);
}

/* False: it has become a refusal. */
static bool are_told(struct call *c, unsigned failed)
{
    if (failed > 0)
        order_refuse(c->order, "out of memory: %u workers were not told; try again", failed);
    return failed == 0;
}

static void drain(struct call *c, bool is_on)
{
    if (!are_told(c, c->hooks->drain(c->hooks->arg, is_on)))
        return;
    outcome_begin(&c->order->show);
    show_flag(&c->order->show, "draining", is_on);
    show_end(&c->order->show);
}

static void run_drain(struct call *c)
{
    drain(c, true);
}

static void run_undrain(struct call *c)
{
    drain(c, false);
}

/* By the address, or the name as the settings have it. False: the service has no such backend. */
static bool find_backend(const struct conf_service *service, const char *text, struct addr *found)
{
    const struct backends *all = &service->backend;

    if (addr_parse(found, text))
        return backends_find(all, found) != NULL;
    for (size_t i = 0; i < all->count; i++) {
        if (all->list[i].name == NULL || strcmp(all->list[i].name, text) != 0)
            continue;
        *found = all->list[i].addr;
        return true;
    }
    return false;
}

static void run_backend(struct call *c)
{
    const struct conf *conf = c->view->conf;
    struct relay_order order = {.what = BALANCE_DRAIN};
    bool is_drain = strcmp(c->arg[2], "drain") == 0;

    while (order.service < conf->service_count &&
           strcmp(conf->service[order.service].name, c->arg[0]) != 0)
        order.service++;
    if (order.service == conf->service_count) {
        order_refuse(c->order, "no service has this name; status lists them");
        return;
    }
    if (!find_backend(&conf->service[order.service], c->arg[1], &order.backend)) {
        order_refuse(c->order, "this is no backend of the service; status lists them");
        return;
    }
    if (!is_drain && strcmp(c->arg[2], "up") != 0) {
        order_refuse(c->order, "a backend can be told drain or up");
        return;
    }
    if (!is_drain)
        order.what = BALANCE_UNDRAIN;
    if (!are_told(c, c->hooks->tell_backend(c->hooks->arg, &order)))
        return;
    outcome_begin(&c->order->show);
    show_flag(&c->order->show, "draining", is_drain);
    show_end(&c->order->show);
}

static void run_backends(struct call *c)
{
    if (c->count > 0 && !set_service(c, c->arg[0]))
        return;
    outcome_begin(&c->order->show);
    view_backends(&c->order->show, c->view, c->count > 0 ? c->arg[0] : NULL);
    show_end(&c->order->show);
}

static void run_stop(struct call *c)
{
    if (c->count > 0 && strcmp(c->arg[0], "farewell") != 0) {
        order_refuse(c->order, "stop can be told farewell, and nothing else");
        return;
    }
    if (c->count > 0)
        c->hooks->forget(c->hooks->arg);
    c->order->kind = ORDER_STOP;
    outcome_begin(&c->order->show);
    show_flag(&c->order->show, "stopping", true);
    show_end(&c->order->show);
}

static void run_log_level(struct call *c)
{
    const struct option *option = option_find(options_daemon, "log-level");
    struct conf_daemon daemon = {.log_level = LOG_LEVEL_INFO};
    char why[VALUE_WHY_MAX];

    if (!value_set(option, &daemon, c->arg[0], why, sizeof(why))) {
        order_refuse(c->order, "the level %s", why);
        return;
    }
    c->hooks->set_log_level(c->hooks->arg, daemon.log_level);
    outcome_begin(&c->order->show);
    show_word(&c->order->show, "log-level", c->arg[0]);
    show_end(&c->order->show);
}

static void run_config(struct call *c)
{
    outcome_begin(&c->order->show);
    view_settings(&c->order->show, c->view->conf);
    show_end(&c->order->show);
}

static void run_version(struct call *c)
{
    outcome_begin(&c->order->show);
    view_version(&c->order->show, c->hooks->event_library);
    show_end(&c->order->show);
}

static void run_help(struct call *c)
{
    struct show *s = &c->order->show;

    outcome_begin(&c->order->show);
    show_list(s, "commands", "");
    for (const struct command *command = c->table; command->name != NULL; command++) {
        if (s->form == SHOW_TEXT) {
            text_format(&s->text, "%s%s%s\n    %s\n", command->name, *command->args ? " " : "",
                        command->args, command->help);
            continue;
        }
        show_item(s);
        show_word(s, "name", command->name);
        show_word(s, "arguments", command->args);
        show_word(s, "help", command->help);
        show_item_end(s);
    }
    show_list_end(s);
    show_end(s);
}

static const struct command commands[] = {
    {"status", "", "state, services, workers and counters", 0, 0, false, run_status},
    {"sessions", "[--service S] [--identity I] [--peer A] [--limit N] [--recent]",
     "the open sessions; with --recent those used last, up to 64 of each worker", 0, 9, false,
     run_sessions},
    {"session", "ID", "one session", 1, 1, false, run_session},
    {"end", "ID|identity:NAME", "end a session, or all of an identity", 1, 1, true, run_end},
    {"reload", "", "take the settings and keys anew, as HUP does, and tell what is wrong", 0, 0,
     true, run_reload},
    {"upgrade", "", "hand all over to a new process of the program, and end; or tell why not", 0, 0,
     true, run_upgrade},
    {"reopen", "", "open the log files anew, as USR1 does", 0, 0, true, run_reopen},
    {"drain", "", "begin no more handshakes; sessions go on", 0, 0, true, run_drain},
    {"undrain", "", "take new handshakes again", 0, 0, true, run_undrain},
    {"backend", "SERVICE ADDR:PORT drain|up", "no new flows to a backend, or again", 3, 3, true,
     run_backend},
    {"backends", "[SERVICE]", "each backend: its state, since when, flows and traffic", 0, 1, false,
     run_backends},
    {"stop", "[farewell]", "end the process, as TERM does; tell clients of kept sessions, too", 0,
     1, true, run_stop},
    {"log-level", "LEVEL", "error, warning, info or debug, until the next reload", 1, 1, true,
     run_log_level},
    {"config", "", "the settings in effect, without keys", 0, 0, false, run_config},
    {"trace", "IDENTITY [--for TIME] [--keylog]", "its handshakes and records as they happen", 1, 4,
     true, run_trace},
    {"version", "", "the versions of dtlsgate and its libraries", 0, 0, false, run_version},
    {"help", "", "this list; each command also takes --json", 0, 0, false, run_help},
    {.name = NULL},
};

static const struct command *find_command(struct order *o, const char *name)
{
    const char *near = NULL;

    for (const struct command *command = commands; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0)
            return command;
        if (near == NULL && spell_near(command->name, name))
            near = command->name;
    }
    if (near != NULL)
        order_refuse(o, "unknown command; did you mean %s?", near);
    else
        order_refuse(o, "unknown command; help lists them");
    return NULL;
}

static void run(struct order *o, const struct words *w, const struct order_hooks *hooks)
{
    const struct command *command = find_command(o, w->word[0]);
    struct view view = {.conf = NULL};
    struct call call = {commands, o, hooks, &view, w->word + 1, w->count - 1};

    if (command == NULL)
        return;
    o->name = command->name;
    o->is_change = command->is_change;
    if (call.count < command->least || call.count > command->most) {
        order_refuse(o, "usage: %s%s%s [--json]", command->name, *command->args ? " " : "",
                     command->args);
        return;
    }
    hooks->look(hooks->arg, &view);
    if (view.is_stopping && command->is_change)
        order_refuse(o, "dtlsgate is stopping");
    else if (view.is_upgrading && command->is_change && command->run != run_stop)
        order_refuse(o, "an upgrade is under way; try again");
    else
        command->run(&call);
}

void order_take(struct order *o, const void *line, size_t len, const struct order_hooks *hooks)
{
    struct words words;
    const char *why = words_split(&words, line, len);

    *o = (struct order){.kind = ORDER_ANSWERED, .name = ""};
    o->show.form = words_take_out(&words, "--json") ? SHOW_JSON : SHOW_TEXT;
    if (why != NULL)
        order_refuse(o, "%s", why);
    else if (words.count == 0)
        order_refuse(o, "no command; help lists them");
    else
        run(o, &words, hooks);
}
