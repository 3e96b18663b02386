"""helper: programs that know keys, as a psk-helper setting names them: the one that dtlsgate ships,
and one of the test's own that does as it is told, also what it should not.

It must never know anything of dtlsgate but the protocol.
"""

import os
import pathlib
import re
import select
import socket
import subprocess
import threading
import time
import urllib.parse

from lib.gate import DEADLINE, Log

SHIPPED = pathlib.Path(__file__).parents[3] / "packaging/psk-helper/dtlsgate-psk-helper"


class Shipped:
    """packaging/psk-helper/dtlsgate-psk-helper over some store."""

    def __init__(self, path, *store):
        self.path = path
        self.process = subprocess.Popen(
            ["/usr/bin/python3", SHIPPED, path, *map(str, store)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.log = Log(self.process.stderr)
        self.log.wait("^ready$")

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(DEADLINE)
        self.log.finish()


class Redis:
    """A redis-server of the test's own."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
            + ["--dir", folder, "--daemonize", "no"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        Log(self.process.stdout).wait("Ready to accept connections")

    def command(self, *words):
        words = [w if isinstance(w, bytes) else w.encode() for w in words]
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as s:
            s.sendall(b"*%d\r\n" % len(words))
            s.sendall(b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            return s.recv(1024)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(DEADLINE)


class Helper:
    """`answer(identity)` gives the bytes to write for a question, newline included; None: nothing.
    Each answer waits `delay` seconds from its question, in order."""

    def __init__(self, path, answer, delay=0.0):
        self.path, self.answer, self.delay = path, answer, delay
        self.asked = []
        self.most_waiting = self.connections = 0
        self._stop, self._stop_told = os.pipe()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(16)
        self._links = {}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            due = [waiting[0][0] for _, waiting in self._links.values() if waiting]
            wait = max(0.0, min(due) - time.monotonic()) if due else None
            ready = select.select([self._stop, self.socket, *self._links], [], [], wait)[0]
            if self._stop in ready:
                break
            for one in ready:
                if one is self.socket:
                    self._links[self.socket.accept()[0]] = [b"", []]
                    self.connections += 1
                else:
                    self._take(one)
            for one in list(self._links):
                self._write(one)
        for one in [self.socket, *self._links]:
            one.close()

    def _take(self, one):
        try:
            data = one.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            one.close()
            del self._links[one]
            return
        link = self._links[one]
        *lines, link[0] = (link[0] + data).split(b"\n")
        for line in lines:
            assert re.fullmatch(rb"get ([A-Za-z0-9._~-]|%[0-9A-F]{2})+", line), line
            identity = urllib.parse.unquote_to_bytes(line[4:])
            self.asked.append(identity)
            link[1].append((time.monotonic() + self.delay, self.answer(identity)))
        self.most_waiting = max(self.most_waiting, len(link[1]))

    def _write(self, one):
        waiting = self._links[one][1]
        while waiting and waiting[0][0] <= time.monotonic():
            _, text = waiting.pop(0)
            try:
                if text is not None:
                    one.sendall(text)
            except OSError:
                pass

    def end(self):
        if self._stop_told is not None:
            os.close(self._stop_told)
            self._thread.join(DEADLINE)
            os.close(self._stop)
            os.unlink(self.path)
        self._stop_told = None
