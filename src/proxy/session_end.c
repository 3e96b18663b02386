/*
 * session_end: what the log says of them. See the header.
 */
#include "proxy/session_end.h"

const char *session_end_text(enum session_end why)
{
#define SESSION_END_TEXT(name, text) text,
    static const char *const texts[] = {SESSION_ENDS(SESSION_END_TEXT)};
#undef SESSION_END_TEXT
    return texts[why];
}
