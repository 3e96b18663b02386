"""Fixtures of the hostile tests: a client of raw records, and a gate to try it on.

The gate here has one worker, so that it takes datagrams in the order they were sent, from whatever
port: what has been answered or echoed proves that all before it has been dealt with.
"""

import pathlib

import pytest
from lib.gate import IDENTITY, KEY
from raw.client import Client

# An address of our own: on 127.0.0.1 a port may get what another process on this machine still
# sends to whoever had it before, and these tests say exactly what must not arrive.
HOST = "127.5.0.1"
# Nothing is repeated while a test listens.
CALM = {"retransmit_first": "10s", "retransmit_cap": "10s"}


@pytest.fixture
def echo(backend):
    return backend(host=HOST)


@pytest.fixture
def start(gate, echo):
    """Starts a gate with one worker in front of `echo`; `service` are options of the service."""

    def start_it(daemon=None, **service):
        options = {"listen": f"{HOST}:0", **CALM, **service}
        return gate(echo, daemon={"workers": 1, **(daemon or {})}, **options)

    return start_it


@pytest.fixture
def calm(start):
    """The gate of most tests."""
    return start()


@pytest.fixture
def client(request):
    """Makes raw clients, of the test's `calm` gate unless `to` is another, or an address."""
    made = []

    def make(to=None, identity=IDENTITY.encode(), key=KEY, **how):
        to = to if to is not None else request.getfixturevalue("calm")
        address = to if isinstance(to, tuple) else to.address()
        made.append(Client(address, identity, key, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def intact(client, echo):
    """Says that the gate came to no harm: a client completes a handshake and gets its echo, and
    nothing but that and `expected` ever reached the backend."""

    def check(*expected, by=None):
        one = by if by is not None else client().handshake()
        one.echo(b"marker")
        assert echo.data == [*expected, b"marker"]

    return check


@pytest.fixture
def frugal(monkeypatch, start):
    """A gate whose memory can be measured: the address sanitizer keeps little of what was freed."""
    monkeypatch.setenv("ASAN_OPTIONS", "quarantine_size_mb=1")
    return start(daemon={"max_handshakes": 64}, handshake_timeout="1s")


@pytest.fixture
def resident():
    """Says how much memory a gate holds, in KiB."""

    def read(to):
        status = pathlib.Path(f"/proc/{to.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)

    return read
