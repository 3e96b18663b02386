"""A client with a timer, as real ones have it: what is not answered within a second is said again.

It needs one because its answers may be late or lost; how long that takes is what tests measure.
"""

import time

from .cases import is_verify_request
from .client import Client, Silence

FIRST_WAIT = 1.0  # seconds, doubled each time (RFC 6347 4.2.4.1)
TRIES = 5


class Patient(Client):
    """Someone else may send hellos in its name: it takes no answers but those that bear the record
    number of its own (RFC 6347 4.2.1)."""

    def __init__(self, *args, **how):
        self.deadline = self.hello_seq = None
        self.repeats = 0
        super().__init__(*args, **how)

    def receive(self, timeout=None):
        """As a client's, but for answers to hellos of others, and with one deadline for all."""
        while True:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise Silence("no answer in time")
            records = [rec for rec in super().receive(left) if not self._is_stray(rec)]
            if records:
                return records

    def _is_stray(self, rec):
        return is_verify_request(rec) and rec.seq != self.hello_seq

    def say_hello(self, **changes):
        self.hello_seq = self.seq[0]
        return super().say_hello(**changes)

    def _insist(self, say, hear):
        wait = FIRST_WAIT
        for _ in range(TRIES):
            say()
            self.deadline = time.monotonic() + wait
            try:
                return hear()
            except Silence:
                self.repeats += 1
                wait *= 2
        raise Silence("no answer to %d tries" % TRIES)

    def begin(self):
        self.cookie = b""
        self._insist(self.say_hello, self.await_cookie)
        flight = self._insist(self._say_hello_again, self.await_server_flight)
        self.hello_seq = None
        return flight

    def _say_hello_again(self):
        self.transcript = [self.say_hello()]

    def finish(self, send=None):
        """`send` puts the records of the flight on the wire, in whatever pieces."""
        send = send or self.send
        first = self.flight()
        flights = iter([first])
        return self._insist(
            lambda: send(*next(flights, None) or self.repeat_flight()), self.await_finished
        )

    def echo(self, data=b"marker"):
        """No timer here: what gets lost is lost."""
        self.deadline = time.monotonic() + 10
        super().echo(data)

    def forget_answers(self):
        """Empties the socket: answers to what others have sent in our name."""
        self.socket.setblocking(False)
        while True:
            try:
                self.socket.recv(65535)
            except BlockingIOError:
                return
