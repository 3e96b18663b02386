"""The TLS 1.2 key schedule for PSK suites (RFC 5246 5 and 8, 4279, 5489, 7627) and their AEADs."""

import hashlib
import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from .wire import CID, DTLS12, cid_header, record_header, vec16


@dataclass(frozen=True)
class Suite:
    id: int
    name: str
    aead: type
    key: int
    iv: int
    explicit: int
    tag: int
    digest: str = "sha256"
    ecdhe: bool = False


GCM = Suite(0x00A8, "PSK-AES128-GCM-SHA256", AESGCM, 16, 4, 8, 16)
GCM256 = Suite(0x00A9, "PSK-AES256-GCM-SHA384", AESGCM, 32, 4, 8, 16, digest="sha384")
CCM = Suite(0xC0A4, "PSK-AES128-CCM", AESCCM, 16, 4, 8, 16)
CCM8 = Suite(0xC0A8, "PSK-AES128-CCM8", AESCCM, 16, 4, 8, 8)
CHACHA = Suite(0xCCAB, "PSK-CHACHA20-POLY1305", ChaCha20Poly1305, 32, 12, 0, 16)
ECDHE_CHACHA = Suite(
    0xCCAC, "ECDHE-PSK-CHACHA20-POLY1305", ChaCha20Poly1305, 32, 12, 0, 16, ecdhe=True
)
SUITES = {suite.id: suite for suite in (GCM, GCM256, CCM, CCM8, CHACHA, ECDHE_CHACHA)}


def prf(digest, secret, label, seed, size):
    """RFC 5246 5."""
    seed = label + seed
    out, a = b"", seed
    while len(out) < size:
        a = hmac.digest(secret, a, digest)
        out += hmac.digest(secret, a + seed, digest)
    return out[:size]


def transcript_hash(suite, messages):
    return hashlib.new(suite.digest, b"".join(messages)).digest()


def premaster(psk, shared=None):
    """RFC 4279 2 and, with the ECDH secret in the place of the zeros, RFC 5489 2."""
    return vec16(shared if shared is not None else bytes(len(psk))) + vec16(psk)


def master_secret(suite, pre, randoms, session_hash=None):
    """The classic form of both randoms, or the extended one (RFC 7627 4)."""
    if session_hash is None:
        return prf(suite.digest, pre, b"master secret", randoms, 48)
    return prf(suite.digest, pre, b"extended master secret", session_hash, 48)


def verify_data(suite, master, who, messages):
    return prf(suite.digest, master, who + b" finished", transcript_hash(suite, messages), 12)


class Sealer:
    """One direction's record protection."""

    def __init__(self, suite, key, iv):
        self.suite, self.iv = suite, iv
        self.aead = AESCCM(key, tag_length=suite.tag) if suite.aead is AESCCM else suite.aead(key)

    def _nonce(self, number, explicit):
        if self.suite.explicit:
            return self.iv + explicit
        return (int.from_bytes(self.iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")

    def seal(self, kind, plain, epoch, seq, version=DTLS12):
        """A whole record; the explicit nonce is epoch and sequence number."""
        number = struct.pack(">HHL", epoch, seq >> 32, seq & 0xFFFFFFFF)
        aad = number + struct.pack(">BHH", kind, version, len(plain))
        body = self.aead.encrypt(self._nonce(number, number), plain, aad)
        if self.suite.explicit:
            body = number + body
        return record_header(kind, epoch, seq, len(body), version) + body

    def seal_cid(self, cid, kind, plain, epoch, seq, padding=0, aad_cid=None):
        """A whole record of type 25 (RFC 9146 4 and 5.3). `aad_cid` is what the AEAD is told."""
        number = struct.pack(">HHL", epoch, seq >> 32, seq & 0xFFFFFFFF)
        inner = plain + bytes([kind] if kind else []) + bytes(padding)
        aad = self._cid_aad(cid if aad_cid is None else aad_cid, number, len(inner))
        body = self.aead.encrypt(self._nonce(number, number), inner, aad)
        if self.suite.explicit:
            body = number + body
        return cid_header(cid, epoch, seq, len(body)) + body

    @staticmethod
    def _cid_aad(cid, number, length):
        head = b"\xff" * 8 + struct.pack(">BBBH", CID, len(cid), CID, DTLS12)
        return head + number + cid + struct.pack(">H", length)

    def open_cid(self, rec):
        """Type and plaintext of a record of type 25, or None when it does not authenticate."""
        number = struct.pack(">HHL", rec.epoch, rec.seq >> 32, rec.seq & 0xFFFFFFFF)
        explicit, body = rec.body[: self.suite.explicit], rec.body[self.suite.explicit :]
        aad = self._cid_aad(rec.cid, number, len(body) - self.suite.tag)
        try:
            inner = self.aead.decrypt(self._nonce(number, explicit), body, aad).rstrip(b"\0")
        except InvalidTag:
            return None
        return inner[-1], inner[:-1]

    def open(self, rec):
        """The plaintext of a record, or None when it does not authenticate."""
        number = struct.pack(">HHL", rec.epoch, rec.seq >> 32, rec.seq & 0xFFFFFFFF)
        explicit, body = rec.body[: self.suite.explicit], rec.body[self.suite.explicit :]
        aad = number + struct.pack(">BHH", rec.type, rec.version, len(body) - self.suite.tag)
        try:
            return self.aead.decrypt(self._nonce(number, explicit), body, aad)
        except InvalidTag:
            return None


def sealers(suite, master, client_random, server_random):
    """The client's and the server's, from the key block (RFC 5246 6.3)."""
    size = 2 * (suite.key + suite.iv)
    block = prf(suite.digest, master, b"key expansion", server_random + client_random, size)
    keys, ivs = block[: 2 * suite.key], block[2 * suite.key :]
    return (
        Sealer(suite, keys[: suite.key], ivs[: suite.iv]),
        Sealer(suite, keys[suite.key :], ivs[suite.iv :]),
    )
