"""DTLS 1.2 bytes: records, handshake messages and their fragments, hellos. Knows no keys."""

import struct
from dataclasses import dataclass

CCS, ALERT, HANDSHAKE, DATA, CID, RRC = 20, 21, 22, 23, 25, 27
HELLO_REQUEST, CLIENT_HELLO, SERVER_HELLO, HELLO_VERIFY = 0, 1, 2, 3
NEW_TICKET = 4
CERTIFICATE, SERVER_KEY_EXCHANGE, SERVER_HELLO_DONE = 11, 12, 14
CLIENT_KEY_EXCHANGE, FINISHED = 16, 20
WARNING, FATAL = 1, 2
PATH_CHALLENGE, PATH_RESPONSE, PATH_DROP = 0, 1, 2
CLOSE_NOTIFY, UNEXPECTED_MESSAGE, BAD_RECORD_MAC, DECRYPT_ERROR = 0, 10, 20, 51
PROTOCOL_VERSION, NO_RENEGOTIATION, UNKNOWN_PSK_IDENTITY = 70, 100, 115
HANDSHAKE_FAILURE, INTERNAL_ERROR = 40, 80
DTLS10, DTLS12 = 0xFEFF, 0xFEFD
MAX_FRAGMENT, GROUPS, POINT_FORMATS, MASTER_SECRET, TICKET = 1, 10, 11, 23, 35
CONNECTION_ID, RETURN_ROUTABILITY = 54, 61
RENEGOTIATION_INFO = 0xFF01
SEQ_MAX = 2**48 - 1
MESSAGE_HEADER, RECORD_HEADER = 12, 13


def u24(n):
    return n.to_bytes(3, "big")


def vec8(data):
    return bytes([len(data)]) + data


def vec16(data):
    return struct.pack(">H", len(data)) + data


@dataclass
class Record:
    type: int
    version: int
    epoch: int
    seq: int
    body: bytes
    cid: bytes = None  # of type 25 alone


@dataclass
class Message:
    type: int
    length: int
    seq: int
    offset: int
    body: bytes


def record_header(kind, epoch, seq, length, version=DTLS12):
    return struct.pack(">BHHHLH", kind, version, epoch, seq >> 32, seq & 0xFFFFFFFF, length)


def record(kind, body, epoch=0, seq=0, version=DTLS12):
    return record_header(kind, epoch, seq, len(body), version) + body


def cid_header(cid, epoch, seq, length):
    """Of a record with a connection id (RFC 9146 4)."""
    number = struct.pack(">BHHHL", CID, DTLS12, epoch, seq >> 32, seq & 0xFFFFFFFF)
    return number + cid + struct.pack(">H", length)


def parse_records(datagram, cid_length=0):
    """`cid_length` is that of our own connection id, which the server's records bear."""
    records = []
    while datagram:
        kind, version, epoch, high, low = struct.unpack_from(">BHHHL", datagram)
        at = RECORD_HEADER - 2 + (cid_length if kind == CID else 0)
        cid = datagram[RECORD_HEADER - 2 : at] if kind == CID else None
        length = struct.unpack_from(">H", datagram, at)[0]
        body = datagram[at + 2 : at + 2 + length]
        assert len(body) == length, "the server cut a record"
        records.append(Record(kind, version, epoch, high << 32 | low, body, cid))
        datagram = datagram[at + 2 + length :]
    return records


def fragment(kind, seq, length, offset, body, fragment_length=None):
    """A piece of a message, sound or not."""
    claimed = len(body) if fragment_length is None else fragment_length
    return bytes([kind]) + u24(length) + struct.pack(">H", seq) + u24(offset) + u24(claimed) + body


def message(kind, seq, body):
    """A whole message, as one fragment."""
    return fragment(kind, seq, len(body), 0, body)


def split(whole, size):
    """The fragments of a whole message, `size` bytes of body each."""
    kind, seq, body = whole[0], struct.unpack_from(">H", whole, 4)[0], whole[MESSAGE_HEADER:]
    return [
        fragment(kind, seq, len(body), at, body[at : at + size])
        for at in range(0, len(body), size)
    ]


def parse_messages(body):
    messages = []
    while body:
        length = int.from_bytes(body[1:4], "big")
        seq = struct.unpack_from(">H", body, 4)[0]
        offset = int.from_bytes(body[6:9], "big")
        size = int.from_bytes(body[9:12], "big")
        end = MESSAGE_HEADER + size
        messages.append(Message(body[0], length, seq, offset, body[MESSAGE_HEADER:end]))
        body = body[end:]
    return messages


def extensions_block(extensions):
    return vec16(b"".join(struct.pack(">H", kind) + vec16(data) for kind, data in extensions))


def hello_body(random, suites, *, cookie=b"", session_id=b"", version=DTLS12, extensions=()):
    """A ClientHello's body; `extensions` None leaves the block out, as old devices do."""
    body = struct.pack(">H", version) + random + vec8(session_id) + vec8(cookie)
    body += vec16(b"".join(struct.pack(">H", suite) for suite in suites)) + vec8(b"\0")
    return body if extensions is None else body + extensions_block(extensions)


def parse_verify_request(body):
    """The cookie of a HelloVerifyRequest's body."""
    assert body[2] == len(body) - 3
    return body[3:]


@dataclass
class ServerHello:
    version: int
    random: bytes
    session_id: bytes
    suite: int
    extensions: dict


def parse_server_hello(body):
    version, random = struct.unpack_from(">H32s", body)
    at = 34
    session_id = body[at + 1 : at + 1 + body[at]]
    at += 1 + body[at]
    suite = struct.unpack_from(">H", body, at)[0]
    at += 3
    extensions = {}
    if at < len(body):
        at += 2
        while at < len(body):
            kind, size = struct.unpack_from(">HH", body, at)
            extensions[kind] = body[at + 4 : at + 4 + size]
            at += 4 + size
    return ServerHello(version, random, session_id, suite, extensions)
