"""The process: who it is, what it may, and that it keeps nothing that it must not."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess

import pytest

from lib.gate import KEY, environment, until
from lib.gate import run as run_program

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def status(gate):
    text = pathlib.Path(f"/proc/{gate.pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@needs_root
def test_root_becomes_the_user_that_is_named(gate, echo, client):
    g = gate(echo, daemon={"user": "nobody", "group": "nogroup"})
    nobody = pwd.getpwnam("nobody")
    s = status(g)
    assert s["Uid"].split() == [str(nobody.pw_uid)] * 4
    assert s["Gid"].split() == [str(nobody.pw_gid)] * 4
    assert "0" not in s["Groups"].split()
    assert int(s["CapEff"], 16) == 0 and int(s["CapPrm"], 16) == 0
    assert client(g).connect().is_alive()


@needs_root
def test_the_users_own_group_is_the_default(gate, echo):
    s = status(gate(echo, daemon={"user": "daemon"}))
    daemon = pwd.getpwnam("daemon")
    assert s["Gid"].split() == [str(daemon.pw_gid)] * 4


@needs_root
def test_each_thread_has_become_the_user(gate, echo):
    g = gate(echo, daemon={"user": "nobody", "workers": 3})
    tasks = list(pathlib.Path(f"/proc/{g.pid}/task").iterdir())
    assert len(tasks) >= 4
    for task in tasks:
        assert "\nUid:\t65534\t65534\t65534\t65534\n" in (task / "status").read_text()


@needs_root
def test_what_the_user_cannot_read_is_told_at_the_start_and_stops_no_one(gate, echo, client):
    g = gate(echo, daemon={"user": "nobody"})
    for name in ("psk", "dtlsgate.ini"):
        assert g.log.find(rf"warning .*user nobody cannot read .*/{name} ")
    assert "failed, nothing changed" in g.reload()
    assert client(g).connect().is_alive()


@needs_root
def test_a_user_that_can_read_its_files_reloads_them(
    gate, echo, client, psk, settings, public_path
):
    keys = psk({"dev-1": KEY}, public_path / "psk")
    place = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": keys}
    sections = {"daemon": {"user": "nobody"}, "service default": place}
    os.chown(keys, pwd.getpwnam("nobody").pw_uid, -1)
    g = gate(ini=settings(sections, public_path / "dtlsgate.ini"))
    assert not g.log.find(" warning .*user nobody")
    psk({"dev-2": KEY}, keys)
    assert "reloaded" in g.reload()
    assert client(g, "dev-2").connect().is_alive()


@needs_root
def test_only_root_can_become_somebody_else(binary, echo, psk, public_path):
    program = shutil.copy(binary, public_path)
    keys = psk({"dev-1": KEY}, public_path / "psk")
    os.chown(keys, NOBODY, NOBODY)
    words = [program, "-l", "127.0.0.1:0", "-b", echo.address, "-k", keys]
    words += ["-o", "daemon.user=daemon"]
    done = run_program(*words, user=NOBODY, group=NOBODY, extra_groups=[])
    assert (done.returncode, done.stderr) == (
        2,
        "command line: daemon.user: only root can become daemon; start as root, or leave it out "
        "and start as that user\n",
    )


def test_memory_is_no_business_of_others(gate, echo):
    """Keys are in there: no core dump, and no reading by the user's other processes."""
    g = gate(echo)
    limits = pathlib.Path(f"/proc/{g.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    assert pathlib.Path(f"/proc/{g.pid}").stat().st_uid == 0


def test_keys_are_not_on_the_command_line_nor_in_the_environment(gate, echo):
    g = gate(echo)
    for name in ("cmdline", "environ"):
        if os.access(f"/proc/{g.pid}/{name}", os.R_OK):
            assert KEY.hex().encode() not in pathlib.Path(f"/proc/{g.pid}/{name}").read_bytes()


def test_descriptors_are_given_back(gate, echo, client):
    g = gate(echo, daemon={"workers": 2})
    folder = pathlib.Path(f"/proc/{g.pid}/fd")
    before = len(list(folder.iterdir()))
    for n in range(30):
        c = client(g).connect()
        assert c.is_alive()
        c.close()
        g.wait_event("session end", n + 1)
    for _ in range(3):
        assert "reloaded" in g.reload()
    assert len(list(folder.iterdir())) == before


def test_the_number_of_workers(gate, echo):
    for workers in (1, 3):
        g = gate(echo, daemon={"workers": workers})
        assert int(status(g)["Threads"]) >= workers + 1
        assert g.end()["workers"] == workers


def test_a_signal_while_it_starts_ends_it(binary, echo, psk, tmp_path):
    """Also before its handlers stand: it ends, one way or the other, and leaves nothing behind."""
    words = [binary, "-l", "127.0.0.1:0", "-b", echo.address, "-k", psk({"dev-1": KEY})]
    with subprocess.Popen(words, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGTERM)


def test_twice_term_is_as_good_as_once(gate, echo, client):
    g = gate(echo)
    assert client(g).connect().is_alive()
    g.tell(signal.SIGTERM)
    g.end()


def test_hup_right_before_term(gate, echo):
    g = gate(echo)
    g.tell(signal.SIGHUP)
    g.end()


def test_a_log_that_nobody_reads_any_more_does_not_end_it(binary, echo, psk, client, free_port):
    """SIGPIPE would."""
    words = [binary, "-l", f"127.0.0.1:{free_port}", "-b", echo.address, "-k", psk({"dev-1": KEY})]
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=environment()) as process:
        while b"ready" not in process.stderr.readline():
            assert process.poll() is None
        process.stderr.close()
        assert client(("127.0.0.1", free_port)).connect().is_alive()
        process.terminate()
        assert process.wait(20) == 0


# ---- what is told beforehand ----


@needs_root
def test_a_process_that_stays_root_is_told_of_once(gate, echo, run, settings, psk):
    place = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": psk({"dev-1": KEY})}
    ini = settings({"service default": place})
    why = f"{ini}: daemon.user: is not set, and a process that root starts stays root; name a user"
    done = run("-c", ini, "-t")
    assert done.returncode == 0
    assert len([line for line in done.stderr.splitlines() if line.startswith(f"warning: {why}")]) == 1
    g = gate(ini=ini)
    assert "reloaded" in g.reload()
    assert len(g.log.find(f"warning {why}")) == 1
    done = run("-c", ini, "-t", "-o", "daemon.user=nobody")
    assert "stays root" not in done.stderr
    assert not gate(echo, daemon={"user": "nobody"}).log.find("stays root")


@needs_root
def test_test_looks_with_the_users_eyes(run, settings, psk, public_path):
    """What a start would fail on is a mistake, what would be amiss later a warning, all at once."""
    closed = public_path / "closed"
    closed.mkdir(mode=0o700)
    place = {"listen": "127.0.0.1:0", "backend": "127.0.0.1:9"}
    place |= {"psk-file": psk({"a": KEY}, public_path / "psk"), "psk-helper": public_path / "none"}
    daemon = {"user": "nobody", "log": closed / "log", "control-socket": closed / "sock"}
    ini = settings({"daemon": daemon, "service coap": place}, public_path / "x.ini")
    ini.chmod(0o600)
    done = run("-c", ini, "-t")
    assert (done.returncode, done.stdout) == (0, f"{ini}: settings are valid\n")
    for place, what in [
        ("--config", f"user nobody cannot read {ini}: Permission denied; a reload will fail"),
        (f"{ini}:3: daemon.log", f"user nobody cannot make files in {closed}, so that"),
        (f"{ini}:4: daemon.control-socket", f"user nobody cannot remove it from {closed} at the"),
        (f"{ini}:9: service.coap.psk-file", f"user nobody cannot read {public_path / 'psk'}: "),
        (f"{ini}:10: service.coap.psk-helper", f"user nobody cannot find {public_path / 'none'}: "),
    ]:
        assert f"warning: {place}: {what}" in done.stderr, (place, done.stderr)
    assert not list(closed.iterdir())
    state = public_path / "state"
    state.mkdir(mode=0o700)
    key = public_path / "key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    words = ["-o", f"daemon.state-dir={state}", "-o", f"daemon.state-key={key}"]
    done = run("-c", ini, "-t", *words)
    assert (done.returncode, done.stderr) == (
        2,
        f"command line: daemon.state-dir: user nobody cannot use {state}: Permission denied; give "
        "it to them\n",
    )
    os.chown(state, NOBODY, NOBODY)
    assert run("-c", ini, "-t", *words).returncode == 0


@needs_root
def test_test_as_somebody_who_could_not_start_it(binary, echo, psk, public_path):
    program = shutil.copy(binary, public_path)
    keys = psk({"dev-1": KEY}, public_path / "psk")
    os.chown(keys, NOBODY, NOBODY)
    words = [program, "-t", "-l", "127.0.0.1:0", "-b", echo.address, "-k", keys]
    words += ["-o", "daemon.user=daemon", "-o", "daemon.log=/none/log"]
    done = run_program(*words, user=NOBODY, group=NOBODY, extra_groups=[])
    assert (done.returncode, done.stdout) == (0, "command line: settings are valid\n")
    assert "warning: command line: daemon.user: only root can become daemon; start as" in done.stderr
    assert "/none" not in done.stderr, "which files there are for root is not known"
    words = [*words[:-4], "-o", f"service.default.psk-helper={public_path / 'none'}"]
    done = run_program(*words, user=NOBODY, group=NOBODY, extra_groups=[])
    assert f"user nobody cannot find {public_path / 'none'}: No such file" in done.stderr


@needs_root
@pytest.mark.parametrize("name", ["log", "access-log"])
def test_a_new_log_is_the_users_to_open_anew(public_path, gate, echo, client, name):
    """Made by root at the start, by the user behind a rotation; or by the rotation itself."""
    folder = public_path / "logs"
    folder.mkdir(mode=0o755)
    os.chown(folder, NOBODY, NOBODY)
    log, path = folder / "log", folder / name
    g = gate(echo, daemon={"user": "nobody", "log": log, name: path}, log_path=log)
    for n in (1, 2, 3):
        was = path.stat()
        assert (was.st_uid, was.st_gid, was.st_mode & 0o777) == (NOBODY, NOBODY, 0o640)
        path.rename(folder / f"{name}.{n}")
        if n == 3:
            path.touch(0o640)
            os.chown(path, NOBODY, NOBODY)
        g.tell(signal.SIGUSR1)
        g.log.wait("dtlsgate: log reopened", 1 if name == "log" else n)
        c = client(g).connect()
        assert c.is_alive()
        end = rf"peer=127\.0\.0\.1:{c.source[1]} .*closed by client"
        c.close()
        until(lambda: re.search(end, path.read_text()))
        assert path.stat().st_ino != was.st_ino
