"""Several datagrams of one peer at a time: whatever the kernel joins, each arrives by itself, in
order and with its size, and `udp-offload` decides whether anything is joined."""

import socket

import pytest

from lib.gate import until

UDP_SEGMENT, UDP_GRO = 103, 104
DEADLINE = 20.0


def joins(sock):
    """Lets a socket receive what was joined; skips the test where the kernel cannot."""
    try:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    except OSError:
        pytest.skip("this kernel joins nothing")


def send_joined(sock, parts, to=None):
    """Parts of one length, but the last, in one message."""
    size = len(parts[0]).to_bytes(2, "little")
    control = [(socket.IPPROTO_UDP, UDP_SEGMENT, size)]
    sent = sock.sendmsg([b"".join(parts)], control, 0, *([to] if to else []))
    assert sent == sum(map(len, parts))


def receive(sock):
    """The next message as a list of datagrams, and who has sent it."""
    data, control, _, peer = sock.recvmsg(65536, 64)
    sizes = [
        int.from_bytes(value, "little")
        for level, kind, value in control
        if (level, kind) == (socket.IPPROTO_UDP, UDP_GRO)
    ]
    size = sizes[0] if sizes else max(len(data), 1)
    return [data[at : at + size] for at in range(0, max(len(data), 1), size)], peer


@pytest.fixture
def plain():
    """A backend's socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        s.settimeout(DEADLINE)
        yield s


def seal(client, parts):
    """The datagrams that a client sends for these plaintexts, held back."""
    sealed = []
    send, client.send_datagram = client.send_datagram, sealed.append
    for part in parts:
        client.send(part)
    client.send_datagram = send
    return sealed


PARTS = [bytes([n]) * 100 for n in range(16)]
UNEQUAL = [bytes([n]) * size for n, size in enumerate([100, 100, 40, 1200, 1200, 7, 7, 300])]


@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("parts", [PARTS, UNEQUAL], ids=["equal", "unequal"])
def test_all_arrive_both_ways_in_order_and_size(gate, echo, client, offload, parts):
    g = gate(echo, daemon={"udp-offload": offload})
    c = client(g).connect()
    for datagram in seal(c, parts):
        c.send_datagram(datagram)
    assert [c.recv() for _ in parts] == parts
    assert echo.data == parts
    totals = g.end()
    assert totals["client.forwarded"] == totals["backend.sealed"] == len(parts)
    assert "backend_send_failed" not in totals and "client_send_failed" not in totals


@pytest.mark.parametrize("offload", ["auto", "off"])
def test_what_comes_at_once_goes_on_at_once(gate, plain, client, offload):
    joins(plain)
    g = gate("127.0.0.1:%d" % plain.getsockname()[1], daemon={"udp-offload": offload})
    c = client(g).connect()
    joins(c.socket)
    expected = [PARTS] if offload == "auto" else [[part] for part in PARTS]

    send_joined(c.socket, seal(c, PARTS))
    came = [receive(plain) for _ in expected]
    assert [parts for parts, _ in came] == expected

    send_joined(plain, PARTS, came[0][1])
    c.socket.settimeout(DEADLINE)
    came = [receive(c.socket)[0] for _ in expected]
    c.socket.setblocking(False)
    assert [len(parts) for parts in came] == [len(parts) for parts in expected]
    for record in sum(came, []):
        c.take(record)
    assert [c.recv() for _ in PARTS] == PARTS
    totals = g.end()
    assert totals["client.forwarded"] == totals["backend.sealed"] == len(PARTS)


@pytest.mark.parametrize("offload", ["auto", "off"])
def test_one_alone_leaves_at_once(gate, plain, client, offload):
    g = gate("127.0.0.1:%d" % plain.getsockname()[1], daemon={"udp-offload": offload})
    c = client(g).connect()
    for n in range(5):
        c.send(b"%d" % n)
        assert plain.recv(100) == b"%d" % n


@pytest.mark.parametrize("offload", ["auto", "off"])
def test_what_came_before_a_goodbye_still_arrives(gate, plain, client, offload):
    g = gate("127.0.0.1:%d" % plain.getsockname()[1], daemon={"udp-offload": offload})
    c = client(g).connect()
    held = seal(c, [b"last words"])
    held += seal_goodbye(c)
    c.send_datagram(b"".join(held))
    assert plain.recv(100) == b"last words"
    g.wait_event("session end", reason="closed by client", in_datagrams=1)


def seal_goodbye(client):
    held = []
    send, client.send_datagram = client.send_datagram, held.append
    client.shutdown()
    client.send_datagram = send
    return held


@pytest.mark.parametrize("offload", ["auto", "off"])
def test_the_log_tells_what_is_in_use(gate, echo, offload):
    g = gate(echo, daemon={"udp-offload": offload, "log-level": "debug"})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        if offload == "auto":
            joins(s)
    word = "joined" if offload == "auto" else "single"
    g.log.wait(f"udp-offload: datagrams are {word} when sent and {word} when received")


def test_refusals_are_told_of_and_lose_nothing(gate, plain, client):
    """A backend that comes back while its refusal waits on the flow."""
    port = plain.getsockname()[1]
    g = gate(f"127.0.0.1:{port}")
    c = client(g).connect()
    c.send(b"one")
    assert plain.recv(100) == b"one"
    plain.close()
    c.send(b"lost")
    until(lambda: g.log.find("refused"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))
        again.settimeout(DEADLINE)
        c.send(b"two")
        assert again.recv(100) == b"two"
    assert g.end()["backend_refused"] >= 1
