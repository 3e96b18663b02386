/*
 * test_mapped: blocks of a file as memory.
 */
#include "keep_rig.h"

#include "base/mapped.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

static void what_is_written_is_in_the_file(void **unused)
{
    struct keep_folder f = keep_folder();
    struct mapped m;
    unsigned number;
    char *one, *two, back[4];

    (void)unused;
    assert_true(mapped_create(&m, f.fd, "file", 8));
    one = mapped_add(&m, &number);
    assert_non_null(one);
    assert_int_equal(number, 0);
    two = mapped_add(&m, &number);
    assert_int_equal(number, 1);
    assert_int_equal(one[MAPPED_BLOCK - 1] | two[0], 0);
    memcpy(two + 5, "here", 4);
    assert_int_equal(pread(m.fd, back, 4, MAPPED_BLOCK + 5), 4);
    assert_memory_equal(back, "here", 4);
    assert_true(mapped_sync(&m));
    mapped_unmap(one);
    mapped_unmap(two);
    mapped_close(&m);
    mapped_close(&m);
    keep_folder_end(&f);
}

static void it_has_room_before_it_is_touched(void **unused)
{
    struct keep_folder f = keep_folder();
    struct mapped m;
    struct stat st;
    unsigned number;
    void *block;

    (void)unused;
    assert_true(mapped_create(&m, f.fd, "file", 8));
    block = mapped_add(&m, &number);
    assert_int_equal(fstat(m.fd, &st), 0);
    assert_true(st.st_blocks * 512 >= MAPPED_BLOCK);
    assert_int_equal(st.st_mode & 0777, 0600);
    mapped_unmap(block);
    mapped_close(&m);
    keep_folder_end(&f);
}

static void it_must_be_new_and_ends_at_its_most(void **unused)
{
    struct keep_folder f = keep_folder();
    struct mapped m, again;
    unsigned number;
    void *block;

    (void)unused;
    assert_true(mapped_create(&m, f.fd, "file", 1));
    assert_false(mapped_create(&again, f.fd, "file", 1));
    assert_int_equal(errno, EEXIST);
    block = mapped_add(&m, &number);
    assert_non_null(block);
    assert_null(mapped_add(&m, &number));
    assert_int_equal(errno, ENOSPC);
    mapped_unmap(block);
    mapped_close(&m);
    keep_folder_end(&f);
}

static void *add_many(void *arg)
{
    for (int i = 0; i < 50; i++) {
        unsigned number;
        unsigned *block = mapped_add(arg, &number);
        if (!block || *block != 0)
            return arg;
        *block = number + 1; /* another thread's, if it had the same number */
        mapped_unmap(block);
    }
    return NULL;
}

static void threads_get_blocks_of_their_own(void **unused)
{
    struct keep_folder f = keep_folder();
    struct mapped m;
    pthread_t thread[4];
    void *failed;

    (void)unused;
    assert_true(mapped_create(&m, f.fd, "file", 1000));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, add_many, &m), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(m.count, 200);
    mapped_close(&m);
    keep_folder_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_in_the_file),
        cmocka_unit_test(it_has_room_before_it_is_touched),
        cmocka_unit_test(it_must_be_new_and_ends_at_its_most),
        cmocka_unit_test(threads_get_blocks_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
