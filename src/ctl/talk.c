/*
 * talk: a Unix socket, a line, an answer. See the header. Must never know what the words mean.
 */
#include "ctl/talk.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MOST 4096 /* what dtlsgate takes */

static int connect_to(struct talk *t)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(t->socket) >= sizeof(name.sun_path)) {
        snprintf(t->why, sizeof(t->why), "the socket's path is too long");
        return -1;
    }
    memcpy(name.sun_path, t->socket, strlen(t->socket));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0)
        return fd;
    snprintf(t->why, sizeof(t->why), "cannot connect to %s: %s", t->socket, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static void add_word(struct text *line, const char *word)
{
    if (line->len > 0)
        text_add(line, " ");
    for (; *word != '\0'; word++) {
        if (*word > 0x20 && *word < 0x7f && *word != '\\')
            text_add_bytes(line, word, 1);
        else
            text_format(line, "\\x%02x", (unsigned char)*word);
    }
}

/* Somebody who is refused at once may find the other end closed already; the answer tells why. */
static bool send_line(int fd, const struct text *line)
{
    for (size_t sent = 0; sent < line->len;) {
        ssize_t n = send(fd, line->data + sent, line->len - sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return true;
        if (n < 0 && errno != EINTR)
            return false;
        sent += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool make_line(struct talk *t, const char *const word[], size_t count, struct text *line)
{
    for (size_t i = 0; i < count; i++) {
        if (*word[i] == '\0') {
            snprintf(t->why, sizeof(t->why), "an empty word says nothing");
            return false;
        }
        add_word(line, word[i]);
    }
    if (line->len > LINE_MOST) {
        snprintf(t->why, sizeof(t->why), "this is too long to be sent");
        return false;
    }
    text_add(line, "\n");
    return !line->is_short;
}

FILE *talk_ask(struct talk *t, const char *const word[], size_t count)
{
    struct text line = {0};
    FILE *answer = NULL;
    int fd = -1;

    snprintf(t->why, sizeof(t->why), "out of memory");
    if (!make_line(t, word, count, &line) || (fd = connect_to(t)) < 0)
        goto out;
    if (!send_line(fd, &line)) {
        snprintf(t->why, sizeof(t->why), "cannot ask: %s", strerror(errno));
        goto out;
    }
    answer = fdopen(fd, "r");
    if (answer == NULL)
        goto out;
    setvbuf(answer, NULL, _IONBF, 0); /* behind the first line it may be read in other ways */
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    text_clear(&line);
    return answer;
}

enum talk_verdict talk_verdict(struct talk *t, FILE *answer)
{
    static const char refusal[] = "error: ";
    char line[sizeof(t->why)];

    if (fgets(line, sizeof(line), answer) == NULL) {
        snprintf(t->why, sizeof(t->why), "%s gives no answer", t->socket);
        return TALK_NONE;
    }
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "ok") == 0)
        return TALK_FINE;
    if (strncmp(line, refusal, strlen(refusal)) == 0) {
        snprintf(t->why, sizeof(t->why), "%s", line + strlen(refusal));
        return TALK_REFUSED;
    }
    snprintf(t->why, sizeof(t->why), "%s does not speak as dtlsgate does", t->socket);
    return TALK_NONE;
}

enum talk_verdict talk_whole(struct talk *t, const char *const word[], size_t count,
                             struct text *to)
{
    FILE *answer = talk_ask(t, word, count);
    enum talk_verdict verdict;
    char part[4096];
    size_t n;

    if (answer == NULL)
        return TALK_NONE;
    verdict = talk_verdict(t, answer);
    while ((n = fread(part, 1, sizeof(part), answer)) > 0)
        text_add_bytes(to, part, n);
    fclose(answer);
    return verdict;
}
