"""crowd: clients that hold a key, and what they may rely on: their session and their own answers.

Each guest lives many short lives, one after the other, and counts what was not right.
"""

import collections
import random
import sys
import threading
import time

from house import FICKLE, FLOW_SECONDS, SPEECH, STEADY
from lib.dtls import DTLS12, Client, Closed, Refused
from lib.hello import record

PATIENCE_SECONDS = 12  # until an answer that was asked for again and again counts as none
LOSS = 0.15
SYSCALL_FAILED = "error 5"


class Retry(Exception):
    """Bad luck on a bad line."""


class Overslept(Exception):
    """A client that this machine, too busy, kept silent until its session was over."""


class Uprooted(Exception):
    """A client in whose time another process took over, and who could not go along."""


class Wrong(Exception):
    """What no client should see; the text says what it was."""


class Guest(Client):
    """A client that remembers what it sent; `loss` is the part of all datagrams that gets lost, on
    both ways, and as many are sent twice."""

    def __init__(self, address, identity, key, loss=0.0, **how):
        self.loss = loss
        self.sent = collections.deque(maxlen=16)
        self.spoke = time.monotonic()
        self.longest_silence = 0.0  # seconds between two datagrams that were not lost
        super().__init__(address, identity, key, drop=lambda _: random.random() < loss, **how)
        self.seen = collections.deque(maxlen=16)

    def send_datagram(self, datagram):
        self.sent.append(datagram)
        if random.random() < self.loss:
            return
        now = time.monotonic()
        self.longest_silence = max(self.longest_silence, now - self.spoke)
        self.spoke = now
        super().send_datagram(datagram)
        if random.random() < self.loss:
            super().send_datagram(datagram)

    def close(self):
        """Harmless for one that is gone."""
        if self._ssl:
            super().close()

    def recv(self, timeout):
        """libssl reports an empty record as a failed system call; it is none."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return super().recv(max(0.0, deadline - time.monotonic()))
            except Refused as problem:
                if str(problem) != SYSCALL_FAILED:
                    raise


class Tide:
    """High water: everybody lives. Low water: lives come to their end, no new ones begin."""

    def __init__(self):
        self._is_high = threading.Event()
        self._is_low = threading.Event()
        self._is_low.set()
        self.is_over = False

    @property
    def is_high(self):
        return self._is_high.is_set()

    def rise(self):
        self._is_low.clear()
        self._is_high.set()

    def fall(self):
        self._is_high.clear()
        self._is_low.set()

    def wait_high(self):
        self._is_high.wait()

    def sleep(self, seconds):
        """Less, when the tide falls."""
        self._is_low.wait(seconds)

    def end(self):
        self.is_over = True
        self._is_high.set()


class Dweller(threading.Thread):
    """A thread that lives one life after the other at high water, and rests at low water."""

    def __init__(self, house, tide, seed):
        super().__init__(daemon=True)
        self.house, self.tide = house, tide
        self.random = random.Random(seed)
        self.source = "127.77.1.1"
        self.counts = collections.Counter()
        self.wrongs = []
        self.is_resting = True

    def run(self):
        while True:
            self.is_resting = True
            self.tide.wait_high()
            if self.tide.is_over:
                return
            self.is_resting = False
            self._live_once()

    def _live_once(self):
        try:
            self.live()
            self.counts["lives"] += 1
        except Overslept:
            self.counts["overslept"] += 1
        except Uprooted:
            self.counts["uprooted"] += 1
        except Wrong as problem:
            self._note(str(problem))
        except Exception as problem:  # pylint: disable=broad-except  a thread must not die unheard
            self._note(f"{type(problem).__name__}: {problem}")
        self.tide.sleep(self.random.uniform(0.0, 0.2))

    def _note(self, text):
        self.counts["wrong"] += 1
        if len(self.wrongs) < 20:
            self.wrongs.append(f"{type(self).__name__}: {text}")
            print(f"wrong: {self.wrongs[-1]}", file=sys.stderr, flush=True)

    def live(self):
        raise NotImplementedError

    def was_upheaval(self, since):
        """Did another process take over? `since` is what house.upheavals was before."""
        return since % 2 == 1 or self.house.upheavals != since

    def is_uprooted(self, since, is_kept):
        """May a session of then be gone for that? `is_kept`: it is one that outlives its process,
        but for one that took too long."""
        return self.was_upheaval(since) and (not is_kept or self.house.slow_upheaval > since)


class Steady(Dweller):
    """Comes, asks a few times, goes: with a goodbye or without."""

    services = ("new", "old")
    loss = 0.0
    repeat_seconds = 1.0  # asks again when there is no answer
    party = [1, 1, 2, 8]  # how many come together

    def live(self):
        guests = []
        try:
            for _ in range(self.random.choice(self.party)):
                guests.append(self.arrive())
            for _ in range(self.random.randint(1, 5)):
                for guest in guests:
                    self.ask(guest)
                    self.tide.sleep(self.random.uniform(0.0, 0.02))
        finally:
            for guest in guests:
                self.leave(guest)

    def leave(self, guest):
        if self.random.random() < 0.5:
            guest.close()
        else:
            guest.abandon()

    def arrive(self, source=None):
        service = self.random.choice(self.services)
        version, suite = self.choose_speech(service)
        identity = self.random.choice(list(STEADY))
        since = self.house.upheavals
        guest = Guest(
            self.house.address[service],
            identity,
            STEADY[identity],
            loss=self.loss,
            source=source or (self.source, 0),
            ciphers=suite,
            version=version,
            **self.manner(),
        )
        guest.tags = self.house.tags[service]
        guest.asked, guest.since = [], since
        guest.is_kept = is_own = "CBC" not in suite
        guest.name = f"{service} {suite} {version:x} as {identity} from {guest.source}"
        try:
            self.shake(guest)
        except BaseException:
            guest.abandon()
            raise
        self.counts["handshakes"] += 1
        guest.is_kept = is_own and not guest.is_resumed  # whose last word may not have come
        return guest

    def choose_speech(self, service):
        return self.random.choice(SPEECH[service])

    def manner(self):
        """What else a client is made with."""
        return {}

    def shake(self, guest):
        try:
            guest.connect(15, repeat=1.0)
        except (AssertionError, Refused, Closed) as problem:
            if self.was_upheaval(guest.since):
                raise Uprooted() from None
            raise Wrong(f"no handshake: {guest.name}: {problem!r}") from None

    def ask(self, guest):
        """The right answer comes, from a backend of the right service, and nobody else's ever."""
        size = self.random.choice([0, 10, 100, 1000])
        text = f"{guest.name} {len(guest.asked)} ".encode() + self.random.randbytes(size)
        guest.asked.append(text)
        for turn in range(round(PATIENCE_SECONDS / self.repeat_seconds)):
            self.counts["asked again"] += turn > 0
            if self._exchange(guest, text):
                guest.is_kept = guest.is_kept or guest.is_resumed
                self.counts["echoes"] += 1
                return
        if self.is_uprooted(guest.since, guest.is_kept):
            raise Uprooted()
        raise Wrong(f"no answer: {guest.name}")

    def _exchange(self, guest, text):
        deadline = time.monotonic() + self.repeat_seconds
        try:
            guest.send(text)
            while (left := deadline - time.monotonic()) > 0:
                answer = guest.recv(left)
                if answer is not None and self._is_answer(guest, answer, text):
                    return True
        except (Closed, Refused) as problem:
            end = self.house.journal.end_of(guest.source)
            if end == "idle timeout" and guest.longest_silence > self.house.idle_seconds - 2:
                raise Overslept() from None
            if self.is_uprooted(guest.since, guest.is_kept):
                raise Uprooted() from None
            raise Wrong(f"session ended: {guest.name}: {problem!r}: {end}") from None
        return False

    @staticmethod
    def _is_answer(guest, answer, text):
        """False: one to a question before, which may come late or twice."""
        asked = [answer[len(tag) :] for tag in guest.tags if answer.startswith(tag)]
        if not asked or asked[0] not in guest.asked:
            raise Wrong(f"not its own answer: {guest.name}: {answer[:120]!r}")
        return asked[0] == text


class Lossy(Steady):
    """The same over a bad line. A handshake may take more than the gate grants, so it may try a few
    times."""

    loss = LOSS
    repeat_seconds = 0.3  # so often that chance alone keeps no session idle until it ends
    party = [1]

    def shake(self, guest):
        try:
            guest.connect(10, repeat=0.3)
        except AssertionError:
            self.counts["handshakes lost"] += 1
            raise Retry() from None
        except (Refused, Closed):
            if self.was_upheaval(guest.since):
                raise Uprooted() from None
            raise

    def arrive(self, source=None):
        for _ in range(4):
            try:
                return super().arrive()
            except Retry:
                pass
        raise Wrong("no handshake in four tries over a bad line")


class Returner(Lossy):
    """Comes back with the ticket of its first visit, from wherever; the line is not that bad."""

    services = ("new",)
    loss = 0.02
    session = None

    def choose_speech(self, service):
        return DTLS12, "ECDHE-PSK-CHACHA20-POLY1305"

    def manner(self):
        return {"session": self.session} if self.session else {"ticket": True}

    def live(self):
        self.session = None
        for _ in range(4):
            guest = self.arrive()
            try:
                self.ask(guest)
                self.session = guest.session()
                self.counts["resumed"] += guest.is_resumed
            finally:
                self.leave(guest)


class Sleeper(Steady):
    """Is silent until its socket to the backend is closed, then goes on."""

    def live(self):
        guests = [self.arrive() for _ in range(4)]
        try:
            for guest in guests:
                self.ask(guest)
            self.tide.sleep(FLOW_SECONDS + 0.5)
            for guest in guests:
                self.ask(guest)
        finally:
            for guest in guests:
                self.leave(guest)


class Homecomer(Steady):
    """Dies without goodbye and comes back from the same port, as a device that lost its power."""

    def live(self):
        guest = self.arrive()
        try:
            for _ in range(3):
                self.ask(guest)
                source = guest.source
                guest.abandon()
                guest = self.arrive(source)
            self.ask(guest)
        finally:
            self.leave(guest)


class Haunted(Steady):
    """Somebody who can write with its address sends forged, cut, old and mixed up datagrams."""

    def live(self):
        guest = self.arrive()
        try:
            for _ in range(10):
                for _ in range(20):
                    self._haunt(guest)
                self.ask(guest)
        finally:
            self.leave(guest)

    def _haunt(self, guest):
        old = bytearray(self.random.choice(guest.sent))
        kind = self.random.choice([20, 21, 22, 23, 99])
        epoch, sequence = self.random.choice([0, 1, 2, 65535]), self.random.getrandbits(48)
        body = self.random.randbytes(self.random.choice([0, 2, 30, 500]))
        old[self.random.randrange(len(old))] ^= 1 << self.random.randrange(8)
        what = self.random.choice(
            [
                record(kind, DTLS12, epoch, sequence, body),
                record(kind, DTLS12, epoch, sequence, body) + bytes(old),
                bytes(old[: self.random.randrange(len(old))]),
                bytes(old) if old[0] == 23 else body,
                self.random.choice(guest.sent) if old[0] == 23 else body,
                self.random.randbytes(40),
            ]
        )
        try:
            guest.socket.send(what)
        except ConnectionRefusedError:
            pass
        self.counts["forged"] += 1


class Fickle(Steady):
    """Its key changes under it, so it may be turned away at any time; what it does get is right."""

    def live(self):
        identity = self.random.choice(FICKLE)
        key = self.house.key_of(identity)
        service = self.random.choice(self.services)
        version, suite = self.random.choice(SPEECH[service])
        guest = Guest(
            self.house.address[service],
            identity,
            key or bytes(16),
            source=(f"127.77.2.{self.random.randint(1, 8)}", 0),
            ciphers=suite,
            version=version,
        )
        guest.tags, guest.asked, guest.name = self.house.tags[service], [], f"{service} {identity}"
        guest.since, guest.is_kept = self.house.upheavals, False
        try:
            guest.connect(1.5, repeat=0.5)
            self.counts["handshakes"] += 1
            while self.tide.is_high and len(guest.asked) < 40:
                guest.asked.append(f"{guest.name} {len(guest.asked)}".encode())
                self.counts["echoes"] += self._exchange(guest, guest.asked[-1])
                self.tide.sleep(0.1)
        except (AssertionError, Refused):
            self.counts["turned away"] += 1
        except Wrong as problem:
            if "session ended" not in str(problem):
                raise
            self.counts["sent home"] += 1
        finally:
            guest.abandon()
