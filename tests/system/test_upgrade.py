"""An upgrade: a new process takes over, and nobody notices but the operator."""

import os
import pathlib
import re
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.backend import Backend
from lib.control import Control, ctl
from lib.gate import DEADLINE, IDENTITY, KEY, Gate, until
from lib.steady import Steady

HERE = pathlib.Path(__file__).parent
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
CRASHES = "#!/bin/sh\nkill -SEGV $$\n"
ENDS = "#!/bin/sh\nexit 3\n"
# Reads what is handed over and says nothing, for ever.
FOREIGN = "#!/bin/sh\nprintf X >&3\nexec sleep 1000\n"
# Takes all that it is given and does as it should, up to a step.
PRETENDER = """#!/usr/bin/python3
import os, socket, time
s = socket.socket(fileno=3)
sessions, taken = 0, {taken}

def until(kind):
    while True:
        data, fds, _, _ = socket.recv_fds(s, 65536, 253)
        for fd in fds:
            os.close(fd)
        if not data or data[:1] == kind:
            return data

def at(step):
    if step == {step!r}:
        time.sleep(1000) if {hangs} else os._exit(9)

until(b"E")
at("beginning")
s.send(b"A")
at("able")
until(b"W")
at("middle")
sessions = int.from_bytes(until(b"D")[1:], "big")
at("done")
s.send(b"Y" + (sessions + taken).to_bytes(8, "big"))
at("taken")
until(b"G")
at("go")
"""


@pytest.fixture
def program(binary, tmp_path):
    """The name that the gate is started by, behind which there may be something else later on."""
    path = tmp_path / "dtlsgate"
    path.symlink_to(binary)
    return path


@pytest.fixture
def replace(program, binary, tmp_path):
    """Puts a script behind the name; None: what was there at first."""

    def replace_it(script):
        other = tmp_path / "other"
        program.unlink()
        if script is None:
            program.symlink_to(binary)
            return
        other.write_text(script)
        other.chmod(0o755)
        other.rename(program)

    return replace_it


@pytest.fixture
def start(start, orphans, program, monkeypatch):
    """The same, but started by `program`."""
    real = Gate.__init__
    monkeypatch.setattr(
        Gate, "__init__", lambda self, _binary, *args: real(self, str(program), *args)
    )
    return start


@pytest.fixture
def steady(compiled):
    made = []

    def make():
        path = os.environ.get("STEADY_CLIENTS") or compiled(
            HERE / "steady_clients.c", "-lssl", "-lcrypto"
        )
        made.append(Steady(path))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def speak(control):
    """Waits until so many more datagrams have come from clients."""

    def heard():
        return control.json("status")["counters"].get("client_datagrams", 0)

    def wait(count):
        before = heard()
        until(lambda: heard() >= before + count)

    return wait


def assert_nothing_lost(seen):
    """`seen` is what steady clients have seen."""
    assert seen["answered"] == seen["sent"] > 0, seen
    for wrong in ("twice", "strange", "backwards", "moved", "ended"):
        assert seen[wrong] == 0, seen


def assert_goes_on(g, control, why):
    """An upgrade fails, and says so both ways."""
    pid = g.pid
    reason, rest = control.refusal("upgrade")
    assert reason == "upgrade failed, the old process goes on"
    assert re.search(why, rest), rest
    assert g.log.find(why)
    g.log.wait("upgrade failed, the old process goes on")
    assert control.json("status")["state"] == "running"
    assert g.pid == pid


# ---- traffic ----


def test_steady_clients_notice_nothing(start, steady, upgrade, replace, control, speak):
    """A hundred clients; three upgrades, and between them four that come to nothing."""
    clients = steady()
    g = start(to=clients.backend)
    ini = pathlib.Path(g.process.args[2])
    good = ini.read_text()
    clients.begin(g.address(), 100, 10)
    speak(100)
    first = upgrade(g)
    assert first["sessions"] == 100 and first["left-behind"] == 0
    for script, why in ((CRASHES, "ended by signal 11"), (ENDS, "ended with status 3")):
        replace(script)
        assert_goes_on(g, control, why)
    replace(FOREIGN)
    assert_goes_on(g, control, "not known here")
    replace(None)
    ini.write_text(good + "\n[nonsense]\n")
    assert_goes_on(g, control, "nonsense")
    ini.write_text(good)
    for _ in range(2):
        speak(100)
        upgrade(g)
    assert_nothing_lost(clients.end())
    totals = control.json("status")["counters"]
    assert totals["flows_opened"] == totals["handshakes_completed"] == 100


@pytest.mark.long
@pytest.mark.patience(900)
def test_a_thousand_clients_and_ten_upgrades(start, steady, upgrade, replace, control, speak):
    """The full count. What is printed goes into the notes of a release."""
    clients = steady()
    g = start(to=clients.backend)
    ini = pathlib.Path(g.process.args[2])
    good = ini.read_text()
    clients.begin(g.address(), 1000, 5)
    stills = []
    for n in range(10):
        if n == 3:
            replace(CRASHES)
            assert_goes_on(g, control, "ended by signal 11")
            replace(None)
        if n == 6:
            ini.write_text(good + "\n[nonsense]\n")
            assert_goes_on(g, control, "nonsense")
            ini.write_text(good)
        speak(10000)
        answer = upgrade(g)
        assert answer["sessions"] == 1000
        stills.append(answer["still-us"] / 1000)
    seen = clients.end()
    print(f"still for {min(stills):.1f} to {max(stills):.1f} ms; {seen}")
    assert_nothing_lost(seen)


@pytest.mark.long
@pytest.mark.patience(300)
def test_how_long_ten_thousand_sessions_are_still(start, steady, upgrade, speak):
    """Each with a socket of its own towards the backend, and some traffic."""
    clients = steady()
    g = start(to=clients.backend, daemon={"max-handshakes": 4096})
    clients.begin(g.address(), 10000, 0.5)
    speak(11000)
    stills = [upgrade(g)["still-us"] / 1000 for _ in range(5)]
    seen = clients.end()
    print(f"10000 sessions: still for {min(stills):.1f} to {max(stills):.1f} ms; {seen}")
    assert_nothing_lost(seen)


@pytest.mark.parametrize(
    "step, why",
    [
        ("beginning", "ended with status 9"),
        ("able", "ended with status 9"),
        ("middle", "ended with status 9"),
        ("done", "ended with status 9"),
        ("taken", "ended with status 9"),
        ("go", "ended with status 9"),
    ],
)
def test_a_new_process_that_ends_at_any_step(
    start, steady, replace, upgrade, control, speak, step, why
):
    """Even when it has all and was told to go: it did not say that it runs."""
    clients = steady()
    g = start(to=clients.backend)
    clients.begin(g.address(), 20, 20)
    speak(20)
    replace(PRETENDER.format(step=step, hangs=False, taken=0))
    assert_goes_on(g, control, why)
    speak(20)
    replace(None)
    upgrade(g)
    speak(20)
    assert_nothing_lost(clients.end())


def test_a_new_process_that_hangs_with_all_in_hand(
    start, steady, replace, upgrade, control, speak
):
    """It may have begun: only its end tells that it has not. Clients wait for that long."""
    clients = steady()
    g = start(to=clients.backend)
    clients.begin(g.address(), 20, 5)
    speak(20)
    replace(PRETENDER.format(step="go", hangs=True, taken=0))
    assert_goes_on(g, control, "ended by signal 9")
    speak(20)
    assert_nothing_lost(clients.end())


def test_a_new_process_that_counts_other_sessions(start, client, replace, control):
    g = start()
    c = client(g).connect()
    replace(PRETENDER.format(step="", hangs=False, taken=1))
    assert_goes_on(g, control, "counts other sessions than were sent")
    assert c.is_alive()


def test_sessions_and_ports_stay(start, client, upgrade, echo):
    g = start()
    clients = [client(g, source=(f"127.0.0.{n + 2}", 0)).connect() for n in range(8)]
    for c in clients:
        assert c.ask(b"before") == b"before"
    ports = echo.ports
    answer = upgrade(g)
    assert answer["sessions"] == 8
    for c in clients:
        assert c.ask(b"behind") == b"behind"
    assert echo.ports == ports
    assert client(g).connect().ask(b"new") == b"new"


def test_a_session_that_was_never_used_and_one_whose_flow_is_closed(start, client, upgrade, control):
    g = start(flow_timeout="1s")
    unused, used = client(g).connect(), client(g).connect()
    assert used.is_alive()
    g.wait_event("session flow")
    until(lambda: control.json("status")["counters"]["flows"] == 0)
    upgrade(g)
    assert unused.is_alive() and used.is_alive()


def test_a_replay_from_before_is_refused(start, client, upgrade, echo, control):
    g = start()
    c = client(g).connect()
    sent = []
    real = c.send_datagram
    c.send_datagram = lambda data: (sent.append(data), real(data))
    assert c.is_alive()
    c.send_datagram = real
    upgrade(g)
    for data in sent:
        real(data)
    assert c.is_alive()
    assert control.json("status")["counters"]["client.drop_replay"] == len(sent)


def test_what_comes_while_all_is_still_is_not_lost(start, client, upgrade, echo):
    """Answers of the backend and datagrams of clients wait in the kernel."""
    g = start()
    clients = [client(g).connect() for _ in range(4)]
    assert all(c.is_alive() for c in clients)
    for turn in range(5):
        for c in clients:
            c.send(b"%d" % turn)
        upgrade(g)
        for c in clients:
            assert c.recv() == b"%d" % turn


# ---- handshakes ----


def test_a_handshake_under_way_comes_to_its_end(start, client, control):
    """Begun in the old process, and still open when the new one is able: it is waited for."""
    g = start()
    c = client(g)
    c.begin()
    c.step()
    until(lambda: control.json("status")["counters"]["handshakes"] == 1)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(control.json, "upgrade")
        g.log.wait("starting a new process")
        assert c.connect().is_alive()
        answer = answer.result()
    g.follow(answer["pid"])
    assert answer["sessions"] == 1 and answer["settled-ms"] < 2900
    assert c.is_alive()


def test_a_cookie_of_the_old_process_is_good_in_the_new_one(start, client, upgrade, control):
    """The second hello is the first that the new process sees."""
    g = start()
    c = client(g)
    c.begin()  # the first hello
    question = c.datagram(DEADLINE)
    upgrade(g)
    c.take(question)
    assert c.connect().is_alive()
    counters = control.json("status")["counters"]
    assert counters["client.hello_answered"] == 1


def test_a_handshake_that_never_ends_holds_up_nobody(start, client, upgrade, control):
    """The first flight of a client that is gone is not waited for longer than three seconds."""
    g = start()
    c = client(g)
    c.begin()
    c.step()
    until(lambda: control.json("status")["counters"]["handshakes"] == 1)
    alive = client(g).connect()
    answer = upgrade(g)
    assert 2900 < answer["settled-ms"] < 6000
    assert alive.is_alive()


# ---- what is left behind ----


def test_what_libssl_keeps_is_told_goodbye(start, client, upgrade, control):
    g = start(ciphers="PSK:!aNULL:@SECLEVEL=0", min_version="1.0")
    old = client(g, ciphers="PSK-AES128-CBC-SHA").connect()
    new = client(g, ciphers="PSK-AES128-CCM8").connect()
    assert old.is_alive() and new.is_alive()
    answer = upgrade(g)
    assert answer["sessions"] == answer["left-behind"] == 1
    old.wait_closed()
    assert new.is_alive()
    g.wait_event("session end", reason="not taken over by the new process")


def test_an_identity_that_is_gone_and_a_key_that_changed(start, client, upgrade, psk, control):
    keys = {IDENTITY: KEY, "gone": bytes(16), "other": bytes(range(16, 32))}
    g = start(keys=keys)
    stays, gone, other = (client(g, name, key).connect() for name, key in keys.items())
    assert stays.is_alive() and gone.is_alive() and other.is_alive()
    psk({IDENTITY: KEY, "other": bytes(range(32, 48))})
    answer = upgrade(g)
    assert answer["sessions"] == 1 and answer["left-behind"] == 2
    gone.wait_closed()
    other.wait_closed()
    assert stays.is_alive()
    reasons = {e["identity"]: e["reason"] for e in g.events("session not taken over")}
    assert reasons == {"gone": "identity removed", "other": "key changed"}


def test_a_lower_cap_keeps_those_used_last(start, client, upgrade):
    g = start(daemon={"workers": 1, "max-sessions": 8})
    clients = [client(g).connect() for _ in range(8)]
    assert all(c.is_alive() for c in clients)
    ini = pathlib.Path(g.process.args[2])
    ini.write_text(ini.read_text().replace("max-sessions = 8", "max-sessions = 5"))
    answer = upgrade(g)
    assert answer["sessions"] == 5 and answer["left-behind"] == 3
    for c in clients[:3]:
        c.wait_closed()
    assert all(c.is_alive() for c in clients[3:])


# ---- the operator ----


def test_new_settings_count_and_the_control_socket_is_always_there(start, upgrade, control):
    g = start()
    inode = control.path.stat().st_ino
    ini = pathlib.Path(g.process.args[2])
    ini.write_text(ini.read_text().replace("workers = 2", "workers = 2\nmax-sessions = 77"))
    upgrade(g)
    assert "max-sessions = 77" in control("config")
    assert control.path.stat().st_ino == inode
    g.end()
    assert not control.path.exists()


@pytest.mark.parametrize(
    "before, behind, why",
    [
        ("workers = 2", "workers = 3", "the running process has 2, and an upgrade cannot"),
        ("[service default]", "[service other]", "cannot add addresses or services"),
        ("listen = 127.0.0.1:0", "listen = 127.0.0.1:0, 127.0.0.2:0", "cannot add addresses"),
        ("control.sock", "other.sock", "is not the one of the running process"),
        ("workers = 2", "workers = 2\ncontrol-mode = 0666", "another owner, group or mode"),
    ],
)
def test_what_an_upgrade_cannot_change(start, client, control, before, behind, why):
    g = start()
    c = client(g).connect()
    ini = pathlib.Path(g.process.args[2])
    text = ini.read_text()
    assert before in text
    ini.write_text(text.replace(before, behind))
    assert_goes_on(g, control, why)
    assert c.is_alive()
    ini.write_text(text)


def test_by_signal_and_by_dtlsgatectl(start, client, control):
    g = start()
    c = client(g).connect()
    g.tell(signal.SIGUSR2)
    before, behind = g.pid, int(g.wait_event("upgrade")["pid"])
    g.follow(behind)
    assert int(g.wait_event("taken over")["pid"]) == before
    done = ctl(control.path, "upgrade", text=True)
    assert done.returncode == 0 and "upgraded: yes" in done.stdout, done
    g.follow(int(re.search(r"pid: (\d+)", done.stdout)[1]))
    assert c.is_alive()


def test_dtlsgatectl_fails_when_the_upgrade_does(start, control, replace):
    g = start()
    replace(ENDS)
    done = ctl(control.path, "upgrade", text=True)
    assert done.returncode == 1 and "ended with status 3" in done.stdout + done.stderr, done
    assert g.process.poll() is None


def test_orders_wait_for_the_end_of_an_upgrade(start, control, replace, tmp_path):
    """A new process that does not answer is ended where the old one is told to end."""
    g = start()
    replace(f"#!/bin/sh\ntouch {tmp_path}/there\nexec sleep 1000\n")
    g.tell(signal.SIGUSR2)
    until((tmp_path / "there").exists)
    assert "an upgrade is under way" in control.refusal("reload")[0]
    assert "an upgrade is under way" in control.refusal("drain")[0]
    assert control.json("status")["state"] == "running"
    g.tell(signal.SIGHUP)
    g.end()
    g.log.wait("upgrade: dtlsgate is told to stop")


def test_a_reload_that_is_asked_for_meanwhile(start, client, control, upgrade):
    """The new process may have read its settings before they were changed."""
    g = start()
    c = client(g)
    c.begin()
    c.step()  # holds up the upgrade until it is complete
    until(lambda: control.json("status")["counters"]["handshakes"] == 1)
    g.tell(signal.SIGUSR2)
    g.log.wait("starting a new process")
    ini = pathlib.Path(g.process.args[2])
    ini.write_text(ini.read_text().replace("workers = 2", "workers = 2\nmax-sessions = 77"))
    g.tell(signal.SIGHUP)
    assert control.json("status")["reloads"] == 0
    assert c.connect().is_alive()
    g.follow(int(g.wait_event("upgrade")["pid"]))
    g.log.wait("dtlsgate: reloaded")
    assert "max-sessions = 77" in control("config")
    assert c.is_alive()


def test_a_drained_process_and_a_drained_backend_stay_so(start, client, upgrade, control, echo):
    g = start()
    control(f"backend default {echo.address} drain")
    control("drain")
    upgrade(g)
    assert control.json("status")["draining"] is True
    # Its workers know before they read anything, and may yet be about to when this is asked.
    until(lambda: control.json("status")["backends"][0]["draining"])
    control("undrain")


def test_counters_go_on(start, client, upgrade, control):
    g = start()
    clients = [client(g).connect() for _ in range(3)]
    assert all(c.is_alive() for c in clients)
    before = control.json("status")["counters"]
    upgrade(g)
    behind = control.json("status")["counters"]
    assert behind == before
    clients[0].shutdown()
    g.wait_event("session end")
    ids = {s["id"] for s in control.json("sessions")["sessions"]}
    late = client(g).connect()
    assert late.is_alive()
    assert len({s["id"] for s in control.json("sessions")["sessions"]} - ids) == 1
    totals = g.end()
    assert totals["sessions_ended"] == 4


def test_the_file_with_the_process_id(start, gate, upgrade, tmp_path, run):
    pidfile = tmp_path / "pid"
    g = start(args=["--pidfile", pidfile])
    upgrade(g)
    assert int(pidfile.read_text()) == g.pid
    inode = pidfile.stat().st_ino
    upgrade(g)
    assert int(pidfile.read_text()) == g.pid and pidfile.stat().st_ino == inode
    ini = g.process.args[2]
    assert "is held by another process" in run("-c", ini, "--pidfile", pidfile).stderr
    g.end()
    assert not pidfile.exists()


def test_http_goes_on_at_its_port(start, upgrade):
    g = start(daemon={"http": "127.0.0.1:0"})
    where = re.search(r"http: listening on (\S+)", g.log.text())[1]
    host, port = where.rsplit(":", 1)

    def ask():
        with socket.create_connection((host, int(port)), DEADLINE) as s:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: " + where.encode() + b"\r\n\r\n")
            return s.recv(100)

    assert b"200" in ask()
    upgrade(g)
    assert b"200" in ask()
    upgrade(g)
    assert b"200" in ask()


def test_nothing_is_left_over(start, client, upgrade):
    """One process that serves and one that would start the next, however many upgrades there were."""
    g = start()
    c = client(g).connect()

    def family():
        found = []
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                name, rest = stat.read_text().split("(", 1)[1].rsplit(") ", 1)
            except OSError:
                continue
            if name.startswith("dtlsgate") and int(rest.split()[1]) in (os.getpid(), g.pid):
                found.append((name, rest[0]))
        return sorted(found)

    def spawners():
        """Those of this gate."""
        return [
            int(stat.parent.name)
            for stat in pathlib.Path("/proc").glob("[0-9]*/stat")
            if "(dtlsgate-spawn) " in (text := stat.read_text())
            and int(text.rsplit(") ", 1)[1].split()[1]) == g.pid
        ]

    def descriptors():
        return len(list(pathlib.Path(f"/proc/{g.pid}/fd").iterdir()))

    upgrade(g)
    assert c.is_alive()
    count = descriptors()
    for _ in range(3):
        upgrade(g)
        assert c.is_alive()
    until(lambda: descriptors() == count)
    named = subprocess.run(["pidof", "dtlsgate"], capture_output=True, text=True).stdout
    assert str(g.pid) in named.split() and not set(named.split()) & set(map(str, spawners()))
    assert [f for f in family() if f[1] != "Z"] == [("dtlsgate", "S"), ("dtlsgate-spawn", "S")]


# ---- flows of the other kinds ----


def test_flows_on_a_shared_socket_keep_their_addresses(start, client, upgrade):
    behind = Backend()
    try:
        g = start(to=behind, backend_source="127.64.0.0/10")
        clients = [client(g).connect() for _ in range(6)]
        assert all(c.is_alive() for c in clients)
        before = {peer for peer, _ in behind.received}
        upgrade(g)
        assert all(c.is_alive() for c in clients)
        assert {peer for peer, _ in behind.received} == before
        late = client(g).connect()
        assert late.is_alive()
        assert len({peer for peer, _ in behind.received}) == 7
    finally:
        behind.close()


# ---- privileges ----


@needs_root
@pytest.mark.parametrize("sandbox", ["yes", "no"])
def test_the_new_process_begins_as_the_old_one_did(
    gate, echo, client, public_path, binary, sandbox, psk, orphans
):
    """Started as root, running as nobody: the next one can read what only root can."""
    control = Control(public_path / "control.sock")
    place = {"control-socket": control.path, "workers": 2, "user": "nobody", "sandbox": sandbox}
    g = gate(echo, daemon=place)
    c = client(g).connect()
    for _ in range(2):
        answer = control.json("upgrade")
        g.follow(answer["pid"])
        status = pathlib.Path(f"/proc/{g.pid}/status").read_text()
        assert re.search(r"Uid:\s+65534\s+65534\s+65534", status)
        assert re.search(r"Seccomp:\s+([02])", status)
        assert c.is_alive()
    (public_path / "psk2").write_text("x")
