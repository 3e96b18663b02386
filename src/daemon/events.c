/*
 * events: numbers of a trace into words. See the header.
 */
#include "daemon/events.h"

#include "base/clock.h"
#include "proxy/session.h"

static const char *type_name(uint8_t type)
{
    switch (type) {
    case WIRE_CCS:
        return "change_cipher_spec";
    case WIRE_ALERT:
        return "alert";
    case WIRE_HANDSHAKE:
        return "handshake";
    case WIRE_DATA:
        return "data";
    case WIRE_CID:
        return "tls12_cid";
    default:
        return "other";
    }
}

static const char *message_name(uint8_t message)
{
    switch (message) {
    case WIRE_CLIENT_HELLO:
        return "client_hello";
    case WIRE_SERVER_HELLO:
        return "server_hello";
    case WIRE_SERVER_KEY_EXCHANGE:
        return "server_key_exchange";
    case WIRE_SERVER_HELLO_DONE:
        return "server_hello_done";
    case WIRE_CLIENT_KEY_EXCHANGE:
        return "client_key_exchange";
    default:
        return "other";
    }
}

static void show_record(struct show *s, const struct trace_event *e)
{
    show_word(s, "type", type_name(e->type));
    if (e->message != 0)
        show_word(s, "message", message_name(e->message));
    show_number(s, "epoch", e->epoch);
    show_number(s, "number", e->number);
    show_number(s, "bytes", e->bytes);
}

static void show_end_of(struct show *s, const struct trace_event *e)
{
    show_word(s, "reason", session_end_text((enum session_end)e->reason));
    if (e->text[0] != '\0')
        show_word(s, "detail", e->text);
}

static void show_details(struct show *s, const struct trace_event *e)
{
#define NAME(name, text) text,
    static const char *const fates[] = {FATES_FROM_CLIENT(NAME)};
    static const char *const back_fates[] = {FATES_FROM_BACKEND(NAME)};
#undef NAME

    switch ((enum trace_what)e->what) {
    case TRACE_IN:
        show_record(s, e);
        show_word(s, "fate", fates[e->fate]);
        break;
    case TRACE_OUT:
        show_record(s, e);
        break;
    case TRACE_BACKEND:
        show_number(s, "bytes", e->bytes);
        show_word(s, "fate", back_fates[e->back_fate]);
        break;
    case TRACE_OPEN:
        show_number(s, "handshake-ms", e->number);
        show_word(s, "suite", e->text);
        break;
    case TRACE_END:
        show_end_of(s, e);
        break;
    case TRACE_LEFT_OUT:
        show_number(s, "events", e->number);
        break;
    case TRACE_HELLO:
    case TRACE_KEYS:
        break;
    }
}

void event_show(struct show *s, const struct trace_event *e)
{
    static const char *const words[] = {
        [TRACE_HELLO] = "hello",       [TRACE_IN] = "in",     [TRACE_OUT] = "out",
        [TRACE_BACKEND] = "backend",   [TRACE_OPEN] = "open", [TRACE_END] = "end",
        [TRACE_LEFT_OUT] = "left-out", [TRACE_KEYS] = "keys",
    };
    char time_text[CLOCK_TEXT_MAX], peer[ADDR_TEXT_MAX];

    show_word(s, "time", clock_text(e->wall, time_text));
    if (e->what != TRACE_LEFT_OUT) {
        show_number(s, "id", e->session);
        show_word(s, "peer", addr_format(&e->peer, peer));
    }
    show_word(s, "event", words[e->what]);
    show_details(s, e);
}
