"""hello: ClientHellos byte by byte, for what no library would send any more."""

import collections

from lib.dtls import DTLS10, records

HANDSHAKE, ALERT = 22, 21
CLIENT_HELLO, SERVER_HELLO, VERIFY_REQUEST = 1, 2, 3

Answer = collections.namedtuple("Answer", "type message body")


def record(kind, version, epoch, sequence, body):
    head = bytes([kind]) + version.to_bytes(2, "big") + epoch.to_bytes(2, "big")
    return head + sequence.to_bytes(6, "big") + len(body).to_bytes(2, "big") + body


def client_hello(random, cookie=b"", suites=(0x00FF, 0x008C), sequence=0, version=DTLS10):
    """Without extensions and session id, the null compression alone."""
    names = b"".join(suite.to_bytes(2, "big") for suite in suites)
    body = version.to_bytes(2, "big") + random + b"\0" + bytes([len(cookie)]) + cookie
    body += len(names).to_bytes(2, "big") + names + b"\x01\x00"
    size = len(body).to_bytes(3, "big")
    head = bytes([CLIENT_HELLO]) + size + sequence.to_bytes(2, "big") + b"\0\0\0" + size
    return record(HANDSHAKE, version, 0, sequence, head + body)


def answer_of(datagram):
    """The first record: its type, and of a handshake message what it is."""
    kind, _, body = records(datagram)[0]
    if kind == HANDSHAKE:
        return Answer(kind, body[0], body[12:])
    return Answer(kind, None, body)


def cookie_of(datagram):
    """The cookie of a HelloVerifyRequest."""
    answer = answer_of(datagram)
    assert (answer.type, answer.message) == (HANDSHAKE, VERIFY_REQUEST)
    size = answer.body[2]
    assert len(answer.body) == 3 + size
    return answer.body[3:]
