"""HTTP against clients that mean harm: nothing of what they do ends the process, holds it up, or
keeps others from being answered."""

import contextlib
import random
import resource
import select
import socket
import time

import pytest

from lib.gate import until
from lib.http import Answer, exchange, get, http_address

CONNECTIONS = 64  # as many as there may be at once
ASK_SECONDS = 5
WORDS = [b"GET ", b"HEAD ", b"/", b"%", b"?a=", b" HTTP/1.1", b"\r\n", b"\n", b":", b"\0", b"[::1]"]
WORDS += [b"Host: localhost", b"Content-Length: ", b"9" * 30, b"\xff" * 20]


@pytest.fixture
def g(gate, backend):
    return gate(backend(), daemon={"http": "127.0.0.1:0", "workers": 1})


def connect(gate):
    return socket.create_connection(http_address(gate), 20)


def is_serving(gate):
    return get(gate, "/healthz").status == 200


def rest_of(s):
    """What comes up to the end; a reset is an end, too."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while data := s.recv(65536):
            got += data
    return got


def test_garbage(g):
    chance = random.Random(5)
    for _ in range(300):
        pieces = [
            chance.choice(WORDS) if chance.random() < 0.8 else chance.randbytes(9)
            for _ in range(chance.randrange(40))
        ]
        with connect(g) as s:
            with contextlib.suppress(ConnectionError):
                s.sendall(b"".join(pieces) + b"\r\n\r\n\r\n\r\n")
            raw = rest_of(s)
        assert raw.startswith(b"HTTP/1.1 "), raw[:50]
    assert is_serving(g)


@pytest.mark.parametrize("line", [b"X: " + b"y" * 9000, b"X: y\r\n" * 2000, b"X" * 9000])
def test_big_heads(g, line):
    raw = exchange(g, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + line + b"\r\n\r\n")
    assert Answer(raw).status in (400, 431)


def test_an_endless_head(g):
    """More than any buffer holds; the answer comes all the same, and is not lost in a reset."""
    with connect(g) as s:
        s.setblocking(False)
        sent, got, deadline = 0, b"", time.monotonic() + 20
        while b"\r\n\r\n" not in got and time.monotonic() < deadline:
            readable, writable, _ = select.select([s], [s] if sent < 50e6 else [], [], 1)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                if writable:
                    sent += s.send(b"a" * 65536)
                if readable and not (data := s.recv(65536)):
                    break
                elif readable:
                    got += data
    assert b" 431 " in got.split(b"\r\n")[0]
    assert is_serving(g)


def test_who_asks_byte_by_byte_is_not_waited_for(g):
    """Each byte in time, and the whole never: the deadline is that of the whole."""
    begun = time.monotonic()
    with connect(g) as s:
        with contextlib.suppress(ConnectionError):
            for byte in b"GET /" + b"a" * 1000:
                s.send(bytes([byte]))
                if select.select([s], [], [], 0.1)[0]:
                    break
        assert rest_of(s) == b""
    assert ASK_SECONDS - 1 < time.monotonic() - begun < ASK_SECONDS + 5


def test_more_connections_than_there_may_be(g):
    """The oldest give way, so who comes now is answered, and descriptors stay few."""
    begun = time.monotonic()
    idle = [connect(g) for _ in range(3 * CONNECTIONS)]
    assert is_serving(g)
    assert get(g, "/status.json").json["process"]["open_descriptors"] < CONNECTIONS + 40
    assert all(rest_of(s) == b"" for s in idle[: 2 * CONNECTIONS])
    assert time.monotonic() - begun < ASK_SECONDS, "they ended by their deadline"
    idle[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"ok\n" in rest_of(idle[-1])
    for s in idle:
        s.close()


def test_who_does_not_read_holds_up_nobody(g):
    deaf = []
    for _ in range(CONNECTIONS // 2):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        s.connect(http_address(g))
        s.sendall(b"GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deaf.append(s)
    assert is_serving(g)
    assert len(Answer(rest_of(deaf[0])).body) > 10000
    for s in deaf:
        s.close()


def test_who_leaves_at_once(g, client):
    assert client(g).connect().is_alive()
    for path in (b"/", b"/sessions.json", b"/sessions.json?search=x", b"/metrics"):
        for _ in range(30):
            with connect(g) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                s.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert is_serving(g)
    until(lambda: get(g, "/sessions.json").status == 200)


def test_one_request_a_connection(g):
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    raw = exchange(g, one * 100)
    assert raw.count(b"HTTP/1.1 ") == 1


def test_sessions_are_carried_while_it_is_attacked(g, client):
    c = client(g).connect()
    idle = [connect(g) for _ in range(2 * CONNECTIONS)]
    for s in idle:
        with contextlib.suppress(ConnectionError):
            s.send(b"GET /" + b"x" * 2000)
        assert c.is_alive()
    for s in idle:
        s.close()


def test_no_descriptor_is_left_for_it(g):
    """It rests until there is one again, and does not spin meanwhile."""
    hard = resource.prlimit(g.pid, resource.RLIMIT_NOFILE)[1]
    before = resource.prlimit(g.pid, resource.RLIMIT_NOFILE, (3, hard))
    waiting = connect(g)
    waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def cpu():
        with open(f"/proc/{g.pid}/stat") as f:
            return sum(map(int, f.read().rsplit(") ", 1)[1].split()[11:13]))

    used, begun = cpu(), time.monotonic()
    assert not select.select([waiting], [], [], 3)[0]
    assert cpu() - used < 100 * (time.monotonic() - begun) / 4
    resource.prlimit(g.pid, resource.RLIMIT_NOFILE, before)
    assert b"ok\n" in rest_of(waiting)
    waiting.close()
