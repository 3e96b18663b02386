"""The plain side: sizes, ports, refusals, and backends that come and go."""

import pytest

from lib.backend import is_free, unused_port
from lib.dtls import records
from lib.gate import until

OLD = "PSK-AES128-CBC-SHA"
SUITES = ["ECDHE-PSK-CHACHA20-POLY1305", "PSK-AES128-GCM-SHA256", "PSK-AES256-CCM8", OLD]


def of_size(data):
    """A reply of the size that the question names."""
    size = int(data)
    return (data + bytes(size))[:size]


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("size", [1, 1400, 16384])
def test_reply_of_a_size_that_fits(gate, backend, client, suite, size):
    g = gate(backend(of_size), min_version="1.0")
    c = client(g, ciphers=suite).connect()
    assert c.ask(b"%d" % size) == of_size(b"%d" % size)
    totals = g.end()
    assert totals["backend.sealed"] == 1
    assert totals["backend_bytes"] == size


@pytest.mark.parametrize("suite", SUITES)
def test_reply_that_is_too_large_is_dropped_and_counted(gate, backend, client, suite):
    g = gate(backend(of_size), min_version="1.0")
    c = client(g, ciphers=suite).connect()
    for size in (b"16385", b"65000"):
        c.send(size)
    assert c.ask(b"100") == of_size(b"100")
    c.close()
    assert g.wait_event("session end")["drops"] == "2"
    assert g.end()["backend.drop_too_big"] == 2


@pytest.mark.parametrize("suite", SUITES[:3])
def test_an_empty_reply_arrives_as_an_empty_record(gate, backend, client, suite):
    g = gate(backend(of_size))
    c = client(g, ciphers=suite).connect()
    c.seen.clear()
    c.send(b"0")
    empty = records(c.datagram(10))
    c.send(b"1")
    one = records(c.datagram(10))
    assert [kind for kind, _, _ in empty + one] == [23, 23]
    assert len(empty[0][2]) == len(one[0][2]) - 1
    c.take(c.seen[-1])
    assert c.recv() == b"1"


def test_an_empty_reply_is_counted_where_libssl_keeps_the_records(gate, backend, client):
    g = gate(backend(of_size), min_version="1.0")
    c = client(g, ciphers=OLD).connect()
    c.send(b"0")
    assert c.ask(b"1") == b"1"
    assert g.end()["backend.drop_empty"] == 1


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("size", [1, 1400, 16384])
def test_datagram_to_the_backend_of_each_size(gate, backend, client, suite, size):
    lengths = backend(lambda data: b"%d" % len(data))
    g = gate(lengths, min_version="1.0")
    c = client(g, ciphers=suite).connect()
    assert c.ask(bytes(size)) == b"%d" % size
    assert lengths.data == [bytes(size)]


def test_boundaries_are_kept_when_many_go_at_once(gate, echo, client):
    g = gate(echo)
    c = client(g).connect()
    parts = [bytes([n]) * n for n in range(1, 30)]
    for part in parts:
        c.send(part)
    assert [c.recv() for _ in parts] == parts


def test_several_records_in_one_datagram_are_several_datagrams(gate, echo, client):
    g = gate(echo)
    c = client(g).connect()
    assert c.is_alive()
    sent = []
    send, c.send_datagram = c.send_datagram, sent.append
    for data in (b"one", b"two", b"three"):
        c.send(data)
    send(b"".join(sent))
    assert [c.recv() for _ in sent] == [b"one", b"two", b"three"]
    assert echo.data[1:] == [b"one", b"two", b"three"]


@pytest.mark.parametrize("suite", ["PSK-AES128-GCM-SHA256", "ECDHE-PSK-CHACHA20-POLY1305", OLD])
@pytest.mark.parametrize("limit", [512, 1024, 2048, 4096])
def test_a_client_with_a_fragment_limit(gate, backend, client, suite, limit):
    g = gate(backend(of_size), min_version="1.0")
    c = client(g, ciphers=suite, fragment=limit).connect()
    assert c.ask(b"%d" % limit) == of_size(b"%d" % limit)
    c.send(b"%d" % (limit + 1))
    assert c.ask(b"7") == of_size(b"7"), "the session did not survive"
    assert g.end()["backend.drop_too_big"] == 1


def test_several_replies_and_late_ones(gate, backend, client):
    three = backend(lambda data: [data + b"1", data + b"2", data + b"3"], delay=0.2)
    g = gate(three)
    c = client(g).connect()
    c.send(b"ask")
    assert [c.recv() for _ in range(3)] == [b"ask1", b"ask2", b"ask3"]


def test_the_backend_may_speak_unasked(gate, echo, client):
    g = gate(echo)
    c = client(g).connect()
    assert c.is_alive()
    for n in range(20):
        echo.send(echo.received[0].peer, b"news %d" % n)
        assert c.recv() == b"news %d" % n


def test_each_session_has_a_port_of_its_own_and_the_log_tells_it(gate, echo, client):
    g = gate(echo)
    for _ in range(5):
        assert client(g).connect().is_alive()
    flows = [g.wait_event("session flow", n + 1) for n in range(5)]
    assert [int(f["backend-port"]) for f in flows] == echo.ports
    assert len(set(echo.ports)) == 5


def test_no_port_before_the_first_datagram(gate, echo, client):
    g = gate(echo)
    client(g).connect()
    g.wait_event("session open")
    assert "flows_opened" not in g.end()


def test_a_stranger_cannot_speak_for_the_backend(gate, echo, backend, client):
    g = gate(echo)
    c = client(g).connect()
    assert c.is_alive()
    stranger = backend()
    stranger.send(echo.received[0].peer, b"forged")
    assert c.is_alive()
    assert g.end()["backend_datagrams"] == 2


@pytest.mark.parametrize("suite", ["PSK-AES128-GCM-SHA256", OLD])
def test_a_backend_that_is_not_there_yet(gate, backend, client, suite):
    port = unused_port()
    g = gate(f"127.0.0.1:{port}", min_version="1.0", daemon={"workers": 1})
    c = client(g, ciphers=suite).connect()
    for n in range(5):
        c.send(b"lost %d" % n)
    client(g).connect()  # the one worker has gone through those before this
    late = backend(port=port)
    assert c.ask_surely(b"found") == b"found"
    assert b"found" in late.data
    totals = g.end()
    assert totals["backend_refused"] >= 1
    assert totals["flows_opened"] == 1


def test_the_datagram_behind_a_refusal_is_not_lost(gate, backend, client):
    """A pending ECONNREFUSED speaks of the datagram before; the next one has to go out."""
    port = unused_port()
    g = gate(f"127.0.0.1:{port}")
    for n in range(20):
        c = client(g).connect()
        c.send(b"lost")
        g.wait_event("session flow", n + 1)
        late = backend(port=port)
        c.send(b"found")
        until(lambda: b"found" in late.data)
        late.close()
        c.abandon()


def test_a_backend_that_restarts_keeps_its_sessions(gate, backend, client):
    first = backend()
    g = gate(first, daemon={"workers": 1})
    c = client(g).connect()
    assert c.is_alive()
    first.close()
    c.send(b"lost")
    client(g).connect()  # the one worker has gone through that before this
    backend(port=first.port)
    assert c.ask_surely(b"again") == b"again"
    assert len(g.events("session flow")) == 1


def test_flow_timeout_takes_the_port_and_leaves_the_session(gate, echo, client):
    g = gate(echo, flow_timeout="1s")
    quiet, busy = client(g).connect(), client(g).connect()
    assert quiet.is_alive() and busy.is_alive()
    port = echo.ports[0]
    # That the port is free again shows that its socket is closed; the log does not tell.
    until(lambda: busy.is_alive() and is_free(port))
    assert not is_free(echo.ports[1])
    assert quiet.is_alive()
    assert busy.is_alive()
    assert len(echo.ports) == 3
    assert echo.received[-1].peer[1] == echo.ports[1]
    assert not g.events("session end")
    flows = g.events("session flow")
    assert [int(f["backend-port"]) for f in flows] == echo.ports
    assert [f["id"] for f in flows].count(flows[0]["id"]) == 2


def test_without_flow_timeout_the_port_stays(gate, echo, client):
    g = gate(echo, idle_timeout="1s")
    quiet = client(g).connect()
    assert quiet.is_alive()
    assert quiet.wait_closed()
    g.wait_event("session end", reason="idle timeout")
    until(lambda: is_free(echo.ports[0]))
    assert g.end()["flows_opened"] == 1
