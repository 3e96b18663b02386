"""trace: what one device's handshakes and records come to, as they happen."""

import json
import shutil
import socket
import struct
import subprocess

import pytest

from lib.control import Control, connect, ctl_path
from lib.dtls import DTLS10, Refused
from lib.gate import KEY, Log, environment, fields, until

KEYS = {"dev-1": KEY, "dev-2": KEY}


class Trace:
    """dtlsgatectl, and what it has printed so far."""

    def __init__(self, path, *words):
        self.process = subprocess.Popen(
            [ctl_path(), "-s", path, "trace", *words], env=environment(), stdout=subprocess.PIPE
        )
        self.out = Log(self.process.stdout)

    def events(self, **wanted):
        found = [fields(line) for line in self.out.find("^event: ")]
        return [e for e in found if all(e.get(k) == v for k, v in wanted.items())]

    def wait(self, pattern, count=1):
        return fields(self.out.wait(pattern, count))

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.out.finish()


@pytest.fixture
def traced(gate, echo, tmp_path):
    def start(**how):
        path = tmp_path / "s"
        daemon = {"control-socket": path, "workers": 2, **how.pop("daemon", {})}
        g = gate(echo, keys=KEYS, daemon=daemon, **how)
        g.control = Control(path)
        return g

    return start


@pytest.fixture
def trace():
    """Starts traces of a gate; returns once its log knows of it and each worker has been asked."""
    made = []

    def start(g, *words):
        before = len(g.log.find(r'control: line="trace'))
        made.append(Trace(g.control.path, *words))
        g.log.wait(r'control: line="trace', before + 1)
        made[-1].begun = wait_begun(g)
        return made[-1]

    def wait_begun(g):
        # It is begun in all workers before another order that goes to all of them comes back.
        g.control("sessions")
        return True

    yield start
    for one in made:
        one.stop()


def test_a_handshake_and_its_data_live(traced, trace, client):
    g = traced()
    t = trace(g, "dev-1")
    c = client(g, "dev-1", ciphers="PSK-AES128-GCM-SHA256").connect()
    t.wait("event=open")
    assert c.ask(b"12345") == b"12345"
    t.wait("event=backend")
    c.close()
    t.wait("event=end")
    told = [(e["event"], e.get("type"), e.get("message"), e.get("fate")) for e in t.events()]
    assert told == [
        ("hello", None, None, None),
        ("in", "handshake", "client_key_exchange", "handshake"),
        ("in", "change_cipher_spec", None, "handshake"),
        ("in", "handshake", None, "handshake"),
        ("out", "change_cipher_spec", None, None),
        ("out", "handshake", None, None),
        ("open", None, None, None),
        ("in", "data", None, "forwarded"),
        ("out", "data", None, None),
        ("backend", None, None, "sealed"),
        ("in", "alert", None, "control"),
        ("out", "alert", None, None),
        ("end", None, None, None),
    ]
    opened = g.events("session open")[0]
    assert {e["id"] for e in t.events()} == {opened["id"]}
    assert {e["peer"] for e in t.events()} == {opened["peer"]}
    assert t.events(event="open")[0]["suite"] == "PSK-AES128-GCM-SHA256"
    assert t.events(event="open")[0]["handshake-ms"] == opened["handshake-ms"]
    data = t.events(event="in", type="data")[0]
    assert (data["epoch"], data["number"], data["bytes"]) == ("1", "1", str(8 + 5 + 16))
    assert t.events(event="end")[0]["reason"] == "closed by client"
    times = [e["time"] for e in t.events()]
    assert times == sorted(times)


def test_nobody_else_is_told_of(traced, trace, client):
    g = traced()
    t = trace(g, "dev-2")
    assert client(g, "dev-1").connect().is_alive()
    assert client(g, "dev-2").connect().is_alive()
    t.wait("event=backend")
    opened = g.events("session open", identity="dev-2")[0]
    assert {e["id"] for e in t.events()} == {opened["id"]}


def test_a_handshake_with_a_wrong_key_is_seen_to_fail(traced, trace, client):
    g = traced(handshake_timeout="1s")
    t = trace(g, "dev-1")
    c = client(g, "dev-1", key=bytes(16))
    with pytest.raises(AssertionError):
        c.connect(timeout=0.3, repeat=None)
    end = t.wait("event=end")
    assert (end["reason"], end["detail"]) == (
        "handshake timed out",
        "no Finished opened: wrong key",
    )
    assert t.events(event="in", type="handshake", fate="drop_forged")
    assert not t.events(event="open")


def test_an_identity_that_nobody_has_can_be_traced(traced, trace, client):
    g = traced(unknown_identity="alert")
    t = trace(g, r"no\x22body")
    with pytest.raises(Refused, match="unknown psk identity"):
        client(g, b'no"body').connect()
    assert t.wait("event=end")["detail"] == "unknown identity"


def test_drops_are_told_with_their_reason(traced, trace, client):
    g = traced()
    c = client(g, "dev-1").connect()
    assert c.is_alive()
    t = trace(g, "dev-1")
    sent, send = [], c.send_datagram
    c.send_datagram = lambda datagram: (sent.append(datagram), send(datagram))
    assert c.is_alive()
    send(sent[0])
    bent = bytearray(sent[0])
    bent[-1] ^= 1
    bent[10] += 1  # another number
    send(bytes(bent))
    t.wait("fate=drop_forged")
    assert [e["fate"] for e in t.events(event="in")] == ["forwarded", "drop_replay", "drop_forged"]


def test_it_ends_after_its_time_and_json_is_one_object(traced, client):
    g = traced()
    c = client(g, "dev-1").connect()
    t = Trace(g.control.path, "dev-1", "--for", "1s", "--json")
    while not g.log.find('control: line="trace'):
        pass
    g.control("sessions")
    assert c.is_alive()
    assert t.process.wait(20) == 0
    t.out.finish()
    told = json.loads(t.out.text())
    assert told["count"] == len(told["events"]) == 3
    assert {e["event"] for e in told["events"]} == {"in", "out", "backend"}


def test_a_reader_that_rests_learns_how_much_it_missed(traced, client):
    """What a worker has no room for is counted, and the data path does not wait."""
    g = traced(daemon={"workers": 1})
    c = client(g, "dev-1").connect()
    with connect(g.control.path) as s:
        s.sendall(b"trace dev-1\n")
        assert s.recv(3) == b"ok\n"
        for _ in range(3000):
            assert c.is_alive(b"x")
        got = b""
        while b"event=left-out" not in got or not got.endswith(b"\n"):
            got += s.recv(65536)
        lines = [fields(line) for line in got.decode().splitlines() if line.startswith("event: ")]
        missed = sum(int(e["events"]) for e in lines if e["event"] == "left-out")
        assert missed > 0
        assert missed + len([e for e in lines if e["event"] != "left-out"]) <= 9000


def test_an_end_of_the_client_frees_its_place(traced, client):
    g = traced()
    sockets = []
    for _ in range(4):
        s = connect(g.control.path)
        s.sendall(b"trace dev-1\n")
        assert s.recv(3) == b"ok\n"
        sockets.append(s)
    reason, _ = g.control.refusal("trace dev-1")
    assert reason == "there are as many traces as there may be, or no memory for one"
    for s in sockets:
        s.close()
    until(lambda: finds_room(g))  # those of gone clients live on for seconds in the workers


def finds_room(g):
    try:
        return "count: 0" in g.control("trace dev-1 --for 1s")
    except Control.Refused:
        return False


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("trace", "usage: trace IDENTITY [--for TIME] [--keylog] [--json]"),
        ("trace a --for", "trace takes an identity, --for TIME and --keylog"),
        ("trace a --until 5s", "trace takes an identity, --for TIME and --keylog"),
        (
            "trace a --keylog",
            "no key log is permitted; daemon.trace-keylog says where one may be",
        ),
        ("trace a --for 5y", 'the time is not a time from 1s to 1d (ms, s, m, h or d)'),
    ],
)
def test_what_is_wrong_is_refused(traced, line, reason):
    assert traced().control.refusal(line)[0] == reason


class Capture:
    """All datagrams of a client, as a capture file of what was on the wire."""

    def __init__(self, c):
        self.client, self.packets = c, []
        self.send, self.receive = c.send_datagram, c.datagram
        c.send_datagram, c.datagram = self.on_send, self.on_receive

    def on_send(self, datagram):
        self.note(self.client.socket.getsockname(), self.client.socket.getpeername(), datagram)
        self.send(datagram)

    def on_receive(self, timeout):
        datagram = self.receive(timeout)
        if datagram:
            self.note(self.client.socket.getpeername(), self.client.socket.getsockname(), datagram)
        return datagram

    def note(self, source, to, datagram):
        udp = struct.pack("!HHHH", source[1], to[1], 8 + len(datagram), 0) + datagram
        addresses = socket.inet_aton(source[0]) + socket.inet_aton(to[0])
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + addresses
        self.packets.append(ip + udp)

    def write(self, path):
        with open(path, "wb") as f:
            f.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
            for n, packet in enumerate(self.packets):
                f.write(struct.pack("<IIII", n, 0, len(packet), len(packet)) + packet)


def plaintexts(capture, keys, port):
    """What tshark reads of the application data."""
    done = subprocess.run(
        ["tshark", "-r", capture, "-d", f"udp.port=={port},dtls", "-o", f"tls.keylog_file:{keys}"]
        + ["-Y", "data", "-T", "fields", "-e", "data.data"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [bytes.fromhex(line) for line in done.stdout.split()]


# tshark 4.0 opens no ChaCha20-Poly1305 in DTLS.
@pytest.mark.parametrize(
    ("suite", "version", "how"),
    [
        ("PSK-AES128-GCM-SHA256", None, {}),
        ("PSK-AES128-GCM-SHA256", None, {"ems": False}),
        ("PSK-AES128-CCM8", None, {}),
        ("DHE-PSK-AES128-GCM-SHA256", None, {}),
        ("ECDHE-PSK-AES128-CBC-SHA256", None, {}),
        ("PSK-AES256-GCM-SHA384", None, {}),
        ("PSK-AES128-CBC-SHA", DTLS10, {}),
    ],
)
def test_wireshark_reads_what_the_key_log_has(
    traced, trace, client, tmp_path, suite, version, how
):
    assert shutil.which("tshark"), "install tshark"
    keys, file = tmp_path / "keys.log", tmp_path / "session.pcap"
    g = traced(
        min_version="1.0",
        ciphers="ALL:PSK:PSK-AES128-CBC-SHA",
        daemon={"trace-keylog": keys},
    )
    assert keys.stat().st_mode & 0o777 == 0o600
    assert client(g, "dev-1").connect().is_alive()  # not traced yet
    t = trace(g, "dev-1", "--keylog")
    assert client(g, "dev-2").connect().is_alive()  # of somebody else
    how = dict(how, version=version) if version else how
    c = client(g, "dev-1", ciphers=suite, **how)
    capture = Capture(c)
    c.connect()
    for text in (b"in the clear", b"and again"):
        assert c.ask(text) == text
    t.wait("event=keys")
    c.close()
    t.wait("event=end")
    capture.write(file)
    (line,) = keys.read_text().splitlines()
    label, random, master = line.split(" ")
    assert (label, len(random), len(master)) == ("CLIENT_RANDOM", 64, 96)
    expected = [b"in the clear"] * 2 + [b"and again"] * 2
    assert plaintexts(file, keys, g.port) == expected
    assert plaintexts(file, "/dev/null", g.port) == []
    assert g.log.find(r"warning control: line=.*--keylog.* uid=\d+ pid=\d+")
    assert g.events("keys written")[0]["identity"] == "dev-1"
    assert len(g.events("keys written")) == 1
    assert master not in g.log.text()


def test_a_trace_without_keylog_writes_none(traced, trace, client, tmp_path):
    keys = tmp_path / "keys.log"
    g = traced(daemon={"trace-keylog": keys})
    t = trace(g, "dev-1")
    assert client(g, "dev-1").connect().is_alive()
    t.wait("event=backend")
    assert keys.read_text() == ""
    assert not g.log.find("warning control")


@pytest.mark.parametrize("kind", ["open", "folder", "link"])
def test_a_key_log_that_others_could_read_is_refused(run, settings, psk, tmp_path, kind):
    keys = tmp_path / "keys.log"
    if kind == "folder":
        keys.mkdir()
    elif kind == "link":
        keys.symlink_to(tmp_path / "other")
    else:
        keys.touch(0o644)
    ini = settings(
        {
            "daemon": {"trace-keylog": keys},
            "service a": {
                "listen": "127.0.0.1:0",
                "backend": "127.0.0.1:5683",
                "psk-file": psk({"dev-1": KEY}),
            },
        }
    )
    why = "is open to others; chmod 600 it" if kind == "open" else "is no regular file; choose another"
    for words in (["-t"], []):
        done = run("-c", ini, *words)
        assert done.returncode == 2
        assert f"{ini}:2: daemon.trace-keylog: {keys} {why}" in done.stderr
    assert not (tmp_path / "other").exists()
