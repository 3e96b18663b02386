"""The two recorded hellos that once crashed an Erlang server, with all its sessions."""

import socket

import pytest

from lib.dtls import DEADLINE
from lib.hello import ALERT, HANDSHAKE, SERVER_HELLO, answer_of, client_hello, cookie_of

RECORDED = {
    "OTP 20.3": (
        "91 41 130 211 124 91 38 102 66 231 76 27 43 210 205 118 "
        "211 78 25 37 177 52 12 123 116 64 22 55 44 86 102 100",
        "86 18 108 113 78 236 230 56 65 27 204 119 145 92 85 225 26 165 144 105",
    ),
    "OTP 21": (
        "91 41 133 170 172 252 112 102 184 128 99 120 9 104 68 250 "
        "165 162 132 181 198 250 88 153 220 53 153 35 82 153 127 254",
        "103 66 89 198 8 221 23 123 140 73 62 73 150 125 69 192 157 223 85 202",
    ),
}
PROTOCOL_VERSION = bytes([2, 70])


def decimals(text):
    return bytes(map(int, text.split()))


@pytest.fixture(params=RECORDED)
def recorded(request):
    """(random, cookie of the second hello)"""
    return tuple(map(decimals, RECORDED[request.param]))


@pytest.fixture
def wire():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(DEADLINE)
        yield s


def exchange(wire, gate, recorded):
    """The recorded hellos, then one with the gate's own cookie; the answer to that."""
    random, stale = recorded
    wire.connect(gate.address())
    for hello in (client_hello(random), client_hello(random, stale, sequence=1)):
        wire.send(hello)
        answer = wire.recv(65536)
        assert len(answer) <= len(hello), "it amplifies"
        cookie = cookie_of(answer)
    wire.send(client_hello(random, cookie, sequence=1))
    return answer_of(wire.recv(65536))


@pytest.mark.parametrize("min_version", ["1.0", "1.2"])
def test_recorded_hello(gate, echo, client, wire, recorded, min_version):
    g = gate(echo, min_version=min_version)
    other = client(g).connect()
    assert other.is_alive()
    answer = exchange(wire, g, recorded)
    if min_version == "1.0":
        assert (answer.type, answer.message) == (HANDSHAKE, SERVER_HELLO)
        assert answer.body[:2] == b"\xfe\xff"
        assert int.from_bytes(answer.body[35 + answer.body[34] :][:2], "big") == 0x008C
    else:
        assert (answer.type, answer.body) == (ALERT, PROTOCOL_VERSION)
        assert g.wait_event("handshake failed")["detail"]
    assert other.is_alive(), "a session suffered"
    assert client(g).connect().is_alive(), "nobody is served behind it"
    ports = echo.ports
    assert len(ports) == 2 and len(echo.received) == 3


def test_an_old_hello_on_the_address_of_a_live_session(gate, echo, client, recorded):
    """Anybody can send it under a client's address; the session must not notice."""
    g = gate(echo)
    victim = client(g).connect()
    assert victim.is_alive()
    random, stale = recorded
    for hello in (client_hello(random), client_hello(random, stale, sequence=1)):
        victim.send_datagram(hello)
        cookie = cookie_of(victim.datagram(DEADLINE))
    victim.send_datagram(client_hello(random, cookie, sequence=1))
    assert answer_of(victim.datagram(DEADLINE)).body == PROTOCOL_VERSION
    assert victim.is_alive()
    assert len(echo.ports) == 1
    assert not g.events("session end")


def test_a_hello_without_a_known_suite(gate, echo, client, wire):
    g = gate(echo, min_version="1.0")
    wire.connect(g.address())
    random = bytes(range(32))
    wire.send(client_hello(random, suites=(0x00FF, 0x0035)))
    cookie = cookie_of(wire.recv(65536))
    wire.send(client_hello(random, cookie, suites=(0x00FF, 0x0035), sequence=1))
    answer = answer_of(wire.recv(65536))
    assert (answer.type, answer.body) == (ALERT, bytes([2, 40])), "no handshake_failure"
    assert client(g).connect().is_alive()


def test_a_cookie_serves_only_the_hello_it_was_made_for(gate, echo, wire, recorded):
    g = gate(echo, min_version="1.0")
    wire.connect(g.address())
    wire.send(client_hello(recorded[0]))
    cookie = cookie_of(wire.recv(65536))
    for hello in (
        client_hello(bytes(32), cookie, sequence=1),
        client_hello(recorded[0], cookie, suites=(0x00FF, 0x008D), sequence=1),
        client_hello(recorded[0], cookie[:-1], sequence=1),
    ):
        wire.send(hello)
        assert cookie_of(wire.recv(65536))
    totals = g.end()
    assert totals["client.hello_answered"] == 4
    assert totals.get("handshakes_started", 0) == 0
