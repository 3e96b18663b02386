"""rovers: clients with connection ids (RFC 9146), which change their address as they go, and come
back with tickets. They hold keys, and may rely on all that others may.
"""

import time

from crowd import PATIENCE_SECONDS, Dweller, Uprooted, Wrong
from house import STEADY
from raw import keys, wire
from raw.client import Silence
from raw.returning import Returning

SUITES = [keys.GCM, keys.ECDHE_CHACHA, keys.ECDHE_CHACHA]
TRIES = 4
REPEAT_SECONDS = 0.5


class Wanderer(Returning):
    """A raw client where there may be nobody for a moment. It answers who checks its route."""

    def send(self, *records):
        try:
            super().send(*records)
        except ConnectionRefusedError:
            super().send(*records)

    def receive(self, timeout=2.0):
        deadline = time.monotonic() + timeout
        while True:
            try:
                return super().receive(max(0.001, deadline - time.monotonic()))
            except (ConnectionRefusedError, BlockingIOError):
                continue

    def hear(self, timeout):
        """The next datagram's application data; [] if there is none in time. Raises Silence where
        the gate has said goodbye."""
        heard = []
        try:
            records = self.receive(timeout)
        except Silence:
            return heard
        for rec in records:
            if rec.epoch == 0:
                continue
            plain = self.open(rec)
            if rec.type == wire.RRC and plain[0] == wire.PATH_CHALLENGE:
                self.say_check(wire.PATH_RESPONSE, plain[1:])
            elif rec.type == wire.ALERT:
                raise Silence("an alert")
            elif rec.type == wire.DATA:
                heard.append(plain)
        return heard


class Rover(Dweller):
    def live(self):
        identity = self.random.choice(list(STEADY))
        self.since, self.is_kept = self.house.upheavals, True
        client = Wanderer(
            self.house.address["new"],
            identity.encode(),
            STEADY[identity],
            suite=self.random.choice(SUITES),
            cid=self.random.randbytes(self.random.choice([0, 1, 8, 20])),
            rrc=self.random.random() < 0.5,
            source=self.source,
        )
        client.asked, client.name = [], f"rover {identity} {client.suite.id:x}"
        try:
            self._travel(client)
            if self.random.random() < 0.5:
                client.send(client.seal(wire.ALERT, b"\1\0"))
        finally:
            client.close()

    def _travel(self, client):
        self._shake(client, client.handshake)
        for _ in range(self.random.randint(2, 8)):
            self._ask(client)
            self.tide.sleep(self.random.uniform(0.0, 0.3))  # long enough to be there when it happens
            what = self.random.choice(["stay", "move", "move", "resume"])
            if what == "move":
                client.move()
                self.counts["moves"] += 1
            elif what == "resume" and client.new_ticket:
                self._come_back(client)
        self._ask(client)

    def _come_back(self, client):
        """From another port: its session is still at the old one. The gate may give no tickets any
        more."""
        client.move()
        self.since = self.house.upheavals
        try:
            client.resume()
            self.is_kept = False  # our last word may not have come
            self.counts["resumed"] += 1
        except (AssertionError, TimeoutError):
            self.counts["not resumed"] += 1
            client.ticket = b""
            self._shake(client, client.handshake)

    def _shake(self, client, how):
        for _ in range(TRIES):
            client.reset()
            try:
                how()
                self.counts["handshakes"] += 1
                return
            except Silence:
                self.counts["handshakes lost"] += 1
        if self.was_upheaval(self.since):
            raise Uprooted()
        raise Wrong(f"no handshake: {client.name}")

    def _ask(self, client):
        text = f"{client.name} {len(client.asked)} ".encode() + self.random.randbytes(50)
        client.asked.append(text)
        end = time.monotonic() + PATIENCE_SECONDS
        try:
            while time.monotonic() < end:
                client.send_data(text)
                if self._is_answered(client, text):
                    self.is_kept = True
                    self.counts["echoes"] += 1
                    return
                self.counts["asked again"] += 1
            problem = "no answer"
        except Silence as silence:
            problem = str(silence)
        if self.is_uprooted(self.since, self.is_kept):
            raise Uprooted()
        raise Wrong(f"{problem}: {client.name}: {self.house.journal.end_of(client.socket.getsockname())}")

    def _is_answered(self, client, text):
        deadline = time.monotonic() + REPEAT_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            for plain in client.hear(left):
                answer = next(
                    (plain[len(tag) :] for tag in self.house.tags["new"] if plain.startswith(tag)), None
                )
                if plain and answer not in client.asked:
                    raise Wrong(f"not its own answer: {client.name}: {plain[:120]!r}")
                if answer == text:
                    return True
        return False
