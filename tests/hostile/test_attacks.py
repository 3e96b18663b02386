"""T-01 to T-33 of doc/CONFORMANCE.md: the attacks on other DTLS servers, tried on this one. Those
on identities, on keys and by numbers are in files of their own."""

import os
import socket

import pytest
from lib.dtls import Client as LibsslClient
from raw import keys, wire
from raw.cases import ALL_SUITES, is_verify_request, plain, size, suites
from raw.wire import ALERT, CCS, DATA, HANDSHAKE

CBC_SUITES = [0x008C, 0x008D, 0x00AE, 0x00AF, 0xC035, 0xC036, 0xC037, 0xC038, 0x0090, 0x0091]


@suites(ALL_SUITES)
def test_T_01_fragments_of_different_lengths(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    kind = wire.CLIENT_KEY_EXCHANGE
    forged = [
        wire.fragment(kind, 2, 100, 0, bytes(50)),
        wire.fragment(kind, 2, 200, 50, bytes(150)),
        wire.fragment(kind, 2, 20, 10, bytes(20)),
        wire.fragment(kind, 2, 60, 599, bytes(2)),
        wire.fragment(kind, 2, 60, 0xFFFFFF, bytes(2)),
        wire.fragment(kind, 2, 600, 1, bytes(600)),
        wire.fragment(kind, 2, 60, 0, bytes(10), fragment_length=60),
        wire.fragment(kind, 2, 60, 0, bytes(10), fragment_length=0xFFFFFF),
    ]
    assert c.answers(*(plain(HANDSHAKE, body, 40) for body in forged)) == []
    c.finish()
    intact(by=c)


def test_T_02_zero_length_fragments(client, frugal, resident, intact):
    c = client(frugal)
    c.begin()
    empty = wire.fragment(wire.CLIENT_KEY_EXCHANGE, 2, 100, 50, b"")
    datagram = plain(HANDSHAKE, empty * 100, 40)
    assert c.answers(datagram) == []
    before = resident(frugal)
    assert c.answers(*[datagram] * 100) == []
    assert resident(frugal) - before < 512
    c.finish()
    intact(by=c)


def test_T_03_half_open_handshakes_are_capped(client, frugal, resident, intact):
    """Each declares as much as it can; no more than max-handshakes times 80 KB is ever held."""
    client(frugal).handshake()
    before = resident(frugal)
    c = client(frugal)
    forged = [
        plain(HANDSHAKE, wire.fragment(wire.CLIENT_KEY_EXCHANGE, seq, 100000, 1000 * i, b"x"), i)
        for i, seq in enumerate((2, 2, 2, 3, 3, 3, 4, 5, 6, 7))
    ]
    for _ in range(1000):
        c.reset()
        c.begin()
        c.socket.send(b"".join(forged))
        c.close()
        c = client(frugal)
    assert resident(frugal) - before < 64 * 80 + 4096
    intact(by=client(frugal).handshake())
    assert frugal.end()["handshakes_failed"] >= 1000 - 64


def test_T_04_buffered_future_goes_with_the_handshake(client, frugal, resident, intact):
    future = [wire.record(HANDSHAKE, os.urandom(400), 1, seq) for seq in range(5)]
    future += [
        plain(HANDSHAKE, wire.message(wire.CLIENT_KEY_EXCHANGE, 2 + seq, os.urandom(500)), seq)
        for seq in range(11)
    ]

    def leave_behind(count):
        for _ in range(count):
            c = client(frugal)
            c.begin()
            c.send(*future)
            c.close()

    leave_behind(100)
    before = resident(frugal)
    leave_behind(400)
    assert resident(frugal) - before < 2048
    frugal.wait_event("handshake failed", reason="handshake timed out")
    intact(by=client(frugal).handshake())


@suites(ALL_SUITES)
def test_T_05_forged_numbers_leave_the_window(client, intact, suite):
    c = client(suite=suite).handshake()
    c.echo(b"first")
    forged = [
        wire.record(kind, os.urandom(40), epoch, seq)
        for kind in (DATA, HANDSHAKE, ALERT, CCS)
        for epoch, seq in ((1, wire.SEQ_MAX), (2, 0), (65535, 0), (1, 10**6), (0, wire.SEQ_MAX))
    ]
    assert c.answers(*forged) == []
    intact(b"first", by=c)


@suites(ALL_SUITES)
def test_T_06_forged_numbers_during_the_handshake(client, intact, suite):
    c = client(suite=suite)
    forged = [
        wire.record(kind, os.urandom(40), epoch, seq)
        for kind in (DATA, HANDSHAKE, ALERT, CCS)
        for epoch, seq in ((0, wire.SEQ_MAX), (1, wire.SEQ_MAX), (2, 0), (65535, wire.SEQ_MAX))
    ]
    assert c.answers(*forged) == []
    c.begin()
    assert c.answers(*forged) == []
    c.finish()
    intact(by=c)


@suites(ALL_SUITES)
def test_T_07_plain_data_in_every_state(client, intact, suite):
    c = client(suite=suite)
    data = [plain(DATA, b"plaintext", seq) for seq in (0, 1, 2, 3, 40)]
    assert c.answers(*data) == []
    c.get_cookie()
    assert c.answers(*data) == []
    c.use_cookie()
    assert c.answers(*data) == []
    exchange, ccs, finished = c.flight()
    for piece in (exchange, ccs, c.seal(DATA, b"early")):
        assert c.answers(piece, *data) == []
    c.send(finished)
    c.await_finished()
    assert c.answers(*data) == []
    intact(by=c)


def test_T_08_every_answer_goes_to_its_own_address(client, calm):
    many = [client() for _ in range(300)]
    for c in many:
        c.say_hello()
    for c in many:
        c.await_cookie()
    for i, c in enumerate(many):
        c.cookie = b"" if i % 3 == 0 else c.cookie
        c.transcript = [c.say_hello()]
    for i, c in enumerate(many):
        if i % 3 == 0:
            c.await_cookie()
            continue
        c.await_server_flight()
        c.finish()
        c.echo(b"own-%d" % i)
        c.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            c.socket.recv(1)


def junk():
    hello = wire.hello_body(os.urandom(32), [0xA8])
    whole = plain(HANDSHAKE, wire.message(wire.CLIENT_HELLO, 0, hello))
    yield from (whole[:size] for size in range(len(whole)))
    yield from (bytes([byte]) * size for byte in (0, 22, 25, 254, 255) for size in range(1, 14))
    yield from (plain(kind, b"", 5) for kind in range(256))
    yield b"".join(plain(kind, b"", 5) for kind in range(255))
    yield plain(HANDSHAKE, b"\1" * 16384)
    yield wire.record_header(DATA, 1, 1, 65535) + bytes(60000)
    yield wire.record_header(DATA, 1, 1, 18433) + bytes(18433)
    yield os.urandom(65507)
    for at in range(len(whole)):
        yield whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]


def test_T_09_cut_and_bent_datagrams(client, intact):
    """The fuzzers go deeper; here the whole path takes each, with and without a session."""
    stranger, handshaking, established = client(), client(), client().handshake()
    handshaking.begin()
    for c in (stranger, handshaking, established):
        answer = c.answers(*junk())
        assert all(is_verify_request(rec) for rec in answer)
    handshaking.finish()
    handshaking.echo(b"one")
    intact(b"one", by=established)


def test_T_10_tickets_are_not_taken(client, intact):
    for length in (0, 1, 32, 160, 192, 1000):
        c = client(extensions=[(wire.TICKET, os.urandom(length))]).handshake()
        assert wire.TICKET not in c.server_hello.extensions
    intact(by=c)


@pytest.mark.parametrize(
    "change",
    [
        {"random": bytes(32)},
        {"session_id": bytes(32)},
        {"suites": [keys.CCM8.id]},
        {"suites": [keys.GCM.id, keys.CCM8.id]},
        {"version": wire.DTLS10},
    ],
    ids=lambda change: next(iter(change)),
)
def test_T_13_cookie_binds_the_hello(client, calm, intact, change):
    c = client()
    c.get_cookie()
    answer = c.answers(c.record(HANDSHAKE, c.hello(**change)))
    assert len(answer) == 1 and is_verify_request(answer[0])
    c.use_cookie()
    c.finish()
    intact(by=c)
    assert calm.end()["handshakes_started"] == 1


def test_T_13_cookie_binds_the_port(client, calm, intact):
    owner, thief = client(), client()
    owner.get_cookie()
    thief.random, thief.cookie = owner.random, owner.cookie
    answer = thief.answers(thief.record(HANDSHAKE, thief.hello()))
    assert len(answer) == 1 and is_verify_request(answer[0])
    intact(by=owner.handshake())
    assert calm.end()["handshakes_started"] == 1


def strange_hellos(c):
    yield c.hello()
    yield c.hello(extensions=None)
    yield c.hello(session_id=os.urandom(32))
    yield c.hello(extensions=[(wire.TICKET, os.urandom(300))])
    yield c.hello(cookie=os.urandom(255))
    yield c.hello(cookie=os.urandom(17), message_seq=1)
    yield c.hello(cookie=b"\1" + bytes(16), message_seq=1)


def test_T_14_no_amplification(client, calm, intact):
    c = client()
    for hello in strange_hellos(c):
        datagram = c.record(HANDSHAKE, hello)
        answer = c.answers(datagram)
        assert len(answer) == 1 and is_verify_request(answer[0])
        assert size(answer) <= len(datagram)
    ten = b"".join(c.record(HANDSHAKE, c.hello(random=os.urandom(32))) for _ in range(10))
    answer = c.answers(ten)
    assert len(answer) <= 1 and size(answer) <= len(ten)
    intact()
    assert calm.end()["handshakes_started"] == 1


@suites(ALL_SUITES)
def test_T_14_answer_to_a_proven_address_is_small(client, suite):
    """Behind the cookie it may be a little longer than the smallest hello there is."""
    c = client(suite=suite)
    c.get_cookie()
    flight = c.use_cookie()
    assert size(flight) <= 2 * (wire.RECORD_HEADER + len(c.transcript[0]))


def test_T_15_invalid_cookies(client, calm, intact):
    """Those of a secret that is gone are tests/unit/test_cookie.c's: a turn takes minutes."""
    c = client()
    c.get_cookie()
    cookie = c.cookie
    wrong = [bytes([cookie[0] ^ bit]) + cookie[1:] for bit in (1, 2, 0x80)]
    wrong += [cookie[:-1] + bytes([cookie[-1] ^ 1]), cookie[:-1], cookie + b"\0", bytes(17)]
    for bent in wrong:
        datagram = c.record(HANDSHAKE, c.hello(cookie=bent, message_seq=1))
        answer = c.answers(datagram)
        assert len(answer) == 1 and is_verify_request(answer[0])
        assert size(answer) <= len(datagram)
    c.use_cookie()
    c.finish()
    intact(by=c)
    assert calm.end()["handshakes_started"] == 1


@pytest.mark.parametrize("version", [0xFEFE, 0xFEFF, 0x0303, 0x0000, 0xFFFF, 0xFE00, 0xFEFC])
def test_T_16_odd_versions_keep_no_state(client, calm, intact, version):
    c = client()
    hellos = [
        c.record(HANDSHAKE, c.hello(version=version)),
        c.record(HANDSHAKE, c.hello(), version=version),
        c.record(HANDSHAKE, c.hello(version=version, cookie=os.urandom(255)), version=version),
    ]
    for hello in hellos:
        answer = c.answers(hello)
        assert len(answer) <= 1 and all(is_verify_request(rec) for rec in answer)
    intact()
    assert calm.end()["handshakes_started"] == 1


@suites([keys.GCM, keys.CCM8, keys.ECDHE_CHACHA])
def test_T_17_hellos_on_a_live_port(client, intact, suite):
    c = client(suite=suite).handshake()
    c.echo(b"first")
    random = os.urandom(32)
    hello = c.hello(cookie=b"", random=random)
    whole = plain(HANDSHAKE, hello, 3)
    c.socket.send(whole)
    cookie = c.cookie
    c.await_cookie()
    cookied = plain(HANDSHAKE, c.hello(random=random), 4)
    c.cookie = cookie
    cut = [whole[:at] for at in range(len(whole))] + [cookied[:at] for at in range(len(cookied))]
    assert c.answers(*cut) == []
    answer = c.answers(cookied)
    assert [m.type for rec in answer for m in wire.parse_messages(rec.body)][0] == wire.SERVER_HELLO
    intact(b"first", by=c)


@suites(ALL_SUITES)
def test_T_18_spoofed_hellos_around_a_handshake(client, intact, suite):
    c = client(suite=suite)
    spoofed = [
        plain(HANDSHAKE, c.hello(cookie=b"", random=bytes(32), suites=[null]), 9)
        for null in (0x0000, 0x002C, 0x00B0, 0x00B1, 0xC039)
    ]

    def attack():
        assert all(is_verify_request(rec) for rec in c.answers(*spoofed))

    attack()
    c.get_cookie()
    attack()
    c.use_cookie()
    attack()
    for piece in c.flight():
        attack()
        c.send(piece)
    c.await_finished()
    attack()
    intact(by=c)


@suites([keys.GCM, keys.ECDHE_CHACHA])
def test_T_18_late_hello_of_an_earlier_handshake(client, intact, suite):
    """Its cookie is still good: sent again, by the network or by who has seen it, it must not take
    the place of the handshake that the client began since."""
    c = client(suite=suite)
    c.get_cookie()
    old = c.record(HANDSHAKE, c.hello())
    c.socket.send(old)
    c.await_server_flight()
    c.reset()
    c.begin()
    assert c.answers(old) == []
    c.finish()
    intact(by=c)


def test_T_18_a_hello_shown_from_elsewhere_shuts_nobody_out(client, calm, intact):
    """Who sees a first hello can be quicker, with an address of its own and a cookie for that."""
    victim = client(calm)
    seen = victim.hello(cookie=b"")
    thief = client(calm, source="127.5.0.9")
    thief.random = victim.random
    assert thief.hello(cookie=b"") == seen
    thief.begin()
    intact(by=victim.handshake())


@suites(ALL_SUITES)
def test_T_19_plain_alerts_in_every_state(client, intact, suite):
    c = client(suite=suite)
    alerts = [plain(ALERT, alert, 50) for alert in (b"\2\x28", b"\2\x0a", b"\1\0", b"\2\0")]
    assert c.answers(*alerts) == []
    c.get_cookie()
    assert c.answers(*alerts) == []
    c.use_cookie()
    for piece in c.flight():
        assert c.answers(*alerts) == []
        c.send(piece)
    c.await_finished()
    assert c.answers(*alerts) == []
    intact(by=c)


@suites(ALL_SUITES)
def test_T_20_no_alert_for_what_does_not_authenticate(client, intact, suite):
    c = client(suite=suite)
    c.begin()
    bad = [wire.record(kind, os.urandom(40), 1, 1) for kind in (HANDSHAKE, ALERT, DATA)]
    assert c.answers(*bad) == []
    c.finish()
    later = [wire.record(kind, os.urandom(40), 1, 9) for kind in (HANDSHAKE, ALERT, DATA)]
    assert c.answers(*later) == []
    intact(by=c)


@suites(ALL_SUITES)
def test_T_21_renegotiation_is_refused(client, intact, suite):
    c = client(suite=suite).handshake()
    hello = c.hello(cookie=b"", random=os.urandom(32), message_seq=4)
    answer = c.answers(c.seal(HANDSHAKE, hello))
    assert [c.open(rec) for rec in answer] in ([], [bytes([wire.WARNING, wire.NO_RENEGOTIATION])])
    assert c.answers(c.seal(HANDSHAKE, wire.message(wire.HELLO_REQUEST, 0, b""))) == []
    intact(by=c)


def test_T_23_no_cbc_by_default(client, calm, intact):
    c = client(suites=CBC_SUITES)
    c.get_cookie()
    with pytest.raises(AssertionError, match="alert"):
        c.use_cookie()
    intact()
    assert calm.end()["handshakes_completed"] == 1


@pytest.mark.parametrize("name", ["PSK-AES128-CBC-SHA", "PSK-AES256-CBC-SHA384"])
def test_T_23_forged_records_leave_a_cbc_session(start, name):
    """libssl keeps these. With encrypt-then-MAC it would end the session, so that is off."""
    old = LibsslClient(start(min_version="1.0").address(), ciphers=name)
    old.connect()
    for length in (0, 1, 16, 32, 64, 79, 80, 400):
        for kind in (DATA, HANDSHAKE, ALERT, CCS):
            old.send_datagram(wire.record(kind, os.urandom(length), 1, 50 + length))
    assert old.suite == name and old.is_alive()
    old.close()


@pytest.mark.parametrize(
    "point",
    [b"", b"\0", b"\x20", b"\xff" + bytes(255), b"\x20" + bytes(32), b"\x20" + b"\xff" * 32,
     b"\x1f" + bytes(31), b"\x21" + bytes(33), b"\x41\4" + bytes(64), b"\x20" + bytes(33)],
    ids=lambda point: point[:2].hex() + "-%d" % len(point),
)  # fmt: skip
def test_T_27_malformed_ecdhe_key_exchange(client, calm, intact, point):
    """A handshake with a point that is none ends; whoever sends it meets nothing but that."""
    c = client(suite=keys.ECDHE_CHACHA)
    c.begin()
    bad = c.key_exchange_message(point=point)
    assert len(c.answers(plain(HANDSHAKE, bad, 60))) <= 1
    c.reset()
    intact(by=c.handshake())


@pytest.mark.parametrize("length", [0, 1, 4, 5, 600, 65535])
@suites([keys.GCM, keys.ECDHE_CHACHA])
def test_T_27_malformed_lengths_in_key_exchange(client, intact, suite, length):
    c = client(suite=suite)
    c.begin()
    body = length.to_bytes(2, "big") + b"dev"
    assert c.answers(plain(HANDSHAKE, wire.message(wire.CLIENT_KEY_EXCHANGE, 2, body), 60)) == []
    c.finish()
    intact(by=c)


@suites([keys.GCM, keys.CCM8, keys.CHACHA])
def test_T_31_max_fragment_and_a_long_reply(client, calm, echo, suite):
    """W-08 tries every size; here the client does not ask for it again and again."""
    echo.transform = lambda data: bytes(513) if data == b"long" else data
    c = client(suite=suite, extensions=[(wire.MAX_FRAGMENT, b"\1")]).handshake()
    c.send(*(c.seal(DATA, b"long") for _ in range(20)))
    c.echo()
    assert calm.end()["backend.drop_too_big"] == 20


def test_T_32_third_parties_cannot_play_backend(client, calm, echo, intact):
    c = client().handshake()
    c.echo(b"first")
    (flow,) = {datagram.peer for datagram in echo.received}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for _ in range(10):
            other.sendto(b"spoofed", flow)
    intact(b"first", by=c)
    assert calm.end()["backend_datagrams"] == 2


def test_T_33_nothing_for_strangers_nor_for_the_dead(client, calm, echo, intact):
    c = client().handshake()
    c.echo(b"first")
    flow = echo.received[0].peer
    c.answers(c.seal(ALERT, b"\1\0"))
    calm.wait_event("session end", reason="closed by client")
    c.reset()
    c.handshake()
    echo.send(flow, b"for the dead")
    wrong = client(key=os.urandom(16))
    wrong.begin()
    assert wrong.answers(*wrong.flight(), wrong.seal(DATA, b"stranger")) == []
    intact(b"first", by=c)
    assert calm.end()["flows_opened"] == 2
