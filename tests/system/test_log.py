"""The log: what an operator reads, and programs."""

import json
import re
import signal

import pytest

from lib.dtls import Client
from lib.gate import IDENTITY, KEY, FileLog, fields

STAMP = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warning|info|debug) \S"


def tell_a_story(g, client):
    c = client(g, ciphers="PSK-AES128-GCM-SHA256").connect()
    assert c.ask(b"12345") == b"12345"
    c.close()
    g.log.wait("session end")
    return c


def test_a_session_is_three_lines_with_its_fields(gate, echo, client):
    g = gate(echo)
    c = client(g, ciphers="PSK-AES128-GCM-SHA256").connect()
    port = c.source[1]
    assert c.ask(b"12345") == b"12345"
    c.close()
    end = g.wait_event("session end")
    opened, flow = g.events("session open")[0], g.events("session flow")[0]
    session = opened.pop("id")
    assert int(opened.pop("handshake-ms")) < 10000
    assert opened == {
        "service": "default",
        "peer": f"127.0.0.1:{port}",
        "local": f"127.0.0.1:{g.port}",
        "identity": IDENTITY,
        "suite": "PSK-AES128-GCM-SHA256",
        "version": "1.2",
        "ems": "yes",
        "resumed": "no",
        "backend": echo.address,
    }
    assert flow == {"id": session, "service": "default", "backend-port": str(echo.ports[0])}
    assert int(end.pop("age-ms")) < 10000
    assert end == {
        "id": session,
        "service": "default",
        "peer": f"127.0.0.1:{port}",
        "identity": IDENTITY,
        "reason": "closed by client",
        "in-datagrams": "1",
        "in-bytes": "5",
        "out-datagrams": "1",
        "out-bytes": "5",
        "drops": "0",
        "refused": "0",
        "backend-port": str(echo.ports[0]),
    }


def test_every_line_has_time_and_level(gate, echo, client):
    g = gate(echo)
    tell_a_story(g, client)
    g.end()
    assert all(re.match(STAMP, line) for line in g.log.lines), g.log.text()
    assert g.log.lines[-1].endswith(" info dtlsgate: stopped")


def test_listeners_come_before_ready(gate, echo):
    g = gate(echo, listen="127.0.0.1:0, [::1]:0")
    heads = [re.sub(r"^\S+ |:\d+$", "", line) for line in g.log.lines]
    at = heads.index("info dtlsgate: ready")
    assert heads[at - 2 : at] == [
        "info service default: listening on 127.0.0.1",
        "info service default: listening on [::1]",
    ]


def test_json_lines(gate, echo, client):
    odd = b'quo"te\\ \x1b[31m\n\xff'.replace(b"\n", b"\t")
    g = gate(echo, keys={odd: KEY}, daemon={"log-format": "json"})
    c = client(g, odd).connect()
    assert c.is_alive()
    c.close()
    g.log.wait("session end")
    g.end()
    # What main says before the settings are in force is text; there is no such line by default.
    lines = [json.loads(line) for line in g.log.lines]
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    opened = next(line for line in lines if line["message"] == "session open")
    assert opened["peer"] == f"127.0.0.1:{opened['peer'].rsplit(':')[-1]}"
    assert isinstance(opened["handshake-ms"], int)
    end = next(line for line in lines if line["message"] == "session end")
    assert (end["in-datagrams"], end["reason"]) == (1, "closed by client")
    assert end["identity"] == opened["identity"]


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        (b"dev\x1b[31m", r"dev\x1b[31m"),
        (b"two words", "two words"),
        (b'quo"te', r"quo\x22te"),
        (b"back\\slash", r"back\x5cslash"),
        (b"a=b", "a=b"),
        (b"\xc3\xa4\xff", r"\xc3\xa4\xff"),
        (b"tab\there", r"tab\x09here"),
        (b"\x7f", r"\x7f"),
    ],
)
def test_an_identity_with_odd_bytes_is_escaped(gate, echo, client, identity, shown):
    g = gate(echo, keys={identity: KEY})
    assert client(g, identity).connect().is_alive()
    assert [o["identity"] for o in g.events("session open")] == [shown]
    assert all(0x20 <= ord(c) < 0x7F for line in g.log.lines for c in line)


def test_a_stranger_cannot_forge_a_line(gate, echo, client):
    """A line break in an identity that nobody knows; it is in the failure's line, escaped."""
    g = gate(echo, unknown_identity="alert")
    name = b"x\n2026-01-01T00:00:00.000Z info session open: id=1"
    with pytest.raises(Exception, match="unknown psk identity"):
        client(g, name).connect()
    failed = g.wait_event("handshake failed")
    assert failed["identity"].startswith(r"x\x0a2026")
    assert not g.events("session open")


def test_strangers_cannot_make_it_log_without_bound(gate, echo):
    """Ten lines at once, then one a second; what was left out is counted."""
    g = gate(echo, unknown_identity="alert", daemon={"workers": 1})
    for number in range(60):
        # Each from an address of its own: one address alone would be refused long before.
        with pytest.raises(Exception, match="unknown psk identity"):
            c = Client(g.address(), "nobody", source=(f"127.0.9.{number + 1}", 0))
            try:
                c.connect()
            finally:
                c.abandon()
    assert 10 <= len(g.events("handshake failed")) <= 30
    assert g.end()["handshakes_failed"] == 60


def test_a_flood_of_junk_makes_no_line(gate, echo, client):
    g = gate(echo)
    count = len(g.log.lines)
    c = client(g)
    for n in range(500):
        c.send_datagram(bytes([n % 256]) * (n % 100))
    while c.datagram(0.1):
        raise AssertionError("an answer to junk")
    assert client(g).connect().is_alive()
    g.wait_event("session flow")
    assert len(g.log.lines) == count + 2


def test_usr1_opens_the_log_anew(gate, echo, client, tmp_path):
    log, old = tmp_path / "log", tmp_path / "log.1"
    g = gate(echo, daemon={"log": log}, log_path=log)
    tell_a_story(g, client)
    log.rename(old)
    before = old.read_text()
    assert "session end" in before
    g.tell(signal.SIGUSR1)
    while not log.exists():
        assert client(g).connect().is_alive()
    c = client(g).connect()
    assert c.is_alive()
    port = c.source[1]
    c.close()
    end = fields(g.log.wait(rf"session end: .*peer=127\.0\.0\.1:{port} "))
    assert end["reason"] == "closed by client"
    assert f"127.0.0.1:{port} " not in old.read_text()
    assert log.stat().st_mode & 0o777 == 0o640


def test_usr1_that_cannot_open_goes_on_in_the_old_file(gate, echo, client, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    log = folder / "log"
    g = gate(echo, daemon={"log": log}, log_path=log)
    moved = tmp_path / "moved"
    folder.rename(moved)
    g.log.path = moved / "log"
    g.tell(signal.SIGUSR1)
    g.log.wait(r"error dtlsgate: the log goes on in the old file: cannot open ")
    tell_a_story(g, client)


def test_usr1_is_harmless_on_stderr(gate, echo, client):
    g = gate(echo)
    g.tell(signal.SIGUSR1)
    tell_a_story(g, client)


def test_a_reload_moves_the_log(gate, echo, client, tmp_path):
    g = gate(echo)
    log = tmp_path / "moved"
    ini = tmp_path / "dtlsgate.ini"
    ini.write_text(ini.read_text().replace("[daemon]", f"[daemon]\nlog = {log}"))
    address = g.address()
    g.tell(signal.SIGHUP)
    g.log = FileLog(log)
    g.log.wait("dtlsgate: reloaded")
    assert client(address).connect().is_alive()
    g.log.wait("session flow")


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_key_is_ever_in_the_log(gate, echo, client, psk, level):
    g = gate(echo, daemon={"log-level": level}, min_version="1.0", handshake_timeout="1s")
    for suite in ("PSK-AES128-GCM-SHA256", "PSK-AES128-CBC-SHA"):
        assert client(g, ciphers=suite).connect().is_alive()
    new = bytes(range(64, 96))
    psk({"dev-1": new})
    g.reload()
    assert client(g, key=new).connect().is_alive()
    g.end()
    for key in (KEY, new):
        for text in (key.hex(), key.hex().upper(), repr(key)[2:-1]):
            assert text not in g.log.text()
