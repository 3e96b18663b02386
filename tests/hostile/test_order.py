"""C-01 to C-24 of doc/CONFORMANCE.md: handshake messages that are missing, early, late, doubled."""

import copy
import itertools
import os
import time

import pytest
from raw import keys, wire
from raw.cases import ALL_SUITES, PLAIN_PSK, is_verify_request, suites
from raw.wire import ALERT, CCS, DATA, HANDSHAKE


def sealed_kinds(c, records):
    """(content type, plaintext) of records that must all open."""
    return [(rec.type, c.open(rec)) for rec in records if rec.epoch == 1]


@pytest.mark.parametrize("ems", [True, False], ids=["ems", "no-ems"])
@suites(ALL_SUITES)
def test_happy_path(client, echo, intact, suite, ems):
    c = client(suite=suite, ems=ems).handshake()
    assert c.server_hello.suite == suite.id
    assert (wire.MASTER_SECRET in c.server_hello.extensions) == ems
    intact(by=c)


@pytest.mark.parametrize("form", ["sealed", "plain"])
@suites(ALL_SUITES)
def test_C_01_early_finished(client, intact, suite, form):
    c = client(suite=suite)
    c.begin()
    exchange = c.record(HANDSHAKE, c.key_exchange())
    finished = c.finished_message()
    early = c.seal(HANDSHAKE, finished) if form == "sealed" else c.record(HANDSHAKE, finished)
    assert c.answers(exchange, early) == []
    c.send(c.ccs(), c.seal(HANDSHAKE, finished))
    c.await_finished()
    intact(by=c)


@suites(ALL_SUITES)
def test_C_02_finished_before_ccs(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    exchange, ccs, finished = c.flight()
    early = c.seal(DATA, b"early")
    assert c.answers(exchange, finished, early) == []
    c.send(ccs)
    c.await_finished()
    intact(by=c)


@suites(ALL_SUITES)
def test_C_02_junk_before_ccs_is_no_finished(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    exchange, ccs, finished = c.flight()
    junk = wire.record(HANDSHAKE, os.urandom(40), 1, 0)
    assert c.answers(exchange, junk, ccs, c.seal(DATA, b"early")) == []
    c.send(finished)
    c.await_finished()
    intact(by=c)


@suites(ALL_SUITES)
def test_C_03_multiple_ccs(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    exchange, ccs, finished = c.flight()
    assert c.answers(exchange, ccs, c.ccs(), c.ccs()) == []
    c.send(finished)
    assert c.await_finished().epoch == 1
    intact(by=c)


@suites(ALL_SUITES)
def test_C_04_ccs_before_key_exchange(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    assert c.answers(c.ccs()) == []
    c.finish()
    intact(by=c)


def test_C_05_ccs_before_any_hello(client, intact):
    c = client()
    assert c.answers(c.ccs()) == []
    intact(by=c.handshake())


@pytest.mark.parametrize("first", ["genuine", "forged"])
@suites(PLAIN_PSK)
def test_C_06_two_key_exchanges(client, calm, intact, suite, first):
    c = client(suite=suite)
    c.begin()
    exchange, ccs, finished = c.flight()
    forged = c.record(HANDSHAKE, c.key_exchange_message(identity=b"another"))
    c.send(exchange if first == "genuine" else forged)
    c.send(forged if first == "genuine" else exchange)
    c.send(ccs, finished)
    c.await_finished()
    intact(by=c)
    assert calm.wait_event("session open")["identity"] == "dev-1"


def test_C_07_cookie_for_other_suites(client, intact):
    c = client()
    c.get_cookie()
    other = c.record(HANDSHAKE, c.hello(suites=[keys.CCM8.id, keys.GCM.id]))
    answer = c.answers(other)
    assert len(answer) == 1 and is_verify_request(answer[0])
    c.use_cookie()
    c.finish()
    intact(by=c)


def test_C_08_no_verify_request_without_hello(client, intact):
    c = client()
    bodies = [wire.message(kind, seq, os.urandom(40)) for kind in range(21) for seq in (0, 1)]
    strange = [c.record(HANDSHAKE, body) for body in bodies if body[0] != wire.CLIENT_HELLO]
    strange += [c.record(kind, os.urandom(40)) for kind in (CCS, ALERT, DATA, 0, 24, 25, 255)]
    assert c.answers(*strange) == []
    c.begin()
    later = [wire.message(kind, 2, os.urandom(40)) for kind in (0, 2, 3, 4, 11, 14, 15, 20)]
    assert c.answers(*(c.record(HANDSHAKE, body) for body in later)) == []
    c.finish()
    intact(by=c)


def test_C_09_verify_request_twice(client, intact):
    """The pattern of the fuzzer forbids it; a server without state cannot but answer again."""
    c = client()
    sizes = []
    for _ in range(2):
        hello = c.record(HANDSHAKE, c.hello())
        answer = c.answers(hello)
        assert len(answer) == 1 and is_verify_request(answer[0])
        sizes.append(len(hello) - wire.RECORD_HEADER - len(answer[0].body))
    assert min(sizes) >= 0
    intact(by=c.handshake())


@suites(ALL_SUITES)
def test_C_10_wrong_finished(client, intact, suite):
    """A Finished that authenticates and is wrong, which only a holder of the key can make."""
    c = client(suite=suite)
    c.begin()
    exchange, ccs = c.record(HANDSHAKE, c.key_exchange()), c.ccs()
    right = c.finished_message()
    wrong = right[:-1] + bytes([right[-1] ^ 1])
    answer = c.answers(exchange, ccs, c.seal(HANDSHAKE, wrong), c.seal(HANDSHAKE, right))
    assert [rec for rec in answer if rec.type != ALERT] == []
    assert len(answer) <= 1
    intact()


@suites(ALL_SUITES)
def test_C_10_repeated_finished_is_answered_when_genuine(client, intact, suite):
    c = client(suite=suite).handshake()
    exchange, ccs, finished = c.repeat_flight()
    corrupt = finished[:-1] + bytes([finished[-1] ^ 1])
    assert c.answers(exchange, ccs, corrupt) == []
    c.send(finished)
    c.await_finished()
    intact(by=c)


def early_finished():
    message = wire.message(wire.FINISHED, 3, bytes(12))
    return [
        wire.record(HANDSHAKE, message, 0, 900),
        wire.record(HANDSHAKE, wire.message(wire.FINISHED, 2, bytes(12)), 0, 901),
        wire.record(HANDSHAKE, os.urandom(40), 1, 0),
        wire.record(HANDSHAKE, message, 1, 1),
    ]


@suites(ALL_SUITES)
def test_C_11_finished_in_every_state_before_ccs(client, intact, suite):
    c = client(suite=suite)
    assert c.answers(*early_finished()) == []
    c.get_cookie()
    assert c.answers(*early_finished()) == []
    c.use_cookie()
    assert c.answers(*early_finished()) == []
    exchange, ccs, finished = c.flight()
    assert c.answers(exchange, *early_finished()) == []
    c.send(ccs, finished)
    c.await_finished()
    intact(by=c)


def test_C_12_no_decrypt_error(client, intact):
    c = client()
    c.begin()
    exchange, ccs, finished = c.flight()
    assert c.answers(exchange) == []
    garbage = wire.message(wire.FINISHED, 3, os.urandom(12))
    assert c.answers(c.record(HANDSHAKE, garbage)) == []
    assert c.answers(ccs, c.record(HANDSHAKE, garbage)) == []
    c.send(finished)
    c.await_finished()
    intact(by=c)


@suites(ALL_SUITES)
def test_C_13_data_after_close_notify(client, calm, intact, suite):
    c = client(suite=suite).handshake()
    c.echo(b"before")
    close = bytes([wire.WARNING, wire.CLOSE_NOTIFY])
    answer = c.answers(
        c.seal(ALERT, close), c.seal(DATA, b"late"), c.seal(ALERT, close), c.seal(DATA, b"later")
    )
    assert sealed_kinds(c, answer) == [(ALERT, close)] and len(answer) == 1
    calm.wait_event("session end", reason="closed by client")
    c.reset()
    intact(b"before", by=c.handshake())


def test_C_13_plain_close_notify_is_ignored(client, intact):
    c = client()
    close = bytes([wire.WARNING, wire.CLOSE_NOTIFY])
    assert c.answers(c.record(ALERT, close)) == []
    c.begin()
    assert c.answers(c.record(ALERT, close)) == []
    exchange, ccs, finished = c.flight()
    assert c.answers(exchange, c.record(ALERT, close), ccs, c.record(ALERT, close)) == []
    c.send(finished)
    c.await_finished()
    assert c.answers(c.record(ALERT, close)) == []
    intact(by=c)


@suites(ALL_SUITES)
def test_C_14_data_after_fatal_alert(client, calm, intact, suite):
    c = client(suite=suite).handshake()
    c.echo(b"before")
    alert = c.seal(ALERT, bytes([wire.FATAL, wire.UNEXPECTED_MESSAGE]))
    assert c.answers(alert, c.seal(DATA, b"late")) == []
    calm.wait_event("session end", reason="fatal alert from client")
    c.reset()
    intact(b"before", by=c.handshake())


@pytest.mark.parametrize("info", [None, b"\0", b"\x0c" + bytes(12)])
def test_C_16_renegotiation_is_refused(client, intact, info):
    c = client().handshake()
    extensions = [] if info is None else [(wire.RENEGOTIATION_INFO, info)]
    hello = c.hello(cookie=b"", random=os.urandom(32), extensions=extensions)
    answer = c.answers(c.seal(HANDSHAKE, hello))
    warning = (ALERT, bytes([wire.WARNING, wire.NO_RENEGOTIATION]))
    assert sealed_kinds(c, answer) in ([], [warning]) and len(answer) <= 1
    intact(by=c)


@suites(ALL_SUITES)
def test_C_17_wrong_epoch(client, intact, suite):
    c = client(suite=suite)
    for epoch in (1, 65535):
        assert c.answers(wire.record(HANDSHAKE, c.hello(), epoch, 0)) == []
    c.begin()
    exchange = c.key_exchange()
    finished = c.finished_message()
    for epoch in (1, 2, 65535):
        wrong = [
            wire.record(HANDSHAKE, exchange, epoch, 5),
            wire.record(CCS, b"\1", epoch, 6),
        ]
        assert c.answers(*wrong) == []
    assert c.answers(c.record(HANDSHAKE, exchange), c.ccs()) == []
    for epoch in (0, 2, 65535):
        assert c.answers(c.seal(HANDSHAKE, finished, epoch, 0)) == []
    c.send(c.seal(HANDSHAKE, finished))
    c.await_finished()
    for epoch in (0, 2, 65535):
        for kind, body in ((DATA, b"wrong epoch"), (ALERT, b"\2\x0a"), (ALERT, b"\1\0")):
            assert c.answers(c.seal(kind, body, epoch, 40)) == []
    intact(by=c)


@suites([keys.GCM, keys.ECDHE_CHACHA])
def test_C_18_nothing_is_resumed(client, start, intact, suite):
    """Tickets and session caches are off: whatever a hello asks for, the handshake is full, and the
    session is that of the identity that proved its key."""
    other = bytes(range(100, 132))
    gate = start(keys={"dev-1": bytes(range(16)), "dev-2": other})
    first = client(gate, suite=suite).handshake()
    assert first.server_hello.session_id == b""
    second = client(
        gate,
        identity=b"dev-2",
        key=other,
        suite=suite,
        session_id=first.random,
        extensions=[(wire.TICKET, os.urandom(160))],
    ).handshake()
    assert second.server_hello.session_id != first.random
    assert wire.TICKET not in second.server_hello.extensions
    assert gate.wait_event("session open", 2)["identity"] == "dev-2"
    intact(by=second)


def test_C_19_lost_verify_request(client, intact):
    c = client()
    c.say_hello()
    c.receive()
    intact(by=c.handshake())


@pytest.mark.parametrize("lost", [1, 2])
def test_C_19_lost_server_hello(client, start, intact, lost):
    """The gate's timer repeats it; 50 ms and 100 ms are its first two periods."""
    gate = start(retransmit_first="50ms")
    c = client(gate)
    c.get_cookie()
    c.transcript = [c.say_hello()]
    begun = time.monotonic()
    for _ in range(lost):
        c.receive()
    c.await_server_flight()
    assert time.monotonic() - begun < 0.15 + 2
    c.finish()
    intact(by=c)


def test_C_19_lost_server_hello_repeated_hello(client, start, intact):
    """The client's timer may be the faster one."""
    gate = start(retransmit_first="50ms", retransmit_cap="50ms")
    c = client(gate)
    c.get_cookie()
    hello = c.hello()
    c.send(c.record(HANDSHAKE, hello))
    c.receive()
    c.send(c.record(HANDSHAKE, hello))
    c.transcript = [hello]
    c.await_server_flight()
    c.finish()
    intact(by=c)


@suites(ALL_SUITES)
def test_C_19_lost_last_flight(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    c.send(*c.flight())
    c.receive()
    c.send(*c.repeat_flight())
    c.await_finished()
    intact(by=c)


@suites(ALL_SUITES)
def test_C_19_every_client_datagram_twice(client, calm, intact, suite):
    c = client(suite=suite)
    hello = c.record(HANDSHAKE, c.hello())
    c.socket.send(hello)
    c.socket.send(hello)
    c.await_cookie()
    c.await_cookie()
    message = c.hello()
    hello = c.record(HANDSHAKE, message)
    c.socket.send(hello)
    c.socket.send(hello)
    c.transcript = [message]
    c.await_server_flight()
    flight = b"".join(c.flight())
    c.socket.send(flight)
    c.socket.send(flight)
    c.await_finished()
    data = c.seal(DATA, b"once")
    for late in (data, data, hello):
        c.socket.send(late)
    assert c.await_data() == b"once"
    intact(b"once", by=c)
    assert calm.end()["handshakes_started"] == 1


@pytest.mark.parametrize("order", itertools.permutations(range(3)), ids=str)
@suites(ALL_SUITES)
def test_C_19_every_order_of_the_last_flight(client, intact, suite, order):
    c = client(suite=suite)
    c.begin()
    flight = c.flight()
    for i in order:
        c.send(flight[i])
    c.await_finished()
    intact(by=c)


def one_byte(whole):
    return wire.split(whole, 1)


def reverse(whole):
    return wire.split(whole, 1)[::-1]


def repeat(whole):
    return [piece for piece in wire.split(whole, 3) for _ in range(3)]


def overlap(whole):
    kind, seq, body = whole[0], int.from_bytes(whole[4:6], "big"), whole[wire.MESSAGE_HEADER :]
    return [
        wire.fragment(kind, seq, len(body), at, body[at : at + 5]) for at in range(0, len(body), 2)
    ]


@pytest.mark.parametrize("cut", [one_byte, reverse, repeat, overlap])
@suites(ALL_SUITES)
def test_C_20_fragmented_key_exchange(client, intact, suite, cut):
    c = client(suite=suite)
    c.begin()
    for piece in cut(c.key_exchange()):
        c.send(c.record(HANDSHAKE, piece))
    c.send(c.ccs(), c.seal(HANDSHAKE, c.finished_message()))
    c.await_finished()
    intact(by=c)


@pytest.mark.parametrize("cut", [one_byte, reverse, repeat, overlap])
@suites(ALL_SUITES)
def test_C_20_fragmented_finished(client, intact, suite, cut):
    c = client(suite=suite)
    c.begin()
    c.send(c.record(HANDSHAKE, c.key_exchange()), c.ccs())
    for piece in cut(c.finished_message()):
        c.send(c.seal(HANDSHAKE, piece))
    c.await_finished()
    intact(by=c)


def test_C_20_fragmented_hello_is_not_taken(client, calm, intact):
    """The policy for hellos in fragments: dropped and counted, with and without a cookie."""
    c = client()
    assert c.answers(*(c.record(HANDSHAKE, piece) for piece in wire.split(c.hello(), 30))) == []
    first = len(wire.split(c.hello(), 30))
    c.get_cookie()
    pieces = wire.split(c.hello(), 30)
    assert c.answers(*(c.record(HANDSHAKE, piece) for piece in pieces)) == []
    assert c.answers(b"".join(c.record(HANDSHAKE, piece) for piece in pieces)) == []
    intact(by=c.handshake())
    totals = calm.end()
    assert totals["client.drop_hello_fragment"] >= first + len(pieces) + 1


@suites(ALL_SUITES)
def test_C_21_packing(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    whole = c.key_exchange()
    half = 1 + len(whole) // 2
    pieces = wire.split(whole, half)
    strange = wire.record(99, b"strange", 0, 700)
    c.send(
        strange,
        c.record(HANDSHAKE, b"".join(pieces)),
        c.ccs(),
        c.seal(HANDSHAKE, c.finished_message()),
    )
    c.await_finished()
    c.send(strange, c.seal(DATA, b"one"), strange, c.seal(DATA, b"two"))
    assert [c.await_data(), c.await_data()] == [b"one", b"two"]
    intact(b"one", b"two", by=c)


def test_C_21_hello_behind_a_strange_record(client, intact):
    c = client()
    strange = wire.record(99, b"strange", 0, 700)
    c.send(strange, c.record(HANDSHAKE, c.hello()))
    c.await_cookie()
    c.transcript = [c.hello()]
    c.send(strange, c.record(HANDSHAKE, c.transcript[0]))
    c.await_server_flight()
    c.finish()
    intact(by=c)


@pytest.mark.parametrize("seq", [0, 1, 2, 65535])
def test_C_22_hello_message_seq(client, intact, seq):
    """A hello without cookie gets one, whatever its number; one with a cookie counts when its
    number is 1, and is asked for a cookie again otherwise."""
    c = client()
    answer = c.answers(c.record(HANDSHAKE, c.hello(message_seq=seq)))
    assert len(answer) == 1 and is_verify_request(answer[0])
    c.get_cookie()
    if seq != 1:
        answer = c.answers(c.record(HANDSHAKE, c.hello(message_seq=seq)))
        assert len(answer) == 1 and is_verify_request(answer[0])
    c.use_cookie()
    c.finish()
    intact(by=c)


@pytest.mark.parametrize("seq", [0, 1, 3, 65535])
@suites([keys.GCM, keys.ECDHE_CHACHA])
def test_C_22_key_exchange_message_seq(client, intact, suite, seq):
    c = client(suite=suite)
    c.begin()
    whole = c.key_exchange()
    renumbered = wire.message(wire.CLIENT_KEY_EXCHANGE, seq, whole[wire.MESSAGE_HEADER :])
    assert c.answers(c.record(HANDSHAKE, renumbered)) == []
    c.send(
        c.record(HANDSHAKE, whole), c.ccs(), c.seal(HANDSHAKE, c.finished_message())
    )
    c.await_finished()
    intact(by=c)


@suites(ALL_SUITES)
def test_C_23_last_flight_again(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    c.send(*c.flight())
    numbers = []
    for _ in range(3):
        records = c.receive()
        assert [rec.type for rec in records] == [CCS, HANDSHAKE]
        assert c.open(records[1])[0] == wire.FINISHED
        numbers.append((records[0].seq, records[1].seq))
        c.send(*c.repeat_flight())
    c.receive()
    assert sorted(set(first for first, _ in numbers)) == [first for first, _ in numbers]
    assert sorted(set(second for _, second in numbers)) == [second for _, second in numbers]
    c.echo(b"data")
    assert c.answers(*c.repeat_flight()) == []
    intact(b"data", by=c)


def test_C_23_last_flight_again_is_limited(client, intact):
    c = client().handshake()
    repeats = [b"".join(c.repeat_flight()) for _ in range(50)]
    answer = c.answers(*repeats)
    assert 2 <= len(answer) <= 2 * 20
    intact(by=c)


@pytest.mark.parametrize("steps", range(5))
@suites([keys.GCM, keys.CCM8, keys.ECDHE_CHACHA])
def test_C_24_new_hello_of_the_same_port(client, calm, echo, suite, steps):
    """Up to its Finished a new handshake leaves the session alone; then it replaces it."""
    new = client(suite=suite).handshake()
    new.echo(b"zero")
    old = copy.copy(new)
    new.reset()
    if steps > 0:
        new.get_cookie()
        old.echo(b"cookie")
    if steps > 1:
        new.use_cookie()
        old.echo(b"flight")
    if steps > 2:
        exchange, ccs, finished = new.flight()
        new.send(exchange)
        old.echo(b"exchange")
        new.send(ccs)
        old.echo(b"ccs")
    if steps > 3:
        new.send(finished)
        new.await_finished()
        assert new.answers(old.seal(DATA, b"old")) == []
        new.echo(b"new")
        calm.wait_event("session end", reason="replaced by a new handshake")
        assert len(set(echo.ports)) == 2
    else:
        old.echo(b"last")
        assert len(set(echo.ports)) == 1
    assert b"old" not in echo.data
