"""transparent: the backend sees the client's own address, on this host or on another."""

import os
import pathlib
import socket
import subprocess

import pytest

from lib.gate import KEY
from lib.hosts import Hosts

# What an operator does on the gate's host: answers of the backend's port are for us.
LOCAL = ("route add local default dev lo table 5684",)


@pytest.fixture
def hosts():
    try:
        made = Hosts()
    except OSError as why:
        pytest.skip(str(why))
    yield made
    made.close()


@pytest.fixture
def two_links(hosts):
    """A client's host and a backend's, both with a link to ours alone."""
    hosts.link("client", "203.0.113.1", "203.0.113.9", 24)
    hosts.link("backend", "10.9.9.1", "10.9.9.2", 24)
    hosts.ip("rule add iif backend ipproto udp sport 5683 lookup 5684", *LOCAL)
    return hosts


def echo_on(hosts, backend, host, name="backend"):
    with hosts.inside(name):
        return backend(host=host, port=5683)


def client_on(hosts, client, *args, **how):
    with hosts.inside("client"):
        return client(*args, **how)


def has_only(pid, *capabilities):
    status = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    held = {line.split(":")[0]: int(line.split()[1], 16) for line in status if "Cap" in line}
    assert held["CapEff"] == held["CapPrm"] == sum(1 << c for c in capabilities), status
    assert held["CapInh"] == held["CapAmb"] == 0


@pytest.mark.parametrize("mode", ["yes", "client"])
def test_a_backend_on_another_host(two_links, gate, backend, client, mode):
    echo = echo_on(two_links, backend, "10.9.9.2")
    g = gate(echo, listen="203.0.113.1:5684", transparent=mode, daemon={"workers": 2})
    clients = [client_on(two_links, client, g).connect() for _ in range(5)]
    for i, c in enumerate(clients):
        for text in (b"%d" % i, b"%d again" % i):
            assert c.ask(text) == text
    peers = {d.peer for d in echo.received}
    assert {host for host, _ in peers} == {"203.0.113.9"}
    assert len(peers) == 5, "a session has a socket of its own"
    if mode == "client":
        assert peers == {c.source for c in clients}
    flows = g.events("session flow")
    assert {int(f["backend-port"]) for f in flows} == {port for _, port in peers}
    has_only(g.pid, 13)  # CAP_NET_RAW; the tests' own user is root


def test_the_box_keeps_one_capability_and_a_user_of_its_own(
    two_links, gate, backend, client, public_path
):
    echo = echo_on(two_links, backend, "10.9.9.2")
    keys = public_path / "keys"
    keys.write_text(f"dev-1:{KEY.hex()}\n")
    keys.chmod(0o640)
    os.chown(keys, 0, 65534)
    g = gate(
        echo,
        psk_file=keys,
        listen="203.0.113.1:5684",
        transparent="yes",
        daemon={"user": "nobody"},
    )
    assert client_on(two_links, client, g).connect().is_alive()
    assert echo.received[0].peer[0] == "203.0.113.9"
    status = pathlib.Path(f"/proc/{g.pid}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    has_only(g.pid, 13)


def test_without_it_no_capability_is_left(gate, echo, client):
    g = gate(echo)
    assert client(g).connect().is_alive()
    has_only(g.pid)


def test_ipv6(hosts, gate, backend, client):
    hosts.link("client", "2001:db8:1::1", "2001:db8:1::9", 64)
    hosts.link("backend", "2001:db8:2::1", "2001:db8:2::2", 64)
    hosts.ip(
        "-6 rule add iif backend ipproto udp sport 5683 lookup 5684",
        "-6 route add local default dev lo table 5684",
    )
    echo = echo_on(hosts, backend, "2001:db8:2::2")
    g = gate(echo, listen="[2001:db8:1::1]:5684", transparent="client")
    c = client_on(hosts, client, g).connect()
    assert c.is_alive()
    assert echo.received[0].peer[:2] == c.source == ("2001:db8:1::9", c.source[1])


def test_a_backend_on_the_same_host(hosts, gate, backend, client):
    hosts.link("client", "203.0.113.1", "203.0.113.9", 24)
    hosts.ip("rule add iif lo from 127.0.0.1 ipproto udp sport 5683 lookup 5684", *LOCAL)
    echo = backend(port=5683)
    g = gate(echo, listen="203.0.113.1:5684", transparent="client")
    c = client_on(hosts, client, g).connect()
    assert c.is_alive(b"one") and c.is_alive(b"two")
    assert {d.peer for d in echo.received} == {c.source}


def from_port(made, port):
    """Another socket for a client, of a port that a second one may have as well."""
    made.socket.close()
    made.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.socket.bind(("203.0.113.9", port))


def test_a_port_that_is_taken(two_links, gate, backend, client, psk, settings):
    """Two sessions from one address and port, at two services: the later one gets another port."""
    echo = echo_on(two_links, backend, "10.9.9.2")
    place = {"backend": echo.address, "psk-file": psk({"dev-1": KEY}), "transparent": "client"}
    sections = {
        "service one": {**place, "listen": "203.0.113.1:5684"},
        "service two": {**place, "listen": "203.0.113.1:5685"},
    }
    g = gate(ini=settings(sections))
    for name in ("one", "two"):
        with two_links.inside("client"):
            c = client(g.address(name))
            from_port(c, 40000)
            c.socket.connect(g.address(name))
            c.socket.setblocking(False)
        assert c.connect().is_alive(name.encode())
    first, second = (d.peer for d in echo.received)
    assert first == ("203.0.113.9", 40000)
    assert second[0] == "203.0.113.9" and second[1] != 40000


def test_a_client_on_this_host_keeps_its_port_to_itself(gate, echo, client):
    g = gate(echo, transparent="client")
    c = client(g, source=("127.0.0.5", 0)).connect()
    assert c.is_alive()
    host, port = echo.received[0].peer
    assert host == "127.0.0.5" and port != c.source[1]


def test_clients_of_another_family_are_dropped_and_counted(gate, backend, client):
    """A wildcard of IPv6 takes IPv4, too."""
    echo = backend(host="::1")
    g = gate(echo, listen="[::]:0", transparent="yes")
    c = client(("127.0.0.1", g.port)).connect()
    c.send(b"to nobody")
    other = client(("::1", g.port)).connect()
    assert other.is_alive()
    totals = g.end()
    assert (totals["client.drop_backend"], totals["flows_failed"]) == (1, 1)


def test_clients_of_another_family_can_be_kept_out(gate, backend, client):
    g = gate(backend(host="::1"), listen="[::]:0", transparent="yes", allow="::/0")
    assert client(("::1", g.port)).connect().is_alive()
    stranger = client(("127.0.0.1", g.port)).begin()
    assert stranger.datagram(0.5) is None
    assert g.end()["client.drop_denied"] == 1


def test_a_backend_that_refuses(two_links, gate, client):
    two_links.ip("rule add iif backend ipproto icmp lookup 5684")
    g = gate("10.9.9.2:5683", listen="203.0.113.1:5684", transparent="yes")
    c = client_on(two_links, client, g).connect()
    c.send(b"anybody there?")
    g.wait_event("backend refuses")
    assert g.end()["backend_refused"] >= 1


def test_without_the_capability_it_says_what_is_missing(binary, tmp_path, psk):
    if os.geteuid() == 0:
        as_nobody = ["setpriv", "--bounding-set=-net_raw,-net_admin", "--inh-caps=-all"]
    else:
        as_nobody = []
    ini = tmp_path / "t.ini"
    keys = psk({"dev-1": KEY})
    ini.write_text(
        f"[service s]\nlisten = 127.0.0.1:0\nbackend = 127.0.0.1:5683\npsk-file = {keys}\n"
        "transparent = yes\n"
    )
    done = subprocess.run(
        [*as_nobody, binary, "-c", ini], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"{ini}:1: service.s.transparent: cannot take a client's address: Operation not permitted; "
        "start as root, give CAP_NET_RAW, or set it to no\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give up")
def test_another_capability_that_would_do_for_the_socket_is_not_enough(binary, settings, psk):
    """CAP_NET_ADMIN, which the unit has, is none that the process keeps."""
    place = {"listen": "127.0.0.1:0", "backend": "127.0.0.1:9", "psk-file": psk({"dev-1": KEY})}
    ini = settings({"service coap": place | {"transparent": "yes"}})
    words = ["setpriv", "--bounding-set", "-net_raw", binary, "-c", ini]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (
        2,
        f"{ini}:1: service.coap.transparent: cannot take a client's address: Operation not "
        "permitted; start as root, give CAP_NET_RAW, or set it to no\n",
    )
