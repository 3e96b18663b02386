/*
 * test_secret: that keys are zeroed, locked, in no core dump, in no child, and wiped at the end.
 * The module's source is part of this program, so that what it gives back can be looked at.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

static void look_at_unmapped(const void *p, size_t size);
#define munmap(p, size) (look_at_unmapped(p, size), munmap(p, size))
#include "base/secret.c"
#undef munmap

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#define ANY_SIZE 5000
#define NOBODY 65534
#define PATTERN_SIZE 256
#define CORE_MOST (64 << 20)

static char marker[] = "nEzbuX5rjqDxlYtv";
static const size_t marker_len = sizeof marker - 1;
static unsigned unmapped, unmapped_markers;

static void look_at_unmapped(const void *p, size_t size)
{
    unmapped++;
    unmapped_markers += memmem(p, size, marker, marker_len) != NULL;
}

/* Its mapping's line of flags in smaps(5), as "rd wr mr ...". */
static void read_flags(const void *at, char *flags, size_t size)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool is_ours = false;

    assert_non_null(maps);
    flags[0] = '\0';
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            is_ours = (uintptr_t)at >= from && (uintptr_t)at < to;
        if (is_ours && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(flags, size, "%s", line + 8);
    }
    fclose(maps);
    assert_string_not_equal(flags, "");
}

/* Runs it in a child, as a user without the right to lock what it likes. Its result. */
static int in_child(int (*act)(void))
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0)
            _exit(99);
        _exit(act());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_it_is_made_of_zeros_and_can_be_written(void **state)
{
    struct secret s;

    (void)state;
    assert_true(secret_init(&s, ANY_SIZE));
    assert_int_equal(s.size, ANY_SIZE);
    for (size_t i = 0; i < s.size; i++)
        assert_int_equal(s.at[i], 0);
    memset(s.at, 0xa5, s.size);
    secret_clear(&s);
    assert_null(s.at);
    assert_int_equal(s.size, 0);
}

static void test_the_kernel_knows_that_it_is_secret(void **state)
{
    char flags[512];
    struct secret s;

    (void)state;
    assert_true(secret_init(&s, ANY_SIZE));
    read_flags(s.at, flags, sizeof flags);
    assert_non_null(strstr(flags, " dd")); /* not dumped */
    assert_non_null(strstr(flags, " wf")); /* wiped on fork */
    assert_int_equal(strstr(flags, " lo") != NULL, s.is_locked);
    secret_clear(&s);
}

static void test_it_is_wiped_when_it_is_given_back(void **state)
{
    struct secret s;

    (void)state;
    assert_true(secret_init(&s, ANY_SIZE));
    memcpy(s.at, marker, marker_len);
    memcpy(s.at + ANY_SIZE - marker_len, marker, marker_len);
    unmapped = unmapped_markers = 0;
    secret_clear(&s);
    secret_clear(&s);
    assert_int_equal(unmapped, 1);
    assert_int_equal(unmapped_markers, 0);
}

static bool is_mapped(uint8_t *at)
{
    unsigned char in_core;

    return mincore(at, 1, &in_core) == 0;
}

static void test_shrinking_keeps_the_beginning_alone(void **state)
{
    size_t page = whole_pages(1);
    struct secret s;
    uint8_t *at;

    (void)state;
    assert_true(secret_init(&s, 3 * page));
    at = s.at;
    memcpy(s.at, marker, marker_len);
    secret_shrink(&s, page + 1);
    assert_ptr_equal(s.at, at);
    assert_int_equal(s.size, page + 1);
    assert_memory_equal(s.at, marker, marker_len);
    assert_true(is_mapped(at + page));
    assert_false(is_mapped(at + 2 * page));
    secret_shrink(&s, 0);
    assert_int_equal(s.size, 1);
    assert_memory_equal(s.at, marker, marker_len);
    assert_false(is_mapped(at + page));
    secret_clear(&s);
    assert_false(is_mapped(at));
}

static int lock_within_a_limit(void)
{
    size_t page = whole_pages(1);
    struct rlimit limit = {page, page};
    struct secret s;

    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || !secret_init(&s, 4 * page))
        return 1;
    memset(s.at, 1, s.size);
    if (s.is_locked)
        return 2;
    secret_shrink(&s, 2 * page);
    if (s.is_locked)
        return 3;
    secret_shrink(&s, page);
    if (!s.is_locked)
        return 4;
    secret_clear(&s);
    return 0;
}

static void test_what_the_limit_does_not_allow_is_told(void **state)
{
    (void)state;
    assert_int_equal(in_child(lock_within_a_limit), 0);
}

static struct secret inherited;

static int look_at_inherited(void)
{
    static const uint8_t zeros[sizeof marker];

    return memcmp(inherited.at, zeros, marker_len) == 0 ? 0 : 1;
}

static void test_a_child_gets_zeros(void **state)
{
    (void)state;
    assert_true(secret_init(&inherited, ANY_SIZE));
    memcpy(inherited.at, marker, marker_len);
    assert_int_equal(in_child(look_at_inherited), 0);
    assert_memory_equal(inherited.at, marker, marker_len);
    secret_clear(&inherited);
}

static void test_there_may_be_too_little_memory(void **state)
{
    struct secret s;

    (void)state;
    assert_false(secret_init(&s, SIZE_MAX / 2));
    assert_int_equal(errno, ENOMEM);
    assert_null(s.at);
    secret_clear(&s);
}

/* Written byte by byte, so that no register holds more of it than that. */
static void write_pattern(volatile uint8_t *to, unsigned seed)
{
    for (unsigned i = 0; i < PATTERN_SIZE; i++)
        to[i] = (uint8_t)(i * 37 + seed);
}

/* With one pattern in ordinary memory, and another that nobody else ever held in secret memory. */
static void die_in(const char *folder)
{
    struct rlimit limit = {CORE_MOST, CORE_MOST};
    uint8_t *ordinary = malloc(PATTERN_SIZE);
    struct secret s;

    if (chdir(folder) != 0 || setrlimit(RLIMIT_CORE, &limit) != 0 || ordinary == NULL ||
        !secret_init(&s, ANY_SIZE))
        _exit(1);
    write_pattern(ordinary, 1);
    write_pattern(s.at, 2);
    abort();
}

static bool holds_pattern(const uint8_t *data, size_t len, unsigned seed)
{
    uint8_t pattern[PATTERN_SIZE];

    write_pattern(pattern, seed);
    return memmem(data, len, pattern, sizeof pattern) != NULL;
}

/* The core file's bytes, and the folder is gone; NULL: there is none. */
static uint8_t *take_core(const char *folder, size_t *len)
{
    DIR *entries = opendir(folder);
    const struct dirent *entry;
    uint8_t *data = NULL;
    char path[300];

    assert_non_null(entries);
    while ((entry = readdir(entries)) != NULL) {
        FILE *file;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || (file = fopen(path, "re")) == NULL)
            continue;
        data = malloc(CORE_MOST);
        assert_non_null(data);
        *len = fread(data, 1, CORE_MOST, file);
        fclose(file);
        unlink(path);
    }
    closedir(entries);
    rmdir(folder);
    return data;
}

static void test_it_is_in_no_core_dump(void **state)
{
    char folder[] = "/tmp/test_secret.XXXXXX";
    bool is_ordinary_there, is_secret_there;
    size_t len = 0;
    uint8_t *core;
    pid_t child;

    (void)state;
    assert_non_null(mkdtemp(folder));
    child = fork();
    if (child == 0)
        die_in(folder);
    assert_int_equal(waitpid(child, NULL, 0), child);
    core = take_core(folder, &len);
    is_ordinary_there = core != NULL && holds_pattern(core, len, 1);
    is_secret_there = core != NULL && holds_pattern(core, len, 2);
    free(core);
    assert_false(is_secret_there);
    if (!is_ordinary_there)
        skip(); /* cores go elsewhere on this system, or nowhere */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_made_of_zeros_and_can_be_written),
        cmocka_unit_test(test_the_kernel_knows_that_it_is_secret),
        cmocka_unit_test(test_it_is_wiped_when_it_is_given_back),
        cmocka_unit_test(test_shrinking_keeps_the_beginning_alone),
        cmocka_unit_test(test_what_the_limit_does_not_allow_is_told),
        cmocka_unit_test(test_a_child_gets_zeros),
        cmocka_unit_test(test_there_may_be_too_little_memory),
        cmocka_unit_test(test_it_is_in_no_core_dump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
