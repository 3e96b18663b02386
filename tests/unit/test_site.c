/* site: the answer to each path, in each phase of the process. */
#include "daemon/site.h"

#include "conf_text.h"

#include <stdatomic.h>

/* The workers, played by the test: none of them answers. */
struct fleet {
    struct stats stats;
};

static struct fleet fleet;
static struct site *site;
static struct status status;
static struct answer answer;
static unsigned done;

unsigned fleet_count(const struct fleet *f)
{
    (void)f;
    return 1;
}

const struct stats *fleet_stats(const struct fleet *f, unsigned worker)
{
    (void)worker;
    return &f->stats;
}

uint64_t fleet_service_count(const struct fleet *f, unsigned service, enum service_counter what)
{
    (void)f;
    assert_int_equal(service, 0);
    return what == SERVICE_SESSIONS_OPENED ? 5 : what == SERVICE_SESSIONS_ENDED ? 2 : 0;
}

size_t fleet_backends(const struct fleet *f, unsigned service, uint64_t now,
                      struct fleet_backend out[BALANCE_SLOTS])
{
    (void)f;
    (void)service;
    out[0] = (struct fleet_backend){.weight = 2, .state = BALANCE_DOWN, .since = now, .flows = 7};
    out[1] = (struct fleet_backend){.state = BALANCE_GONE, .flows = 1};
    assert_true(addr_parse(&out[0].addr, "192.0.2.1:5683"));
    assert_true(addr_parse(&out[1].addr, "[2001:db8::1]:5683"));
    return 2;
}

const char *fleet_backend_state(const struct fleet_backend *b)
{
    return b->state == BALANCE_DOWN ? "down" : "gone";
}

void fleet_sum(const struct fleet *f, struct stats *sum)
{
    memset(sum, 0, sizeof(*sum));
    stats_sum(sum, &f->stats);
}

bool fleet_inquire(struct fleet *f, unsigned worker, struct inquiry *q)
{
    (void)f;
    (void)worker;
    (void)q;
    return true;
}

static void on_done(void *arg, const struct answer *a)
{
    (void)arg;
    (void)a;
    done++;
}

static struct site_wait wait = {.done = on_done};

static int begin(void **state)
{
    static struct sockets sockets;
    static const char *const none[] = {NULL};

    (void)state;
    done = 0;
    status = (struct status){.phase = STATUS_SERVING,
                             .fleet = &fleet,
                             .sockets = &sockets,
                             .conf = load_good(MINIMAL, none),
                             .event_library = "libevent \"x\"\\"};
    site = site_new(&status);
    return site != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    answer_clear(&answer);
    site_free(site);
    conf_unref(status.conf);
    return 0;
}

static bool get_from(const char *target, const char *host)
{
    struct request r;
    char head[256];
    int len = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host);

    assert_int_equal(request_parse(&r, head, (size_t)len), REQUEST_FINE);
    answer_clear(&answer);
    return site_answer(site, &r, &answer, &wait);
}

static void check(const char *path, unsigned want, const char *body)
{
    assert_true(get_from(path, "localhost"));
    assert_int_equal(answer.status, want);
    assert_true(answer.len >= strlen(body));
    assert_memory_equal(answer.body, body, strlen(body));
}

static void test_readiness_follows_the_phase(void **state)
{
    (void)state;
    check("/readyz", 200, "serving\n");
    status.phase = STATUS_STARTING;
    check("/readyz", 503, "starting\n");
    status.phase = STATUS_DRAINING;
    check("/readyz", 503, "draining\n");
    status.phase = STATUS_STOPPING;
    check("/readyz", 503, "stopping\n");
    check("/healthz", 200, "ok\n");
}

static void test_the_pages(void **state)
{
    (void)state;
    check("/", 200, "<!DOCTYPE html>");
    assert_string_equal(answer.type, "text/html; charset=utf-8");
    check("/app.js", 200, "//");
    check("/app.css", 200, "/*");
    check("/icon.svg", 200, "<svg");
    check("/app.js/", 404, "not found\n");
    check("/../etc/passwd", 404, "not found\n");
}

static void test_others_are_turned_away(void **state)
{
    (void)state;
    assert_true(get_from("/metrics", "evil.example"));
    assert_int_equal(answer.status, 421);
}

static void test_labels_are_escaped(void **state)
{
    (void)state;
    check("/metrics", 200, "# HELP dtlsgate_client_datagrams_total ");
    assert_non_null(strstr(answer.body, "event_library=\"libevent \\\"x\\\"\\\\\"} 1\n"));
    assert_non_null(strstr(answer.body, "\ndtlsgate_service_identities{service=\"a\"} 1\n"));
}

static void test_counters_are_told(void **state)
{
    (void)state;
    stats_set(&fleet.stats.from_client[FATE_DROP_FORGED], 7);
    stats_set(&fleet.stats.sessions, 3);
    check("/metrics", 200, "#");
    assert_non_null(strstr(answer.body, "\ndtlsgate_drops_total{worker=\"0\",side=\"client\","
                                        "reason=\"forged\"} 7\n"));
    assert_non_null(strstr(answer.body, "\ndtlsgate_sessions{worker=\"0\"} 3\n"));
    check("/status.json", 200, "{\"version\":");
    assert_non_null(strstr(answer.body, "\"drops\":7"));
    assert_non_null(strstr(answer.body, "\"sessions_ended\":2,\"handshakes_failed\":0,"));
    assert_non_null(strstr(answer.body, "\"sessions\":3,\"flows\":0}"));
    memset(&fleet, 0, sizeof(fleet));
}

static void test_backends_are_told(void **state)
{
    (void)state;
    check("/metrics", 200, "#");
    assert_non_null(strstr(answer.body, "\ndtlsgate_backend_up{service=\"a\",backend="
                                        "\"192.0.2.1:5683\"} 0\n"));
    assert_null(strstr(answer.body, "_up{service=\"a\",backend=\"[2001:db8::1]:5683\"}"));
    assert_non_null(strstr(answer.body, "\ndtlsgate_backend_flows{service=\"a\",backend="
                                        "\"[2001:db8::1]:5683\"} 1\n"));
    check("/status.json", 200, "{\"version\":");
    assert_non_null(strstr(answer.body, "{\"address\":\"192.0.2.1:5683\",\"state\":\"down\","
                                        "\"state_seconds\":0,\"weight\":2,"));
}

static void test_sessions_come_later_or_never(void **state)
{
    (void)state;
    assert_false(get_from("/sessions.json", "localhost"));
    assert_non_null(wait.census);
    site_forget(&wait);
    assert_null(wait.census);
    site_forget(&wait);
    for (unsigned i = 1; i < ROSTER_ASKERS_MAX; i++)
        assert_false(get_from("/sessions.json", "localhost"));
    check("/sessions.json", 503, "too many ask");
    assert_int_equal(done, 0);
}

#define WITH_SITE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SITE(test_readiness_follows_the_phase), WITH_SITE(test_the_pages),
        WITH_SITE(test_others_are_turned_away),      WITH_SITE(test_labels_are_escaped),
        WITH_SITE(test_counters_are_told),           WITH_SITE(test_sessions_come_later_or_never),
        WITH_SITE(test_backends_are_told),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
