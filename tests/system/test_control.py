"""The control socket and dtlsgatectl: every command, who may give them, and what wrong input does."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import termios
import time

import pytest

from lib.control import connect, ctl, ctl_path, read_all, say
from lib.gate import KEY, DEADLINE, environment, fields, until

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
ODD = b'a "b"=\\\xff\xc3\xa4'
ODD_SHOWN = r"a \x22b\x22=\x5c\xff\xc3\xa4"


@pytest.fixture
def path(control):
    return control.path


@pytest.fixture
def open_clients(client):
    """Clients that have each sent one datagram and got it back."""

    def make(g, count, *args):
        made = [client(g, *args).connect() for _ in range(count)]
        assert all(c.is_alive() for c in made)
        return made

    return make


# ---- every command ----


def test_status(start, control, open_clients):
    g = start()
    open_clients(g, 3)
    text = control("status")
    found = dict(line.split(": ", 1) for line in text.splitlines())
    assert found["pid"] == str(g.pid)
    assert (found["state"], found["draining"]) == ("running", "no")
    assert (found["sessions"], found["handshakes_completed"]) == ("3", "3")
    service = fields(found["service"])
    assert service["listen"] == f"127.0.0.1:{g.port}"
    assert (service["name"], service["identities"]) == ("default", "1")

    status = control.json("status")
    assert status["pid"] == g.pid
    assert status["draining"] is False
    assert status["counters"]["sessions"] == 3
    assert status["counters"]["client.forwarded"] == 3
    assert status["counters"]["client.drop_junk"] == 0
    assert [worker["index"] for worker in status["workers"]] == [0, 1]
    assert sum(worker["sessions"] for worker in status["workers"]) == 3
    assert status["services"][0]["listen"] == f"127.0.0.1:{g.port}"
    assert status["uptime-ms"] > 0


def test_sessions_and_their_filters(start, control, client, echo):
    g = start(keys={"dev-1": KEY, ODD: KEY, "dev-3": KEY})
    clients = [client(g, name).connect() for name in ("dev-1", "dev-1", ODD)]
    assert all(c.is_alive(b"12345") for c in clients)
    ports = [c.source[1] for c in clients]
    answer = control.json("sessions")
    assert answer["count"] == 3
    rows = sorted(answer["sessions"], key=lambda row: ports.index(int(row["peer"].split(":")[1])))
    assert [row["identity"] for row in rows] == ["dev-1", "dev-1", ODD_SHOWN]
    row = rows[0]
    opened = g.wait_event("session open", id=str(row["id"]))
    for name in ("service", "peer", "local", "identity", "suite", "version", "ems"):
        shown = {True: "yes", False: "no"}.get(row[name], row[name])
        assert shown == opened[name], name
    assert row["in-datagrams"] == row["out-datagrams"] == 1
    assert row["in-bytes"] == row["out-bytes"] == 5
    assert row["drops"] == row["refused"] == 0
    assert row["backend-port"] > 0
    assert 0 <= row["idle-ms"] <= row["age-ms"]

    def ids(line):
        found = [row["id"] for row in control.json(f"sessions {line}")["sessions"]]
        text = control(f"sessions {line}").splitlines()
        assert text[-1] == f"count: {len(found)}"
        assert [int(fields(t)["id"]) for t in text[:-1]] == found
        return sorted(found)

    by_port = {port: row["id"] for port, row in zip(ports, rows)}
    everybody = sorted(by_port.values())
    assert ids("") == ids("--service default") == ids("--peer 127.0.0.0/8") == everybody
    assert ids("--recent") == everybody
    assert ids("--identity dev-1") == sorted([rows[0]["id"], rows[1]["id"]])
    assert ids("--identity dev-3") == []
    odd = ODD_SHOWN.replace("\\", r"\x5c").replace(" ", r"\x20")
    assert ids(f"--identity {odd}") == [rows[2]["id"]]
    assert ids(f"--peer 127.0.0.1:{ports[1]}") == [by_port[ports[1]]]
    assert ids("--peer 127.0.0.2") == ids("--peer ::1") == []
    assert len(ids("--limit 2")) == 2
    assert ids(f"--identity dev-1 --peer 127.0.0.1:{ports[2]}") == []


def test_recent_ones_come_first(start, control, open_clients):
    g = start({"workers": 1})
    clients = open_clients(g, 3)
    port = clients[1].source[1]

    def is_first():
        """It takes another millisecond to be later than the others."""
        assert clients[1].is_alive()
        rows = control.json("sessions --recent --limit 1")["sessions"]
        assert len(rows) == 1
        return rows[0]["peer"] == f"127.0.0.1:{port}"

    until(is_first)


def test_one_session(start, control, open_clients):
    g = start()
    open_clients(g, 2)
    ids = [row["id"] for row in control.json("sessions")["sessions"]]
    for one in ids:
        row = control.json(f"session {one}")
        assert (row["id"], row["identity"]) == (one, "dev-1")
        assert f"id: {one}\n" in control(f"session {one}")
    assert control.refusal(f"session {max(ids) + 99}")[0] == "there is no such session"


def test_the_address_that_a_backend_sees(start, control, client):
    g = start(backend_source="127.0.0.2, 127.0.0.3")
    c = client(g).connect()
    one = control.json("sessions")["sessions"][0]
    assert one["backend-port"] == 0 and one["backend-source"] == "-"
    assert c.is_alive()
    assert f"backend-source: {g.events('session flow')[0]['backend-source']}\n" in control(f"session {one['id']}")
    assert control.json(f"session {one['id']}")["backend-source"] in ("127.0.0.2", "127.0.0.3")


def test_a_session_is_ended_by_its_id(start, control, open_clients):
    g = start()
    one, two = open_clients(g, 2)
    peer = f"127.0.0.1:{one.source[1]}"
    (row,) = control.json(f"sessions --peer {peer}")["sessions"]
    assert control.json(f"end {row['id']}") == {"ended": 1}
    assert one.wait_closed()
    assert two.is_alive()
    assert g.wait_event("session end", id=str(row["id"]))["reason"] == "ended by operator"
    assert control.refusal(f"end {row['id']}")[0] == "there is no such session"


def test_sessions_are_ended_by_their_identity(start, control, client):
    g = start(keys={"dev-1": KEY, ODD: KEY})
    odd = [client(g, ODD).connect() for _ in range(5)]
    other = client(g).connect()
    assert other.is_alive() and all(c.is_alive() for c in odd)
    shown = ODD_SHOWN.replace("\\", r"\x5c").replace(" ", r"\x20")
    assert control(f"end identity:{shown}") == "ended: 5\n"
    assert all(c.wait_closed() for c in odd)
    assert other.is_alive()
    assert control.refusal("end identity:nobody")[0] == "there is no such session"


def test_reload(start, control, psk, client):
    g = start()
    assert control("reload") == "reloaded: yes\n"
    psk({"dev-1": KEY, "dev-2": KEY})
    assert control.json("reload") == {"reloaded": True}
    assert client(g, "dev-2").connect().is_alive()
    assert len(g.log.find("dtlsgate: reloaded")) == 2
    assert control.json("status")["reloads"] == 2


def test_a_reload_that_is_refused_tells_every_reason(start, control, tmp_path):
    g = start()
    ini = tmp_path / "dtlsgate.ini"
    good = ini.read_text()
    ini.write_text(good + "mtu = 1\nidle-timeot = 5s\n")
    lines = len(good.splitlines())
    reasons = [
        f"{ini}:{lines + 2}: service.default.idle-timeot: unknown key; did you mean idle-timeout?",
        f'{ini}:{lines + 1}: service.default.mtu: "1" is not a number from 256 to 16384',
    ]
    reason, rest = control.refusal("reload")
    assert reason == "reload failed, nothing changed"
    assert sorted(rest.splitlines()) == sorted(reasons)
    answer = json.loads(control.refusal("reload --json")[1])
    assert answer["error"] == reason and sorted(answer["reasons"]) == sorted(reasons)
    assert len(g.log.find("reload failed, nothing changed")) == 2
    ini.write_text(good.replace("workers = 2", "workers = 3"))
    assert "daemon.workers: cannot change while running" in control.refusal("reload")[1]
    assert control.json("status")["failed-reloads"] == 3
    done = ctl(control.path, "reload")
    assert (done.returncode, done.stdout) == (1, b"")
    place = f"{ini}:{good.splitlines().index('workers = 2') + 1}: daemon.workers: "
    assert f"reload failed, nothing changed\n{place}".encode() in done.stderr


def test_reloads_at_once_are_all_answered(start, control, path):
    start()
    waiting = [connect(path) for _ in range(6)]
    for s in waiting:
        s.sendall(b"reload\n")
    for s in waiting:
        assert read_all(s) == b"ok\nreloaded: yes\n"
        s.close()


def test_reopen(start, control, tmp_path):
    log = tmp_path / "log"
    g = start({"log": log}, log_path=log)
    log.rename(tmp_path / "log.1")
    assert control("reopen") == "reopened: yes\n"
    assert log.exists()
    log.unlink()
    tmp_path.chmod(0o500)
    if os.geteuid() != 0:
        assert "goes on in the old file" in control.refusal("reopen")[0]
    tmp_path.chmod(0o700)
    assert control.json("reopen") == {"reopened": True}
    g.end()


def test_drain_and_undrain(start, control, client, open_clients):
    g = start()
    (old,) = open_clients(g, 1)
    assert control("drain") == "draining: yes\n"
    assert control.json("status")["draining"] is True
    late = client(g).begin()
    until(lambda: control.json("status")["counters"]["client.drop_draining"] == 1)
    assert late.datagram(0.0) is None
    assert old.is_alive()
    assert control.json("undrain") == {"draining": False}
    assert client(g).connect().is_alive()
    assert control.json("status")["draining"] is False


@pytest.mark.parametrize("line", ["stop", "stop --json"])
def test_stop(start, control, open_clients, path, line):
    g = start()
    (c,) = open_clients(g, 1)
    answer = say(path, line.encode() + b"\n")
    assert answer == 'ok\n{"stopping":true}\n' if "json" in line else "ok\nstopping: yes\n"
    assert c.wait_closed()
    assert g.process.wait(DEADLINE) == 0
    assert not path.exists()
    g.end()


def test_stop_of_somebody_who_does_not_wait(start, path):
    g = start()
    with connect(path) as s:
        s.sendall(b"stop\n")
    assert g.process.wait(DEADLINE) == 0
    g.end()


def test_the_level_of_the_log(start, control, client):
    g = start()
    assert control("log-level debug") == "log-level: debug\n"
    client(g).connect()
    g.log.wait(" debug record: ")
    assert control.json("log-level error") == {"log-level": "error"}
    assert control.json("status")["log-level"] == "error"
    assert control.refusal("log-level loud")[0] == (
        "the level is not one of error, warning, info, debug"
    )
    control("reload")
    assert control.json("status")["log-level"] == "info"


def test_config(start, control, run, tmp_path):
    g = start()
    shown = run("-c", tmp_path / "dtlsgate.ini", "-T").stdout
    assert control("config") == shown
    settings = control.json("config")["settings"]
    rebuilt, before = "", None
    for s in settings:
        if s["section"] != before:
            rebuilt += ("\n" if before else "") + f"[{s['section']}]\n"
            before = s["section"]
        rebuilt += f"{s['key']} ={' ' if s['value'] else ''}{s['value']}\n"
    assert rebuilt == shown
    assert KEY.hex() not in shown + json.dumps(settings)
    g.end()


def test_version_and_help(start, control, run):
    start()
    version = control.json("version")
    assert f"dtlsgate {version['dtlsgate']}\n" in run("-V").stdout
    assert f"{version['tls-library']}, {version['event-library']}\n" in run("-V").stdout
    assert control("version").startswith(f"dtlsgate: {version['dtlsgate']}\n")
    names = [command["name"] for command in control.json("help")["commands"]]
    assert names == [
        *("status", "sessions", "session", "end", "reload", "upgrade", "reopen", "drain"),
        *("undrain", "backend", "backends", "stop", "log-level", "config", "trace", "version"),
        "help",
    ]
    for name in names:
        assert re.search(rf"^{name}\b", control("help"), re.M)


def test_what_changes_something_is_logged(start, control, path):
    g = start()
    control("status")
    control("drain")
    control.refusal("end 77")
    ctl(path, "log-level", "\x1b[31m")
    lines = g.events("control")
    assert [line["line"] for line in lines] == ["drain", "end 77", r"log-level \x5cx1b[31m"]
    assert {line["uid"] for line in lines} == {str(os.geteuid())}


# ---- wrong input ----


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"\n", "no command; help lists them"),
        (b"  \t \n", "no command; help lists them"),
        (b"--json\n", "no command; help lists them"),
        (b"sessoins\n", "unknown command; did you mean sessions?"),
        (b"xyzzy\n", "unknown command; help lists them"),
        (b"trcae dev-1\n", "unknown command; did you mean trace?"),
        (b"session\n", "usage: session ID [--json]"),
        (b"status please\n", "usage: status [--json]"),
        (b"session x\n", "a session's id is a number; sessions lists them"),
        (b"session -1\n", "a session's id is a number; sessions lists them"),
        (b"session 99999999999999999999\n", "a session's id is a number; sessions lists them"),
        (b"end dev-1\n", "what to end is a session's id, or identity:NAME"),
        (b"sessions --limit 0\n", "a limit is a number from 1 to 10000000"),
        (b"sessions --limit\n", "--limit needs a value"),
        (b"sessions --service other\n", "there is no service of this name; status lists them"),
        (b"sessions dev-1\n", "sessions takes --service, --identity, --peer, --limit and --recent"),
        (b"sessions --peer gate.test\n", "a peer is ADDR, ADDR:PORT or a prefix such as "),
        (b"session \\n\n", "a backslash must begin \\xNN; a backslash itself is \\x5c"),
        (b"session \\x00\n", "a word holds a NUL"),
        (b"sta\0tus\n", "a word holds a NUL"),
        (b"x " * 33 + b"\n", "too many words"),
        (b"s" * 4097 + b"\n", "the line is too long"),
        (b"s" * 100000, "the line is too long"),
        (bytes(range(1, 10)) + bytes(range(11, 256)) + b"\n", "a backslash must begin \\xNN"),
        (b"\xff\xfe\n", "unknown command; help lists them"),
    ],
)
def test_a_line_that_is_wrong(start, control, path, line, answer):
    start()
    assert say(path, line).startswith(f"error: {answer}")
    assert control("status")


def test_a_line_without_an_end(start, control, path):
    start()
    with connect(path) as s:
        s.sendall(b"status")
        s.shutdown(socket.SHUT_WR)
        assert read_all(s) == b"error: the line has no end\n"


def test_the_longest_line_is_taken(start, path):
    start()
    assert say(path, b"version".ljust(4096) + b"\n").startswith("ok\n")
    assert say(path, b"version".ljust(4096) + b"\r\n").startswith("ok\n")


def test_a_line_may_come_in_pieces_and_its_end_may_close(start, path):
    start()
    with connect(path) as s:
        for piece in (b"ver", b"sion", b"\n"):
            s.sendall(piece)
        s.shutdown(socket.SHUT_WR)
        assert read_all(s).startswith(b"ok\ndtlsgate: ")


def test_somebody_who_says_nothing_is_not_waited_for(start, control, path):
    start()
    with connect(path) as s:
        assert read_all(s) == b"error: no line came in time\n"
    assert control("status")


def test_eight_at_once(start, control, path):
    start()
    eight = [connect(path) for _ in range(8)]
    until(lambda: say(path, b"version\n").startswith("error: too many clients at once"))
    for s in eight:
        s.sendall(b"version\n")
        assert read_all(s).startswith(b"ok\n")
        s.close()
    until(lambda: say(path, b"version\n").startswith("ok\n"))


def test_many_come_and_go(start, control, path, client):
    g = start()
    c = client(g).connect()
    for n in range(300):
        with connect(path) as s:
            if n % 3:
                with contextlib.suppress(OSError):  # one too many is hung up on
                    s.sendall(b"sessions --json\n"[: n % 17])
    assert c.is_alive()
    until(lambda: say(path, b"version\n").startswith("ok\n"))
    folder = f"/proc/{g.pid}/fd"
    until(lambda: not [f for f in os.listdir(folder) if is_stream(f"{folder}/{f}", path)])


def is_stream(link, path):
    """A descriptor of ours beyond the listening one: connected sockets have no name of their own."""
    try:
        inode = re.match(r"socket:\[(\d+)\]", os.readlink(link))
    except FileNotFoundError:
        return False
    if not inode:
        return False
    with open("/proc/net/unix", encoding="ascii") as table:
        rows = [line.split() for line in table if f" {inode[1]} " in line]
    return any(row[5] == "03" and str(path) in row for row in rows)


LONG = b"\xff" * 120  # in JSON each byte takes five


def test_a_list_waits_for_whoever_reads_it(start, control, path, open_clients):
    """Somebody who stops reading holds up nobody, nor is the list made before it is wanted."""
    g = start(keys={LONG: KEY})
    crowd = 600
    clients = open_clients(g, crowd, LONG)
    with connect(path) as slow, connect(path) as never:
        slow.sendall(b"sessions --json\n")
        never.sendall(b"sessions\n")
        for _ in range(3):  # had the two not come to rest, they would be over by now
            assert control.json("sessions")["count"] == crowd
        assert clients[0].is_alive()
        assert control("end identity:" + r"\xff" * len(LONG)) == f"ended: {crowd}\n"
        rows = json.loads(read_all(slow).decode().removeprefix("ok\n"))["sessions"]
        assert 100 < len({row["id"] for row in rows}) == len(rows) < crowd
        hung_up = select.poll()
        hung_up.register(never, select.POLLRDHUP)
        assert hung_up.poll(DEADLINE * 1000), "nobody waits for it for ever"
        assert b"\ncount: " not in read_all(never), "it was cut"


# ---- who may come in ----


def test_the_socket_is_for_its_user_alone(start, path):
    start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(path.stat().st_mode)


def as_other(path, group=NOBODY, groups=()):
    """What somebody else hears who asks."""
    code = f"""
import socket
s = socket.socket(socket.AF_UNIX)
s.connect({str(path)!r})
try:
    s.sendall(b"version\\n")
except BrokenPipeError:
    pass  # refused before it could ask
print(s.recv(65536).decode())
"""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code],
        user=NOBODY,
        group=group,
        extra_groups=list(groups),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    return done.stdout + done.stderr


@needs_root
def test_the_mode_keeps_others_out(start, public_path):
    path = public_path / "control.sock"
    start({"control-socket": path})
    assert "PermissionError" in as_other(path)


@needs_root
def test_others_are_refused_even_where_the_mode_lets_them(start, public_path):
    path = public_path / "control.sock"
    g = start({"control-socket": path, "control-mode": "0666"})
    assert as_other(path).startswith("error: you are neither root, nor ")
    line = g.wait_event("control refused")
    assert (line["uid"], line["gid"]) == (str(NOBODY), str(NOBODY))


@needs_root
@pytest.mark.parametrize("how", ["its group", "another group of it"])
def test_members_of_the_group_may_where_the_mode_says_so(start, public_path, how):
    path = public_path / "control.sock"
    who = {"group": 4} if how == "its group" else {"groups": [7, 4]}
    start({"control-socket": path, "control-mode": "0660", "control-group": "adm"})
    assert path.stat().st_gid == 4
    assert as_other(path, **who).startswith("ok\n")
    assert "PermissionError" in as_other(path, groups=[7])


@needs_root
def test_a_group_that_may_not_write_is_refused(start, public_path):
    path = public_path / "control.sock"
    start({"control-socket": path, "control-mode": "0606", "control-group": "adm"})
    assert "PermissionError" in as_other(path, group=4)
    assert as_other(path).startswith("error: you are neither root, nor ")


@needs_root
def test_the_user_that_root_becomes_may(start, public_path):
    folder = public_path / "run"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    path = folder / "control.sock"
    g = start({"control-socket": path, "user": "nobody"})
    assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
    assert as_other(path).startswith("ok\n")
    assert say(path, b"version\n").startswith("ok\n"), "root may, too"
    g.end()
    assert not path.exists()
    assert not g.log.find("system call denied")


@needs_root
def test_a_folder_of_others_keeps_the_socket(start, public_path):
    path = public_path / "control.sock"
    g = start({"control-socket": path, "user": "nobody"})
    g.end()
    assert g.log.find(r"warning .*control.sock stays behind: .* give its folder to the user")
    g = start({"control-socket": path, "user": "nobody"})
    assert say(path, b"version\n").startswith("ok\n")


# ---- the socket's life ----


def test_there_is_none_by_default(gate, echo, tmp_path):
    gate(echo)
    assert not [f for f in tmp_path.iterdir() if f.is_socket()]


def test_it_is_gone_at_the_end(start, path):
    g = start()
    assert path.exists()
    g.end()
    assert not path.exists()
    assert not g.log.find("system call denied")


def test_one_that_a_crash_left_is_replaced(start, control, path):
    g = start()
    g.process.kill()
    g.process.wait()
    g.ended = True
    assert path.exists()
    start()
    assert control("version")


def test_one_that_is_in_use_is_not(start, control, path, run, tmp_path):
    start()
    done = run("-c", tmp_path / "dtlsgate.ini")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"{tmp_path / 'dtlsgate.ini'}: daemon.control-socket: {path} is in use by another process, "
        "maybe another dtlsgate; stop it or choose another path"
    )
    assert control("version"), "it is still the first one's"


def test_a_file_is_not_replaced(run, settings, psk, path):
    path.write_text("precious")
    place = {"listen": "127.0.0.1:0", "backend": "127.0.0.1:9", "psk-file": psk({"a": KEY})}
    ini = settings({"daemon": {"control-socket": path}, "service default": place})
    why = "is there and no socket; remove it or choose another path"
    for words in (["-t"], []):
        done = run("-c", ini, *words)
        assert done.returncode == 2
        assert done.stderr == f"{ini}:2: daemon.control-socket: {path} {why}\n"
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there(run, settings, psk, tmp_path):
    path = tmp_path / "none" / "s"
    place = {"listen": "127.0.0.1:0", "backend": "127.0.0.1:9", "psk-file": psk({"a": KEY})}
    daemon = {"control-socket": path, "control-group": "nosuchgroup"}
    ini = settings({"daemon": daemon, "service default": place})
    for words in (["-t"], []):
        done = run("-c", ini, *words)
        assert (done.returncode, done.stderr) == (
            2,
            f"{ini}: daemon.control-group: there is no group nosuchgroup; create it or name "
            f"another\n{ini}:2: daemon.control-socket: {path} cannot be made in {path.parent}: No such "
            "file or directory; make that folder or choose another path\n",
        )
    path.parent.touch()
    done = run("-c", ini, "-o", "daemon.control-group=")
    assert f"{path} cannot be made in {path.parent}: Not a directory; " in done.stderr


def test_nothing_of_it_is_denied_by_the_box(start, control, path, client):
    g = start()
    c = client(g).connect()
    assert c.is_alive()
    for line in ("status", "sessions", "reload", "reopen", "drain", "undrain", "config"):
        control(line)
    control(f"end {control.json('sessions')['sessions'][0]['id']}")
    g.end()
    assert not g.log.find("system call denied")


# ---- dtlsgatectl ----


def test_ctl_prints_the_answer(start, path, control, client):
    g = start(keys={ODD: KEY, "dev-1": KEY})
    done = ctl(path, "version")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, control("version"), b"")
    assert json.loads(ctl(path, "status", "--json").stdout)["pid"] == g.pid
    c = client(g, ODD).connect()
    assert c.is_alive()
    assert b"count: 1" in ctl(path, "sessions", "--identity", ODD_SHOWN).stdout
    raw = ODD.replace(b"\\", b"\\x5c")
    assert b"count: 1" in ctl(path, "sessions", "--identity", raw).stdout
    assert ctl(path, "end", b"identity:" + raw).stdout == b"ended: 1\n"
    assert c.wait_closed()


def test_ctl_tells_what_was_refused(start, path):
    start()
    done = ctl(path, "end", "5")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"dtlsgatectl: there is no such session\n"
    done = ctl(path, "end", "5", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (1, {"error": "there is no such session"})


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "no command"),
        (["-x"], "-x is no option here; those of a command stand behind it"),
        (["-xV"], "-x is no option here"),
        (["--json", "status"], "--json is no option here; those of a command stand behind it"),
        (["-s"], "-s needs the path of a socket"),
        (["top", "x"], "top takes no arguments"),
        (["sessions", ""], "an empty word says nothing"),
        (["x" * 5000], "this is too long to be sent"),
        (["status"], "cannot connect to "),
        (["top"], "cannot connect to "),
        (["-s", "/" + "x" * 200, "status"], "the socket's path is too long"),
    ],
)
def test_ctl_that_cannot_ask(tmp_path, words, what):
    done = ctl(tmp_path / "nothing", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(f"dtlsgatectl: {what}".encode())


def test_ctl_itself(binary, run):
    done = ctl("/nonexistent", "--version")
    assert done.stdout.decode() == run("-V").stdout.splitlines()[0].replace("gate", "gatectl") + "\n"
    done = ctl("/nonexistent", "-h")
    assert done.returncode == 0 and b"/run/dtlsgate/control.sock" in done.stdout
    with open("/dev/full", "w", encoding="ascii") as full:
        assert subprocess.run([ctl_path(), "-h"], stdout=full, stderr=-3).returncode == 2


def test_top_without_a_terminal_prints_one_sample(start, path, open_clients):
    g = start()
    open_clients(g, 2)
    done = ctl(path, "top")
    text = done.stdout.decode()
    assert done.returncode == 0
    assert f"pid {g.pid}, running, up 00:00:0" in text
    assert "sessions 2 of 100000, handshakes 0 of 1024, flows 2\n" in text
    assert re.search(r"^handshakes completed +0\.0 +2$", text, re.M)
    assert re.search(r"^dev-1 +0\.0 +0\.0 +2  127\.0\.0\.1:\d+$", text, re.M)
    assert "\x1b" not in text


class Screen:
    """dtlsgatectl top on a terminal of ours."""

    def __init__(self, path, columns=100, rows=40):
        self.main, other = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(other)
        self.other = other
        self.seen = ""
        self.process = subprocess.Popen(
            [ctl_path(), "-s", path, "top"],
            stdin=other,
            stdout=other,
            stderr=other,
            env=environment(),
            start_new_session=True,
        )

    def resize(self, columns, rows):
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, pattern):
        """Reads frames until one has it; returns that frame's lines."""
        deadline = time.monotonic() + DEADLINE
        while True:
            *frames, self.seen = self.seen.split("\x1b[J")
            for i, frame in enumerate(frames):
                if re.search(pattern, frame, re.M):
                    self.seen = "\x1b[J".join([*frames[i + 1 :], self.seen])
                    return frame.split("\x1b[H")[-1].replace("\x1b[K", "").replace("\r", "").split("\n")
            assert time.monotonic() < deadline, self.seen
            self.seen += os.read(self.main, 65536).decode("ascii")

    def press(self, key):
        os.write(self.main, key.encode())

    def end(self):
        status = self.process.wait(DEADLINE)
        assert termios.tcgetattr(self.other) == self.before, "the terminal is as it was"
        os.close(self.main)
        os.close(self.other)
        return status


def fits(lines, columns, rows):
    return len(lines) <= rows and max(map(len, lines)) <= columns


def test_top_on_a_terminal(start, path, client):
    g = start(keys={"dev-1": KEY, "dev-2": KEY})
    screen = Screen(path)
    lines = screen.wait(r"pid \d+, running")
    assert lines[0].startswith("dtlsgate ") and len(lines) <= 40
    busy, quiet = client(g, "dev-2").connect(), client(g).connect()
    assert quiet.is_alive()
    stop = time.monotonic() + 1.2
    while time.monotonic() < stop:
        assert busy.is_alive(b"x" * 100)
    lines = screen.wait(r"^dev-2 +[1-9]\d*\.\d")
    first = next(i for i, line in enumerate(lines) if line.startswith("busiest identities"))
    assert lines[first + 1].startswith("dev-2 ") and lines[first + 2].startswith("dev-1 ")
    g.tell(signal.SIGHUP)
    client(g).send_datagram(b"junk that is counted")
    screen.wait(r"^client\.drop_\w+ +\S+ +1")
    screen.press("x")
    screen.resize(30, 5)
    os.kill(screen.process.pid, signal.SIGWINCH)
    until(lambda: fits(screen.wait("dtlsgate"), 30, 5))
    screen.press("q")
    assert screen.end() == 0


def test_top_ends_with_dtlsgate(start, path):
    g = start()
    screen = Screen(path)
    screen.wait("running")
    g.end()
    assert screen.end() == 2


def test_top_leaves_the_terminal_alone_when_it_is_interrupted(start, path):
    start()
    screen = Screen(path)
    screen.wait("running")
    screen.process.send_signal(signal.SIGTERM)
    assert screen.end() == 0
