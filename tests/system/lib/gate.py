"""gate: one dtlsgate process: its settings file, its log, its ports, its end and its books.

It reads the log as an operator would, and must never look into the process otherwise.
"""

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import subprocess
import threading
import time

DEADLINE = 20.0
KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
IDENTITY = "dev-1"

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
}
REPORT = re.compile(r"Sanitizer|runtime error:")
FIELD = re.compile(r'([\w.-]+)=("(?:[^"\\]|\\.)*"|\S*)')


def environment():
    """What a sanitizer build needs to tell its findings by the exit status; options given stay."""
    env = dict(os.environ, LC_ALL="C")
    for name, options in SANITIZERS.items():
        env[name] = ":".join(filter(None, [options, os.environ.get(name)]))
    return env


def run(binary, *args, cwd=None, timeout=60, stdin=None, **how):
    """Runs dtlsgate for something that ends by itself; a sanitizer's report is a failure."""
    done = subprocess.run(
        [binary, *map(str, args)],
        cwd=cwd,
        env=environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        **how,
    )
    assert not REPORT.search(done.stderr), done.stderr
    assert done.returncode in (0, 1, 2), f"exit {done.returncode}: {done.stderr}"
    return done


def without_root(lines):
    """Warnings but for the one that a process of root, as many of the tests' are, stays root."""
    return [line for line in lines if "a process that root starts stays root" not in line]


def fields(line):
    """The k=v pairs of one line of the text log."""
    found = {}
    for key, value in FIELD.findall(line):
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        found[key] = value
    return found


def split_address(text):
    """("127.0.0.1", 5684) of "127.0.0.1:5684", ("::1", 5684) of "[::1]:5684"."""
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def until(is_so, timeout=DEADLINE):
    """For what nothing announces: looks again and again, up to the deadline."""
    deadline = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < deadline, "the time is over"
        time.sleep(0.01)


def adopt_orphans(is_on):
    """Whoever loses its parent becomes a child of ours, as it would of a manager's."""
    PR_SET_CHILD_SUBREAPER = 36
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, is_on, 0, 0, 0) == 0


def await_readable(file, timeout=None):
    """Whatever its number is, for there may be thousands of clients. False: the time is over."""
    watch = select.poll()
    watch.register(file, select.POLLIN)
    return bool(watch.poll(None if timeout is None else timeout * 1000))


class Log:
    """The lines that a process writes into a pipe. Whoever looks sees all that was written so far:
    it is read then and there; the thread only keeps the pipe from filling up, and wakes waiters."""

    def __init__(self, stream):
        self._stream = stream
        self._lines = []
        self._rest = b""
        self._ended = False
        self._more = threading.Condition(threading.RLock())
        os.set_blocking(stream.fileno(), False)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        while not self._ended:
            await_readable(self._stream)
            self._pull()

    def _pull(self):
        with self._more:
            while not self._ended:
                try:
                    data = os.read(self._stream.fileno(), 65536)
                except BlockingIOError:
                    return
                self._ended = not data
                *whole, self._rest = (self._rest + data).split(b"\n")
                if self._ended and self._rest:
                    whole.append(self._rest)
                self._lines += [line.decode("utf-8", "replace") for line in whole]
                self._more.notify_all()

    @property
    def lines(self):
        self._pull()
        return self._lines

    def finish(self):
        self._thread.join(DEADLINE)

    def text(self):
        return "\n".join(self.lines)

    def wait(self, pattern, count=1, timeout=DEADLINE):
        """The `count`th line that holds `pattern`; fails at the deadline, or when no more come."""
        deadline = time.monotonic() + timeout
        with self._more:
            while True:
                found = self.find(pattern)
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise AssertionError(f"no line like {pattern!r} in:\n{self.text()}")
                self._more.wait(left)

    def find(self, pattern):
        return [line for line in self.lines if re.search(pattern, line)]


class FileLog(Log):
    """The same for a log file, whose growth is looked for until the deadline."""

    def __init__(self, path):
        self.path = path

    @property
    def lines(self):
        try:
            return self.path.read_text().splitlines()
        except FileNotFoundError:
            return []

    def finish(self):
        pass

    def wait(self, pattern, count=1, timeout=DEADLINE):
        try:
            until(lambda: len(self.find(pattern)) >= count, timeout)
        except AssertionError:
            raise AssertionError(f"no line like {pattern!r} in:\n{self.text()}") from None
        return self.find(pattern)[count - 1]


class Gate:
    """A running dtlsgate."""

    def __init__(self, binary, args, cwd, log_path=None, has_totals=True, secrets=(), pass_fds=()):
        self.has_totals = has_totals
        self.secrets = list(secrets)
        self.process = subprocess.Popen(
            [binary, *map(str, args)],
            cwd=cwd,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
        )
        self.stderr = Log(self.process.stderr)
        self.log = FileLog(log_path) if log_path else self.stderr
        self.ended = False
        self.successors = []  # process ids, behind upgrades
        self._listening = []

    @property
    def pid(self):
        return self.successors[-1] if self.successors else self.process.pid

    def follow(self, pid):
        """Behind an upgrade: the process before has to end well, and this is the gate now. Needs
        the fixture `orphans`."""
        before = self.pid
        self.successors.append(pid)
        assert (status := self._wait(before)) == 0, f"exit {status}:\n{self.log.text()}"

    def _wait(self, pid):
        if pid == self.process.pid:
            return self.process.wait(DEADLINE)
        watch = os.pidfd_open(pid)
        try:
            assert await_readable(watch, DEADLINE), f"{pid} does not end"
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            os.close(watch)

    def wait_ready(self):
        self.log.wait(r"dtlsgate: ready")
        pattern = r"service (\S+): listening on ([^\s\"}]+)"
        found = [re.search(pattern, line) for line in self.log.lines]
        self._listening = [(m.group(1), split_address(m.group(2))) for m in found if m]
        return self

    def addresses(self, service="default"):
        """Where the service really listens, in the order of its settings."""
        return [address for name, address in self._listening if name == service]

    def address(self, service="default"):
        return self.addresses(service)[0]

    @property
    def port(self):
        return self.address()[1]

    def tell(self, number):
        os.kill(self.pid, number)

    def reload(self):
        """Sends HUP and waits for the answer, whichever it is."""
        pattern = r"dtlsgate: reload(ed|.*failed)"
        before = len(self.log.find(pattern))
        self.tell(signal.SIGHUP)
        return self.log.wait(pattern, before + 1)

    def events(self, subject, **wanted):
        """The fields of each such event so far."""
        found = map(fields, self.log.find(rf"^\S+ \w+ {subject}: "))
        return [f for f in found if all(f.get(k.replace("_", "-")) == v for k, v in wanted.items())]

    def wait_event(self, subject, count=1, timeout=DEADLINE, **wanted):
        pattern = rf"^\S+ \w+ {subject}: " + "".join(
            rf"(?=.*\b{k.replace('_', '-')}=\"?{re.escape(str(v))}\"?(\s|$))"
            for k, v in wanted.items()
        )
        return fields(self.log.wait(pattern, count, timeout))

    def end(self, how=signal.SIGTERM):
        """Asks it to end; it has to, with status 0 and balanced books. Returns its totals."""
        self.ended = True
        if self.successors or self.process.poll() is None:
            self.tell(how)
        status = self._wait(self.pid)
        self.stderr.finish()
        text = self.stderr.text() + self.log.text()
        assert not REPORT.search(text), text
        assert status == 0, f"exit {status}:\n{text}"
        for secret in self.secrets:
            assert secret.lower() not in text.lower(), "a key is in the log"
        return check_books(self.totals()) if self.has_totals else {}

    def totals(self):
        line = self.log.wait(r"\btotals\b")
        found = json.loads(line) if line.startswith("{") else fields(line)
        return {k: int(v) for k, v in found.items() if re.fullmatch(r"\d+", str(v))}

    def kill(self):
        if self.successors and not self.ended:
            os.kill(self.pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)


@contextlib.contextmanager
def ending(gates):
    """Behind a test each of them has to end well, unless it did so before."""
    yield
    try:
        for one in gates:
            if not one.ended:
                one.end()
    finally:
        for one in gates:
            one.kill()


def check_books(totals):
    """What came in met exactly one fate, and what began has ended."""
    t = totals
    assert t.get("client_records", 0) == sum_of(t, "client."), t
    assert t.get("backend_datagrams", 0) == sum_of(t, "backend."), t
    ended = t.get("handshakes_completed", 0) + t.get("handshakes_failed", 0)
    assert t.get("handshakes_started", 0) == ended, t
    opened = t.get("handshakes_completed", 0) + t.get("sessions_restored", 0)
    assert t.get("sessions_ended", 0) == opened, t
    assert t.get("flows_opened", 0) == t.get("flows_closed", 0), t
    for gauge in ("sessions", "handshakes", "flows"):
        assert t.get(gauge, 0) == 0, t
    return t


def sum_of(totals, prefix):
    return sum(v for k, v in totals.items() if k.startswith(prefix))
