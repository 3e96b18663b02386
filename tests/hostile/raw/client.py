"""One client, step by step: each step of the handshake can be left out, repeated or forged."""

import os
import socket

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import keys, wire

PATIENCE = 10  # seconds until a missing answer fails a test; not waited for when all is well


class Silence(AssertionError):
    """An answer that had to come did not."""


class Client:
    """`address` is the gate's, `source` our own. Record numbers go up by themselves; every step can
    override them."""

    def __init__(self, address, identity=b"dev1", key=b"", suite=keys.GCM, **hello):
        self.address, self.identity, self.key, self.suite = address, identity, key, suite
        self.ems = hello.pop("ems", True)
        self.version = hello.pop("version", wire.DTLS12)
        self.extensions = list(hello.pop("extensions", ()))
        self.cid = hello.pop("cid", None)
        self.rrc = hello.pop("rrc", False)
        source = hello.pop("source", address[0])
        self.hello_fields = hello
        self.socket = self.new_socket(source)
        self.last_flight = ()
        self.reset()

    def new_socket(self, source):
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        made.bind((source, 0))
        made.connect(self.address)
        return made

    @property
    def own(self):
        """Our address, as the gate's log has it."""
        return "%s:%d" % self.socket.getsockname()[:2]

    def move(self, source=None):
        """To another port, and another address if it is given. The old one is gone."""
        moved = self.new_socket(source or self.socket.getsockname()[0])
        self.socket.close()
        self.socket = moved

    def close(self):
        self.socket.close()

    def reset(self):
        """Forgets all but the port: the next handshake begins as of a client that was restarted."""
        self.random = os.urandom(32)
        self.session_id = self.hello_fields.get("session_id", b"")
        self.cookie = b""
        self.seq = [0, 0]
        self.transcript = []
        self.server_hello = self.server_point = None
        self.master = self.writer = self.reader = None
        self.server_cid = None  # once it has been negotiated

    # ---- datagrams ----

    def send(self, *records):
        """One datagram."""
        self.socket.send(b"".join(records))

    def receive(self, timeout=PATIENCE):
        """The next datagram, as records."""
        self.socket.settimeout(timeout)
        try:
            return self.parse(self.socket.recv(65535))
        except TimeoutError:
            raise Silence("no answer within %s s" % timeout) from None

    def parse(self, datagram):
        """Its records; those with our connection id become what is inside of them."""
        records = wire.parse_records(datagram, len(self.cid or b""))
        for rec in records:
            if rec.type == wire.CID:
                assert self.server_cid is not None and rec.cid == self.cid
                opened = self.reader.open_cid(rec)
                assert opened is not None, "the server's record does not open"
                rec.type, rec.plain = opened
            elif rec.epoch == 1:
                assert not (self.server_cid and self.cid), "a record without our connection id"
        return records

    def record(self, kind, body, epoch=0, seq=None, version=wire.DTLS12):
        """A plaintext record, with the next number."""
        if seq is None:
            seq = self.seq[0]
            self.seq[0] += 1
        return wire.record(kind, body, epoch, seq, version)

    def seal(self, kind, plain, epoch=1, seq=None):
        if seq is None:
            seq = self.seq[1]
            self.seq[1] += 1
        if self.server_cid:
            return self.writer.seal_cid(self.server_cid, kind, plain, epoch, seq)
        return self.writer.seal(kind, plain, epoch, seq)

    def open(self, rec):
        return rec.plain if rec.cid is not None else self.reader.open(rec)

    # ---- hellos ----

    def hello_extensions(self):
        listed = list(self.extensions)
        if self.ems:
            listed.append((wire.MASTER_SECRET, b""))
        if self.cid is not None:
            listed.append((wire.CONNECTION_ID, wire.vec8(self.cid)))
        if self.rrc:
            listed.append((wire.RETURN_ROUTABILITY, b""))
        if self.suite.ecdhe:
            listed.append((wire.GROUPS, wire.vec16(b"\0\x1d")))
            listed.append((wire.POINT_FORMATS, wire.vec8(b"\0")))
        return listed

    def hello(self, message_seq=None, **changes):
        """A ClientHello message as this client would send it next, `changes` apart."""
        fields = {
            "random": self.random,
            "suites": [self.suite.id],
            "cookie": self.cookie,
            "session_id": self.session_id,
            "version": self.version,
            "extensions": self.hello_extensions(),
        }
        fields.update(self.hello_fields)
        fields.update(changes)
        if message_seq is None:
            message_seq = 1 if fields["cookie"] else 0
        return wire.message(wire.CLIENT_HELLO, message_seq, wire.hello_body(**fields))

    def say_hello(self, **changes):
        """Sends the next hello and returns its message."""
        hello = self.hello(**changes)
        self.send(self.record(wire.HANDSHAKE, hello))
        return hello

    def await_cookie(self):
        """Takes the cookie of the next HelloVerifyRequest; what comes before it is passed over."""
        while True:
            for rec in self.receive():
                if rec.epoch == 0 and rec.type == wire.HANDSHAKE:
                    for m in wire.parse_messages(rec.body):
                        if m.type == wire.HELLO_VERIFY:
                            self.cookie = wire.parse_verify_request(m.body)
                            return rec

    def get_cookie(self):
        self.cookie = b""
        self.say_hello()
        return self.await_cookie()

    def use_cookie(self):
        """From the second hello to the server's ServerHelloDone. Returns its flight's records."""
        self.transcript = [self.say_hello()]
        return self.await_server_flight()

    def begin(self):
        self.get_cookie()
        return self.use_cookie()

    def await_server_flight(self):
        pieces, seen, records = {}, {}, []
        while wire.SERVER_HELLO_DONE not in seen or len(seen) < max(m.seq for m in seen.values()):
            for rec in self.receive():
                if rec.type == wire.ALERT and rec.epoch == 0:
                    raise Silence("an alert instead of the server's flight: %s" % rec.body.hex())
                if rec.type != wire.HANDSHAKE or rec.epoch != 0:
                    continue
                records.append(rec)
                for m in wire.parse_messages(rec.body):
                    known = pieces.setdefault((m.type, m.seq), {})
                    known[m.offset] = m.body
                    m.body = b"".join(known[at] for at in sorted(known))
                    if len(m.body) == m.length and m.type != wire.HELLO_VERIFY:
                        seen[m.type] = m
        flight = sorted(seen.values(), key=lambda m: m.seq)
        assert [m.seq for m in flight] == list(range(1, 1 + len(flight)))
        self.server_hello = wire.parse_server_hello(seen[wire.SERVER_HELLO].body)
        if wire.CONNECTION_ID in self.server_hello.extensions:
            answer = self.server_hello.extensions[wire.CONNECTION_ID]
            assert self.cid is not None and answer[0] == len(answer) - 1
            self.server_cid = answer[1:]
        if self.suite.ecdhe:
            body = seen[wire.SERVER_KEY_EXCHANGE].body
            body = body[2 + int.from_bytes(body[:2], "big") :]
            assert body[:3] == b"\x03\0\x1d", "not X25519"
            self.server_point = body[4 : 4 + body[3]]
        self.transcript += [wire.message(m.type, m.seq, m.body) for m in flight]
        return records

    # ---- the client's second flight ----

    def key_exchange_message(self, identity=None, seq=2, point=b""):
        """A ClientKeyExchange that leaves our state alone, for forgeries too."""
        body = wire.vec16(self.identity if identity is None else identity)
        return wire.message(wire.CLIENT_KEY_EXCHANGE, seq, body + point)

    def key_exchange(self):
        """Our ClientKeyExchange; from here on there are keys."""
        shared, point = None, b""
        if self.suite.ecdhe:
            private = X25519PrivateKey.generate()
            shared = private.exchange(X25519PublicKey.from_public_bytes(self.server_point))
            public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            point = wire.vec8(public)
        exchange = self.key_exchange_message(point=point)
        self.transcript.append(exchange)
        self.derive(keys.premaster(self.key, shared))
        return exchange

    def derive(self, pre):
        extended = wire.MASTER_SECRET in self.server_hello.extensions
        session_hash = keys.transcript_hash(self.suite, self.transcript) if extended else None
        randoms = self.random + self.server_hello.random
        self.master = keys.master_secret(self.suite, pre, randoms, session_hash)
        self.writer, self.reader = keys.sealers(
            self.suite, self.master, self.random, self.server_hello.random
        )

    def finished_message(self):
        """Our Finished; the transcript then holds it."""
        data = keys.verify_data(self.suite, self.master, b"client", self.transcript)
        finished = wire.message(wire.FINISHED, 3, data)
        self.transcript.append(finished)
        return finished

    def ccs(self, seq=None):
        return self.record(wire.CCS, b"\1", seq=seq)

    def flight(self):
        """ClientKeyExchange, ChangeCipherSpec and Finished, a record each."""
        exchange = self.record(wire.HANDSHAKE, self.key_exchange())
        return exchange, self.ccs(), self.seal(wire.HANDSHAKE, self.finished_message())

    def repeat_flight(self):
        """The same messages as new records, as a client's timer would send them."""
        exchange, finished = self.transcript[-2:]
        return (
            self.record(wire.HANDSHAKE, exchange),
            self.ccs(),
            self.seal(wire.HANDSHAKE, finished),
        )

    def await_finished(self):
        """Waits for ChangeCipherSpec and a Finished that verifies. Returns the latter's record."""
        expected = keys.verify_data(self.suite, self.master, b"server", self.transcript)
        has_ccs = False
        while True:
            for rec in self.receive():
                has_ccs = has_ccs or rec.type == wire.CCS
                if rec.type == wire.HANDSHAKE and rec.epoch == 1:
                    plain = self.open(rec)
                    assert plain is not None, "the server's Finished does not open"
                    assert plain[0] == wire.FINISHED and plain[wire.MESSAGE_HEADER :] == expected
                    assert has_ccs, "a Finished without ChangeCipherSpec"
                    return rec

    def finish(self):
        """The second flight in one datagram, and the server's answer to it."""
        self.send(*self.flight())
        return self.await_finished()

    def handshake(self):
        self.begin()
        self.finish()
        return self

    # ---- an established session ----

    def send_data(self, data):
        self.send(self.seal(wire.DATA, data))

    def await_data(self):
        """The next application data; answers to probes and repeated flights are passed over."""
        while True:
            for rec in self.receive():
                if rec.type == wire.DATA:
                    plain = self.open(rec)
                    assert plain is not None, "the server's record does not open"
                    return plain

    def say_check(self, what, cookie):
        """A message about routes (RFC 9853)."""
        self.send(self.seal(wire.RRC, bytes([what]) + cookie))

    def await_check(self):
        """The next one of the gate's: (what, cookie). Data before it is passed over."""
        while True:
            for rec in self.receive():
                if rec.type == wire.RRC:
                    assert len(rec.plain) == 9
                    return rec.plain[0], rec.plain[1:]

    def echo(self, data=b"marker"):
        """Sends a datagram that the backend gives back."""
        self.send_data(data)
        got = self.await_data()
        assert got == data, "%r came back as %r" % (data, got)

    # ---- what an attack is answered with ----

    def probe(self):
        """All records that come before the answer to a new hello, which is sent last. As the gate
        works in order, they are the whole answer to what was sent before; [] is silence."""
        mark = int.from_bytes(os.urandom(4), "big") | 1 << 40
        hello = self.hello(cookie=b"", random=os.urandom(32), message_seq=0)
        self.socket.send(wire.record(wire.HANDSHAKE, hello, 0, mark))
        before = []
        while True:
            for rec in self.receive():
                if rec.seq == mark and rec.epoch == 0:
                    return before
                before.append(rec)

    def answers(self, *datagrams):
        """Sends each, then says what they were answered with."""
        for datagram in datagrams:
            self.socket.send(datagram)
        return self.probe()
