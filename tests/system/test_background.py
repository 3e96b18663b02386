"""-d and --pidfile: for systems whose init knows a daemon by its process id."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from lib.gate import KEY, FileLog, environment, until

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def is_there(pid):
    """Runs, and is no zombie that waits for who inherits it."""
    try:
        return "\nState:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


class Daemon:
    """One that was started with -d: its caller's end, its pidfile and its log."""

    def __init__(self, folder):
        self.pidfile = folder / "pid"
        self.log = FileLog(folder / "log")
        self.done = None

    @property
    def pid(self):
        return int(self.pidfile.read_text())

    def stop(self, pid):
        os.kill(pid, signal.SIGTERM)
        until(lambda: not is_there(pid))
        return self.log.wait("dtlsgate: stopped")


@pytest.fixture
def start(binary, psk, echo, free_port, public_path):
    """Runs the caller to its end, which must not wait for the daemon to close what it inherited."""
    made = []

    def start_it(*options, has_log=True):
        keys = psk({"dev-1": KEY}, public_path / "psk")
        if os.geteuid() == 0:
            os.chown(keys, 0, NOBODY)
            keys.chmod(0o640)
        daemon = Daemon(public_path)
        made.append(daemon)
        words = ["-l", f"127.0.0.1:{free_port}", "-b", echo.address, "-k", keys]
        words += ["-d", "--pidfile", daemon.pidfile, *options]
        words += ["-o", f"daemon.log={daemon.log.path}"] if has_log else []
        daemon.done = subprocess.run(
            [binary, *map(str, words)],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=60,
        )
        return daemon

    yield start_it
    for one in made:
        if one.pidfile.exists() and one.pidfile.read_text() and is_there(one.pid):
            os.kill(one.pid, signal.SIGKILL)


def test_the_caller_ends_when_all_is_ready(start, client, free_port):
    d = start()
    assert (d.done.returncode, d.done.stdout) == (0, "")
    # That a sanitizer's build has no filter, and what this host allows, may be warned of.
    foreseen = re.compile("a sanitizer|open files|stays root")
    assert not [line for line in d.done.stderr.splitlines() if not foreseen.search(line)]
    assert d.log.find("dtlsgate: ready"), "not ready yet"
    pid = d.pid
    assert is_there(pid)
    assert client(("127.0.0.1", free_port)).connect().is_alive()
    d.stop(pid)
    assert not d.pidfile.exists()


def test_it_belongs_to_nobody(start):
    d = start()
    pid = d.pid
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    parent, group, session, terminal = map(int, fields[1:5])
    assert parent != os.getpid()
    assert terminal == 0
    assert session not in (os.getsid(0), pid), "it could get a terminal"
    assert group == session
    if os.geteuid() == 0:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)]
        assert links == ["/dev/null"] * 3
    d.stop(pid)


def test_signals_work_as_in_the_foreground(start, client, free_port):
    d = start()
    pid = d.pid
    os.kill(pid, signal.SIGHUP)
    d.log.wait("dtlsgate: reloaded")
    old = d.log.path.with_suffix(".1")
    d.log.path.rename(old)
    os.kill(pid, signal.SIGUSR1)
    d.log.wait("info dtlsgate: log reopened")
    assert client(("127.0.0.1", free_port)).connect().is_alive()
    d.stop(pid)
    assert "stopped" not in old.read_text()


def test_a_mistake_reaches_the_callers_stderr(start):
    d = start("-o", "daemon.workers=many", "-o", "service.default.mtu=1")
    assert d.done.returncode == 2
    lines = d.done.stderr.splitlines()
    assert len(lines) == 2 and lines[0].startswith('command line: daemon.workers: "many"')
    assert not d.pidfile.exists()


def test_a_log_on_stderr_is_a_mistake(start):
    d = start(has_log=False)
    assert d.done.returncode == 2
    assert d.done.stderr == (
        "command line: daemon.log: behind -d nobody reads stderr; choose syslog or a file\n"
    )
    assert not d.pidfile.exists()


def test_a_reload_cannot_move_the_log_to_stderr_either(start, settings, psk, echo, public_path):
    log = public_path / "log"
    place = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": public_path / "psk"}
    sections = {"daemon": {"log": log}, "service default": place}
    ini = settings(sections)
    d = start("-c", ini, "-l", "127.0.0.1:0", has_log=False)
    assert d.done.returncode == 0, d.done.stderr
    settings({**sections, "daemon": {"log": "stderr"}})
    pid = d.pid
    os.kill(pid, signal.SIGHUP)
    d.log.wait(r"error .*dtlsgate\.ini: daemon\.log: behind -d nobody reads stderr")
    d.log.wait("dtlsgate: reload failed, nothing changed")
    d.stop(pid)


def test_a_warning_of_the_start_reaches_the_caller_and_the_log(start, psk, public_path):
    """Keys of the start that are too short to be good."""
    short = psk({"dev-9": b"123456789abcdef0"}, public_path / "readable")
    d = start("-k", short)
    assert d.done.returncode == 0
    assert d.done.stderr.splitlines() == d.log.find(" warning ")
    assert "readable" in d.done.stderr
    d.stop(d.pid)


def test_a_second_one_is_told_of_the_first(start):
    d = start()
    pid = d.pid
    second = start()
    assert second.done.returncode == 2
    assert f"--pidfile: {d.pidfile} is held by another process, {pid}; stop that one first\n" in (
        second.done.stderr
    )
    assert "cannot bind" in second.done.stderr, "not all mistakes at once"
    assert d.pid == pid
    d.stop(pid)


def test_the_file_of_one_that_died_is_taken_over(start):
    d = start()
    old = d.pid
    os.kill(old, signal.SIGKILL)
    until(lambda: not is_there(old))
    assert d.pid == old, "who would have taken it away?"
    d = start()
    assert d.done.returncode == 0, d.done.stderr
    pid = d.pid
    assert pid != old
    d.stop(pid)


@needs_root
def test_another_user_and_its_log(start, client, free_port, public_path):
    """The log that the start has made can be opened anew; the pidfile is root's, as is its folder,
    so all that can be done at the end is to empty it."""
    d = start("-o", "daemon.user=nobody")
    assert d.done.returncode == 0, d.done.stderr
    pid = d.pid
    assert d.log.path.stat().st_uid == NOBODY
    assert d.pidfile.stat().st_uid == 0
    assert not re.search("cannot be opened anew", d.log.text())
    os.kill(pid, signal.SIGUSR1)
    d.log.wait("info dtlsgate: log reopened")
    assert client(("127.0.0.1", free_port)).connect().is_alive()
    d.stop(pid)
    assert d.pidfile.read_text() == ""
    d = start("-o", "daemon.user=nobody")
    assert d.done.returncode == 0
    d.stop(d.pid)


def test_a_pidfile_in_the_foreground(gate, echo, tmp_path):
    path = tmp_path / "pid"
    g = gate(echo, args=["--pidfile", path])
    assert path.read_text() == f"{g.pid}\n"
    g.end()
    assert not path.exists()


def test_a_file_that_is_no_pidfile_stays_as_it_is(run, psk, tmp_path):
    path = tmp_path / "pid"
    path.write_text("something else\n")
    command = ["-l", "127.0.0.1:0", "-b", "127.0.0.1:1", "-k", psk({"dev-1": KEY})]
    done = run(*command, "--pidfile", path)
    assert (done.returncode, done.stderr) == (
        2,
        f"--pidfile: {path} holds something else than a process id; choose another name\n",
    )
    assert path.read_text() == "something else\n"


def test_an_upgrade_in_the_background(start):
    """The file never names a process that has ended; the last one takes it away."""
    daemon = start()
    assert daemon.done.returncode == 0
    for _ in range(2):
        before = daemon.pid
        os.kill(before, signal.SIGUSR2)
        until(lambda: not is_there(before))
        assert daemon.pid != before and is_there(daemon.pid)
    assert daemon.stop(daemon.pid)
    assert not daemon.pidfile.exists()


def test_an_upgrade_in_the_background_tells_why_it_fails(start, echo):
    daemon = start()
    pid = daemon.pid
    (daemon.pidfile.parent / "psk").unlink()
    os.kill(pid, signal.SIGUSR2)
    daemon.log.wait("upgrade: .*psk.*No such file")
    assert daemon.pid == pid and is_there(pid)
    daemon.stop(pid)
