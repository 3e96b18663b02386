"""W-01 to W-23 of doc/CONFORMANCE.md: what wedges or kills bare OpenSSL 3.0 must not touch us."""

import os

import pytest
from raw import keys, wire
from raw.cases import ALL_SUITES, PLAIN_PSK, plain, suites
from raw.wire import ALERT, CCS, DATA, HANDSHAKE


def jumps():
    return [plain(kind, body, wire.SEQ_MAX) for kind, body in (
        (CCS, b"\1"),
        (ALERT, b"\1\0"),
        (HANDSHAKE, wire.message(wire.FINISHED, 3, bytes(12))),
        (HANDSHAKE, wire.message(wire.CLIENT_KEY_EXCHANGE, 2, b"\0\1x")),
        (DATA, b"data"),
        (99, b"?"),
    )]


def strange_types():
    kinds = (0, 1, 19, DATA, 24, 25, 26, 99, 128, 255)
    return [plain(kind, os.urandom(20), 40 + kind) for kind in kinds]


def plain_alerts():
    descriptions = (0, 10, 20, 21, 22, 30, 40, 42, 47, 50, 51, 70, 71, 80, 90, 100, 110, 115)
    alerts = [bytes([level, what]) for level in (wire.WARNING, wire.FATAL) for what in descriptions]
    alerts += [b"", b"\2", b"\2\x28\2\x28", b"\0\0", b"\xff\xff"]
    return [plain(ALERT, alert, 300 + i) for i, alert in enumerate(alerts)]


def huge_declarations():
    return [
        plain(HANDSHAKE, wire.fragment(kind, seq, length, offset, b"x"), 500 + seq)
        for kind in (wire.CLIENT_KEY_EXCHANGE, wire.FINISHED, wire.CERTIFICATE)
        for seq in (2, 3, 4)
        for length, offset in ((0xFFFFFF, 0), (0xFFFFFF, 0xFFFFFE), (100000, 5000), (601, 600))
    ]


def forged_exchange(c, i=0):
    return plain(HANDSHAKE, c.key_exchange_message(identity=b"forged-%d" % i), 600 + i)


def complete(c, *before):
    """The client's flight, with forgeries in front of each of its records and one behind."""
    exchange, ccs, finished = c.flight()
    for piece in (exchange, ccs, finished):
        for forged in before:
            c.socket.send(forged)
        c.send(piece)
    c.await_finished()


@pytest.mark.parametrize("seq", [0, 7, wire.SEQ_MAX])
@suites(ALL_SUITES)
def test_W_01_forged_ccs(client, intact, suite, seq):
    c = client(suite=suite)
    assert c.answers(plain(CCS, b"\1", seq)) == []
    c.begin()
    assert c.answers(plain(CCS, b"\1", seq), plain(CCS, b"\2", seq), plain(CCS, b"", seq)) == []
    c.finish()
    intact(by=c)


@suites(ALL_SUITES)
def test_W_02_sequence_jump(client, intact, suite):
    c = client(suite=suite)
    assert c.answers(*jumps()) == []
    c.begin()
    forged = [f for f in jumps() if f[0] != HANDSHAKE or suite in PLAIN_PSK]
    assert c.answers(*forged) == []
    c.finish()
    intact(by=c)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("place", ["before", "behind"])
@suites(PLAIN_PSK)
def test_W_03_forged_key_exchange(client, intact, suite, place, count):
    c = client(suite=suite)
    c.begin()
    exchange, ccs, finished = c.flight()
    forged = [forged_exchange(c, i) for i in range(count)]
    order = [exchange, *forged] if place == "behind" else [*forged, exchange]
    assert c.answers(*order, ccs) == []
    c.send(finished)
    c.await_finished()
    intact(by=c)


@pytest.mark.parametrize("count", [4, 40])
@suites(PLAIN_PSK)
def test_W_03_many_forged_key_exchanges(client, intact, suite, count):
    """There is room for eight. With more of them the client's next repeat completes it."""
    c = client(suite=suite)
    c.begin()
    exchange, ccs, finished = c.flight()
    forged = [forged_exchange(c, i) for i in range(count)]
    if count < 8:
        c.send(exchange, *forged, ccs, finished)
    else:
        assert c.answers(exchange, *forged, ccs, finished) == []
        c.send(*c.repeat_flight())
    c.await_finished()
    intact(by=c)


@suites(PLAIN_PSK)
def test_W_03_forged_fragments_of_key_exchanges(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    whole = c.key_exchange()
    pieces = wire.split(whole, 3)
    forged = wire.fragment(wire.CLIENT_KEY_EXCHANGE, 2, 500, 7, b"forged")
    for piece in pieces:
        c.send(c.record(HANDSHAKE, piece), plain(HANDSHAKE, forged, 600))
    finished = c.finished_message()
    assert c.answers(c.ccs() + c.seal(HANDSHAKE, finished)) == []
    c.send(*(c.record(HANDSHAKE, piece) for piece in pieces))
    c.send(c.ccs(), c.seal(HANDSHAKE, finished))
    c.await_finished()
    intact(by=c)


def test_W_03_forged_ecdhe_key_exchanges(client, intact):
    """Well-formed points, under a known name and under others: the client's Finished tells."""
    c = client(suite=keys.ECDHE_CHACHA)
    c.begin()
    for identity in (b"forged", c.identity):
        for number in range(3):
            point = wire.vec8(os.urandom(31) + b"\x40")
            forged = c.key_exchange_message(identity=identity, point=point)
            assert c.answers(plain(HANDSHAKE, forged, 600 + number)) == []
    c.finish()
    c.echo(b"through")
    intact(b"through", by=c)


@pytest.mark.parametrize("count", [7, 8, 100])
def test_W_03_forged_between_key_exchange_and_finished(client, intact, count):
    """There is room for seven more. Others push the client's out, and it has to say its flight
    again, together this time."""
    c = client(suite=keys.ECDHE_CHACHA)
    c.begin()
    exchange, ccs, finished = c.flight()
    c.send(exchange)
    for number in range(count):
        point = wire.vec8(os.urandom(31) + b"\x40")
        c.send(plain(HANDSHAKE, c.key_exchange_message(point=point), 600 + number))
    c.send(ccs, finished)
    if count > 7:
        assert c.probe() == []
        c.send(*c.repeat_flight())
    c.await_finished()
    intact(by=c)


@suites(ALL_SUITES)
def test_W_04_unknown_content_type(client, intact, suite):
    c = client(suite=suite)
    assert c.answers(*strange_types()) == []
    c.begin()
    assert c.answers(*strange_types()) == []
    complete(c, *strange_types())
    assert c.answers(*strange_types()) == []
    intact(by=c)


@suites(ALL_SUITES)
def test_W_05_plain_alerts(client, intact, suite):
    c = client(suite=suite)
    assert c.answers(*plain_alerts()) == []
    c.begin()
    assert c.answers(*plain_alerts()) == []
    complete(c, *plain_alerts())
    assert c.answers(*plain_alerts()) == []
    intact(by=c)


@suites(ALL_SUITES)
def test_W_06_huge_declared_length(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    assert c.answers(*huge_declarations()) == []
    complete(c, *huge_declarations())
    intact(by=c)


@suites([keys.GCM, keys.ECDHE_CHACHA])
def test_W_07_new_hello_on_a_live_port(client, intact, suite):
    c = client(suite=suite).handshake()
    hello = c.hello(cookie=b"", random=os.urandom(32))
    answer = c.answers(c.record(HANDSHAKE, hello, seq=0))
    assert [rec.body[0] for rec in answer] == [wire.HELLO_VERIFY]
    intact(by=c)


@pytest.mark.parametrize("code,limit", [(1, 512), (2, 1024), (3, 2048), (4, 4096)])
@suites([keys.GCM, keys.CCM8, keys.ECDHE_CHACHA])
def test_W_08_reply_longer_than_max_fragment(client, calm, echo, suite, code, limit):
    replies = {b"fits": bytes(limit), b"too long": bytes(limit + 1), b"huge": bytes(16384)}
    echo.transform = lambda data: replies.get(data, data)
    c = client(suite=suite, extensions=[(wire.MAX_FRAGMENT, bytes([code]))]).handshake()
    assert c.server_hello.extensions[wire.MAX_FRAGMENT] == bytes([code])
    for question in (b"too long", b"huge", b"fits"):
        c.send_data(question)
    assert len(c.await_data()) == limit
    c.echo()
    assert calm.end()["backend.drop_too_big"] == 2


@suites(ALL_SUITES)
def test_W_09_datagram_borders(client, intact, suite):
    c = client(suite=suite).handshake()
    parts = [b"a", b"", bytes(1000), b"b" * 5000, b"c"]
    c.send(*(c.seal(DATA, part) for part in parts))
    assert [c.await_data() for _ in parts] == parts
    intact(*parts, by=c)


@suites(ALL_SUITES)
def test_W_10_every_forgery_at_every_step(client, intact, suite):
    """Nothing needs a recovery, as nothing wedges."""
    c = client(suite=suite)
    forged = [*jumps(), *strange_types(), *plain_alerts(), *huge_declarations()]
    forged = [f for f in forged if f[0] != HANDSHAKE or f[13] != wire.CLIENT_KEY_EXCHANGE]
    forged += [plain(CCS, b"\1", seq) for seq in (0, 1, 2, 3)]
    if suite in PLAIN_PSK:
        forged += [forged_exchange(c, i) for i in range(2)]
    assert c.answers(*forged) == []
    c.get_cookie()
    assert c.answers(*forged) == []
    c.use_cookie()
    assert c.answers(*forged) == []
    complete(c, *forged)
    assert c.answers(*forged) == []
    intact(by=c)


@suites(ALL_SUITES)
def test_W_11_unknown_identity_is_silent(client, intact, suite):
    for identity, key in ((b"nobody", bytes(16)), (b"dev-1", bytes(16))):
        c = client(identity=identity, key=key, suite=suite)
        c.begin()
        assert c.answers(*c.flight()) == []
        assert c.answers(*c.repeat_flight()) == []
    intact()


@suites(ALL_SUITES)
def test_W_12_identity_with_nul(client, calm, intact, suite):
    """dev-1's own key, so that only the identity is in the way."""
    for identity in (b"dev-1\0", b"dev-1\0x", b"\0", b"\0dev-1"):
        c = client(identity=identity, suite=suite)
        c.begin()
        assert c.answers(*c.flight(), c.seal(DATA, b"never")) == []
    intact()
    assert len(calm.events("session open")) == 1


@pytest.mark.parametrize("ems", [True, False])
def test_W_13_extended_master_secret_is_reported(client, calm, intact, ems):
    intact(by=client(ems=ems).handshake())
    assert calm.wait_event("session open")["ems"] == ("yes" if ems else "no")


@suites(ALL_SUITES)
def test_W_13_extended_master_secret_can_be_required(client, start, intact, suite):
    gate = start(ems="require")
    without = client(gate, suite=suite, ems=False)
    without.get_cookie()
    (alert,) = without.answers(without.record(HANDSHAKE, without.hello()))
    assert (alert.type, alert.epoch) == (ALERT, 0)
    assert alert.body == bytes([wire.FATAL, wire.HANDSHAKE_FAILURE])
    event = gate.wait_event("handshake failed", reason="handshake failed")
    assert event["detail"] == "no extended master secret"
    intact(by=client(gate, suite=suite).handshake())
    assert gate.wait_event("session open")["ems"] == "yes"


@suites(ALL_SUITES)
def test_W_14_forged_records_are_counted(client, calm, intact, suite):
    c = client(suite=suite).handshake()
    count = 2000
    body = os.urandom(30)
    for first in range(1000, 1000 + count, 100):
        forged = [wire.record(DATA, body, 1, first + i) for i in range(100)]
        assert c.answers(*forged) == []
    intact(by=c)
    assert calm.end()["client.drop_forged"] == count


@suites([keys.GCM, keys.ECDHE_CHACHA])
def test_W_15_record_numbers_are_copied(client, intact, suite):
    c = client(suite=suite)
    c.seq[0] = 1234
    assert c.get_cookie().seq == 1234
    c.seq[0] = 99999
    flight = c.use_cookie()
    assert [rec.seq for rec in flight] == list(range(99999, 99999 + len(flight)))
    c.finish()
    intact(by=c)


@suites(ALL_SUITES)
def test_W_16_empty_datagrams(client, echo, intact, suite):
    c = client(suite=suite).handshake()
    c.echo(b"")
    c.echo(b"")
    intact(b"", b"", by=c)


@suites(ALL_SUITES)
def test_W_17_largest_datagrams(client, calm, echo, suite):
    echo.transform = lambda data: bytes(16385) if data == b"too long" else data
    c = client(suite=suite).handshake()
    c.echo(bytes(16384))
    assert c.answers(c.seal(DATA, bytes(16385))) == []
    c.send_data(b"too long")
    c.echo()
    assert [len(data) for data in echo.data] == [16384, 8, 6]
    totals = calm.end()
    assert totals["backend.drop_too_big"] == 1 and totals["client.drop_size"] == 1


def test_W_18_memory_of_a_session(client, frugal, resident, intact):
    """libssl alone would keep 54 to 69 KB for each; own state is below 1 KB, the rest of the bound
    is the sanitizer's."""
    for _ in range(100):
        client(frugal).handshake()
    before = resident(frugal)
    for _ in range(300):
        client(frugal).handshake()
    assert resident(frugal) - before < 300 * 10
    intact(by=client(frugal).handshake())


def test_W_19_fragments_that_declare_much(client, calm, intact):
    c = client()
    c.begin()
    forged = [
        plain(HANDSHAKE, wire.fragment(wire.CLIENT_KEY_EXCHANGE, 2 + i, 100000, 50000, b"x"), i)
        for i in range(10)
    ]
    assert c.answers(*forged) == []
    c.finish()
    intact(by=c)
    totals = calm.end()
    assert totals["client.drop_size"] + totals["client.drop_order"] == len(forged)


@suites(ALL_SUITES)
def test_W_20_lost_last_flight(client, intact, suite):
    """The backend has nothing to say, so only the client's repeat can bring it back."""
    c = client(suite=suite)
    c.begin()
    c.send(*c.flight())
    c.receive()
    for _ in range(3):
        c.send(*c.repeat_flight())
        c.await_finished()
    intact(by=c)


@suites(ALL_SUITES)
def test_W_21_last_flight_repeated_without_end(client, intact, suite):
    c = client(suite=suite).handshake()
    answer = []
    for _ in range(4):
        answer += c.answers(*(b"".join(c.repeat_flight()) for _ in range(50)))
    assert len(answer) < 100
    intact(by=c)


@suites(ALL_SUITES)
def test_W_22_hello_request_of_the_client(client, intact, suite):
    c = client(suite=suite).handshake()
    requests = [wire.message(wire.HELLO_REQUEST, seq, b"") for seq in (0, 1, 4, 65535)]
    assert c.answers(*(c.seal(HANDSHAKE, request) for request in requests)) == []
    intact(by=c)


@suites(ALL_SUITES)
def test_W_23_key_exchange_numbered_too_high(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    whole = c.key_exchange()
    high = wire.message(wire.CLIENT_KEY_EXCHANGE, 3, whole[wire.MESSAGE_HEADER :])
    assert c.answers(plain(HANDSHAKE, high, 50)) == []
    c.send(c.record(HANDSHAKE, whole), c.ccs(), c.seal(HANDSHAKE, c.finished_message()))
    c.await_finished()
    intact(by=c)
