"""Clauses of the standards, S-nn of doc/CONFORMANCE.md, that the other tests do not show."""

import os

import pytest
from raw import keys, wire
from raw.wire import ALERT, DATA, HANDSHAKE

OLD_SUITE = 0x008C  # PSK-AES128-CBC-SHA
ENCRYPT_THEN_MAC, TRUNCATED_HMAC = 22, 4


def refusal(c):
    """The one plaintext alert that answers the hello with a cookie."""
    c.get_cookie()
    hello = c.record(HANDSHAKE, c.hello())
    (alert,) = c.answers(hello)
    assert alert.type == ALERT and alert.epoch == 0
    return tuple(alert.body)


def test_S_02_data_before_finished_is_dropped_and_counted(client, calm, intact):
    c = client()
    c.begin()
    exchange, ccs, finished = c.flight()
    early = [c.seal(DATA, b"early") for _ in range(3)]
    assert c.answers(exchange, ccs, *early) == []
    c.send(finished)
    c.await_finished()
    intact(by=c)
    assert calm.end()["client.drop_early"] == len(early)


@pytest.mark.parametrize("age", [1, 31, 62])
def test_S_07_replay_window(client, intact, age):
    """64 records: each is taken once, in whatever order, and never again."""
    c = client().handshake()
    late = c.seal(DATA, b"late")
    for _ in range(age):
        c.send_data(b"new")
        c.await_data()
    c.send(late)
    assert c.await_data() == b"late"
    c.send(late)
    intact(*[b"new"] * age, b"late", by=c)


def test_S_07_older_than_the_window(client, calm, intact):
    c = client().handshake()
    late = c.seal(DATA, b"late")
    for _ in range(64):
        c.send_data(b"new")
        c.await_data()
    c.send(late)
    intact(*[b"new"] * 64, by=c)
    assert calm.end()["client.drop_replay"] == 1


def test_S_10_numbers_of_the_first_answers(client, intact):
    c = client()
    c.seq[0] = 41
    assert c.get_cookie().seq == 41
    assert [rec.seq for rec in c.use_cookie()] == [42, 43]
    c.finish()
    intact(by=c)


def test_S_11_version_of_the_verify_request(client):
    rec = client().get_cookie()
    assert rec.version == wire.DTLS10
    assert rec.body[wire.MESSAGE_HEADER :][:2] == b"\xfe\xff"


def test_S_15_a_flight_is_repeated_as_new_records(client, start):
    c = client(start(retransmit_first="50ms", retransmit_cap="50ms"))
    numbers = [rec.seq for rec in c.begin()]
    for _ in range(4):
        numbers += [rec.seq for rec in c.receive()]
    assert numbers == sorted(set(numbers))
    c.finish()


def test_S_19_alert_for_an_unknown_identity_when_set(client, start, intact):
    gate = start(unknown_identity="alert")
    c = client(gate, identity=b"nobody")
    c.begin()
    (alert,) = c.answers(*c.flight())
    assert (alert.type, alert.body) == (ALERT, bytes([wire.FATAL, wire.UNKNOWN_PSK_IDENTITY]))
    wrong = client(gate, key=bytes(16))
    wrong.begin()
    assert wrong.answers(*wrong.flight()) == []
    intact(by=client(gate).handshake())


def test_S_21_no_hint_unless_set(client, start):
    c = client(start(), suite=keys.GCM)
    assert len(c.begin()) == 2
    c = client(start(identity_hint="who"), suite=keys.GCM)
    flight = [m for rec in c.begin() for m in wire.parse_messages(rec.body)]
    assert [m.body for m in flight if m.type == wire.SERVER_KEY_EXCHANGE] == [wire.vec16(b"who")]


@pytest.mark.parametrize("mtu", [256, 1400])
@pytest.mark.parametrize("ems", [True, False], ids=["ems", "no-ems"])
@pytest.mark.parametrize("suite", keys.SUITES.values(), ids=lambda suite: suite.name)
def test_S_21_a_long_hint_in_pieces(client, start, intact, suite, ems, mtu):
    gate = start(identity_hint="h" * 128, mtu=mtu)
    intact(by=client(gate, suite=suite, ems=ems).handshake())


@pytest.mark.parametrize("length", [16, 32, 64])
def test_S_22_lengths_of_keys(client, start, echo, length):
    key = os.urandom(length)
    gate = start(keys={"x" * 128: key})
    client(gate, identity=b"x" * 128, key=key).handshake().echo(b"long")


def test_S_28_ccm8_is_accepted(client, intact):
    c = client(suite=keys.CCM8).handshake()
    assert c.server_hello.suite == 0xC0A8
    intact(by=c)


def test_S_33_nothing_that_aead_excludes_is_answered(client, intact):
    asked = [(ENCRYPT_THEN_MAC, b""), (TRUNCATED_HMAC, b"")]
    c = client(extensions=asked).handshake()
    assert not {kind for kind, _ in asked} & set(c.server_hello.extensions)
    intact(by=c)


@pytest.mark.parametrize("extensions", [[], None], ids=["empty", "none"])
def test_S_38_dtls_1_0_alone_is_refused(client, calm, intact, extensions):
    c = client(version=wire.DTLS10, suites=[OLD_SUITE, 0x00FF], extensions=[])
    if extensions is None:
        c.hello_fields["extensions"] = None
    assert refusal(c) == (wire.FATAL, wire.PROTOCOL_VERSION)
    intact()
    assert calm.end()["handshakes_failed"] == 1


def test_S_39_master_secret_is_extended_when_offered(client, intact):
    c = client(ems=True).handshake()
    assert wire.MASTER_SECRET in c.server_hello.extensions
    plain = client(ems=False).handshake()
    assert wire.MASTER_SECRET not in plain.server_hello.extensions
    intact(by=c)


def test_S_43_renegotiation_info_is_answered(client, intact):
    c = client(extensions=[(wire.RENEGOTIATION_INFO, b"\0")]).handshake()
    assert c.server_hello.extensions[wire.RENEGOTIATION_INFO] == b"\0"
    c = client(suites=[keys.GCM.id, 0x00FF]).handshake()
    assert wire.RENEGOTIATION_INFO in c.server_hello.extensions
    intact(by=c)


@pytest.mark.parametrize("suite", [0x0000, 0x002C, 0x00B0, 0x00B4, 0x008A, 0xC039, 0xC033])
def test_S_44_neither_null_nor_rc4(client, intact, suite):
    c = client(suites=[suite])
    assert refusal(c) == (wire.FATAL, wire.HANDSHAKE_FAILURE)
    intact()


def test_S_44_forward_secrecy_comes_first(client, intact):
    offered = [suite.id for suite in keys.SUITES.values()]
    c = client(suite=keys.ECDHE_CHACHA, suites=sorted(offered)).handshake()
    assert c.server_hello.suite == keys.ECDHE_CHACHA.id
    intact(by=c)


def test_S_75_a_new_association_has_a_new_backend_port(client, calm, echo):
    c = client().handshake()
    c.echo(b"one")
    c.reset()
    c.handshake().echo(b"two")
    assert len(set(echo.ports)) == 2


def test_the_raw_client_can_tell_a_wrong_server(client):
    """The tests would be worth nothing if the client took whatever comes."""
    c = client()
    c.begin()
    c.send(*c.flight())
    c.transcript[0] += b"!"
    with pytest.raises(AssertionError):
        c.await_finished()
