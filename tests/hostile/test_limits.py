"""How much a key may do and bear (T-22, T-30, W-14, S-46, S-49 of doc/CONFORMANCE.md)."""

import os

import pytest
from raw import wire
from raw.cases import ALL_SUITES, suites
from raw.wire import ALERT, DATA, HANDSHAKE


@suites(ALL_SUITES)
def test_T_22_numbers_and_nonces_only_rise(client, suite):
    """The end of the numbers, at 2^48, is tests/unit/test_record.c's."""
    c = client(suite=suite)
    c.begin()
    finished = c.finish()
    used = [(finished.seq, finished.body[: suite.explicit])]
    for _ in range(20):
        c.send(*(c.seal(DATA, b"x") for _ in range(50)))
        for _ in range(50):
            (rec,) = c.receive()
            assert c.open(rec) == b"x"
            used.append((rec.seq, rec.body[: suite.explicit]))
    assert [seq for seq, _ in used] == list(range(len(used)))
    nonces = [int.from_bytes(nonce, "big") for _, nonce in used]
    rising = [(nonces[0] + i) % 2**64 for i in range(len(nonces))] if suite.explicit else nonces
    assert nonces == rising


def forge(c, first, count, kind=DATA):
    """Forged records in one datagram each, and what they are answered with."""
    size = c.suite.explicit + 10 + c.suite.tag
    return c.answers(*(wire.record(kind, os.urandom(size), 1, first + i) for i in range(count)))


@suites(ALL_SUITES)
def test_T_30_a_thousand_forgeries_close_nothing(client, calm, intact, suite):
    c = client(suite=suite).handshake()
    forged = [wire.record(DATA, os.urandom(24), 1, 100 + i) for i in range(1000)]
    for first in range(0, 1000, 100):
        assert c.answers(*forged[first : first + 100]) == []
    intact(by=c)
    assert calm.end()["client.drop_forged"] == 1000


@pytest.mark.parametrize("kind", [DATA, HANDSHAKE, ALERT])
@suites(ALL_SUITES)
def test_T_30_forgery_limit_ends_the_session(client, start, echo, suite, kind):
    gate = start(forgery_limit=50)
    c, other = client(gate, suite=suite).handshake(), client(gate, suite=suite).handshake()
    assert forge(c, 100, 49, kind) == []
    c.echo(b"still here")
    (goodbye,) = forge(c, 200, 1, kind)
    assert goodbye.type == ALERT and c.open(goodbye) == b"\1\0"
    event = gate.wait_event("session end", reason="too many forged records")
    assert event["drops"] == "50"
    assert c.answers(c.seal(DATA, b"too late")) == []
    other.echo(b"not touched")
    c.reset()
    c.handshake().echo(b"as before")
    assert echo.data == [b"still here", b"not touched", b"as before"]


def test_T_30_what_is_no_forgery_does_not_count(client, start, intact):
    """Replays, other epochs, plaintext and junk: nothing of it was tried under the key."""
    c = client(start(forgery_limit=5)).handshake()
    sent = c.seal(DATA, b"once")
    c.send(sent)
    assert c.await_data() == b"once"
    harmless = [
        sent,
        wire.record(DATA, os.urandom(40), 2, 9),
        wire.record(DATA, os.urandom(40), 0, 9),
        wire.record(99, os.urandom(40), 1, 9),
        os.urandom(40),
    ]
    assert c.answers(*harmless * 20) == []
    intact(b"once", by=c)


@suites(ALL_SUITES)
def test_T_30_many_forgeries_are_told(client, calm, intact, suite):
    """Under CCM_8, where no number of them ends a session by itself, this is the alarm."""
    c = client(suite=suite).handshake()
    for first in range(1000, 2100, 100):
        assert forge(c, first, 100) == []
    event = calm.wait_event("session forgeries")
    assert event["forged"] == "1024" and event["suite"] == suite.name
    intact(by=c)
    assert len(calm.events("session forgeries")) == 1
    assert calm.end()["client.drop_forged"] == 1100


@suites(ALL_SUITES)
def test_S_46_usage_limit_of_the_client(client, start, echo, suite):
    """Its Finished was number 0, so data is numbered from 1 on."""
    gate = start(usage_limit=16)
    c = client(gate, suite=suite).handshake()
    for number in range(1, 14):
        c.echo(b"%d" % number)
    for number in range(14, 20):
        c.send_data(b"%d" % number)
    gate.wait_event("session end", reason="key used up")
    answer = [rec for rec in c.probe() if rec.epoch == 1]
    assert answer[-1].type == ALERT and c.open(answer[-1]) == b"\1\0"
    assert len(echo.data) <= 16
    c.reset()
    c.handshake().echo(b"new keys")


@suites(ALL_SUITES)
def test_S_46_usage_limit_of_the_backend(client, start, echo, suite):
    gate = start(usage_limit=16)
    echo.transform = lambda data: [data] * 50
    c = client(gate, suite=suite).handshake()
    c.send_data(b"many")
    gate.wait_event("session end", reason="key used up")
    numbers = [rec.seq for rec in c.probe() if rec.epoch == 1]
    assert numbers == list(range(1, 17))


@suites(ALL_SUITES)
def test_S_46_a_key_bears_thousands_of_records(client, intact, suite):
    c = client(suite=suite).handshake()
    for _ in range(20):
        c.send(*(c.seal(DATA, b"x") for _ in range(100)))
        for _ in range(100):
            assert c.await_data() == b"x"
    intact(*[b"x"] * 2000, by=c)
