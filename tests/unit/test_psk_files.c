/*
 * test_psk_files: a folder of key files: which of them count, in which order, and what is said of
 * those that are wrong.
 */
#include "dtls/psk_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY "000102030405060708090a0b0c0d0e0f"

static char folder[] = "/tmp/test_psk_files.XXXXXX";
static struct errors errors;

static char *path_of(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path_of(name), 0600), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    char command[256];

    (void)state;
    errors_clear(&errors);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static const struct psk *find(const struct psk_set *set, const char *identity)
{
    return psk_find(set, (const uint8_t *)identity, strlen(identity));
}

static void assert_place(const struct psk_set *set, const char *identity, const char *name,
                         unsigned line)
{
    const struct psk *psk = find(set, identity);
    unsigned got;

    assert_non_null(psk);
    assert_string_equal(psk_place(set, psk->line, &got), path_of(name));
    assert_int_equal(got, line);
}

static void test_all_files_count_in_the_order_of_their_names(void **state)
{
    (void)state;
    put("b", "# a comment\nbee:" KEY "\nbye:" KEY); /* no newline at the end */
    put("a", "ay:" KEY "\n");
    put("c", "");
    put("d.psk", "\ndee:" KEY "\n");
    struct psk_set *set = psk_load(folder, 0, &errors);
    assert_non_null(set);
    assert_int_equal(psk_count(set), 4);
    assert_int_equal(psk_at(set, 0)->identity_len, 2);
    assert_place(set, "ay", "a", 1);
    assert_place(set, "bee", "b", 2);
    assert_place(set, "bye", "b", 3);
    assert_place(set, "dee", "d.psk", 2);
    psk_free(set);
}

static void test_left_overs_and_folders_do_not_count(void **state)
{
    static const char *const names[] = {".hidden",       "keys~",          "keys.bak",
                                        "keys.dpkg-old", "keys.dpkg-dist", "keys.dpkg-new"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        put(names[i], "nonsense\n");
    assert_int_equal(mkdir(path_of("sub"), 0700), 0);
    put("keys", "me:" KEY "\n");
    put("keys.dpkg", "you:" KEY "\n");
    assert_int_equal(symlink("keys.bak", path_of("linked")), 0);
    put("keys.bak", "it:" KEY "\n");
    struct psk_set *set = psk_load(folder, 0, &errors);
    assert_non_null(set);
    assert_int_equal(psk_count(set), 3);
    assert_place(set, "it", "linked", 1);
    psk_free(set);
}

/* The only mistake, told of that place; `where` is empty for the folder itself. */
static void refuse(const char *where, const char *what)
{
    char text[512];

    assert_null(psk_load(folder, 0, &errors));
    assert_int_equal(errors.count, 1);
    snprintf(text, sizeof text, "%s%s: %s", folder, where, what);
    assert_string_equal(errors.line[0], text);
}

static void test_a_double_names_both_places(void **state)
{
    (void)state;
    put("one", "#\nme:" KEY "\n");
    put("two", "you:" KEY "\nme:" KEY "\n");
    char what[512];
    snprintf(what, sizeof what, "identity \"me\": is in %s:2 already; remove one of the two",
             path_of("one"));
    refuse("/two:2", what);
}

static void test_a_double_in_a_later_file_tells_the_line_alone(void **state)
{
    (void)state;
    put("one", "you:" KEY "\n");
    put("two", "me:" KEY "\n\nme:" KEY "\n");
    refuse("/two:3", "identity \"me\": is on line 1 already; remove one of the two");
}

static void test_mistakes_of_all_files_are_told(void **state)
{
    (void)state;
    put("one", "me:00\n");
    put("three", "me\n");
    put("two", "you:" KEY "\n");
    assert_int_equal(chmod(path_of("two"), 0604), 0);
    assert_null(psk_load(folder, 0, &errors));
    assert_int_equal(errors.count, 3);
}

static void test_a_file_that_others_can_read_is_refused(void **state)
{
    (void)state;
    put("keys", "me:" KEY "\n");
    assert_int_equal(chmod(path_of("keys"), 0644), 0);
    refuse("/keys", "is readable by others (mode 0644); chmod o-rwx it");
}

static void test_a_folder_that_others_can_write_is_refused(void **state)
{
    (void)state;
    put("keys", "me:" KEY "\n");
    assert_int_equal(chmod(folder, 0757), 0);
    refuse("", "is writable by others (mode 0757); chmod o-w it");
}

static void test_an_empty_folder_is_refused_unless_it_may_be(void **state)
{
    uint8_t key[PSK_KEY_MAX];

    (void)state;
    refuse("", "holds no identity; write lines of IDENTITY:HEXKEY");
    struct psk_set *set = psk_load(folder, PSK_ALLOW_EMPTY, &errors);
    assert_non_null(set);
    assert_int_equal(psk_count(set), 0);
    assert_null(find(set, "me"));
    assert_int_equal(psk_decoy(set, (const uint8_t *)"me", 2, key), PSK_KEY_MIN);
    psk_free(set);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_files_count_in_the_order_of_their_names),
        TEST(test_left_overs_and_folders_do_not_count),
        TEST(test_a_double_names_both_places),
        TEST(test_a_double_in_a_later_file_tells_the_line_alone),
        TEST(test_mistakes_of_all_files_are_told),
        TEST(test_a_file_that_others_can_read_is_refused),
        TEST(test_a_folder_that_others_can_write_is_refused),
        TEST(test_an_empty_folder_is_refused_unless_it_may_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
