/*
 * cmdline: getopt_long over one table, then the few rules that hold between options.
 * Must never open a file nor print: whoever calls decides what becomes of errors and help.
 */
#include "daemon/cmdline.h"

#include "conf/spell.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc"
#endif
#define DEFAULT_FILE SYSCONFDIR "/dtlsgate/dtlsgate.ini"

enum { OPTION_GENPSK = 256, OPTION_PIDFILE };

static const char short_options[] = ":c:l:b:k:o:dtTvqVh";

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"listen", required_argument, NULL, 'l'},
    {"backend", required_argument, NULL, 'b'},
    {"psk-file", required_argument, NULL, 'k'},
    {"set", required_argument, NULL, 'o'},
    {"daemon", no_argument, NULL, 'd'},
    {"pidfile", required_argument, NULL, OPTION_PIDFILE},
    {"test", no_argument, NULL, 't'},
    {"show-config", no_argument, NULL, 'T'},
    {"verbose", no_argument, NULL, 'v'},
    {"quiet", no_argument, NULL, 'q'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {"genpsk", required_argument, NULL, OPTION_GENPSK},
    {NULL, 0, NULL, 0},
};

static const char help_text[] =
    "Usage: dtlsgate [-c FILE] [-o SECTION.KEY=VALUE]...\n"
    "       dtlsgate -l ADDR:PORT -b ADDR:PORT -k PSKFILE [-o SECTION.KEY=VALUE]...\n"
    "       dtlsgate --genpsk IDENTITY\n"
    "Terminates DTLS with pre-shared keys in front of a plain UDP service.\n"
    "\n"
    "Settings:\n"
    "  -c, --config FILE        read settings from FILE; without -c, -l, -b and -k\n"
    "                           from " DEFAULT_FILE "\n"
    "  -l, --listen ADDR:PORT   public address of service \"default\"; may be repeated\n"
    "  -b, --backend ADDR:PORT  where service \"default\" sends the plain datagrams\n"
    "  -k, --psk-file PSKFILE   the keys of service \"default\"\n"
    "  -o, --set SECTION.KEY=VALUE\n"
    "                           set any key, such as daemon.workers=1 or\n"
    "                           service.default.idle-timeout=5m; wins over the file\n"
    "\n"
    "The process:\n"
    "  -d, --daemon             go into the background once all is ready\n"
    "      --pidfile FILE       keep the process id in FILE while it runs\n"
    "\n"
    "What to do, instead of running in the foreground:\n"
    "  -t, --test               check the settings, print every error and exit\n"
    "  -T, --show-config        print the effective settings, without keys, and exit\n"
    "      --genpsk IDENTITY    print a line for a PSK file with a fresh key and exit\n"
    "  -V, --version            print versions and exit\n"
    "  -h, --help               print this help and exit\n"
    "\n"
    "Log:\n"
    "  -v, --verbose            one level more than the settings say; may be repeated\n"
    "  -q, --quiet              errors only\n"
    "\n"
    "Signals: HUP reloads the settings, USR1 opens the log anew, USR2 upgrades, TERM\n"
    "and INT end.\n"
    "Exit status: 0 fine, 1 failed at run time, 2 wrong usage or settings.\n";

/* What the options have said so far. */
struct parse {
    struct cmdline *c;
    struct errors *errors;
    char *const *argv;
    char *listen; /* all of -l, joined; owned */
    const char *backend, *psk_file;
    bool has_test, has_show;
};

/* Takes `text`; NULL stands for memory that ran out. */
static void add_override(struct parse *p, char *text)
{
    struct conf_source *source = &p->c->source;

    if (text == NULL)
        errors_add(p->errors, "out of memory");
    else
        p->c->overrides[source->override_count++] = text;
}

static void add_default(struct parse *p, const char *key, const char *value)
{
    char *text;

    if (value != NULL)
        add_override(p, asprintf(&text, "service.default.%s=%s", key, value) < 0 ? NULL : text);
}

static void add_listen(struct parse *p, const char *value)
{
    char *joined = NULL;
    const char *before = p->listen != NULL ? p->listen : "";

    if (asprintf(&joined, "%s%s%s", before, *before != '\0' ? ", " : "", value) < 0) {
        errors_add(p->errors, "out of memory");
        return;
    }
    free(p->listen);
    p->listen = joined;
}

/* The long option that an unknown one may have been meant for, a value behind '=' aside, or NULL.
 */
static const char *near_to(const char *word)
{
    char name[32];
    int n = snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);

    if (n >= (int)sizeof(name))
        return NULL;
    for (const struct option *o = long_options; o->name != NULL; o++)
        if (spell_near(o->name, name))
            return o->name;
    return NULL;
}

/* What getopt_long() did not take. It names a long option only by its place: the argument it took
 * last; while it is inside of a group of short ones that is not yet theirs. */
static void refuse(struct parse *p, int what)
{
    const char *word = p->argv[optind - 1];
    bool is_long = strncmp(word, "--", 2) == 0;
    const char *near = is_long ? near_to(word + 2) : NULL;

    if (what == ':' && is_long)
        errors_add(p->errors, "%s needs a value", word);
    else if (what == ':')
        errors_add(p->errors, "-%c needs a value", optopt);
    else if (optopt == 0 && near != NULL)
        errors_add(p->errors, "%s is no option; did you mean --%s?", word, near);
    else if (optopt == 0)
        errors_add(p->errors, "%s is no option, or short for more than one", word);
    else if (optopt != ':' && strchr(short_options, optopt) != NULL)
        errors_add(p->errors, "%s: this option takes no value", word);
    else
        errors_add(p->errors, "-%c is no option", optopt);
}

/* False: nothing behind this option counts. */
static bool take(struct parse *p, int option)
{
    struct cmdline *c = p->c;

    switch (option) {
    case 'c':
        c->source.path = optarg;
        return true;
    case 'l':
        add_listen(p, optarg);
        return true;
    case 'b':
        p->backend = optarg;
        return true;
    case 'k':
        p->psk_file = optarg;
        return true;
    case 'o':
        add_override(p, strdup(optarg));
        return true;
    case 'd':
        c->background = true;
        return true;
    case OPTION_PIDFILE:
        c->pidfile = optarg;
        return true;
    case 't':
        p->has_test = true;
        c->action = CMDLINE_TEST;
        return true;
    case 'T':
        p->has_show = true;
        c->action = CMDLINE_SHOW;
        return true;
    case 'v':
        c->verbose++;
        return true;
    case 'q':
        c->quiet = true;
        return true;
    case OPTION_GENPSK:
        c->identity = optarg;
        return true;
    case 'V':
        c->action = CMDLINE_VERSION;
        return false;
    case 'h':
        c->action = CMDLINE_HELP;
        return false;
    default:
        refuse(p, option);
        return true;
    }
}

static void check(struct parse *p, int argc)
{
    struct cmdline *c = p->c;

    for (int i = optind; i < argc; i++)
        errors_add(p->errors, "%s is no option, and nothing else is awaited", p->argv[i]);
    if (p->has_test && p->has_show)
        errors_add(p->errors, "-t and -T exclude each other; choose one");
    if (c->quiet && c->verbose > 0)
        errors_add(p->errors, "-q and -v exclude each other; choose one");
    if (c->identity != NULL && (p->has_test || p->has_show))
        errors_add(p->errors, "--genpsk excludes -t and -T; choose one");
    if (c->source.path != NULL && c->source.path[0] == '\0')
        errors_add(p->errors, "-c needs the name of a file");
    if (c->pidfile != NULL && c->pidfile[0] == '\0')
        errors_add(p->errors, "--pidfile needs the name of a file");
}

/* What -l, -b and -k mean stands in front of all -o, which say it more exactly and so win. */
static void add_defaults(struct parse *p)
{
    struct conf_source *source = &p->c->source;
    size_t before = source->override_count;

    add_default(p, "listen", p->listen);
    add_default(p, "backend", p->backend);
    add_default(p, "psk-file", p->psk_file);
    for (size_t added = before; added < source->override_count; added++) {
        char *text = p->c->overrides[added];
        size_t place = added - before;
        memmove(&p->c->overrides[place + 1], &p->c->overrides[place], before * sizeof text);
        p->c->overrides[place] = text;
    }
}

static void finish(struct parse *p)
{
    struct cmdline *c = p->c;
    bool has_service = p->listen != NULL || p->backend != NULL || p->psk_file != NULL;

    add_defaults(p);
    if (c->source.path == NULL && !has_service)
        c->source.path = DEFAULT_FILE;
    if (c->identity != NULL)
        c->action = CMDLINE_GENPSK;
    c->source.overrides = (const char *const *)c->overrides;
}

bool cmdline_parse(struct cmdline *c, int argc, char *const argv[], struct errors *errors)
{
    struct parse p = {.c = c, .errors = errors, .argv = argv};
    unsigned before = errors->count;
    bool go_on = true;
    int option;

    *c = (struct cmdline){.action = CMDLINE_RUN, .argv = argv};
    /* Each override takes an argument, and -l, -b and -k make three at most. */
    c->overrides = calloc((size_t)argc + 3, sizeof(*c->overrides));
    if (c->overrides == NULL) {
        errors_add(errors, "out of memory");
        return false;
    }
    opterr = 0;
    optind = 0; /* getopt(3): glibc starts anew */
    while (go_on && (option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1)
        go_on = take(&p, option);
    if (go_on) {
        check(&p, argc);
        finish(&p);
    }
    free(p.listen);
    return errors->count == before;
}

void cmdline_clear(struct cmdline *c)
{
    for (size_t i = 0; i < c->source.override_count; i++)
        free(c->overrides[i]);
    free(c->overrides);
    *c = (struct cmdline){.action = CMDLINE_RUN};
}

enum log_level cmdline_log_level(const struct cmdline *c, enum log_level configured)
{
    if (c->quiet)
        return LOG_LEVEL_ERROR;
    if (c->verbose >= LOG_LEVEL_DEBUG - (unsigned)configured)
        return LOG_LEVEL_DEBUG;
    return (enum log_level)((unsigned)configured + c->verbose);
}

const char *cmdline_source_name(const struct cmdline *c)
{
    return c->source.path != NULL ? c->source.path : "command line";
}

const char *cmdline_help(void)
{
    return help_text;
}
