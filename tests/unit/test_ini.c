/* ini: items with true line numbers, and what is refused. */
#include "conf/ini.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What a text gives: each item as "LINE:section:key:value;", each error as it is. */
static char seen[2 * INI_LINE_MAX];
static struct errors errors;

static void note(const struct ini_item *item, void *arg)
{
    size_t used = strlen(seen);

    assert_ptr_equal(arg, seen);
    snprintf(seen + used, sizeof(seen) - used, "%u:%s:%s:%s;", item->line, item->section,
             item->key ? item->key : "(header)", item->value ? item->value : "");
}

static void read_bytes_of(const char *data, size_t len)
{
    const struct ini_text text = {.name = "x.ini", .data = data, .len = len};

    errors_clear(&errors);
    *seen = '\0';
    ini_read_text(&text, note, seen, &errors);
}

static void assert_reads(const char *text, const char *items)
{
    read_bytes_of(text, strlen(text));
    if (errors.count > 0)
        fail_msg("%s", errors.line[0]);
    assert_string_equal(seen, items);
}

static void assert_refused(const char *text, const char *error)
{
    read_bytes_of(text, strlen(text));
    assert_int_equal(errors.count, 1);
    if (!strstr(errors.line[0], error))
        fail_msg("\"%s\" does not tell \"%s\"", errors.line[0], error);
}

static void test_items_come_with_their_lines(void **state)
{
    (void)state;
    assert_reads("[daemon]\nworkers = 1\n\n# word\n[service coap]\nlisten=[::]:5684\n",
                 "1:daemon:(header):;2:daemon:workers:1;5:service coap:(header):;"
                 "6:service coap:listen:[::]:5684;");
}

static void test_last_line_needs_no_end(void **state)
{
    (void)state;
    assert_reads("[a]\nb = c", "1:a:(header):;2:a:b:c;");
}

static void test_windows_line_ends_and_byte_order_mark_are_fine(void **state)
{
    (void)state;
    assert_reads("\xef\xbb\xbf[a]\r\nb = c\r\n\r\nd = e\r\n", "1:a:(header):;2:a:b:c;4:a:d:e;");
}

static void test_comments(void **state)
{
    (void)state;
    assert_reads("# [x]\n; y = z\n   # indented\n\t; too\n[a] ; behind\nb = c ; behind\n",
                 "5:a:(header):;6:a:b:c;");
}

static void test_semicolon_inside_a_word_is_no_comment(void **state)
{
    (void)state;
    assert_reads("[a]\nb = a;b # c\n", "1:a:(header):;2:a:b:a;b # c;");
}

static void test_empty_value(void **state)
{
    (void)state;
    assert_reads("[a]\nb =\nc = ; nothing\n", "1:a:(header):;2:a:b:;3:a:c:;");
}

static void test_key_before_any_header_has_empty_section(void **state)
{
    (void)state;
    assert_reads("b = c\n", "1::b:c;");
}

/* inih's own buffer has 200 bytes. */
static void test_long_value_comes_whole(void **state)
{
    char text[INI_LINE_MAX + 64] = "[a]\nciphers = ", items[INI_LINE_MAX + 64];
    size_t start = strlen(text);

    (void)state;
    for (size_t len = 150; len < 600; len++) {
        for (size_t i = 0; i < len; i++)
            text[start + i] = "PSK-AES:;#[]="[(i * 7 + i / 13) % 13];
        strcpy(text + start + len, "\nnext = 1\n");
        snprintf(items, sizeof(items), "1:a:(header):;2:a:ciphers:%.*s;3:a:next:1;", (int)len,
                 text + start);
        assert_reads(text, items);
    }
}

static void test_long_value_keeps_its_blanks(void **state)
{
    char text[4096] = "[a]\nb =", items[4096] = "1:a:(header):;2:a:b:";

    (void)state;
    for (int i = 0; i < 150; i++) {
        snprintf(text + strlen(text), 32, " %d, ", i);
        snprintf(items + strlen(items), 32, i < 149 ? "%d,  " : "%d,;", i);
    }
    assert_reads(text, items);
}

static void test_long_comment_behind_a_value_is_cut(void **state)
{
    char text[2048] = "[a]\nb = c ; ";

    (void)state;
    memset(text + strlen(text), 'x', 1000);
    assert_reads(text, "1:a:(header):;2:a:b:c;");
}

static void test_longest_line_passes_and_a_longer_one_not(void **state)
{
    char text[INI_LINE_MAX + 8] = "[a]\nb = ";

    (void)state;
    memset(text + 8, 'x', INI_LINE_MAX - 3);
    read_bytes_of(text, 4 + INI_LINE_MAX);
    assert_int_equal(errors.count, 0);
    assert_int_equal(strlen(seen), strlen("1:a:(header):;2:a:b:;") + INI_LINE_MAX - 4);
    read_bytes_of(text, 4 + INI_LINE_MAX + 1);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.line[0], "x.ini:2: this line is too long; a line has at most 8191 "
                                        "bytes");
}

static void test_value_of_lone_letters_that_cannot_be_cut_is_refused(void **state)
{
    char text[1024] = "[a]\nb =";

    (void)state;
    for (int i = 0; i < 200; i++)
        strcat(text, " x");
    assert_refused(text, "x.ini:2: this line has no place where it could be cut");
}

static void test_indented_line_is_refused(void **state)
{
    (void)state;
    assert_refused("[a]\nb = c\n  d = e\n", "x.ini:3: this line is indented");
    assert_string_equal(seen, "1:a:(header):;2:a:b:c;");
    assert_refused("[a]\n [b]\n", "x.ini:2: this line is indented");
}

static void test_nul_is_refused_and_reading_goes_on(void **state)
{
    static const char text[] = "[a]\nb = \0c\nd = e\n";

    (void)state;
    read_bytes_of(text, sizeof(text) - 1);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.line[0], "x.ini:2: this line holds a NUL byte"));
    assert_string_equal(seen, "1:a:(header):;3:a:d:e;");
}

static void test_line_that_is_no_ini_is_refused(void **state)
{
    (void)state;
    assert_refused("[a]\nhello\n", "x.ini:2: this line is neither");
    assert_refused("[a]\n= c\n", "x.ini:2: this line is neither");
    assert_refused("[a]\nb ; = c\n", "x.ini:2: this line is neither");
}

static void test_byte_order_mark_inside_is_refused(void **state)
{
    (void)state;
    assert_refused("[a]\n\xef\xbb\xbf[b]\n", "x.ini:2: this line begins with a byte order mark");
}

static void test_long_key_is_refused(void **state)
{
    char text[512] = "[a]\n";

    (void)state;
    memset(text + 4, 'k', INI_NAME_MAX);
    strcpy(text + 4 + INI_NAME_MAX, " = v");
    read_bytes_of(text, strlen(text));
    assert_int_equal(errors.count, 0);
    memset(text + 4, 'k', INI_NAME_MAX + 1);
    strcpy(text + 4 + INI_NAME_MAX + 1, " = v");
    assert_refused(text, "x.ini:2: this line is neither");
    memset(text + 4, 'k', 300);
    strcpy(text + 304, " = v");
    assert_refused(text, "x.ini:2: this line is neither");
}

static void test_bad_header_is_refused_and_hides_its_keys(void **state)
{
    static const char *const bad[] = {"[a", "[]", "[a] b", "[a]]", "[a ;]", "[a] # b"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char text[64];

        snprintf(text, sizeof(text), "[o]\n%s\nb = c\n[d]\ne = f\n", bad[i]);
        assert_refused(text, "x.ini:2: this line is no section");
        assert_string_equal(seen, "1:o:(header):;4:d:(header):;5:d:e:f;");
    }
}

static void test_long_section_name_is_refused_not_cut(void **state)
{
    char text[128] = "[";

    (void)state;
    memset(text + 1, 's', INI_NAME_MAX);
    strcpy(text + 1 + INI_NAME_MAX, "]");
    read_bytes_of(text, strlen(text));
    assert_int_equal(errors.count, 0);
    assert_int_equal(strlen(seen), INI_NAME_MAX + strlen("1::(header):;"));
    strcpy(text + 1 + INI_NAME_MAX, "s]");
    assert_refused(text, "x.ini:1: this line has too long a section name");
}

static void test_every_bad_line_is_told(void **state)
{
    static const char text[] = "x\n[a]\ny\n z\n[b\n";

    (void)state;
    read_bytes_of(text, strlen(text));
    assert_int_equal(errors.count, 4);
    assert_int_equal(strncmp(errors.line[3], "x.ini:5:", 8), 0);
}

static void test_reads_a_file(void **state)
{
    char path[] = "/tmp/test_ini.XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "[a]\nb = c\n", 10), 10);
    close(fd);
    errors_clear(&errors);
    *seen = '\0';
    assert_true(ini_read(path, note, seen, &errors));
    assert_int_equal(errors.count, 0);
    assert_string_equal(seen, "1:a:(header):;2:a:b:c;");
    unlink(path);
}

static void test_tells_why_a_file_cannot_be_read(void **state)
{
    (void)state;
    errors_clear(&errors);
    assert_false(ini_read("/nonexistent/x.ini", note, seen, &errors));
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.line[0],
                        "/nonexistent/x.ini: cannot be opened: No such file or directory");
}

static int teardown(void **state)
{
    (void)state;
    errors_clear(&errors);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_come_with_their_lines),
        cmocka_unit_test(test_last_line_needs_no_end),
        cmocka_unit_test(test_windows_line_ends_and_byte_order_mark_are_fine),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_semicolon_inside_a_word_is_no_comment),
        cmocka_unit_test(test_empty_value),
        cmocka_unit_test(test_key_before_any_header_has_empty_section),
        cmocka_unit_test(test_long_value_comes_whole),
        cmocka_unit_test(test_long_value_keeps_its_blanks),
        cmocka_unit_test(test_long_comment_behind_a_value_is_cut),
        cmocka_unit_test(test_longest_line_passes_and_a_longer_one_not),
        cmocka_unit_test(test_value_of_lone_letters_that_cannot_be_cut_is_refused),
        cmocka_unit_test(test_indented_line_is_refused),
        cmocka_unit_test(test_nul_is_refused_and_reading_goes_on),
        cmocka_unit_test(test_line_that_is_no_ini_is_refused),
        cmocka_unit_test(test_byte_order_mark_inside_is_refused),
        cmocka_unit_test(test_long_key_is_refused),
        cmocka_unit_test(test_bad_header_is_refused_and_hides_its_keys),
        cmocka_unit_test(test_long_section_name_is_refused_not_cut),
        cmocka_unit_test(test_every_bad_line_is_told),
        cmocka_unit_test(test_reads_a_file),
        cmocka_unit_test(test_tells_why_a_file_cannot_be_read),
    };

    return cmocka_run_group_tests_name("ini", tests, NULL, teardown);
}
