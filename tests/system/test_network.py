"""Addresses: several services, several listeners, IPv6, wildcards, and whose port it is."""

import socket

import pytest

from lib.gate import KEY


def local_of(gate, peer_port):
    opened = [o for o in gate.events("session open") if o["peer"].endswith(f":{peer_port}")]
    return opened[-1]["local"]


def test_several_services_each_with_its_backend_and_keys(gate, backend, client, psk, settings):
    first, second = backend(bytes.upper), backend(lambda data: data[::-1])
    sections = {
        "service one": {"listen": "127.0.0.1:0", "backend": first.address},
        "service two": {"listen": "127.0.0.1:0", "backend": second.address},
    }
    keys = {"one": bytes(range(16)), "two": bytes(range(16, 48))}
    for name, key in keys.items():
        sections[f"service {name}"]["psk-file"] = psk({f"dev-{name}": key}, f"{name}.psk")
    g = gate(ini=settings(sections), keys=keys)
    one = client(g.address("one"), "dev-one", keys["one"]).connect()
    two = client(g.address("two"), "dev-two", keys["two"]).connect()
    assert one.ask(b"abc") == b"ABC"
    assert two.ask(b"abc") == b"cba"
    assert {o["service"] for o in g.events("session open")} == {"one", "two"}


def test_a_key_opens_only_its_own_service(gate, backend, client, psk, settings):
    echo = backend()
    place = {"listen": "127.0.0.1:0", "backend": echo.address, "handshake-timeout": "1s"}
    sections = {
        "service one": {**place, "psk-file": psk({"dev-1": KEY}, "one.psk")},
        "service two": {**place, "psk-file": psk({"dev-1": bytes(range(32))}, "two.psk")},
    }
    g = gate(ini=settings(sections))
    c = client(g.address("two"), "dev-1", KEY).begin()
    for _ in range(2):
        assert not c.step()
    assert g.wait_event("handshake failed")["service"] == "two"
    assert client(g.address("one"), "dev-1", KEY).connect().is_alive()


def test_the_same_client_port_at_two_services(gate, echo, client, psk, settings):
    """Two peers in all but name: the listener is part of who they are."""
    place = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": psk({"dev-1": KEY})}
    g = gate(ini=settings({"service one": place, "service two": place}))
    one = client(g.address("one")).connect()
    one.send(b"one")
    assert one.recv() == b"one"
    # The kernel lets two sockets have one port where both connect elsewhere.
    two = client(g.address("two"))
    two.socket.close()
    two.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    two.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    two.socket.bind(one.source)
    two.socket.connect(g.address("two"))
    two.socket.setblocking(False)
    two.connect()
    assert two.is_alive(b"two")
    assert one.is_alive(b"one again")
    assert not g.events("session end")


def test_several_listen_addresses(gate, echo, client):
    g = gate(echo, listen="127.0.0.1:0, 127.0.0.2:0, [::1]:0")
    addresses = g.addresses()
    assert [host for host, _ in addresses] == ["127.0.0.1", "127.0.0.2", "::1"]
    for address in addresses:
        assert client(address).connect().is_alive()
    assert len(echo.ports) == 3


def test_ipv6_on_both_sides(gate, backend, client):
    echo = backend(host="::1")
    g = gate(echo, listen="[::1]:0")
    c = client(g).connect()
    assert c.is_alive()
    assert g.events("session open")[0]["peer"] == f"[::1]:{c.source[1]}"
    assert echo.received[0].peer[0] == "::1"


@pytest.mark.parametrize("workers", [1, 3])
def test_answers_of_a_dual_stack_wildcard_leave_from_where_they_were_asked(
    gate, echo, client, workers
):
    """The clients' sockets are connected: an answer of another address would never arrive."""
    g = gate(echo, listen="[::]:0", daemon={"workers": workers})
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        c = client((host, g.port)).connect()
        assert c.is_alive()
        place = f"[{host}]" if ":" in host else host
        assert local_of(g, c.source[1]) == f"{place}:{g.port}"
    opened = g.events("session open")
    assert not any("ffff" in o["peer"] + o["local"] for o in opened), "a v4-mapped address"


def test_answers_of_an_ipv4_wildcard(gate, echo, client):
    g = gate(echo, listen="0.0.0.0:0")
    for host in ("127.0.0.1", "127.0.0.3"):
        assert client((host, g.port)).connect().is_alive()


def test_both_wildcards_on_one_port(gate, echo, client, free_port):
    g = gate(echo, listen=f"[::]:{free_port}, 0.0.0.0:{free_port}")
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        assert client((host, free_port)).connect().is_alive()


def test_a_backend_by_name(gate, backend, client):
    echo = backend()
    g = gate(f"localhost:{echo.port}")
    assert client(g).connect().is_alive()


def test_a_client_that_is_the_whole_local_network(gate, echo, client):
    """Clients of other addresses and of one port are different peers."""
    g = gate(echo, listen="127.0.0.1:0")
    first = client(g, source=("127.0.0.5", 0)).connect()
    second = client(g, source=("127.0.0.6", first.source[1])).connect()
    assert first.is_alive(b"first") and second.is_alive(b"second")
    assert len(echo.ports) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_dtlsgate_on_the_same_port(gate, echo, run, psk, client, workers):
    g = gate(echo, daemon={"workers": workers})
    line = ["-l", f"127.0.0.1:{g.port}", "-b", echo.address, "-k", psk({"dev-1": KEY})]
    second = run(*line, "-o", f"daemon.workers={workers}")
    assert second.returncode == 2
    assert second.stderr == (
        f"command line: service.default.listen: cannot bind 127.0.0.1:{g.port}: Address already "
        "in use; stop what holds it (ss -ulnp tells), or choose another port\n"
    )
    assert client(g).connect().is_alive()


def test_a_foreign_program_cannot_join_the_port(gate, echo):
    """Another user's socket could take datagrams away: SO_REUSEPORT joins only the same user."""
    g = gate(echo)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        with pytest.raises(OSError):
            s.bind(("127.0.0.1", g.port))


def test_all_ports_that_cannot_be_bound_are_told_at_once(run, echo, psk, settings):
    held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    try:
        for s in held:
            s.bind(("127.0.0.1", 0))
        ports = [s.getsockname()[1] for s in held]
        place = {"backend": echo.address, "psk-file": psk({"dev-1": KEY})}
        ini = settings({
            "service one": {"listen": f"127.0.0.1:{ports[0]}", **place},
            "service two": {"listen": f"127.0.0.1:{ports[1]}, 192.0.2.1:5684", **place},
        })
        done = run("-c", ini)
    finally:
        for s in held:
            s.close()
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    for line, text in zip(lines, [
        f"one.listen: cannot bind 127.0.0.1:{ports[0]}: Address already in use",
        f"two.listen: cannot bind 127.0.0.1:{ports[1]}: Address already in use",
        "two.listen: cannot bind 192.0.2.1:5684: Cannot assign requested address",
    ]):
        assert line.startswith(f"{ini}:") and f"service.{text}; " in line, line
