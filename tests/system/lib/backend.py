"""backend: the plain UDP service behind dtlsgate, in a thread of the test.

It knows datagrams and the ports they come from, and must never know DTLS.
"""

import collections
import os
import pathlib
import random
import selectors
import socket
import threading
import time

DEADLINE = 20.0
RANGE = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")

Datagram = collections.namedtuple("Datagram", "peer data")


class Backend:
    """Answers each datagram with what `transform(data)` yields: bytes, a list of them, or None.

    `delay` holds every answer back for so many seconds."""

    def __init__(self, transform=lambda data: data, delay=0.0, host="127.0.0.1", port=0):
        self.transform = transform
        self.delay = delay
        self.received = []
        self._due = collections.deque()
        self._more = threading.Condition()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        self.socket.bind((host, port))
        self.host, self.port = self.socket.getsockname()[:2]
        self.socket.setblocking(False)
        self._stop, self._stop_told = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _serve(self):
        watch = selectors.DefaultSelector()
        watch.register(self.socket, selectors.EVENT_READ)
        watch.register(self._stop, selectors.EVENT_READ)
        while True:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            ready = [key.fd for key, _ in watch.select(wait)]
            if self._stop in ready:
                return
            if ready:
                self._take()
            while self._due and self._due[0][0] <= time.monotonic():
                _, peer, data = self._due.popleft()
                self.send(peer, data)

    def _take(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(65536)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            with self._more:
                self.received.append(Datagram(peer, data))
                self._more.notify_all()
            answers = self.transform(data)
            if answers is None:
                continue
            for answer in [answers] if isinstance(answers, bytes) else answers:
                self._due.append((time.monotonic() + self.delay, peer, answer))

    def send(self, peer, data):
        try:
            self.socket.sendto(data, peer)
        except (BlockingIOError, ConnectionRefusedError):
            pass

    def wait(self, count, timeout=DEADLINE):
        """The first `count` datagrams, once they are here."""
        with self._more:
            done = self._more.wait_for(lambda: len(self.received) >= count, timeout)
        assert done, f"{len(self.received)} of {count} datagrams reached the backend"
        return self.received[:count]

    @property
    def data(self):
        return [d.data for d in self.received]

    @property
    def ports(self):
        """The distinct source ports, in the order they appeared."""
        return list(dict.fromkeys(d.peer[1] for d in self.received))

    def close(self):
        if self.socket.fileno() < 0:
            return
        os.write(self._stop_told, b".")
        self._thread.join(DEADLINE)
        self.socket.close()
        os.close(self._stop)
        os.close(self._stop_told)


def is_free(port, host="127.0.0.1"):
    """Whether no socket of anybody has this port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.bind((host, port))
        except OSError:
            return False
    return True


def unused_port():
    """A port that nothing holds right now, for programs that cannot choose one themselves. None of
    those that the kernel gives to whoever asks for any: on a busy machine somebody would get it
    before the program comes to ask for it, or between its end and its next start."""
    least = int(RANGE.read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(least // 2, least)
        if is_free(port):
            return port
