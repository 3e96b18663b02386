"""What most tests are tried with: the suites, and records that anybody could send."""

import pytest

from . import keys, wire

PLAIN_PSK = [keys.GCM, keys.GCM256, keys.CCM, keys.CCM8, keys.CHACHA]
ALL_SUITES = [*PLAIN_PSK, keys.ECDHE_CHACHA]


def suites(listed):
    return pytest.mark.parametrize("suite", listed, ids=lambda suite: suite.name)


def plain(kind, body, seq=0):
    """A record of epoch 0; the client's own numbers stay untouched."""
    return wire.record(kind, body, 0, seq)


def is_verify_request(rec):
    return rec.epoch == 0 and rec.type == wire.HANDSHAKE and rec.body[0] == wire.HELLO_VERIFY


def size(records):
    return sum(wire.RECORD_HEADER + len(rec.body) for rec in records)
