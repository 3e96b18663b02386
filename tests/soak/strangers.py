"""strangers: those who hold no key, or the wrong one, and mean harm. Whatever they are answered is
no business of theirs; what they may not do is seen by everybody else, and in the books.
"""

import os
import socket

from crowd import Dweller, Guest
from house import DENIED, FOREIGN, SPEECH, STEADY
from lib.dtls import DTLS10, DTLS12, Closed, Refused
from lib.hello import client_hello, record

BURST = 40


class Stranger(Dweller):
    """Each life is one kind of harm, from an address that changes with it."""

    def _choose(self, places):
        self.place = self.random.choice(places)
        service = self.random.choice(list(SPEECH))
        self.target = self.house.address[service]
        self.speech = self.random.choice(SPEECH[service])

    def live(self):
        self._choose([*FOREIGN, DENIED])
        harm = self.random.choice(
            [
                self.noise,
                self.forged_records,
                self.hello_flood,
                self.made_up_cookies,
                self.torn_hellos,
                self.half_open,
                self.half_open,
                self.replayed_hello,
                self.spoiled_handshake,
                self.wrong_key,
                self.unknown_identity,
            ]
        )
        harm()
        self.counts[harm.__name__.replace("_", " ")] += 1

    # ---- datagrams without any state ----

    def _send(self, datagrams):
        """Each burst from a few ports."""
        datagrams = list(datagrams)
        for start in range(0, len(datagrams), 10):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind((self.place, 0))
                for datagram in datagrams[start : start + 10]:
                    s.sendto(datagram, self.target)

    def noise(self):
        self._send(self.random.randbytes(self.random.randint(0, 1500)) for _ in range(BURST))

    def forged_records(self):
        kinds, epochs = [0, 20, 21, 22, 23, 24, 255], [0, 1, 2, 65535]
        self._send(
            record(
                self.random.choice(kinds),
                self.random.choice([DTLS10, DTLS12, 0x0303]),
                self.random.choice(epochs),
                self.random.getrandbits(48),
                self.random.randbytes(self.random.randint(0, 200)),
            )
            for _ in range(BURST)
        )

    def _hello(self, cookie=b""):
        return client_hello(os.urandom(32), cookie, version=self.speech[0])

    def hello_flood(self):
        self._send(self._hello() for _ in range(5 * BURST))

    def made_up_cookies(self):
        sizes = [1, 16, 17, 17, 32, 255]
        self._send(
            self._hello(os.urandom(self.random.choice(sizes)) if i else b"") for i in range(BURST)
        )

    def torn_hellos(self):
        for _ in range(BURST // 10):
            hello = bytearray(self._hello())
            for _ in range(self.random.randint(0, 3)):
                hello[self.random.randrange(len(hello))] = self.random.randrange(256)
            self._send([bytes(hello[: self.random.randint(0, len(hello))]), bytes(hello) * 5])

    # ---- handshakes ----

    def _guest(self, identity="steady-0", key=None, **how):
        version, suite = self.speech
        key = STEADY["steady-0"] if key is None else key
        where = how.pop("source", (self.place, 0))
        return Guest(
            self.target, identity, key, ciphers=suite, version=version, source=where, **how
        )

    def begin_half_open(self):
        """Somebody, from anywhere, whose handshake is under way."""
        self._choose(FOREIGN)
        guest = self._guest().begin()
        try:
            guest.step(2.0)
        except (AssertionError, Refused):
            pass
        return guest

    def half_open(self):
        """Echoes the cookie, hears the answer perhaps, and is never seen again."""
        for _ in range(5):
            guest = self._guest().begin()
            try:
                guest.step(2.0)
                if self.random.random() < 0.5:
                    guest.datagram(0.2)
            except (AssertionError, Refused):
                pass
            finally:
                guest.abandon()

    def replayed_hello(self):
        """A hello with a good cookie: again while the handshake is under way, again when the
        session is open, and from elsewhere."""
        guest = self._guest().begin()
        try:
            guest.step(2.0)
            hello = guest.sent[-1]
            for _ in range(5):
                guest.socket.send(hello)
            self._send([hello] * 5)
            guest.connect(2.0, repeat=0.5)
            for datagram in list(guest.sent) * 2:
                guest.socket.send(datagram)
            guest.ask(b"x", 0.2)
        except (AssertionError, Refused, Closed, ConnectionRefusedError):
            pass
        finally:
            guest.abandon()

    def spoiled_handshake(self):
        """Each datagram of a good handshake comes with spoiled copies around it."""
        guest = self._guest().begin()
        try:
            for _ in range(8):
                flight = bytearray(guest.sent[-1])
                for _ in range(6):
                    copy = bytearray(flight)
                    copy[self.random.randrange(len(copy))] ^= 1 << self.random.randrange(8)
                    guest.socket.send(bytes(copy[: self.random.randint(1, len(copy))]))
                guest.socket.send(record(21, self.speech[0], 0, 7, b"\x02\x28"))
                if guest.step(0.3):
                    break
        except (AssertionError, Refused, Closed, ConnectionRefusedError):
            pass
        finally:
            guest.abandon()

    def _fail(self, identity, key):
        guest = self._guest(identity, key)
        try:
            guest.connect(0.5, repeat=0.2)
        except (AssertionError, Refused, Closed):
            return
        finally:
            guest.abandon()
        self._note(f"{identity} got a session with a wrong key")

    def wrong_key(self):
        for _ in range(self.random.choice([1, 1, 3])):
            self._fail("steady-1", os.urandom(16))

    def unknown_identity(self):
        self._fail("nobody-" + "x" * self.random.randint(0, 100), os.urandom(16))
