/*
 * session_end: the reasons for which a session ends.
 */
#ifndef DTLSGATE_PROXY_SESSION_END_H
#define DTLSGATE_PROXY_SESSION_END_H

/* X(name, text): why a session ended; the text is what the log says. */
#define SESSION_ENDS(X)                                                                            \
    X(NOT_YET, "alive")                                                                            \
    X(CLOSED, "closed by client")                                                                  \
    X(ALERT, "fatal alert from client")                                                            \
    X(IDLE, "idle timeout")                                                                        \
    X(EVICTED, "evicted to make room")                                                             \
    X(REPLACED, "replaced by a new handshake")                                                     \
    X(IDENTITY_REMOVED, "identity removed")                                                        \
    X(KEY_CHANGED, "key changed")                                                                  \
    X(SHUTDOWN, "shutdown")                                                                        \
    X(LEFT_BEHIND, "not taken over by the new process")                                            \
    X(EXHAUSTED, "key used up")                                                                    \
    X(FORGERIES, "too many forged records")                                                        \
    X(PREFIX_FULL, "too many sessions of its prefix")                                              \
    X(ELSEWHERE, "identity in use elsewhere")                                                      \
    X(OPERATOR, "ended by operator")                                                               \
    X(EXPIRED, "identity expired")                                                                 \
    X(NOT_FROM_THERE, "address not allowed for the identity")                                      \
    X(SUITE, "suite not allowed for the identity")                                                 \
    X(KEPT, "kept for the next start")                                                             \
    X(BROKEN, "library failure")                                                                   \
    X(HANDSHAKE_TIMEOUT, "handshake timed out")                                                    \
    X(HANDSHAKE_FAILED, "handshake failed")                                                        \
    X(HANDSHAKE_REPLACED, "handshake replaced by a newer one")                                     \
    X(HANDSHAKE_EVICTED, "handshake evicted to make room")

enum session_end {
#define SESSION_END_ENUM(name, text) SESSION_END_##name,
    SESSION_ENDS(SESSION_END_ENUM)
#undef SESSION_END_ENUM
};

const char *session_end_text(enum session_end why);

#endif
