"""A raw client that knows nothing of tickets, and comes back by its session id (RFC 5246 7.3)."""

from . import wire
from .returning import Returning


class Known(Returning):
    """`known` is the id that the gate has given, or another one to be tried."""

    def __init__(self, *args, **how):
        how.setdefault("ticket", None)
        super().__init__(*args, **how)

    def handshake(self):
        super().handshake()
        self.known = self.server_hello.session_id
        return self

    def come_back(self):
        """Forgets all but the id and the master secret, and says hello with a cookie."""
        master = self.master
        self.hello_fields["session_id"] = self.known
        self.reset()
        self.master = master
        self.get_cookie()
        self.transcript = [self.say_hello()]

    def begin_anew(self):
        """The whole of a handshake, with the id in its hello."""
        self.hello_fields["session_id"] = self.known
        self.reset()
        return self.handshake()

    def first_answer(self):
        """The first record that the gate sends now: an alert, or its ServerHello."""
        rec = self.receive()[0]
        if rec.type == wire.ALERT:
            return rec, None
        (m,) = wire.parse_messages(rec.body)
        return rec, wire.parse_server_hello(m.body)
