"""The access log: one line for each session that has ended, with what it came to."""

import json
import os
import signal

import pytest

from lib.control import Control
from lib.dtls import DTLS10
from lib.gate import IDENTITY, KEY, FileLog, fields

LINE = r"^\S+Z info session: id="


@pytest.fixture
def logged(gate, echo, tmp_path):
    """A gate with an access log, and that log."""

    def start(path=None, **how):
        path = path or tmp_path / "access.log"
        daemon = {"access-log": path, **how.pop("daemon", {})}
        g = gate(echo, daemon=daemon, **how)
        g.access = FileLog(path)
        return g

    return start


def entries(g):
    """The fields of its lines so far."""
    return [fields(line) for line in g.access.find(LINE)]


def wait_entry(g, count=1):
    g.access.wait(LINE, count)
    return entries(g)[count - 1]


class Post:
    """Holds back what a client sends, to deliver it as a bad network would."""

    def __init__(self, c):
        self.client, self.send = c, c.send_datagram
        self.held = []
        c.send_datagram = self.held.append

    def write(self, count):
        for n in range(count):
            self.client.send(b"%03d" % n)
        return self.held

    def give(self, *numbers):
        for n in numbers:
            self.send(self.held[n])

    def release(self):
        self.client.send_datagram = self.send


def test_one_line_with_all_of_a_session(logged, echo, client):
    g = logged()
    c = client(g, ciphers="PSK-AES128-GCM-SHA256").connect()
    peer = "127.0.0.1:%d" % c.source[1]
    assert c.ask(b"12345") == b"12345"
    assert c.ask(b"123") == b"123"
    opened = g.wait_event("session open")
    c.close()
    entry = wait_entry(g)
    assert int(entry.pop("age-ms")) < 20000
    assert entry == {
        "id": opened["id"],
        "service": "default",
        "peer": peer,
        "local": opened["local"],
        "identity": IDENTITY,
        "suite": "PSK-AES128-GCM-SHA256",
        "version": "1.2",
        "ems": "yes",
        "resumed": "no",
        "reason": "closed by client",
        "handshake-ms": opened["handshake-ms"],
        "in-datagrams": "2",
        "in-bytes": "8",
        "out-datagrams": "2",
        "out-bytes": "8",
        "drops": "0",
        "refused": "0",
        "backend": echo.address,
        "backend-port": str(echo.ports[0]),
        "records": "4",  # Finished, two of data, close_notify
        "lost": "0",
        "reordered": "0",
        "replayed": "0",
        "too-old": "0",
    }
    assert not g.log.find(LINE)
    assert g.access.path.stat().st_mode & 0o777 == 0o640


def test_loss_order_and_copies_are_told_apart(logged, client):
    g = logged()
    c = client(g).connect()
    post = Post(c)
    post.write(80)
    post.give(0, 2, 1, 2, 2)  # one behind another, two copies
    bent = bytearray(post.held[3])
    bent[-1] ^= 1
    post.send(bytes(bent))  # forged, and lost: its like never comes
    post.give(79, 4, 4)  # 4 is too old by now, and so is its copy
    post.release()
    while True:
        answer = c.recv()
        if answer == b"079":
            break
    assert c.is_alive()
    c.close()
    entry = wait_entry(g)
    told = {k: int(entry[k]) for k in ("records", "lost", "reordered", "replayed", "too-old")}
    # Finished, four of the eighty, one more of data, close_notify
    assert told == {"records": 7, "lost": 76, "reordered": 1, "replayed": 2, "too-old": 2}
    drops = {k: int(v) for k, v in entry.items() if k.startswith(("client.", "backend."))}
    assert drops == {"client.drop_replay": 4, "client.drop_forged": 1}
    assert int(entry["drops"]) == 5


def test_drops_of_the_backends_side_have_their_reasons(logged, backend, gate, tmp_path, client):
    g = logged()
    c = client(g, fragment=512).connect()
    assert c.is_alive()
    big = b"x" * 512
    assert c.ask(big) == big
    c.send_datagram(b"\x17\xfe\xfd\x00\x02" + bytes(6) + b"\x00\x01x")  # an epoch that is none
    c.send_datagram(b"\x63\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x01x")  # no type
    assert c.is_alive()
    c.close()
    entry = wait_entry(g)
    assert entry["client.drop_epoch"] == "1"
    assert entry["drops"] in ("1", "2")  # what is no record at all is nobody's


def test_json_has_one_object_a_line(logged, client):
    g = logged(daemon={"access-log-format": "json"})
    for _ in range(3):
        c = client(g).connect()
        assert c.is_alive()
        c.close()
    g.access.wait('"message":"session"', 3)
    for line in g.access.lines:
        entry = json.loads(line)
        assert (entry["message"], entry["level"]) == ("session", "info")
        assert entry["identity"] == IDENTITY
        assert all(isinstance(entry[k], int) for k in ("handshake-ms", "age-ms", "lost", "in-bytes"))


def test_sessions_that_libssl_keeps_are_told_as_well(logged, client):
    g = logged(min_version="1.0", ciphers="ALL:PSK-AES128-CBC-SHA")
    for version, suite in ((None, "PSK-AES128-CBC-SHA"), (DTLS10, "PSK-AES128-CBC-SHA")):
        how = {"version": version} if version else {}
        c = client(g, ciphers=suite, **how).connect()
        post = Post(c)
        post.write(4)
        post.give(0, 2, 1, 3, 3)
        post.release()
        assert [c.recv() for _ in range(4)] == [b"000", b"002", b"001", b"003"]
        c.close()
    first, second = wait_entry(g, 1), wait_entry(g, 2)
    assert (first["version"], second["version"]) == ("1.2", "1.0")
    for entry in (first, second):
        assert entry["suite"] == "PSK-AES128-CBC-SHA"
        assert (entry["lost"], entry["reordered"]) == ("0", "1"), entry
        assert entry["client.drop_forged"] == "1"  # libssl does not tell a copy


def test_sessions_that_end_at_shutdown_are_all_there(logged, client):
    g = logged(daemon={"workers": 2})
    count = 100
    for _ in range(count):
        client(g).connect()
    totals = g.end()
    assert totals["sessions_ended"] == count
    assert "access_log_lost" not in totals
    assert [e["reason"] for e in entries(g)] == ["shutdown"] * count
    assert len({e["id"] for e in entries(g)}) == count


def test_a_handshake_that_fails_is_none(logged, client):
    g = logged(unknown_identity="alert")
    with pytest.raises(Exception, match="unknown psk identity"):
        client(g, "nobody").connect()
    g.wait_event("handshake failed")
    g.end()
    assert g.access.lines == []


def test_the_log_level_does_not_silence_it(logged, client, tmp_path):
    g = logged(daemon={"control-socket": tmp_path / "s"})
    Control(tmp_path / "s")("log-level error")
    c = client(g).connect()
    assert c.is_alive()
    c.close()
    wait_entry(g)
    assert not g.log.find("session open")
    g.has_totals = False


def test_usr1_opens_it_anew(logged, client, tmp_path):
    g = logged()
    c = client(g).connect()
    c.close()
    wait_entry(g)
    old = tmp_path / "access.log.1"
    g.access.path.rename(old)
    g.tell(signal.SIGUSR1)
    g.log.wait("log reopened")
    c = client(g).connect()
    peer = "127.0.0.1:%d" % c.source[1]
    c.close()
    assert wait_entry(g)["peer"] == peer
    assert len(old.read_text().splitlines()) == 1


def test_a_reload_turns_it_on_moves_it_and_turns_it_off(gate, echo, client, tmp_path):
    """A session that began without has the line without what was not counted."""
    g = gate(echo)
    ini = tmp_path / "dtlsgate.ini"
    plain = ini.read_text()
    first, second = tmp_path / "one.log", tmp_path / "two.log"

    def use(path):
        ini.write_text(plain.replace("[daemon]", f"[daemon]\naccess-log = {path}" if path else "[daemon]"))
        assert "reloaded" in g.reload()

    def session(c):
        assert c.is_alive()
        c.close()
        g.wait_event("session end", peer="127.0.0.1:%d" % port_of[c])

    port_of = {}
    early, late = client(g).connect(), None
    port_of[early] = early.source[1]
    use(first)
    session(early)
    g.access = FileLog(first)
    entry = wait_entry(g)
    assert entry["in-datagrams"] == "1"
    assert "lost" not in entry and "handshake-ms" not in entry
    late = client(g).connect()
    port_of[late] = late.source[1]
    use(second)
    session(late)
    g.access = FileLog(second)
    assert wait_entry(g)["lost"] == "0"
    use(None)
    last = client(g).connect()
    port_of[last] = last.source[1]
    session(last)
    g.end()
    assert len(first.read_text().splitlines()) == len(second.read_text().splitlines()) == 1


def test_a_reload_that_cannot_open_it_changes_nothing(logged, client, tmp_path):
    g = logged()
    ini = tmp_path / "dtlsgate.ini"
    ini.write_text(
        ini.read_text()
        .replace(str(g.access.path), str(tmp_path / "no" / "access.log"))
        .replace("[daemon]", f"[daemon]\nlog = {tmp_path / 'moved'}")
    )
    assert "failed" in g.reload()
    g.log.wait(r"daemon\.access-log: cannot open .*No such file")
    c = client(g).connect()
    c.close()
    wait_entry(g)
    assert not (tmp_path / "moved").exists()


def test_one_that_cannot_be_opened_is_told_at_the_start(run, settings, psk, tmp_path):
    ini = settings(
        {
            "daemon": {"access-log": tmp_path / "no" / "file"},
            "service a": {
                "listen": "127.0.0.1:0",
                "backend": "127.0.0.1:5683",
                "psk-file": psk({"dev-1": KEY}),
            },
        }
    )
    done = run("-c", ini)
    assert done.returncode == 2
    why = f"{tmp_path}/no/file cannot be made in {tmp_path}/no: No such file or directory; make that"
    assert f"{ini}:2: daemon.access-log: {why}" in done.stderr


def test_a_full_disk_is_told_and_counted(logged, client, tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    g = logged("/dev/full", daemon={"control-socket": tmp_path / "s"})
    for _ in range(3):
        c = client(g).connect()
        assert c.is_alive()
        c.close()
    g.wait_event("access log loses lines", reason="No space left on device")
    counters = Control(tmp_path / "s").json("status")["counters"]
    assert 0 < counters["access_log_lost"] <= 3 and counters["log_lost"] == 0
    assert g.end()["access_log_lost"] == 3
    assert len(g.log.find("access log loses lines")) == 1


def test_a_disk_that_is_stuck_holds_up_nobody(logged, client, tmp_path):
    """A pipe that nobody reads takes no more; the sessions go on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    g = logged(fifo, daemon={"workers": 1})
    g.access = None
    witness = client(g).connect()
    for _ in range(300):
        c = client(g).connect()
        c.close()
        c.abandon()
    assert witness.is_alive()
    totals = g.end()
    got = b""
    while True:
        part = os.read(reader, 1 << 16)
        if not part:
            break
        got += part
    os.close(reader)
    assert got.count(b"\n") + totals.get("access_log_lost", 0) == 301
    assert totals.get("access_log_lost", 0) > 0
