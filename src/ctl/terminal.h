/*
 * terminal: a screen drawn by plain ANSI sequences, and keys read one by one.
 * Must never know what is drawn.
 */
#ifndef DTLSGATE_CTL_TERMINAL_H
#define DTLSGATE_CTL_TERMINAL_H

#include <stdbool.h>

/* Takes the terminal over: no echo, keys at once, a screen of its own. False: it is none. */
bool terminal_open(void) __attribute__((warn_unused_result));
/* Leaves it as it was. Harmless when it was not opened. */
void terminal_close(void);

struct terminal_size {
    unsigned columns, rows;
};
struct terminal_size terminal_size(void);

/* Draws the lines of `text` from the top, each cut to the screen, and empties what is below. */
void terminal_draw(const char *text);

enum terminal_event {
    TERMINAL_TIME,   /* the time is over */
    TERMINAL_RESIZE, /* the screen has another size */
    TERMINAL_KEY,    /* *key was pressed */
    TERMINAL_END,    /* a signal wants us to end, or there is no terminal any more */
};
enum terminal_event terminal_wait(int timeout_ms, char *key);

#endif
