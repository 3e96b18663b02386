"""A raw client that asks for a ticket and comes back with it (RFC 5077)."""

from . import keys, wire
from .client import Client, Silence


class Returning(Client):
    """`ticket` is what the next hello shows, b"" asks for one, None is silent about it."""

    def __init__(self, *args, **how):
        self.ticket = how.pop("ticket", b"")
        how.setdefault("suite", keys.ECDHE_CHACHA)
        super().__init__(*args, **how)

    def hello_extensions(self):
        listed = super().hello_extensions()
        if self.ticket is not None:
            listed.append((wire.TICKET, self.ticket))
        return listed

    def await_finished(self):
        """As ever; a NewSessionTicket before it is taken in, if it was promised."""
        is_promised = wire.TICKET in self.server_hello.extensions
        self.new_ticket = None
        while True:
            for rec in self.receive():
                if rec.epoch == 0 and rec.type == wire.HANDSHAKE:
                    self.take_ticket(rec)
                if rec.epoch == 1 and rec.type == wire.HANDSHAKE:
                    assert is_promised == (self.new_ticket is not None)
                    self.check_finished(rec)
                    return rec

    def take_ticket(self, rec):
        (m,) = wire.parse_messages(rec.body)
        assert m.type == wire.NEW_TICKET and m.seq == 1 + self.last_seq
        self.lifetime = int.from_bytes(m.body[:4], "big")
        self.new_ticket = m.body[6:]
        assert int.from_bytes(m.body[4:6], "big") == len(self.new_ticket)
        self.transcript.append(wire.message(m.type, m.seq, m.body))

    @property
    def last_seq(self):
        """message_seq of the newest message of the gate's first flight."""
        return int.from_bytes(self.transcript[-3][4:6], "big")

    def check_finished(self, rec):
        expected = keys.verify_data(self.suite, self.master, b"server", self.transcript)
        plain = self.open(rec)
        assert plain is not None, "the server's Finished does not open"
        assert plain[0] == wire.FINISHED and plain[wire.MESSAGE_HEADER :] == expected
        self.transcript.append(plain)

    # ---- coming back ----

    def come_back(self):
        """Forgets all but the ticket and the master secret, and says hello with a cookie."""
        assert self.new_ticket
        master, self.ticket = self.master, self.new_ticket
        self.reset()
        self.master = master
        self.get_cookie()
        self.transcript = [self.say_hello()]

    def await_resumed(self):
        """The gate's flight: ServerHello, ChangeCipherSpec, a Finished that verifies."""
        has_ccs = False
        while True:
            for rec in self.receive_resumed():
                has_ccs = has_ccs or rec.type == wire.CCS
                if rec.epoch == 1:
                    assert has_ccs
                    self.check_finished(rec)
                    return rec

    def receive_resumed(self):
        """The next datagram. Its ServerHello, if it has one, has told how to read the rest."""
        self.socket.settimeout(10)
        datagram = self.socket.recv(65535)
        (first, *_) = wire.parse_records(datagram[: 13 + int.from_bytes(datagram[11:13], "big")])
        if first.type == wire.ALERT:
            raise Silence("an alert instead of the server's flight: %s" % first.body.hex())
        if first.type == wire.HANDSHAKE and self.server_hello is None:
            (m,) = wire.parse_messages(first.body)
            assert m.type == wire.SERVER_HELLO and m.seq == 1
            self.transcript.append(wire.message(m.type, m.seq, m.body))
            self.take_hello(wire.parse_server_hello(m.body))
        return self.parse(datagram)

    def take_hello(self, hello):
        self.server_hello = hello
        assert hello.session_id == self.session_id and hello.suite == self.suite.id
        assert (wire.MASTER_SECRET in hello.extensions) and (wire.TICKET not in hello.extensions)
        if wire.CONNECTION_ID in hello.extensions:
            self.server_cid = hello.extensions[wire.CONNECTION_ID][1:]
        self.writer, self.reader = keys.sealers(
            self.suite, self.master, self.random, hello.random
        )

    def last_flight_records(self):
        data = keys.verify_data(self.suite, self.master, b"client", self.transcript)
        return self.ccs(), self.seal(wire.HANDSHAKE, wire.message(wire.FINISHED, 2, data))

    def resume(self):
        self.come_back()
        self.await_resumed()
        self.send(*self.last_flight_records())
        return self
