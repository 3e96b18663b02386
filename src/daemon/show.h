/*
 * show: one answer, as text for people or as one JSON object, from the same calls.
 * Text is a line "key: value" for each member, and "item: key=value ..." for each item of a list,
 * quoted as in the log. All output is ASCII: a byte that is none, or no printable one, stands there
 * as \xNN. Must never know what is shown.
 */
#ifndef DTLSGATE_DAEMON_SHOW_H
#define DTLSGATE_DAEMON_SHOW_H

#include "base/text.h"
#include "daemon/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum show_form { SHOW_TEXT, SHOW_JSON };

/* Zeroed memory is an empty one, in text. The text may be taken out and emptied at any time. */
struct show {
    struct text text; /* owned */
    enum show_form form;
    struct json json; /* of the text, from show_begin() on: the struct stays where it is */
    const char *item; /* of the list that we are in; NULL: in none */
    bool is_inside;   /* of one of its items, in text */
    bool has_before;  /* a member of the item stands before this one */
};

void show_clear(struct show *s);
/* The object that all is in. */
void show_begin(struct show *s);
void show_end(struct show *s);

/* Members: of the object, of an object in it, or of an item. Keys are ours: plain words. */
void show_number(struct show *s, const char *key, uint64_t value);
void show_flag(struct show *s, const char *key, bool value); /* yes or no; true or false */
void show_word(struct show *s, const char *key, const char *value);
/* Bytes as bytes_escape() writes them, so that they can be told from any others. */
void show_bytes(struct show *s, const char *key, const void *value, size_t len);

/* An object in the object; text tells its members as if they were of the outer one. */
void show_open(struct show *s, const char *key);
void show_close(struct show *s);

/* A list in the object. `item` stands before each of its lines in text; "": nothing does. */
void show_list(struct show *s, const char *key, const char *item);
void show_list_end(struct show *s);
/* An item with members, or one that is a mere word. */
void show_item(struct show *s);
void show_item_end(struct show *s);
void show_item_word(struct show *s, const char *value);

#endif
