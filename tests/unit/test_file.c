/* file: whole files, and what a file of secrets is refused for. */
#include "base/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A user that is neither root nor us. */
#define STRANGER 12345

static char folder[] = "/tmp/test_file.XXXXXX";
static char path[sizeof folder + 16];

static void write_file(const char *content, size_t len, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void assert_refused(enum file_kind kind, size_t max, const char *reason)
{
    char why[200] = "", *data = NULL;
    size_t len = 77;

    assert_false(file_read(path, kind, max, &data, &len, why, sizeof why));
    assert_null(data);
    assert_int_equal(len, 77);
    if (strstr(why, reason) == NULL)
        fail_msg("\"%s\" does not tell \"%s\"", why, reason);
    assert_null(strstr(why, folder));
}

static void assert_taken(enum file_kind kind, size_t max, const char *content, size_t expected)
{
    char why[200] = "", *data = NULL;
    size_t len = 0;

    if (!file_read(path, kind, max, &data, &len, why, sizeof why))
        fail_msg("%s", why);
    assert_int_equal(len, expected);
    assert_memory_equal(data, content, expected);
    assert_int_equal(data[len], '\0');
    file_free(data, len);
}

static void test_reads_the_whole_file(void **state)
{
    (void)state;
    write_file("a\0b\n", 4, 0644);
    assert_taken(FILE_PLAIN, 100, "a\0b\n", 4);
}

static void test_reads_an_empty_file(void **state)
{
    (void)state;
    write_file("", 0, 0644);
    assert_taken(FILE_PLAIN, 100, "", 0);
    assert_taken(FILE_PLAIN, 0, "", 0);
}

static void test_max_is_the_last_size_taken(void **state)
{
    (void)state;
    write_file("12345", 5, 0644);
    assert_taken(FILE_PLAIN, 5, "12345", 5);
    assert_taken(FILE_PLAIN, SIZE_MAX, "12345", 5);
    assert_refused(FILE_PLAIN, 4, "5 bytes long; at most 4");
}

static void test_reads_a_large_file(void **state)
{
    size_t size = 1 << 20;
    char *content = malloc(size);

    (void)state;
    assert_non_null(content);
    for (size_t i = 0; i < size; i++)
        content[i] = (char)(i * 7);
    write_file(content, size, 0644);
    assert_taken(FILE_PLAIN, size, content, size);
    free(content);
}

static void test_missing_file(void **state)
{
    (void)state;
    unlink(path);
    assert_refused(FILE_PLAIN, 100, "No such file");
}

static void test_only_regular_files(void **state)
{
    char why[200] = "", *data;
    size_t len;

    (void)state;
    assert_false(file_read(folder, FILE_PLAIN, 100, &data, &len, why, sizeof why));
    assert_string_equal(why, "is not a regular file");
    assert_false(file_read("/dev/null", FILE_PLAIN, 100, &data, &len, why, sizeof why));
    assert_string_equal(why, "is not a regular file");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    /* Must not wait for a writer either. */
    assert_refused(FILE_SECRET, 100, "is not a regular file");
    unlink(path);
}

static void test_file_that_is_longer_than_it_says(void **state)
{
    char why[200] = "", *data;
    size_t len;

    (void)state;
    if (access("/proc/self/status", R_OK) != 0)
        skip();
    assert_false(file_read("/proc/self/status", FILE_PLAIN, 100000, &data, &len, why, sizeof why));
    assert_string_equal(why, "changed while it was read; try again");
}

static void test_secret_of_owner_and_group_is_taken(void **state)
{
    (void)state;
    write_file("key", 3, 0600);
    assert_taken(FILE_SECRET, 100, "key", 3);
    write_file("key", 3, 0660);
    assert_taken(FILE_SECRET, 100, "key", 3);
}

static void test_secret_open_to_others_is_refused(void **state)
{
    (void)state;
    write_file("key", 3, 0644);
    assert_taken(FILE_PLAIN, 100, "key", 3);
    assert_refused(FILE_SECRET, 100, "is readable by others (mode 0644); chmod o-rwx it");
    write_file("key", 3, 0602);
    assert_refused(FILE_SECRET, 100, "is writable by others (mode 0602); chmod o-rwx it");
    write_file("key", 3, 0601);
    assert_refused(FILE_SECRET, 100, "is executable by others (mode 0601); chmod o-rwx it");
}

static void test_secret_owned_by_root_serves_another_user(void **state)
{
    char why[200] = "", *data = NULL;
    bool taken;
    size_t len = 0;

    (void)state;
    if (geteuid() != 0)
        skip();
    write_file("key", 3, 0640);
    assert_int_equal(chmod(folder, 0755), 0);
    if (seteuid(STRANGER) != 0)
        skip();
    taken = file_read(path, FILE_SECRET, 100, &data, &len, why, sizeof why);
    assert_int_equal(seteuid(0), 0);
    if (!taken)
        fail_msg("%s", why);
    file_free(data, len);
}

static void test_reason_is_cut_to_its_room(void **state)
{
    char why[8], *data;
    size_t len;

    (void)state;
    memset(why, 'Z', sizeof why);
    assert_false(file_read(folder, FILE_PLAIN, 100, &data, &len, why, 5));
    assert_memory_equal(why, "is n\0ZZZ", 8);
}

static void test_free_takes_null(void **state)
{
    (void)state;
    file_free(NULL, 0);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_the_whole_file),
        cmocka_unit_test(test_reads_an_empty_file),
        cmocka_unit_test(test_max_is_the_last_size_taken),
        cmocka_unit_test(test_reads_a_large_file),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_only_regular_files),
        cmocka_unit_test(test_file_that_is_longer_than_it_says),
        cmocka_unit_test(test_secret_of_owner_and_group_is_taken),
        cmocka_unit_test(test_secret_open_to_others_is_refused),
        cmocka_unit_test(test_secret_owned_by_root_serves_another_user),
        cmocka_unit_test(test_reason_is_cut_to_its_room),
        cmocka_unit_test(test_free_takes_null),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
