"""What one client says must not show in what the next one gets: they share libssl's objects."""

import os

import pytest
from raw import keys, wire
from raw.wire import ALERT, HANDSHAKE

X25519, P256, P521 = b"\0\x1d", b"\0\x17", b"\0\x19"
ANY = [keys.ECDHE_CHACHA.id, keys.GCM.id]


def groups(*listed):
    return wire.GROUPS, wire.vec16(b"".join(listed))


# Each is offered together with a plain PSK suite.
BEFORE = {
    "nothing": (),
    "P-256": (groups(P256),),
    "X25519": (groups(X25519),),
    "P-521": (groups(P521),),
    "compressed points": (groups(X25519, P256), (wire.POINT_FORMATS, wire.vec8(b"\1\2"))),
    "master secret": ((wire.MASTER_SECRET, b""),),
    "short records": ((1, b"\1"),),
    "name": ((0, wire.vec16(b"\0" + wire.vec16(b"example.org"))),),
    "status": ((5, b"\1\0\0\0\0"),),
    "signatures": ((13, wire.vec16(b"\4\3\4\1")),),
    "srtp": ((14, wire.vec16(b"\0\1") + b"\0"),),
    "protocols": ((16, wire.vec16(wire.vec8(b"coap"))),),
    "encrypt-then-MAC": ((22, b""),),
    "ticket": ((35, b"t" * 64),),
    "renegotiation": ((wire.RENEGOTIATION_INFO, b"\0"),),
}
BEHIND = {
    "plain": ([keys.GCM.id], ()),
    "plain, extended": ([keys.GCM.id], ((wire.MASTER_SECRET, b""),)),
    "silent about groups": (ANY, ()),
    "all groups": (ANY, (groups(X25519, P256),)),
    "strange groups": (ANY, (groups(P521),)),
}


def shape(records):
    """An answer without what is random in it, and without alerts, which are few."""
    told = []
    for rec in records:
        if rec.type == ALERT:
            continue
        for m in wire.parse_messages(rec.body):
            body = m.body
            if m.type == wire.SERVER_HELLO:
                hello = wire.parse_server_hello(body)
                body = hello.suite, len(hello.session_id), hello.extensions
            elif m.type == wire.SERVER_KEY_EXCHANGE:
                body = body[:6]  # no hint, the curve and the length of the point
            told.append((m.type, m.seq, body))
    return told


def answer(c, suites, extensions, session_id=b""):
    c.reset()
    c.ems, c.extensions = False, extensions
    c.hello_fields = {"suites": suites, "session_id": session_id}
    c.get_cookie()
    return shape(c.answers(c.record(HANDSHAKE, c.hello())))


@pytest.mark.parametrize("behind", BEHIND)
def test_nothing_of_a_hello_is_left_to_the_next(client, behind):
    one, other = client(), client()
    told = {}
    for before, extensions in BEFORE.items():
        assert answer(one, [keys.GCM.id], extensions, os.urandom(32)), before
        told[before] = answer(other, *BEHIND[behind])
    expected = told["nothing"]
    assert expected
    assert told == dict.fromkeys(BEFORE, expected)
