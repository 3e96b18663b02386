/* roster: with workers that are played by the test. */
#include "daemon/roster.h"

#include "proxy/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Two workers; each has so many sessions, in slices of three. */
struct fleet {
    unsigned sessions[2], asked;
    bool is_stopping, is_endless;
};

static struct fleet fleet;
static struct conf_service service = {.name = (char[]){"coap"}};
static const struct conf settings = {.service = &service, .service_count = 1};
static const struct conf *conf = &settings;
static struct roster *roster;
static struct text told;
static unsigned done;

unsigned fleet_count(const struct fleet *f)
{
    (void)f;
    return 2;
}

static void fill(struct inquiry_row *row, uint64_t id)
{
    *row = (struct inquiry_row){.id = id, .age = 1000 - id, .idle = id * 37 % 100};
    row->in_datagrams = id * 7 % 100;
    row->peer = (struct addr){.ip = {192, 0, 2, (uint8_t)id}, .port = 9, .family = AF_INET};
    row->identity_len = (size_t)snprintf((char *)row->identity, 32, "Dev-%u", (unsigned)id);
}

bool fleet_inquire(struct fleet *f, unsigned worker, struct inquiry *q)
{
    uint64_t first = q->cursor;

    if (f->is_stopping)
        return false;
    f->asked++;
    assert_true(q->limit > 0 && q->limit <= INQUIRY_ROWS);
    for (q->count = 0; q->count < 3 && first + q->count < f->sessions[worker]; q->count++)
        fill(&q->row[q->count], first + q->count + 1 + worker * 100);
    q->cursor = first + q->count < f->sessions[worker] ? first + q->count : 0;
    if (f->is_endless)
        q->cursor = 1;
    mailbox_post(q->replies, &q->node);
    return true;
}

static void on_done(void *arg, const struct census *c)
{
    struct json json;

    assert_ptr_equal(arg, &fleet);
    text_clear(&told);
    json_init(&json, &told);
    roster_write(c, &json);
    done++;
}

static int begin(void **state)
{
    (void)state;
    fleet = (struct fleet){.sessions = {10, 5}};
    roster = roster_new(&fleet, &conf);
    done = 0;
    return roster != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    roster_free(roster);
    text_clear(&told);
    return 0;
}

static struct census *ask(enum roster_order order, size_t limit, const char *search)
{
    struct roster_question q = {.order = order, .limit = limit};

    snprintf(q.search, sizeof(q.search), "%s", search);
    return roster_ask(roster, &q, on_done, &fleet);
}

/* The ids that were told, in their order. */
static const char *ids(enum roster_order order, size_t limit, const char *search)
{
    static char list[256];
    unsigned before = done;

    assert_non_null(ask(order, limit, search));
    roster_turn(roster);
    assert_int_equal(done, before + 1);
    list[0] = '\0';
    for (const char *s = told.data; (s = strstr(s, "\"id\":")) != NULL; s += 5)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%.*s ",
                 (int)strcspn(s + 5, ","), s + 5);
    return list;
}

static void test_the_best_of_all_workers_in_order(void **state)
{
    (void)state;
    assert_string_equal(ids(ROSTER_NEWEST, 7, ""), "105 104 103 102 101 10 9 ");
    assert_string_equal(ids(ROSTER_BUSIEST, 3, ""), "10 9 8 ");
    assert_non_null(strstr(told.data, "{\"looked_at\":15,\"is_cut\":false,"));
    assert_string_equal(ids(ROSTER_NEWEST, 100, ""), "105 104 103 102 101 10 9 8 7 6 5 4 3 2 1 ");
    fleet.sessions[0] = fleet.sessions[1] = 0;
    assert_string_equal(ids(ROSTER_NEWEST, 100, ""), "");
}

static void test_those_used_last_are_asked_for_once(void **state)
{
    (void)state;
    fleet.sessions[0] = 3;
    fleet.sessions[1] = 1;
    assert_string_equal(ids(ROSTER_ACTIVE, 3, ""), "3 1 101 ");
    assert_int_equal(fleet.asked, 2);
}

static void test_the_search(void **state)
{
    (void)state;
    assert_string_equal(ids(ROSTER_NEWEST, 9, "dev-10"), "105 104 103 102 101 10 ");
    assert_string_equal(ids(ROSTER_NEWEST, 9, "192.0.2.7:9"), "7 ");
    assert_string_equal(ids(ROSTER_NEWEST, 2, "COAP"), "105 104 ");
    assert_string_equal(ids(ROSTER_NEWEST, 2, "4"), "104 4 "); /* an id is meant whole */
    assert_string_equal(ids(ROSTER_NEWEST, 2, "nobody"), "");
}

static void test_a_walk_has_an_end(void **state)
{
    (void)state;
    fleet.is_endless = true;
    ids(ROSTER_NEWEST, 1, "");
    assert_int_equal(fleet.asked, ROSTER_SLICES_MAX);
    assert_non_null(strstr(told.data, "\"is_cut\":true"));
}

static void test_only_so_many_ask_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < ROSTER_ASKERS_MAX; i++)
        assert_non_null(ask(ROSTER_NEWEST, 1, ""));
    assert_null(ask(ROSTER_NEWEST, 1, ""));
    roster_turn(roster);
    assert_int_equal(done, ROSTER_ASKERS_MAX);
    assert_non_null(ask(ROSTER_NEWEST, 1, ""));
}

static void test_who_has_gone_is_not_told(void **state)
{
    struct census *c = ask(ROSTER_NEWEST, 1, "");

    (void)state;
    assert_non_null(c);
    roster_forget(c);
    roster_turn(roster);
    assert_int_equal(done, 0);
    assert_int_equal(fleet.asked, 1); /* and nobody else is asked for them */
}

static void test_workers_that_are_about_to_end(void **state)
{
    (void)state;
    assert_non_null(ask(ROSTER_NEWEST, 1, ""));
    fleet.is_stopping = true;
    roster_turn(roster);
    assert_int_equal(done, 1);
    assert_non_null(strstr(told.data, "\"is_cut\":true"));
    assert_null(ask(ROSTER_NEWEST, 1, ""));
}

#define WITH_ROSTER(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ROSTER(test_the_best_of_all_workers_in_order),
        WITH_ROSTER(test_those_used_last_are_asked_for_once),
        WITH_ROSTER(test_the_search),
        WITH_ROSTER(test_a_walk_has_an_end),
        WITH_ROSTER(test_only_so_many_ask_at_once),
        WITH_ROSTER(test_who_has_gone_is_not_told),
        WITH_ROSTER(test_workers_that_are_about_to_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
