/*
 * session_text: what the log tells of a session; session.h has the contracts.
 * Must never change one.
 */
#include "dtls/engine.h"
#include "proxy/session.h"

/* NULL: it is complete. */
static const struct handshake *handshake_of(const struct session *s)
{
    return s->is_placed ? NULL : s->pending->handshake;
}

const char *session_why(const struct session *s)
{
    const struct handshake *h = handshake_of(s);

    return h != NULL ? handshake_why(h) : "";
}

const uint8_t *session_identity(const struct session *s, size_t *len)
{
    const struct handshake *h = handshake_of(s);

    *len = 0;
    if (s->psk == NULL)
        return h != NULL ? handshake_identity(h, len) : NULL;
    *len = s->psk->identity_len;
    return s->psk->identity;
}

const char *session_suite_name(const struct session *s)
{
    if (s->state == SESSION_OPEN)
        return s->association.suite->name;
    return s->state == SESSION_LEGACY ? engine_suite_name(s->legacy.engine) : "";
}

const char *session_version_name(const struct session *s)
{
    return s->state == SESSION_LEGACY && engine_version(s->legacy.engine) == WIRE_DTLS10 ? "1.0"
                                                                                         : "1.2";
}
