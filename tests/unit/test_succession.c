/*
 * test_succession: what the new process does before it says that it runs, for from then on the
 * other one cannot go on in its place. A socket pair stands for that one; libcrypto seals nothing.
 */
#include "conf_text.h"
#include "keep_rig.h"

#include "daemon/handover.h"
#include "daemon/master_state.h"
#include "daemon/revival.h"
#include "daemon/spawner.h"
#include "daemon/succession.h"

#include <openssl/evp.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int other = -1; /* its end */
static struct parcel parcel;

/* In the place of libcrypto's: nothing can be sealed. */
int EVP_CipherFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *len)
{
    (void)ctx;
    (void)out;
    *len = 0;
    return 0;
}

static void say(struct writer w)
{
    assert_true(parcel_wrote(&parcel, &w));
    assert_int_equal(parcel_send(other, &parcel, 0), PARCEL_OK);
}

static void meet(void)
{
    const struct handover_hello hello = {.version = HANDOVER_VERSION, .workers = 1, .services = 1};
    struct writer w;
    int ends[2];
    char number[16];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    other = ends[0];
    snprintf(number, sizeof number, "%d", ends[1]);
    setenv(SPAWNER_VARIABLE, number, 1);
    w = handover_begin(&parcel, HANDOVER_HELLO);
    handover_write_hello(&w, &hello);
    say(w);
    w = handover_begin(&parcel, HANDOVER_THINGS);
    write_u8(&w, 0);
    say(w);
    assert_true(heir_meet(&errors));
    w = handover_begin(&parcel, HANDOVER_GO);
    write_u8(&w, 0);
    say(w);
}

static struct state_dir *open_state(const struct conf_daemon *daemon, int lock)
{
    struct state_dir *s;
    char why[256];

    assert_true(state_new(&s, daemon, "x.ini", &errors));
    assert_true(state_inherit(s, lock >= 0, lock, "x.ini", &errors));
    if (!state_open(s, why, sizeof why))
        fail_msg("%s", why);
    return s;
}

static void assert_says(uint8_t kind)
{
    assert_int_equal(parcel_receive(other, &parcel, 0), PARCEL_OK);
    assert_int_equal(parcel.bytes[0], kind);
}

/* As a child, for it ends by that. */
static void confirm(struct fleet *f)
{
    struct master m = {.fleet = f};
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        succession_confirm(&m);
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void secrets_that_cannot_be_sealed_leave_it_to_the_other_process(void **state)
{
    static const char *const one[] = {"daemon.workers=1", NULL};
    struct keep_folder dir = keep_folder();
    char why[256], key[] = "state-key";
    const struct conf_daemon daemon = {.state_dir = dir.path, .state_key = key};
    struct conf *conf = load_good(MINIMAL, one);
    struct sockets sockets;

    (void)state;
    write_file(key, "0123456789abcdef0123456789abcdef", 0600);
    struct state_dir *theirs = open_state(&daemon, -1);
    assert_true(state_begin(theirs, why, sizeof why));
    meet();
    struct state_dir *ours = open_state(&daemon, dup(state_lock(theirs)));
    assert_true(sockets_open(&sockets, conf, "x.ini", &errors));
    struct fleet *f = fleet_new(conf, &sockets, why, sizeof why);
    assert_non_null(f);
    const struct revival revival = {f, conf, &sockets, ours};
    assert_true(revival_begin(&revival, why, sizeof why));
    confirm(f);
    assert_says(HANDOVER_TAKEN);
    assert_says(HANDOVER_UNABLE); /* and never RUNNING */
    fleet_free(f);
    sockets_close(&sockets);
    state_free(ours);
    state_free(theirs);
    heir_close();
    close(other);
    conf_unref(conf);
    keep_folder_end(&dir);
    unlink(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_that_cannot_be_sealed_leave_it_to_the_other_process),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
