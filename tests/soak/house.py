"""house: the dtlsgate under test with its settings, keys, backends and log, none of which stays as
it is for long.

It knows what clients may rely on, and must never know what they do.
"""

import collections
import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from journal import Journal
from lib.backend import Backend
from lib.control import Control
from lib.dtls import DTLS10, DTLS12
from lib.gate import DEADLINE, REPORT, adopt_orphans, check_books, environment
from process import Process

# Addresses of our own: no other program on this machine sends to them.
GATE, BACKENDS = "127.77.0.1", "127.77.0.2"
# Few enough that what is remembered of an address is soon remembered of them all.
FOREIGN = [f"127.66.{net}.{host}" for net in range(8) for host in range(1, 5)]
DENIED = "127.66.200.1"  # by some of the settings

# The longest that anything a client left behind can live; see settings().
HANDSHAKE_SECONDS, IDLE_SECONDS, FLOW_SECONDS = 5, 5, 1
# The same where the program does not stay; and longer out of order than that, its sessions may have
# been idle for too long.
RESTLESS_IDLE_SECONDS, STILL_SECONDS_MAX = 9, 4.0

HEAP_COUNTER = pathlib.Path(__file__).with_name("heap.c")

STEADY = {f"steady-{n}": random.randbytes(16 + n) for n in range(8)}
FICKLE = [f"fickle-{n}" for n in range(4)]

AEAD = [
    "ECDHE-PSK-CHACHA20-POLY1305",
    "PSK-AES128-GCM-SHA256",
    "PSK-AES256-GCM-SHA384",
    "PSK-CHACHA20-POLY1305",
    "PSK-AES128-CCM",
    "PSK-AES256-CCM8",
]
# What clients of each service speak: (version, suite).
SPEECH = {
    "new": [(DTLS12, suite) for suite in AEAD],
    "old": [
        (DTLS10, "PSK-AES128-CBC-SHA"),
        (DTLS10, "PSK-AES256-CBC-SHA"),
        (DTLS12, "PSK-AES128-CBC-SHA256"),
        (DTLS12, "PSK-AES128-CCM8"),
    ],
}


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((GATE, 0))
        return s.getsockname()[1]


def tagged(tag):
    """A backend that puts its name in front."""
    return lambda data: tag + data


def chatty(tag):
    """One that says too much: an empty datagram, one that no record can hold, the answer twice."""
    return lambda data: [b"", bytes(17000), tag + data, tag + data]


class House:
    """`is_restless`: the program itself does not stay: upgrade(), restart() and crash()."""

    def __init__(self, binary, folder, counts_heap, is_restless):
        self.binary, self.is_restless = binary, is_restless
        self.upheavals = 0  # begun and over: odd while one lasts
        self.slow_upheaval = 0  # the last that took too long
        self.longest = collections.Counter()  # seconds, of each kind of upheaval
        self.idle_seconds = RESTLESS_IDLE_SECONDS if is_restless else IDLE_SECONDS
        self.folder = pathlib.Path(folder).resolve()
        self.heap_book = self._make_heap_counter() if counts_heap else None
        self.tags = {"new": (b"n1:", b"n2:"), "old": (b"o1:", b"o2:")}
        self.backends = {
            tag: self._backend((tagged, chatty)[tag.endswith(b"2:")](tag))
            for tags in self.tags.values()
            for tag in tags
        }
        self.fickle = {}
        self.reloads = collections.Counter()
        self._lock = threading.Lock()
        self.address = {service: (GATE, free_port()) for service in self.tags}
        if is_restless:
            self._make_state()
        self._change_keys()
        self._write_settings()
        (self.folder / "log").unlink(missing_ok=True)
        self._stderr = open(self.folder / "stderr", "a+b")
        self._stderr.truncate(0)
        self.journal = None
        self.begun = collections.Counter()  # what the log had counted when the books were opened
        self._start()
        try:
            self.journal = Journal(self.folder / "log")
            self.journal.wait("^dtlsgate: ready$", 1)
        except BaseException as problem:
            self.kill()
            raise AssertionError(f"dtlsgate does not start: {self.stderr_text()}") from problem

    def _start(self):
        self.process = Process.start(
            [self.binary, "-c", self.ini],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
        )

    def _make_state(self):
        adopt_orphans(True)
        (self.folder / "state").mkdir(mode=0o700, exist_ok=True)
        with open(os.open(self.folder / "key", os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(os.urandom(32))

    @property
    def ini(self):
        return self.folder / "dtlsgate.ini"

    def _make_heap_counter(self):
        """Where the live heap will stand; None: there is no compiler."""
        compiler = os.environ.get("CC", "cc").split()
        flags = ["-std=gnu11", "-O2", "-shared", "-fPIC"]
        try:
            subprocess.run(
                [*compiler, *flags, "-o", self.folder / "heap.so", HEAP_COUNTER], check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return self.folder / "heap"

    def heap(self):
        """Bytes that dtlsgate has from malloc() at the moment; None: nobody counts them."""
        if self.heap_book is None:
            return None
        return int.from_bytes(self.heap_book.read_bytes()[:8], sys.byteorder, signed=True)

    def _environment(self):
        env = environment()
        if self.heap_book:
            env.update(LD_PRELOAD=str(self.folder / "heap.so"), HEAP_BOOK=str(self.heap_book))
        env["TSAN_OPTIONS"] = ":".join(
            filter(None, [os.environ.get("TSAN_OPTIONS"), "exitcode=99:second_deadlock_stack=1"])
        )
        return env

    @staticmethod
    def _backend(transform, port=0):
        backend = Backend(transform, host=BACKENDS, port=port)
        backend.received = collections.deque(maxlen=1)  # it would grow for as long as we run
        return backend

    @property
    def settle_seconds(self):
        """Until all that clients left behind has expired."""
        return max(HANDSHAKE_SECONDS, self.idle_seconds) + 1.5

    # ---- what changes ----

    def key_of(self, identity):
        with self._lock:
            return STEADY.get(identity) or self.fickle.get(identity)

    def _change_keys(self):
        """One fickle identity gets another key, one goes away, those that were away come back."""
        with self._lock:
            away, changed = random.sample(FICKLE, 2)
            for identity in FICKLE:
                if identity == changed or identity not in self.fickle:
                    self.fickle[identity] = random.randbytes(random.choice([16, 32, 64]))
            del self.fickle[away]
            lines = [f"{name}:{key.hex()}\n" for name, key in {**STEADY, **self.fickle}.items()]
        random.shuffle(lines)
        self._write("new.psk", "# keys\n" + "".join(lines))
        self._write("old.psk", "".join(lines))

    def _write(self, name, text):
        """As an operator should: a new file takes the old one's place in one step."""
        path = self.folder / (name + ".new")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        os.replace(path, self.folder / name)

    def _write_settings(self, extra=""):
        chosen = {tag: self.backends[random.choice(self.tags[tag])] for tag in self.tags}
        pick = random.choice
        service = (
            f"handshake-timeout = {HANDSHAKE_SECONDS}s\n"
            f"idle-timeout = {pick([self.idle_seconds - 1, self.idle_seconds])}s\n"
            f"flow-timeout = {pick([0, FLOW_SECONDS])}\n"
            f"retransmit-first = {pick([200, 300, 500])}ms\n"
            f"mtu = {pick([256, 512, 1400])}\n"
            f"identity-hint = {pick(['', 'hello'])}\n"
            f"unknown-identity = {pick(['hide', 'hide', 'alert'])}\n"
            f"deny = {pick(['', DENIED])}\n"
        )
        if self.is_restless:
            extra += (
                f"state-dir = {self.folder}/state\nstate-key = {self.folder}/key\n"
                f"control-socket = {self.folder}/control\n"
            )
        listen = {name: f"listen = {GATE}:{port}\n" for name, (_, port) in self.address.items()}
        self._write(
            "dtlsgate.ini",
            f"[daemon]\nworkers = 2\nlog = {self.folder}/log\n"
            f"log-level = {pick(['info', 'info', 'debug'])}\n"
            f"log-format = {pick(['text', 'json'])}\n"
            f"max-handshakes = {pick([1024, 2048])}\n"
            f"max-sessions = {pick([20000, 50000])}\n{extra}"
            f"\n[service new]\n{listen['new']}backend = {chosen['new'].address}\n"
            f"psk-file = {self.folder}/new.psk\nems = {pick(['prefer', 'require'])}\n{service}"
            f"resumption = {pick(['yes', 'yes', 'yes', 'no'])}\n"
            f"\n[service old]\n{listen['old']}backend = {chosen['old'].address}\n"
            f"psk-file = {self.folder}/old.psk\nmin-version = 1.0\n{service}",
        )

    def reload(self):
        """New keys, new settings; now and then ones that must be refused as a whole."""
        how = random.choices(["good", "twice", "broken", "fixed"], [8, 1, 2, 1])[0]
        extra = {"broken": "mtu = 12\nno-such-key = 1\n", "fixed": "user = nobody\n"}
        if how in ("good", "twice"):
            self._change_keys()
        self._write_settings(extra.get(how, ""))
        before = self.journal.count("^dtlsgate: reload")
        for _ in range(2 if how == "twice" else 1):
            self.process.tell(signal.SIGHUP)
        self.journal.wait("^dtlsgate: reload", before + 1)
        self.reloads[how] += 1

    def rotate(self):
        self.journal.rotate(lambda: self.process.tell(signal.SIGUSR1))

    def restart_backend(self):
        """Between the two the kernel refuses what dtlsgate sends."""
        tag, old = random.choice(list(self.backends.items()))
        old.close()
        self.backends[tag] = self._backend(old.transform, old.port)

    # ---- another process ----

    @contextlib.contextmanager
    def _upheaval(self, name):
        self._write_settings()
        self.upheavals += 1
        begin = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - begin
            self.longest[name] = max(self.longest[name], round(seconds, 1))
            self.upheavals += 1
            if seconds > STILL_SECONDS_MAX:
                self.slow_upheaval = self.upheavals
        self.reloads[name] += 1

    def upgrade(self):
        with self._upheaval("upgrade"):
            try:
                answer = Control(self.folder / "control").json("upgrade")
            except Control.Refused as problem:
                raise AssertionError(f"refused: {problem}") from None
            before, self.process = self.process, Process(answer["pid"])
            status = before.wait(DEADLINE)
        assert status == 0, f"exit status {status} behind an upgrade"

    def restart(self):
        """As a manager does it: sessions wait for the next start."""
        with self._upheaval("restart"):
            wrong = self._stop()
            self._begin_anew()
        assert not wrong, "; ".join(wrong)

    def crash(self):
        """Nobody has closed the books, so they are opened anew."""
        with self._upheaval("crash"):
            self.process.tell(signal.SIGKILL)
            self.process.wait(DEADLINE)
            self._begin_anew()

    def _begin_anew(self):
        self.journal.read()
        self.begun, self.journal.totals = self.journal.counts.copy(), None
        ready = self.journal.count("^dtlsgate: ready$")
        self._start()
        try:
            self.journal.wait("^dtlsgate: ready$", ready + 1)
        except AssertionError:
            raise AssertionError(f"it does not start again: {self.stderr_text()}") from None

    # ---- what is found ----

    def complaints(self):
        """Errors in the log that the settings of reload() do not explain."""
        expected = (f"{self.ini}:", "cannot change while running", "reload failed, nothing changed")
        return [
            line
            for line in self.journal.take_complaints()
            if not any(text in line for text in expected)
        ]

    def stderr_text(self):
        return os.pread(self._stderr.fileno(), 1 << 20, 0).decode(errors="replace")

    def end(self):
        """Asks it to end; returns what is wrong with the way it did."""
        return self._stop() + [f"log: {line}" for line in self.complaints()]

    def _stop(self):
        if self.process.poll() is None:
            self.process.tell(signal.SIGTERM)
        status = self.process.wait(3 * DEADLINE)
        if status is None:
            return ["SIGTERM does not end it"]
        wrong = [] if status == 0 else [f"SIGTERM: exit status {status}"]
        if REPORT.search(self.stderr_text()):
            wrong.append(f"a sanitizer reports:\n{self.stderr_text()}")
        self.journal.read()
        return wrong + self._audit()

    def _audit(self):
        """The books in themselves, and beside what the log has told line by line."""
        totals, counts = self.journal.totals, self.journal.counts - self.begun
        if totals is None:
            return ["no totals in the log"]
        try:
            check_books(totals)
        except AssertionError as problem:
            return [f"the books do not balance: {problem}"]
        pairs = {
            "session open": totals.get("handshakes_completed", 0),
            "session end": totals.get("sessions_ended", 0),
        }
        return [
            f"the log has {counts[subject]} lines {subject!r}, the totals say {number}"
            for subject, number in pairs.items()
            if counts[subject] != number
        ]

    def kill(self):
        if self.process.poll() is None:
            self.process.tell(signal.SIGKILL)
            self.process.wait(DEADLINE)

    def close(self):
        self.kill()
        if self.journal:
            self.journal.close()
        for backend in self.backends.values():
            backend.close()
        self._stderr.close()
