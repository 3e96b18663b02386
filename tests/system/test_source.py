"""backend-source: the addresses that the backend sees, whose they are, and who can reach them."""

import ctypes
import os
import socket
import subprocess

import pytest

from lib.gate import KEY
from lib.programs import dnsmasq

LOOPBACK = "127.64.0.0/10"
CLONE_NEWNET = 0x40000000
KEYS = {f"dev-{i}": bytes([i]) * 16 for i in range(1, 9)}


def where(event):
    """From where a session reaches its backend, as its flow's event tells."""
    return event["backend-source"], int(event["backend-port"])


def descriptors(gate):
    return len(os.listdir(f"/proc/{gate.pid}/fd"))


def strangers(gate):
    """How many datagrams it ended with that nobody had asked for."""
    return gate.end().get("backend.drop_stranger", 0)


@pytest.fixture
def home():
    """A socket of this host at any address, for whoever is not the backend."""
    made = []

    def make(host="127.0.0.1", family=socket.AF_INET):
        made.append(socket.socket(family, socket.SOCK_DGRAM))
        made[-1].bind((host, 0))
        return made[-1]

    yield make
    for one in made:
        one.close()


# ---- a prefix ----


def test_each_session_has_an_address_and_all_have_one_port(gate, echo, client):
    g = gate(echo, backend_source=LOOPBACK, daemon={"workers": 1})
    before = descriptors(g)
    clients = [client(g).connect() for _ in range(20)]
    assert descriptors(g) == before, "a session has cost a descriptor"
    for i, c in enumerate(clients):
        assert c.is_alive(b"%d" % i)
    peers = [d.peer for d in echo.wait(20)]
    assert [host for host, _ in peers] == [f"127.64.0.{i}" for i in range(1, 21)]
    assert len(set(echo.ports)) == 1
    assert [where(f) for f in g.events("session flow")] == peers
    clients[4].close()
    assert g.wait_event("session end")["backend-source"] == "127.64.0.5"


def test_workers_share_the_prefix(gate, echo, client):
    g = gate(echo, backend_source=LOOPBACK, daemon={"workers": 3})
    clients = [client(g).connect() for _ in range(30)]
    assert all(c.is_alive() for c in clients)
    peers = [d.peer for d in echo.wait(30)]
    assert len({host for host, _ in peers}) == 30
    for host, port in peers:
        worker = (int(host.rsplit(".", 1)[1]) - 1) % 3
        assert {p for h, p in peers if (int(h.rsplit(".", 1)[1]) - 1) % 3 == worker} == {port}


def test_an_address_rests_before_another_session_gets_it(gate, echo, client):
    g = gate(echo, backend_source="127.64.0.0/29", daemon={"workers": 1, "max-sessions": 6})
    for i in range(7):
        c = client(g).connect()
        c.close()
        g.wait_event("session end", i + 1)
    sources = [f["backend-source"] for f in g.events("session flow")]
    assert sources == [f"127.64.0.{i}" for i in (1, 2, 3, 4, 5, 6, 1)]


def test_the_backend_pushes_to_a_session_that_sleeps(gate, echo, client):
    """Nothing but the handshake has been said, or nothing for longer than flow-timeout."""
    g = gate(echo, backend_source=LOOPBACK, flow_timeout="1s")
    sleeping, other = client(g).connect(), client(g).connect()
    place = where(g.wait_event("session flow"))
    echo.send(place, b"wake up")
    assert sleeping.recv() == b"wake up"
    assert other.recv(1.5) is None
    echo.send(place, b"again")
    assert sleeping.recv() == b"again"
    assert not g.events("session end")
    totals = g.end()
    assert (totals["flows_opened"], totals["backend.sealed"]) == (2, 2)


def test_strangers_reach_no_session(gate, echo, client, home):
    g = gate(echo, backend_source=LOOPBACK, daemon={"workers": 1})
    c = client(g).connect()
    source, port = where(g.wait_event("session flow"))
    home().sendto(b"another port than the backend's", (source, port))
    home("127.0.0.2").sendto(b"another address", (source, port))
    for unused in ("127.64.0.99", "127.64.0.0", "127.0.0.1", "127.3.2.1"):
        echo.send((unused, port), b"to nobody")
    assert c.ask(b"still there?") == b"still there?"
    assert len(c.seen[-1]) < 100 and c.recv(0.2) is None
    assert strangers(g) == 6


def test_a_late_answer_reaches_nobody(gate, backend, client):
    mute = backend(lambda _data: None)
    g = gate(mute, backend_source=LOOPBACK, daemon={"workers": 1})
    first = client(g).connect()
    first.send(b"question")
    peer = mute.wait(1)[0].peer
    first.close()
    g.wait_event("session end")
    second = client(g).connect()
    mute.send(peer, b"answer")
    assert second.recv(0.5) is None
    assert strangers(g) == 1


def test_no_other_host_reaches_the_socket(gate, echo, client):
    """Its port is open on the loopback device alone."""
    g = gate(echo, backend_source=LOOPBACK, daemon={"workers": 1})
    client(g).connect()
    port = where(g.wait_event("session flow"))[1]
    sockets = subprocess.run(["ss", "-ulnH", f"sport = :{port}"], capture_output=True, text=True)
    assert f"0.0.0.0%lo:{port}" in sockets.stdout, sockets.stdout


def test_many_datagrams_of_many_sessions(gate, echo, client):
    g = gate(echo, backend_source=LOOPBACK)
    clients = [client(g).connect() for _ in range(10)]
    for i, c in enumerate(clients):
        for j in range(20):
            c.send(b"%d.%d" % (i, j) * (j + 1))
    for i, c in enumerate(clients):
        assert [c.recv() for _ in range(20)] == [b"%d.%d" % (i, j) * (j + 1) for j in range(20)]


def test_a_reload_moves_all_sessions_to_another_backend(gate, backend, client, settings, psk):
    one, two = backend(bytes.upper), backend(lambda data: data[::-1])
    place = {"listen": "127.0.0.1:0", "psk-file": psk({"dev-1": KEY}), "backend-source": LOOPBACK}
    ini = settings({"service default": {**place, "backend": one.address}})
    g = gate(ini=ini)
    c = client(g).connect()
    assert c.ask(b"abc") == b"ABC"
    settings({"service default": {**place, "backend": two.address}})
    assert "reloaded" in g.reload()
    assert c.ask(b"abc") == b"cba"
    assert one.received[0].peer == two.received[0].peer
    settings({"service default": {**place, "backend": two.address, "backend-source": ""}})
    assert "failed" in g.reload()
    assert g.log.find("backend-source: cannot change while running")


def test_dnsmasq_logs_an_address_for_each_client(gate, client):
    program, port = dnsmasq("--address=/gate.test/192.0.2.7", "--log-queries")
    question = b"\0\7\1\0\0\1\0\0\0\0\0\0\4gate\4test\0\0\1\0\1"
    g = gate(f"127.0.0.1:{port}", backend_source=LOOPBACK, daemon={"workers": 1})
    for _ in range(2):
        assert client(g).connect().ask(question).endswith(bytes([192, 0, 2, 7]))
    for source in ("127.64.0.1", "127.64.0.2"):
        program.out.wait(rf"query\[A\] gate.test from {source}$")
    program.stop()


# ---- an address for each identity ----


def by_identity(g):
    names = {o["id"]: o["identity"] for o in g.events("session open")}
    return {names[f["id"]]: f["backend-source"] for f in g.events("session flow")}


def test_an_identity_keeps_its_address(gate, echo, client):
    """From session to session, from worker to worker, and over a restart."""
    seen = []
    for workers in (1, 2):
        g = gate(
            echo,
            keys=KEYS,
            backend_source=LOOPBACK,
            source_by="identity",
            daemon={"workers": workers},
        )
        for _ in range(2):
            for name, key in KEYS.items():
                c = client(g, name, key).connect()
                assert c.is_alive()
                c.close()
            seen.append(by_identity(g))
        g.end()
    assert seen[0].keys() == KEYS.keys() and len(set(seen[0].values())) == len(KEYS)
    assert all(one == seen[0] for one in seen)
    hosts = [d.peer[0] for d in echo.received]
    assert hosts == list(seen[0].values()) * 4


def test_a_new_session_of_an_identity_takes_its_address_over(gate, echo, client):
    g = gate(echo, backend_source=LOOPBACK, source_by="identity", daemon={"workers": 1})
    old = client(g).connect()
    assert old.is_alive()
    new = client(g).connect()
    assert g.wait_event("session end")["reason"] == "identity in use elsewhere"
    first, second = (where(f) for f in g.events("session flow"))
    assert first == second
    echo.send(second, b"for the new one")
    assert new.recv() == b"for the new one"


def test_a_reload_moves_identities_only_where_it_must(gate, echo, client, psk):
    """dev-2 and dev-6 would like the same address of these six: the first in the file has it."""
    names = ["dev-1", "dev-2", "dev-6"]
    path = psk({name: KEYS[name] for name in names})
    g = gate(
        echo,
        psk_file=path,
        keys=KEYS,
        backend_source="127.64.0.0/29",
        source_by="identity",
        daemon={"workers": 1},
    )
    clients = {name: client(g, name, KEYS[name]).connect() for name in names}
    before = by_identity(g)
    psk({name: KEYS[name] for name in [*names, "dev-3", "dev-4", "dev-5"]})
    g.reload()
    assert all(c.is_alive() for c in clients.values())
    assert by_identity(g) == before and len(g.events("session flow")) == 3
    psk({name: KEYS[name] for name in ["dev-6", "dev-1", "dev-2"]})
    g.reload()
    assert all(c.is_alive() for c in clients.values())
    after = by_identity(g)
    assert [d.peer[0] for d in echo.wait(6)][3:] == [after[name] for name in names]
    assert after["dev-1"] == before["dev-1"] and after["dev-6"] == before["dev-2"]
    assert len(set(after.values())) == 3
    psk(KEYS)
    assert "failed" in g.reload()
    assert g.log.find("127.64.0.0/29 has 6 addresses, and psk-file has 8 identities")


# ---- a list ----


def test_sockets_are_spread_over_the_addresses(gate, echo, client):
    g = gate(echo, backend_source="127.0.0.2, 127.0.0.3", daemon={"workers": 1})
    clients = [client(g).connect() for _ in range(4)]
    assert all(c.is_alive() for c in clients)
    peers = [d.peer for d in echo.received]
    assert [host for host, _ in peers] == ["127.0.0.2", "127.0.0.3"] * 2
    assert [where(f) for f in g.events("session flow")] == peers
    clients[1].close()
    assert g.wait_event("session end")["backend-source"] == "127.0.0.3"


def test_an_address_that_is_not_ours_is_passed_over(gate, echo, client):
    g = gate(echo, backend_source="203.0.113.1, 127.0.0.3", daemon={"workers": 1})
    for _ in range(2):
        assert client(g).connect().is_alive()
    assert [host for host, _ in (d.peer for d in echo.received)] == ["127.0.0.3"] * 2
    assert g.log.find("warning .*backend-source: 203.0.113.1 is no address of this host; give it")
    assert len(g.log.find("is no address of this host")) == 1


# ---- a network of its own ----


@pytest.fixture
def network():
    """A network namespace around the test and all that it starts: network("ip command", ...)."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as outside:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"no network of its own: {os.strerror(ctypes.get_errno())}")

        def change(*commands):
            for command in ("link set lo up", *commands):
                subprocess.run(["ip", *command.split()], check=True)

        try:
            yield change
        finally:
            assert libc.setns(outside.fileno(), CLONE_NEWNET) == 0


def test_an_ipv6_prefix_behind_a_route(network, gate, backend, client, home):
    network("-6 addr add 2001:db8:1::1/128 dev lo", "-6 route add local 2001:db8:64::/64 dev lo")
    echo = backend(host="2001:db8:1::1")
    g = gate(echo, backend_source="2001:db8:64::/64", daemon={"workers": 1})
    clients = [client(g).connect() for _ in range(3)]
    assert all(c.is_alive() for c in clients)
    assert [d.peer[0] for d in echo.received] == [f"2001:db8:64::{i}" for i in (1, 2, 3)]
    place = where(g.events("session flow")[1])
    echo.send(place, b"a push")
    assert clients[1].recv() == b"a push"
    home("::1", socket.AF_INET6).sendto(b"a stranger's", place)
    echo.send(("2001:db8:64::4", place[1]), b"to nobody")
    echo.send(("2001:db8:1::1", place[1]), b"outside")
    assert clients[1].is_alive()
    assert strangers(g) == 3


def test_an_ipv6_address_for_each_identity(network, gate, backend, client):
    network("-6 route add local 2001:db8:64::/64 dev lo")
    echo = backend(host="::1")
    seen = []
    for _ in range(2):
        g = gate(echo, keys=KEYS, backend_source="2001:db8:64::/64", source_by="identity")
        for name, key in KEYS.items():
            assert client(g, name, key).connect().is_alive()
        seen.append(by_identity(g))
        g.end()
    assert seen[0] == seen[1] and len(set(seen[0].values())) == len(KEYS)


def test_an_ipv4_prefix_behind_a_route(network, gate, backend, client, home):
    network("route add local 10.64.0.0/16 dev lo", "addr add 203.0.113.1/32 dev lo")
    echo = backend(host="203.0.113.1")
    g = gate(echo, backend_source="10.64.0.0/16", daemon={"workers": 1, "max-sessions": 1000})
    c = client(g).connect()
    assert c.is_alive()
    assert echo.received[0].peer[0] == "10.64.0.1"
    home("203.0.113.1").sendto(b"another port", where(g.events("session flow")[0]))
    assert c.is_alive()
    assert strangers(g) == 1


def test_a_prefix_without_a_route(network, gate, backend, client):
    network()
    g = gate(backend(), backend_source="10.64.0.0/16", daemon={"max-sessions": 1000})
    c = client(g).connect()
    assert g.log.find("warning .*backend-source: 10.64.0.1 is no address of this host; give it")
    c.send(b"nowhere")
    network("route add local 10.64.0.0/16 dev lo")
    assert c.is_alive(), "the route has come late, and nothing else was missing"


def test_as_many_flows_as_all_addresses_have_ports(network, gate, backend, client):
    """Ten ports an address: two addresses make twenty flows, and then one has to give way."""
    network()
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as ports:
        ports.write("40000 40009")
    echo = backend(port=5683)
    g = gate(
        echo,
        listen="127.0.0.1:5684",
        backend_source="127.0.0.2, 127.0.0.3",
        daemon={"workers": 1},
    )
    clients = [client(g, source=("127.0.0.4", 50000 + i)).connect() for i in range(21)]
    for c in clients[:20]:
        assert c.is_alive()
    assert len({d.peer for d in echo.received}) == 20
    assert clients[20].is_alive()
    totals = g.end()
    assert (totals["flows_opened"], totals.get("flows_failed", 0)) == (21, 0)
