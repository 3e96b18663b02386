"""The log by syslog: what a daemon at /dev/log gets, and that nothing goes anywhere else."""

import json
import re
import signal
import socket
import subprocess

import pytest

from lib.gate import IDENTITY, KEY, Gate, Log, fields, until

DAEMON = 3
SEVERITIES = {"error": 3, "warning": 4, "info": 6, "debug": 7}
LINE = re.compile(r"<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d dtlsgate\[(\d+)\]: (.*)", re.S)

# A /dev of its own, for the system's need not have a log and must not get one.
WRAPPER = """#!/bin/sh
exec unshare -m sh -e -c '
dev=$1 socket=$2
shift 2
mount -t tmpfs none "$dev"
for one in null zero full random urandom; do
    : >"$dev/$one"
    mount --bind "/dev/$one" "$dev/$one"
done
ln -s /proc/self/fd "$dev/fd"
ln -s "$socket" "$dev/log"
mount --rbind "$dev" /dev
exec "$@"
' - {dev} {socket} {binary} "$@"
"""


class Datagrams(Log):
    """The lines that a socket gets: the text of each datagram, without what syslog(3) puts before."""

    def __init__(self, path):
        self.path = path
        self.heads = []  # (facility, severity, pid) of each line
        self._open()
        super().__init__(self.socket)

    def _open(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)
        self._stream = self.socket

    def restart(self):
        """As a syslog daemon does: nobody is there for a moment, then another socket is."""
        with self._more:
            self._pull()
            self.path.unlink()
            before = self.socket
            self._open()
            before.close()

    def _follow(self):
        pass  # a socket holds enough for these tests

    def _pull(self):
        while True:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return
            priority, pid, text = LINE.fullmatch(data.decode()).groups()
            self.heads.append((int(priority) >> 3, int(priority) & 7, int(pid)))
            self._lines.append(text)

    def finish(self):
        self._pull()

    def wait(self, pattern, count=1, timeout=20.0):
        until(lambda: len(self.find(pattern)) >= count, timeout)
        return self.find(pattern)[count - 1]


@pytest.fixture
def start(binary, tmp_path, settings, psk, echo):
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        pytest.skip("a namespace of mounts takes root")
    wrapper, dev, path = tmp_path / "wrapper", tmp_path / "dev", tmp_path / "log"
    dev.mkdir()
    wrapper.write_text(WRAPPER.format(dev=dev, socket=path, binary=binary))
    wrapper.chmod(0o755)
    made = []

    def make(backend=echo.address, **daemon):
        place = {"listen": "127.0.0.1:0", "backend": backend, "psk-file": psk({IDENTITY: KEY})}
        ini = settings({"daemon": {"log": "syslog", **daemon}, "service default": place})
        log = Datagrams(path)
        g = Gate(wrapper, ["-c", ini], tmp_path)
        made.append((g, log))
        g.log, g.ini = log, ini
        return g.wait_ready()

    yield make
    for g, log in made:
        g.kill()
        log.socket.close()


def events(g, subject):
    """As the other tests have it, for lines that begin with their level."""
    return [fields(line) for line in g.log.find(rf"^\w+ {subject}: ")]


def test_each_line_has_its_severity(start, client, free_port):
    g = start(f"127.0.0.1:{free_port}", **{"log-level": "debug", "max-sessions": 10})
    c = client(g).connect()
    until(lambda: c.send(b"anybody?") or events(g, "backend refuses"))
    g.ini.write_text(g.ini.read_text() + "nonsense\n")
    g.tell(signal.SIGHUP)
    g.log.wait("reload failed")
    g.end()
    levels = [line.split()[0] for line in g.log.lines]
    assert set(levels) == set(SEVERITIES)
    assert g.log.heads == [(DAEMON, SEVERITIES[level], g.pid) for level in levels]
    assert g.stderr.text() == ""


def test_a_session_in_lines_without_a_time(start, echo, client):
    g = start(**{"max-sessions": 10})
    c = client(g).connect()
    assert c.is_alive(b"12345")
    c.close()
    g.log.wait("session end")
    (opened,), (flow,), (ended,) = (events(g, f"session {what}") for what in ("open", "flow", "end"))
    assert opened["id"] == flow["id"] == ended["id"]
    assert (opened["identity"], opened["backend"]) == (IDENTITY, echo.address)
    assert (ended["in-bytes"], ended["reason"]) == ("5", "closed by client")
    assert g.end()["client.forwarded"] == 1
    assert not g.log.find(r"\n|\d\d:\d\d:\d\d\.\d{3}Z")
    assert g.stderr.text() == ""


def test_json(start, client):
    g = start(**{"log-format": "json", "max-sessions": 10})
    assert client(g).connect().is_alive()
    opened = json.loads(g.log.wait('"session open"'))
    assert (opened["level"], opened["identity"]) == ("info", IDENTITY)
    g.end()
    assert all(json.loads(line) for line in g.log.lines)
    assert g.stderr.text() == ""


def test_a_daemon_that_is_started_anew_gets_the_rest(start, client):
    g = start(**{"max-sessions": 10})
    g.log.restart()
    c = client(g).connect()
    assert c.is_alive()
    g.log.wait("session open")
    c.close()
    g.log.wait("session end")
    g.end()
    assert not g.log.find("denied")
    assert g.stderr.text() == ""
