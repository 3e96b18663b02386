/*
 * terminal: termios, a few escape sequences, poll(2). See the header.
 * Must never know what is drawn.
 */
#include "ctl/terminal.h"

#include "base/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define ENTER "\x1b[?1049h\x1b[?25l" /* the other screen, no cursor */
#define LEAVE "\x1b[?25h\x1b[?1049l"

static struct termios before;
static bool is_open;
static volatile sig_atomic_t is_resized, is_ending;

static void on_signal(int number)
{
    if (number == SIGWINCH)
        is_resized = 1;
    else
        is_ending = 1;
}

static void say(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, text, len);
        if (n < 0 && errno != EINTR)
            return;
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

bool terminal_open(void)
{
    static const int signals[] = {SIGWINCH, SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};
    struct termios raw;

    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
        return false;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        sigaction(signals[i], &action, NULL);
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0)
        return false;
    is_open = true;
    say(ENTER, strlen(ENTER));
    return true;
}

void terminal_close(void)
{
    if (!is_open)
        return;
    say(LEAVE, strlen(LEAVE));
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
    is_open = false;
}

struct terminal_size terminal_size(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        return (struct terminal_size){80, 24};
    return (struct terminal_size){size.ws_col, size.ws_row};
}

void terminal_draw(const char *text)
{
    const struct terminal_size size = terminal_size();
    struct text screen = {0};

    text_add(&screen, "\x1b[H");
    for (unsigned row = 0; row < size.rows && *text != '\0'; row++) {
        size_t len = strcspn(text, "\n");
        if (row > 0)
            text_add(&screen, "\r\n");
        text_add_bytes(&screen, text, len < size.columns ? len : size.columns);
        text_add(&screen, "\x1b[K");
        text += len + (text[len] == '\n');
    }
    text_add(&screen, "\x1b[J");
    say(screen.data, screen.len);
    text_clear(&screen);
}

enum terminal_event terminal_wait(int timeout_ms, char *key)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    int n = is_resized || is_ending ? 0 : poll(&p, 1, timeout_ms);

    if (is_ending)
        return TERMINAL_END;
    if (is_resized) {
        is_resized = 0;
        return TERMINAL_RESIZE;
    }
    if (n <= 0)
        return TERMINAL_TIME;
    return read(STDIN_FILENO, key, 1) == 1 ? TERMINAL_KEY : TERMINAL_END;
}
