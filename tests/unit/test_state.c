/*
 * test_state: the files in state-dir: what is taken up, and what is refused and why.
 */
#include "conf_text.h"
#include "keep_rig.h"
#include "log_text.h"

#include "daemon/state.h"
#include "daemon/state_old.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SECRET "0123456789abcdef0123456789abcdef"

struct rig {
    struct keep_folder folder;
    struct conf_daemon daemon;
    char key[96], why[256];
    struct errors errors;
};

static struct rig *rig;
static bool is_disk_broken; /* no folder can be written through */

/* In the place of libc's. */
int fsync(int fd)
{
    struct stat st;

    if (is_disk_broken && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

static void write_key(const char *secret)
{
    int fd = openat(rig->folder.fd, "key", O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, secret, strlen(secret)), (ssize_t)strlen(secret));
    close(fd);
}

static int set_up(void **unused)
{
    (void)unused;
    rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->folder = keep_folder();
    snprintf(rig->key, sizeof rig->key, "%s/key", rig->folder.path);
    rig->daemon = (struct conf_daemon){.state_dir = rig->folder.path, .state_key = rig->key};
    write_key(SECRET);
    unsetenv("CREDENTIALS_DIRECTORY");
    log_capture();
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    log_release();
    errors_clear(&rig->errors);
    keep_folder_end(&rig->folder);
    free(rig);
    return 0;
}

static struct state_dir *open_state(void)
{
    struct state_dir *s;

    assert_true(state_new(&s, &rig->daemon, "x.ini", &rig->errors));
    assert_non_null(s);
    assert_true(state_open(s, rig->why, sizeof rig->why));
    return s;
}

/* One block with these sessions, by the way that a worker takes. */
static void put(struct state_dir *s, const uint64_t ids[], size_t count)
{
    struct keep_shared *shared = state_shared(s);
    struct keep *k = keep_new(shared);
    struct session_memory memory;
    struct session_service service = {.memory = &memory};
    static const struct psk psk = {
        .identity = (const uint8_t *)"dev-1", .identity_len = 5, .key_len = 0};

    session_prepare(&memory);
    keep_set_time(k, 1000000, 0);
    for (size_t i = 0; i < count; i++) {
        struct session_image image = keep_image(ids[i]);
        struct session *one =
            session_image_restore(&image, &service, &psk, 1000000 - ids[i] * 1000);
        one->used = 1000000 - ids[i] * 1000; /* higher ids are longer idle */
        assert_true(keep_store(k, one, "coap", &image));
        session_free(one);
    }
    keep_free(k);
    session_memory_clear(&memory);
}

/* A file with the sessions 1 to 3, left as a crash would. */
static void leave_some(bool is_closed)
{
    struct state_dir *s = open_state();
    const struct cookie_secrets cookies = {.key = {{{1}}, {{2}}}, .generation = 9};

    put(s, (const uint64_t[]){2, 3, 1}, 3);
    assert_true(state_put_cookies(s, &cookies));
    assert_true(state_begin(s, rig->why, sizeof rig->why));
    if (is_closed)
        state_close(s);
    state_free(s);
}

static size_t count_all(struct state_dir *s)
{
    struct keep_entry e;
    size_t n = 0;

    while (state_next(s, &e))
        n++;
    return n;
}

static void overwrite(off_t at, const void *data, size_t len)
{
    int fd = openat(rig->folder.fd, "sessions", O_RDWR);

    assert_int_equal(pwrite(fd, data, len, at), (ssize_t)len);
    close(fd);
}

static void assert_refused(const char *why)
{
    struct state_dir *s = open_state();

    assert_int_equal(count_all(s), 0);
    assert_int_equal(log_count_both(why, "all clients begin anew"), 1);
    state_free(s);
}

static void none_is_wanted(void **unused)
{
    struct state_dir *s;

    (void)unused;
    rig->daemon.state_dir = NULL;
    assert_true(state_new(&s, &rig->daemon, "x.ini", &rig->errors));
    assert_null(s);
    state_free(s);
}

static void sessions_come_back_those_used_last_first(void **unused)
{
    struct state_dir *s;
    struct keep_entry e;

    (void)unused;
    leave_some(false);
    s = open_state();
    for (uint64_t id = 1; id <= 3; id++) {
        assert_true(state_next(s, &e));
        assert_int_equal(e.image.id, id);
    }
    assert_false(state_next(s, &e));
    assert_int_equal(state_damaged(s), 0);
    assert_int_equal(state_shared(s)->highest_id, 3);
    state_free(s);
}

static void a_start_that_gets_nowhere_leaves_the_file_alone(void **unused)
{
    struct state_dir *s;

    (void)unused;
    leave_some(false);
    state_free(open_state());
    s = open_state();
    assert_int_equal(count_all(s), 3);
    state_free(s);
}

static void what_is_taken_up_is_there_once(void **unused)
{
    struct state_dir *s;

    (void)unused;
    leave_some(true);
    s = open_state();
    assert_int_equal(count_all(s), 3);
    assert_true(state_begin(s, rig->why, sizeof rig->why));
    state_free(s);
    s = open_state();
    assert_int_equal(count_all(s), 0);
    state_free(s);
}

static void cookies_come_back_while_they_are_fresh(void **unused)
{
    struct state_dir *s;
    struct cookie_secrets cookies = {.generation = 0};

    (void)unused;
    s = open_state();
    assert_false(state_cookies(s, &cookies));
    state_free(s);
    leave_some(false);
    s = open_state();
    assert_true(state_cookies(s, &cookies));
    assert_int_equal(cookies.generation, 9);
    assert_int_equal(cookies.key[0].bytes[0], 1);
    assert_int_equal(cookies.key[1].bytes[0], 2);
    state_free(s);
}

static void keys_of_tickets_come_back_with_their_age(void **unused)
{
    const struct ticket_keys keys = {
        .newest = {.name = "one", .key = "1"}, .before = {.name = "two", .key = "2"}, true};
    struct ticket_keys back = {.is_set = false};
    struct state_dir *s = open_state();
    uint64_t age = 0;

    (void)unused;
    assert_true(state_put_tickets(s, &keys, UINT64_C(3600000)));
    assert_true(state_begin(s, rig->why, sizeof rig->why));
    assert_false(state_tickets(s, &back, &age)); /* there was nothing before */
    state_free(s);
    s = open_state();
    assert_true(state_tickets(s, &back, &age));
    assert_memory_equal(&back, &keys, sizeof keys);
    assert_true(age >= UINT64_C(3600000) && age < UINT64_C(3600000) + 60000);
    assert_true(state_put_tickets(s, &keys, UINT64_MAX / 2)); /* before 1970, or the clock was */
    assert_true(state_begin(s, rig->why, sizeof rig->why));   /* set back */
    state_free(s);
    s = open_state();
    assert_true(state_tickets(s, &back, &age));
    assert_int_equal(age, 0);
    state_free(s);
    leave_some(true);
    write_key("another one of thirty-two bytes.....");
    s = open_state();
    assert_false(state_tickets(s, &back, &age));
    state_free(s);
}

static void another_key_is_told_of(void **unused)
{
    (void)unused;
    leave_some(false);
    write_key("another one of thirty-two bytes.....");
    assert_refused("it was sealed with another key");
}

static void garbage_is_told_of(void **unused)
{
    uint8_t junk[1000];

    (void)unused;
    leave_some(false);
    bytes_random(junk, sizeof junk);
    overwrite(0, junk, sizeof junk);
    assert_refused("it is no state file of dtlsgate");
}

static void another_version_is_told_of(void **unused)
{
    (void)unused;
    leave_some(false);
    overwrite(19, "\xee", 1);
    assert_refused("it is of another version of dtlsgate");
}

static void an_empty_or_cut_head_is_told_of(void **unused)
{
    (void)unused;
    leave_some(false);
    assert_int_equal(fchmodat(rig->folder.fd, "sessions", 0600, 0), 0);
    char path[96];
    snprintf(path, sizeof path, "%s/sessions", rig->folder.path);
    assert_int_equal(truncate(path, 10), 0);
    assert_refused("it is no state file of dtlsgate");
}

static void a_cut_file_gives_what_is_whole(void **unused)
{
    char path[96];
    struct state_dir *s;

    (void)unused;
    leave_some(false);
    snprintf(path, sizeof path, "%s/sessions", rig->folder.path);
    assert_int_equal(truncate(path, MAPPED_BLOCK + 64 + 2 * KEEP_SLOT_SMALL + 100), 0);
    s = open_state();
    assert_int_equal(state_damaged(s), 1); /* the third: its lease is there, its body is not */
    assert_int_equal(count_all(s), 2);
    state_free(s);
}

static void damage_costs_one_session(void **unused)
{
    struct state_dir *s;

    (void)unused;
    leave_some(false);
    overwrite(MAPPED_BLOCK + 64 + KEEP_SLOT_SMALL + 100, "garbage", 7);
    s = open_state();
    assert_int_equal(state_damaged(s), 1);
    assert_int_equal(count_all(s), 2);
    state_free(s);
}

static void a_block_of_garbage_is_damage_and_no_more(void **unused)
{
    static uint8_t junk[MAPPED_BLOCK];
    struct state_dir *s;

    (void)unused;
    leave_some(false);
    bytes_random(junk, sizeof junk);
    overwrite(2 * MAPPED_BLOCK, junk, sizeof junk);
    s = open_state();
    assert_true(state_damaged(s) > 0);
    assert_int_equal(count_all(s), 3);
    state_free(s);
}

static void a_file_that_is_open_to_others_is_not_taken(void **unused)
{
    (void)unused;
    leave_some(false);
    assert_int_equal(fchmodat(rig->folder.fd, "sessions", 0640, 0), 0);
    assert_refused("it is open to others");
}

static void a_link_is_not_followed(void **unused)
{
    (void)unused;
    leave_some(false);
    assert_int_equal(renameat(rig->folder.fd, "sessions", rig->folder.fd, "other"), 0);
    assert_int_equal(symlinkat("other", rig->folder.fd, "sessions"), 0);
    assert_refused("is not taken up");
}

static void a_folder_is_one_process_s(void **unused)
{
    struct state_dir *s = open_state(), *second;

    (void)unused;
    assert_true(state_new(&second, &rig->daemon, "x.ini", &rig->errors));
    assert_false(state_open(second, rig->why, sizeof rig->why));
    assert_non_null(strstr(rig->why, "is in use by another process"));
    state_free(second);
    state_free(s);
    state_free(open_state());
}

static void a_folder_that_others_may_write_to_is_refused(void **unused)
{
    struct state_dir *s;

    (void)unused;
    assert_int_equal(chmod(rig->folder.path, 0770), 0);
    assert_true(state_new(&s, &rig->daemon, "x.ini", &rig->errors));
    assert_false(state_open(s, rig->why, sizeof rig->why));
    assert_non_null(strstr(rig->why, "can be written by others"));
    state_free(s);
    assert_int_equal(chmod(rig->folder.path, 0700), 0);
}

/* Who could put an older copy of the file there; only root can make one. */
static void a_folder_of_another_user_is_refused(void **unused)
{
    struct state_dir *s;

    (void)unused;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(rig->folder.path, 65534, 65534), 0);
    assert_true(state_new(&s, &rig->daemon, "x.ini", &rig->errors));
    assert_false(state_open(s, rig->why, sizeof rig->why));
    assert_non_null(strstr(rig->why, "is another user's"));
    state_free(s);
    assert_int_equal(chown(rig->folder.path, 0, 0), 0);
}

static int name_of(const char *name)
{
    return faccessat(rig->folder.fd, name, F_OK, 0);
}

static void nothing_is_left_of_a_start_that_came_to_nothing(void **unused)
{
    struct state_dir *s;

    (void)unused;
    leave_some(false);
    s = open_state();
    put(s, (const uint64_t[]){2, 3, 1}, 3);
    assert_int_equal(name_of("sessions.new"), 0);
    state_free(s);
    assert_int_equal(name_of("sessions.new"), -1);
    assert_int_equal(name_of("sessions"), 0);
}

/* There is no way back behind it. */
static void a_file_in_its_place_counts_though_the_folder_is_not_written_through(void **unused)
{
    struct state_dir *s = open_state();

    (void)unused;
    is_disk_broken = true;
    assert_true(state_begin(s, rig->why, sizeof rig->why));
    is_disk_broken = false;
    assert_int_equal(log_count("cannot be written through: Input/output error"), 1);
    assert_int_equal(name_of("sessions"), 0);
    state_free(s);
    assert_int_equal(name_of("sessions"), 0);
}

/* Which may have ended too early to clear up. */
static void nothing_is_left_of_an_upgrade_that_came_to_nothing(void **unused)
{
    struct state_dir *s = open_state(), *heir;

    (void)unused;
    assert_true(state_begin(s, rig->why, sizeof rig->why));
    assert_true(state_new(&heir, &rig->daemon, "x.ini", &rig->errors));
    assert_true(state_inherit(heir, true, dup(state_lock(s)), "x.ini", &rig->errors));
    assert_true(state_open(heir, rig->why, sizeof rig->why));
    assert_int_equal(name_of("sessions.new"), 0);
    state_clear_up(s);
    assert_int_equal(name_of("sessions.new"), -1);
    assert_int_equal(name_of("sessions"), 0);
    state_free(heir);
    state_free(s);
    assert_int_equal(name_of("sessions"), 0);
}

static void the_key_is_looked_at(void **unused)
{
    struct state_dir *s;

    (void)unused;
    write_key("short");
    assert_false(state_new(&s, &rig->daemon, "x.ini", &rig->errors));
    assert_non_null(strstr(rig->errors.line[0], "x.ini: daemon.state-key: "));
    assert_non_null(strstr(rig->errors.line[0], "has 5 bytes"));
    write_key(SECRET);
    assert_int_equal(fchmodat(rig->folder.fd, "key", 0644, 0), 0);
    assert_false(state_new(&s, &rig->daemon, "x.ini", &rig->errors));
    assert_non_null(strstr(rig->errors.line[1], "readable by others"));
    rig->daemon.state_key = NULL;
    assert_false(state_new(&s, &rig->daemon, "x.ini", &rig->errors));
    assert_non_null(strstr(rig->errors.line[2], "there is no key"));
    assert_null(s);
}

static void a_credential_is_a_key(void **unused)
{
    char path[128];
    struct state_dir *s;

    (void)unused;
    leave_some(false);
    snprintf(path, sizeof path, "%s/dtlsgate.state-key", rig->folder.path);
    assert_int_equal(rename(rig->key, path), 0);
    rig->daemon.state_key = NULL;
    setenv("CREDENTIALS_DIRECTORY", rig->folder.path, 1);
    s = open_state();
    assert_int_equal(count_all(s), 3);
    state_free(s);
    unlink(path);
}

static void steering_is_the_key_s(void **unused)
{
    struct state_dir *s = open_state();
    struct steer a = state_steer(s), b;

    (void)unused;
    state_free(s);
    s = open_state();
    b = state_steer(s);
    assert_memory_equal(&a, &b, sizeof a);
    state_free(s);
    write_key("another one of thirty-two bytes.....");
    s = open_state();
    b = state_steer(s);
    assert_memory_not_equal(&a, &b, sizeof a);
    state_free(s);
}

/* ---- of another start of the host ---- */

static int open_file(void)
{
    return openat(rig->folder.fd, "sessions", O_RDWR | O_CLOEXEC);
}

static const struct state_secret secret = {(const uint8_t *)SECRET, sizeof SECRET - 1};

static void a_file_that_was_spent_is_closed_no_more(void **unused)
{
    const uint8_t two[STATE_BOOT] = {2};
    struct state_old o;
    struct state_dir *s;

    (void)unused;
    leave_some(true);
    assert_null(state_old_open(&o, open_file(), &secret, two)); /* closed: any host will do */
    assert_int_equal(o.count, 3);
    state_old_clear(&o);
    s = open_state();
    assert_int_equal(linkat(rig->folder.fd, "sessions", rig->folder.fd, "other", 0), 0);
    assert_true(state_begin(s, rig->why, sizeof rig->why));
    state_free(s);
    int fd = openat(rig->folder.fd, "other", O_RDWR | O_CLOEXEC);
    assert_non_null(state_old_open(&o, fd, &secret, two));
    state_old_clear(&o);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(none_is_wanted),
        TEST(sessions_come_back_those_used_last_first),
        TEST(a_start_that_gets_nowhere_leaves_the_file_alone),
        TEST(what_is_taken_up_is_there_once),
        TEST(cookies_come_back_while_they_are_fresh),
        TEST(keys_of_tickets_come_back_with_their_age),
        TEST(another_key_is_told_of),
        TEST(garbage_is_told_of),
        TEST(another_version_is_told_of),
        TEST(an_empty_or_cut_head_is_told_of),
        TEST(a_cut_file_gives_what_is_whole),
        TEST(damage_costs_one_session),
        TEST(a_block_of_garbage_is_damage_and_no_more),
        TEST(a_file_that_is_open_to_others_is_not_taken),
        TEST(a_link_is_not_followed),
        TEST(a_folder_is_one_process_s),
        TEST(a_folder_that_others_may_write_to_is_refused),
        TEST(a_folder_of_another_user_is_refused),
        TEST(nothing_is_left_of_a_start_that_came_to_nothing),
        TEST(a_file_in_its_place_counts_though_the_folder_is_not_written_through),
        TEST(nothing_is_left_of_an_upgrade_that_came_to_nothing),
        TEST(the_key_is_looked_at),
        TEST(a_credential_is_a_key),
        TEST(steering_is_the_key_s),
        TEST(a_file_that_was_spent_is_closed_no_more),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
