"""Several backends: who gets which session, and what becomes of it when one goes down or away."""

import os
import re
import subprocess
import sys

import pytest

from lib.backend import unused_port
from lib.control import Control
from lib.gate import KEY, Gate, until

KEYS = {f"dev-{i}": bytes([i]) * 16 for i in range(1, 17)}
RETRY = "300ms"

TELLER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
print(s.getsockname()[1], flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(sys.argv[3].encode() + b" " + data, peer)
"""


class Teller:
    """A backend in a process of its own that says who it is."""

    def __init__(self, name, host="127.0.0.1", port=0):
        words = [sys.executable, "-c", TELLER, host, str(port), name]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.name, self.host = name, host
        self.port = int(self.process.stdout.readline())

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def teller():
    made = []

    def make(*args, **how):
        made.append(Teller(*args, **how))
        return made[-1]

    yield make
    for one in made:
        if one.process.returncode is None:
            one.kill()


def list_of(*tellers):
    return ", ".join(one if isinstance(one, str) else one.address for one in tellers)


def who(c):
    """The backend that a client's question reaches."""
    name, _, rest = c.ask(b"who").partition(b" ")
    assert rest == b"who"
    return name.decode()


def who_after(c, tries=50):
    """The same where a datagram may be lost to one that is down."""
    name, _, rest = c.ask_surely(b"who", tries).partition(b" ")
    assert rest == b"who"
    return name.decode()


def clients_of(gate, client, ids=KEYS):
    return {i: client(gate, i, KEYS[i]).connect() for i in ids}


def change(gate, tmp_path, old, new):
    ini = tmp_path / "dtlsgate.ini"
    text = ini.read_text()
    assert old in text
    ini.write_text(text.replace(old, new))
    assert "reloaded" in gate.reload()


# ---- the choice ----


@pytest.mark.parametrize("workers", [1, 2])
def test_an_identity_is_always_with_the_same(gate, teller, client, workers):
    a, b = teller("a"), teller("b")
    g = gate(list_of(a, b), keys=KEYS, daemon={"workers": workers})
    first = {i: who(c) for i, c in clients_of(g, client).items()}
    assert {i: who(c) for i, c in clients_of(g, client).items()} == first
    assert set(first.values()) == {"a", "b"}
    g.end()
    again = gate(list_of(b, a), keys=KEYS, daemon={"workers": workers})
    assert {i: who(c) for i, c in clients_of(again, client).items()} == first


def test_addresses_have_one_each(gate, teller, client):
    g = gate(list_of(teller("a"), teller("b")), keys=KEYS, balance="address")
    found = {}
    for i in range(1, 21):
        host = f"127.0.1.{i}"
        asked = [client(g, d, KEYS[d], source=(host, 0)).connect() for d in ("dev-1", "dev-2")]
        found[host] = {who(c) for c in asked}
        assert len(found[host]) == 1
    assert set.union(*found.values()) == {"a", "b"}


def test_round_robin_by_weight(gate, teller, client):
    g = gate(
        list_of(teller("a"), teller("b").address + " weight=3"),
        keys=KEYS,
        balance="round-robin",
        daemon={"workers": 1},
    )
    names = [who(c) for c in clients_of(g, client).values()]
    assert (names.count("a"), names.count("b")) == (4, 12)
    flows = g.events("session flow")
    assert len({f["backend"] for f in flows}) == 2
    assert {e["backend"] for e in g.events("session open")} == {"-"}


def test_settings_in_effect(run, settings, psk):
    text = "127.0.0.1:1 weight=2, localhost:2 backup, [::1]:3 drain"
    place = {"listen": "127.0.0.1:0", "backend": text, "psk-file": psk({"dev-1": KEY})}
    done = run("-c", settings({"service coap": {**place, "probe": "udp:40000001"}}), "-T")
    assert f"backend = {text}\n" in done.stdout
    assert "probe = udp:40000001\n" in done.stdout


def test_families_mix_unless_the_source_says_otherwise(gate, backend, client, run, settings, psk):
    four, six = backend(lambda data: b"4"), backend(lambda data: b"6", host="::1")
    g = gate(list_of(four, six), keys=KEYS, balance="round-robin", daemon={"workers": 1})
    assert [client(g, "dev-1", KEYS["dev-1"]).connect().ask(b"x") for _ in range(2)] == [b"4", b"6"]
    place = {"listen": "127.0.0.1:0", "backend": list_of(four, six), "psk-file": psk({"x": KEY})}
    ini = settings({"service coap": {**place, "backend-source": "127.0.0.2"}}, "other.ini")
    done = run("-c", ini, "-t")
    assert done.returncode == 2
    assert "coap.backend-source: 127.0.0.2 is of another family than the backend" in done.stderr


# ---- down and up ----


@pytest.mark.parametrize("source", ["", "127.0.0.3"])
def test_clients_of_a_lost_one_go_on_with_the_other(gate, teller, client, source):
    a, b = teller("a"), teller("b")
    g = gate(
        list_of(a, b), keys=KEYS, backend_retry=RETRY, backend_source=source, daemon={"workers": 1}
    )
    clients = clients_of(g, client)
    first = {i: who(c) for i, c in clients.items()}
    a.kill()
    assert {who_after(c) for c in clients.values()} == {"b"}
    down = g.wait_event("backend down")
    assert (down["backend"], down["reason"]) == (a.address, "refused")
    back = teller("a", port=a.port)
    until(lambda: who_after(client(g, *pick_of(first, "a")).connect()) == "a")
    assert g.wait_event("backend up")["backend"] == back.address
    assert {who(c) for c in clients.values()} == {"b"}, "who has moved stays"
    assert {i: who_after(c) for i, c in clients_of(g, client).items()} == first
    assert g.end()["flows_moved"] >= sum(name == "a" for name in first.values())


def pick_of(first, name):
    """An identity that a backend has, and its key."""
    found = next(i for i, n in first.items() if n == name)
    return found, KEYS[found]


def test_a_backup_serves_while_nobody_else_does(gate, teller, client):
    a, spare = teller("a"), teller("spare")
    g = gate(list_of(a, spare.address + " backup"), keys=KEYS, backend_retry=RETRY)
    clients = clients_of(g, client, ["dev-1", "dev-2", "dev-3"])
    assert {who(c) for c in clients.values()} == {"a"}
    a.kill()
    assert {who_after(c) for c in clients.values()} == {"spare"}
    teller("a", port=a.port)
    until(lambda: who_after(client(g, "dev-4", KEYS["dev-4"]).connect()) == "a")


def test_when_all_are_down_sessions_wait_where_they_are(gate, teller, client):
    a, b = teller("a"), teller("b")
    g = gate(list_of(a, b), keys=KEYS, backend_retry="1h", daemon={"workers": 1})
    clients = clients_of(g, client, ["dev-1", "dev-2", "dev-3", "dev-4"])
    for c in clients.values():
        who(c)
    a.kill(), b.kill()

    def all_down():
        for c in clients.values():
            c.send(b"lost")
        return len(g.events("backend down")) == 2

    until(all_down)
    teller("a", port=a.port), teller("b", port=b.port)
    late = client(g, "dev-5", KEYS["dev-5"]).connect()
    assert who_after(late) in ("a", "b")
    assert {who_after(c) for c in clients.values()} <= {"a", "b"}
    assert g.end()["flows_hopeless"] == 1


def test_a_silent_backend_is_found_by_the_probe(gate, teller, backend, client):
    is_silent = []
    b = backend(lambda data: None if is_silent else b"b " + data)
    a = teller("a")
    g = gate(
        list_of(a, b),
        keys=KEYS,
        probe="udp:70726f6265",
        probe_interval="100ms",
        daemon={"workers": 2},
    )
    clients = clients_of(g, client)
    first = {i: who(c) for i, c in clients.items()}
    assert set(first.values()) == {"a", "b"}
    is_silent.append(True)
    down = g.wait_event("backend down")
    assert (down["backend"], down["reason"]) == (b.address, "does not answer the probe")
    assert {who_after(c) for c in clients.values()} == {"a"}
    is_silent.clear()
    assert g.wait_event("backend up")["backend"] == b.address
    until(lambda: who(client(g, *pick_of(first, "b")).connect()) == "b")
    assert b"probe" in b.data
    a.kill()
    g.wait_event("backend down", backend=a.address, reason="refuses the probe")


def test_a_shared_socket_with_several_backends(gate, teller, backend, client):
    is_silent = []
    a = teller("a")
    b = backend(lambda data: None if is_silent else b"b " + data)
    g = gate(
        list_of(a, b),
        keys=KEYS,
        backend_source="127.64.0.0/10",
        balance="round-robin",
        probe="udp:00",
        probe_interval="100ms",
        daemon={"workers": 1},
    )
    clients = clients_of(g, client, ["dev-1", "dev-2", "dev-3", "dev-4"])
    assert [who(c) for c in clients.values()] == ["a", "b", "a", "b"]
    before = {d.peer[0] for d in b.received if d.data == b"who"}
    a.kill()
    g.wait_event("backend down")
    assert {who_after(c) for c in clients.values()} == {"b"}
    hosts = {d.peer[0] for d in b.received if d.data == b"who"}
    assert before < hosts == {f"127.64.0.{i}" for i in range(1, 5)}, "an address was lost"


# ---- reload ----


def test_a_reload_drains_one(gate, teller, client, tmp_path):
    a, b = teller("a"), teller("b")
    g = gate(list_of(a, b), keys=KEYS)
    clients = clients_of(g, client)
    first = {i: who(c) for i, c in clients.items()}
    change(g, tmp_path, a.address, a.address + " drain")
    assert {i: who(c) for i, c in clients.items()} == first
    assert {who(c) for c in clients_of(g, client).values()} == {"b"}
    change(g, tmp_path, a.address + " drain", a.address)
    assert {i: who(c) for i, c in clients_of(g, client).items()} == first


def test_an_order_drains_one(gate, teller, client, tmp_path):
    a, b = teller("a"), teller("b")
    g = gate(list_of(a, b), keys=KEYS, daemon={"control-socket": tmp_path / "control"})
    control = Control(tmp_path / "control")
    clients = clients_of(g, client)
    first = {i: who(c) for i, c in clients.items()}
    assert control(f"backend default {a.address} drain") == "draining: yes\n"
    assert {i: who(c) for i, c in clients.items()} == first
    assert {who(c) for c in clients_of(g, client).values()} == {"b"}
    known = {one["address"]: one for one in control.json("status")["backends"]}
    assert [known[one.address]["draining"] for one in (a, b)] == [True, False]
    assert known[a.address]["flows-opened"] == list(first.values()).count("a")
    assert control.json(f"backend default {a.address} up") == {"draining": False}
    assert {i: who(c) for i, c in clients_of(g, client).items()} == first
    assert control.refusal("backend default 127.0.0.1:9 drain")[0].startswith("this is no backend")


def test_a_reload_takes_one_out_and_puts_one_in(gate, teller, client, tmp_path):
    a, b, c3 = teller("a"), teller("b"), teller("c")
    g = gate(list_of(a, b), keys=KEYS)
    clients = clients_of(g, client)
    first = {i: who(c) for i, c in clients.items()}
    change(g, tmp_path, a.address, c3.address)
    second = {i: who(c) for i, c in clients.items()}
    assert {second[i] for i in first if first[i] == "a"} <= {"b", "c"}
    assert {second[i] for i in first if first[i] == "b"} == {"b"}, "one of the other's has moved"
    assert "c" in second.values()


# ---- names ----


@pytest.fixture
def hosts(binary, tmp_path):
    """A dtlsgate whose /etc/hosts the test writes, in a namespace of mounts."""
    path = tmp_path / "hosts"
    path.touch()
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        pytest.skip("a namespace of mounts takes root")
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(
        "#!/bin/sh\n"
        f"exec unshare -m sh -c 'mount --bind {path} /etc/hosts && exec {binary} \"$@\"' - \"$@\"\n"
    )
    wrapper.chmod(0o755)

    class Hosts:
        def write(self, address):
            """In place, for the mount holds on to the file; atomically, as one line."""
            fd = os.open(path, os.O_WRONLY)
            os.pwrite(fd, f"{address:<15} echo.test\n".encode(), 0)
            os.close(fd)

        def start(self, ini):
            return Gate(wrapper, ["-c", ini], tmp_path).wait_ready()

    return Hosts()


def test_a_name_whose_address_changes(hosts, settings, teller, psk, client):
    port = unused_port()
    hosts.write("127.0.0.1")
    a = teller("a", host="127.0.0.1", port=port)
    b = teller("b", host="127.0.0.2", port=port)
    place = {"listen": "127.0.0.1:0", "backend": f"echo.test:{port}", "psk-file": psk(KEYS)}
    g = hosts.start(settings({"daemon": {"resolve-interval": "1s"}, "service default": place}))
    try:
        c = client(g, "dev-1", KEYS["dev-1"]).connect()
        assert who(c) == "a"
        assert g.wait_event("session open")["backend"] == f"echo.test:{port}"
        assert g.wait_event("session flow")["backend"] == a.address
        hosts.write("127.0.0.2")
        moved = g.wait_event("backend moved")
        assert (moved["before"], moved["backend"]) == (a.address, b.address)
        until(lambda: who(c) == "b")
        hosts.write("127.0.0.1")
        g.wait_event("backend moved", 2)
        until(lambda: who(c) == "a")
        assert not re.search("session end|denied", g.log.text())
        g.end()
    finally:
        g.kill()
