/*
 * main: the visible list of what happens at the start, and its mirror at the end.
 * Must never do any of it by itself.
 */
#include "base/bytes.h"
#include "base/errors.h"
#include "base/log.h"
#include "conf/conf.h"
#include "daemon/background.h"
#include "daemon/box.h"
#include "daemon/cmdline.h"
#include "daemon/heir.h"
#include "daemon/http.h"
#include "daemon/inspect.h"
#include "daemon/logs.h"
#include "daemon/master.h"
#include "daemon/notify.h"
#include "daemon/passed.h"
#include "daemon/pidfile.h"
#include "daemon/places.h"
#include "daemon/priv.h"
#include "daemon/review.h"
#include "daemon/sockets.h"
#include "daemon/spawner.h"
#include "daemon/state.h"
#include "daemon/unixsock.h"
#include "dtls/keylog.h"
#include "dtls/psk.h"
#include "dtls/tlsctx.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum exit_status { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_WRONG = 2 };

/* What a start collects and its end gives back. */
struct process {
    const struct cmdline *cmdline;
    const struct conf *conf;
    struct sockets sockets;
    int http; /* 0: none, or the master's by now */
    struct unixsock control;
    struct priv priv;
    struct state_dir *state; /* NULL: no session outlives the process */
};

/* Output that did not arrive, say on a full disk, is no success. */
static enum exit_status finish_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_FINE;
    perror("dtlsgate: cannot write the output");
    return EXIT_FAILED;
}

static enum exit_status print_version(void)
{
    printf("dtlsgate %s\n%s, %s\n", PACKAGE_VERSION, tlsctx_library_version(),
           master_library_version());
    return finish_output();
}

static enum exit_status print_help(void)
{
    fputs(cmdline_help(), stdout);
    return finish_output();
}

static enum exit_status print_psk(const char *identity)
{
    char line[PSK_LINE_MAX], why[256];

    if (!psk_generate_line(identity, line, why, sizeof(why))) {
        fprintf(stderr, "dtlsgate: --genpsk: %s\n", why);
        return EXIT_WRONG;
    }
    puts(line);
    bytes_wipe(line, sizeof(line));
    return finish_output();
}

static bool is_any_transparent(const struct conf *conf)
{
    for (size_t i = 0; i < conf->service_count; i++)
        if (conf->service[i].transparent != CONF_TRANSPARENT_NO)
            return true;
    return false;
}

/* Behind the public sockets, which a second process with our settings cannot get: what it finds
 * under this name is then not ours. */
static bool open_control(struct process *p, const char *source, struct errors *errors)
{
    const struct conf_daemon *daemon = &p->conf->daemon;
    const struct priv *priv = &p->priv;
    const struct unixsock_rules rules = {
        .path = daemon->control_socket,
        .mode = daemon->control_mode,
        .uid = priv->is_wanted ? priv->uid : (uid_t)-1,
        .gid = priv->control_gid == (gid_t)-1 && priv->is_wanted ? priv->gid : priv->control_gid,
    };
    int fd = heir_claim_control();
    char why[256];

    if (daemon->control_socket == NULL && fd < 0)
        return true;
    if (daemon->control_socket == NULL) {
        close(fd);
        errors_add(errors,
                   "%s: daemon.control-socket: the running process has one, and an upgrade cannot "
                   "change that; restart dtlsgate",
                   source);
        return false;
    }
    if (fd >= 0 ? unixsock_adopt(&p->control, fd, &rules, why, sizeof(why))
                : unixsock_open(&p->control, &rules, why, sizeof(why)))
        return true;
    if (fd >= 0)
        close(fd);
    errors_add(errors, "%s: daemon.control-socket: %s %s", source, daemon->control_socket, why);
    return false;
}

/* The user that we have become may not write to its folder. */
static void close_control(struct process *p)
{
    if (heir_has_all())
        unixsock_take(&p->control);
    if (!unixsock_close(&p->control))
        log_warning("dtlsgate: %s stays behind: %s (daemon.control-socket); give its folder to the "
                    "user that dtlsgate runs as",
                    p->conf->daemon.control_socket, strerror(errno));
}

static bool open_public(struct process *p, struct errors *errors)
{
    const char *path = p->cmdline->source.path;

    return heir_is_there() ? sockets_claim(&p->sockets, p->conf, path, heir_claim_sockets, errors)
                           : sockets_open(&p->sockets, p->conf, path, errors);
}

static bool open_pidfile(const struct process *p, struct errors *errors)
{
    const char *path = p->cmdline->pidfile;
    int fd = heir_claim_pidfile();
    char why[256];

    if (path == NULL || (fd >= 0 ? pidfile_adopt(path, fd, why, sizeof(why))
                                 : pidfile_open(path, why, sizeof(why))))
        return true;
    if (fd >= 0)
        close(fd);
    errors_add(errors, "--pidfile: %s", why);
    return false;
}

/* Behind an upgrade it may be another one. */
static bool open_http(struct process *p, const char *source, struct errors *errors)
{
    const struct addr *at = &p->conf->daemon.http;

    if (at->family == 0)
        return true;
    p->http = heir_claim_http(at);
    if (p->http < 0)
        p->http = http_bind(at, source, errors);
    return p->http >= 0;
}

/* Everything that the operator can have got wrong, told at once; then the logs. */
static bool open_all(struct process *p, struct errors *errors)
{
    const struct conf_daemon *daemon = &p->conf->daemon;
    const char *source = cmdline_source_name(p->cmdline);
    bool is_fine =
        priv_find(&p->priv, daemon, source, errors) && priv_check(&p->priv, source, errors);
    const struct places places = {p->conf, source, p->cmdline->pidfile, heir_is_there()};
    char state[PLACES_NAME_MAX];
    char why[256];

    p->priv.keeps_raw = is_any_transparent(p->conf);
    bool is_placed = places_check(&places, errors);
    is_fine &= state_new(&p->state, daemon, places_state_name(&places, state), errors) &&
               state_inherit(p->state, heir_is_there(), heir_claim_state(), source, errors);
    is_fine &= open_public(p, errors);
    is_fine &= is_placed && open_pidfile(p, errors);
    is_fine &= open_http(p, source, errors);
    if (!is_fine)
        return false;
    if (!logs_open(daemon, source, errors))
        return false;
    if (daemon->trace_keylog != NULL && !keylog_open(daemon->trace_keylog, why, sizeof(why))) {
        errors_add(errors, "%s: daemon.trace-keylog: %s", source, why);
        return false;
    }
    priv_give_log(&p->priv);
    log_set_level(cmdline_log_level(p->cmdline, daemon->log_level));
    return open_control(p, source, errors);
}

static void warn_of_root(const struct process *p)
{
    struct errors found = {.count = 0};

    priv_review(&p->priv, cmdline_source_name(p->cmdline), &found);
    if (found.count > 0)
        log_warning("%s", found.line[0] != NULL ? found.line[0] : "out of memory");
    errors_clear(&found);
}

/* What will do for now and may hurt later. */
static void warn(const struct process *p, size_t descriptors)
{
    size_t needed = review_descriptors(p->conf);

    if (descriptors < needed)
        log_info("dtlsgate: %zu open files are allowed, but daemon.max-sessions = %u may need "
                 "%zu; raise the limit (LimitNOFILE, ulimit -n) or lower the setting",
                 descriptors, p->conf->daemon.max_sessions, needed);
    for (size_t i = 0; i < p->conf->service_count; i++)
        if (!psk_is_locked(p->conf->service[i].psk))
            log_info("service %s: its keys may come to lie on swap; raise the limit of locked "
                     "memory (LimitMEMLOCK, ulimit -l)",
                     p->conf->service[i].name);
    warn_of_root(p);
    review_log(p->conf, cmdline_source_name(p->cmdline));
    review_policies(p->conf);
    sockets_check_buffers(&p->sockets, p->conf);
    sockets_check_sources(p->conf);
    priv_check_files(&p->priv, p->conf, p->cmdline->source.path);
}

/* What only the start needed, in this order; the loops are made in between, with calls that the box
 * denies. NULL with `why`. */
static struct master *settle_down(const struct process *p, char *why, size_t why_size)
{
    struct master_params params = {.cmdline = p->cmdline,
                                   .conf = p->conf,
                                   .sockets = &p->sockets,
                                   .control = &p->control,
                                   .state = p->state,
                                   .http = p->http};
    bool is_boxed = p->conf->daemon.sandbox;
    struct master *master;

    if ((is_boxed && !box_prepare(why, why_size)) || !priv_drop(&p->priv, why, why_size) ||
        (p->state != NULL && !state_open(p->state, why, why_size)))
        return NULL;
    master = master_new(&params, why, why_size);
    if (master == NULL || !is_boxed || box_close(p->priv.keeps_raw, why, why_size))
        return master;
    master_free(master);
    return NULL;
}

/* From the drop of privileges to the end. */
static enum exit_status serve(struct process *p, size_t descriptors)
{
    char why[256];
    struct master *master = settle_down(p, why, sizeof(why));
    enum master_end end = MASTER_FAILED;

    if (master != NULL) {
        warn(p, descriptors);
        end = master_run(master);
    } else {
        log_error("dtlsgate: %s", why);
        heir_refuse(NULL, why);
    }
    master_free(master);
    if (end == MASTER_STOPPED && p->state != NULL)
        state_close(p->state);
    if (end == MASTER_LEFT) {
        unixsock_leave(&p->control);
        pidfile_leave();
    }
    return end != MASTER_FAILED ? EXIT_FINE : EXIT_FAILED;
}

/* Before anything else: the next one is to be started as we were. Without it, upgrades alone are
 * impossible. */
static void keep_spawner(const struct cmdline *c)
{
    char why[256];

    if (!spawner_open(c->argv, c->background, why, sizeof(why)))
        log_warning("dtlsgate: %s", why);
}

/* What the environment tells of a service manager, and of a process that we take over from. */
static bool meet_starter(struct errors *errors)
{
    char why[256];
    bool is_fine = heir_meet(errors) && passed_init(errors);

    if (notify_init(why, sizeof(why)))
        return is_fine;
    errors_add(errors, "environment: %s", why);
    return false;
}

static enum exit_status run(const struct cmdline *c)
{
    struct process p = {.cmdline = c, .control.fd = -1};
    struct errors errors = {.count = 0};
    enum exit_status status = EXIT_WRONG;
    size_t descriptors;

    keep_spawner(c);
    if (!meet_starter(&errors))
        goto out;
    p.conf = conf_load(&c->source, &errors);
    if (p.conf == NULL)
        goto out;
    descriptors = priv_raise_descriptors(review_descriptors(p.conf));
    if (open_all(&p, &errors))
        status = serve(&p, descriptors);
    close_control(&p);
out:
    errors_print(&errors, stderr, "");
    if (errors.count > 0)
        heir_refuse(&errors, NULL);
    errors_clear(&errors);
    state_free(p.state);
    sockets_close(&p.sockets);
    passed_close();
    heir_close();
    spawner_close();
    keylog_close();
    conf_unref(p.conf);
    notify_close();
    pidfile_close();
    return status;
}

/* The same from a process that nobody waits for once it is ready. */
static enum exit_status run_in_background(const struct cmdline *c)
{
    int status;

    if (getenv(SPAWNER_VARIABLE) != NULL) {
        background_resume();
        return run(c);
    }
    if (!background_enter(&status))
        return (enum exit_status)status;
    status = (int)run(c);
    background_failed(status);
    return (enum exit_status)status;
}

static enum exit_status act(const struct cmdline *c)
{
    switch (c->action) {
    case CMDLINE_RUN:
        return c->background ? run_in_background(c) : run(c);
    case CMDLINE_TEST:
        return inspect_test(c) ? finish_output() : EXIT_WRONG;
    case CMDLINE_SHOW:
        return inspect_show(c) ? finish_output() : EXIT_WRONG;
    case CMDLINE_VERSION:
        return print_version();
    case CMDLINE_HELP:
        return print_help();
    case CMDLINE_GENPSK:
        return print_psk(c->identity);
    }
    return EXIT_WRONG;
}

/* A socket must not come to stand where libraries and the log write. */
static void fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char *argv[])
{
    struct errors errors = {.count = 0};
    enum exit_status status = EXIT_WRONG;
    struct cmdline cmdline;

    fill_standard_descriptors();
    priv_forbid_dumps();
    signal(SIGPIPE, SIG_IGN);
    if (cmdline_parse(&cmdline, argc, argv, &errors)) {
        status = act(&cmdline);
    } else {
        errors_print(&errors, stderr, "dtlsgate: ");
        fputs("Try 'dtlsgate --help'.\n", stderr);
    }
    errors_clear(&errors);
    cmdline_clear(&cmdline);
    if (!box_is_closed())
        priv_allow_dumps();
    return (int)status;
}
