"""T-24 to T-29 of doc/CONFORMANCE.md: what can be learned of identities, and done without keys."""

import math
import os
import random
import statistics
import time

import pytest
from lib.gate import IDENTITY, KEY
from lib.helper import Helper
from raw import keys, wire
from raw.cases import ALL_SUITES, plain, suites
from raw.wire import DATA, HANDSHAKE

TRIES = 10000 if os.environ.get("DTLSGATE_LONG") == "1" else 500
# A share that far from a half is told apart, however many tries it takes: about a microsecond here,
# where the wire is memory.
LEAST_TOLD = 0.05
FINISHED_SIZE = {keys.GCM: 48, keys.GCM256: 48, keys.CCM8: 40, keys.ECDHE_CHACHA: 40}


@suites(ALL_SUITES)
def test_T_24_unknown_identity_looks_like_a_wrong_key(client, start, psk, intact, suite):
    """Also one that has been revoked. All datagrams, up to the handshake's timeout, with their
    sizes."""
    gate = start(
        keys={IDENTITY: KEY, "revoked": KEY[::-1]},
        **{"retransmit_first": "200ms", "retransmit_cap": "10s", "handshake_timeout": "1s"},
    )
    psk({IDENTITY: KEY})
    assert "reloaded" in gate.reload()
    claims = ((b"nobody", os.urandom(16)), (b"revoked", KEY[::-1]), (b"dev-1", os.urandom(16)))
    trying = []
    for identity, key in claims:
        c = client(gate, identity=identity, key=key, suite=suite)
        c.begin()
        assert c.answers(*c.flight()) == []
        trying.append(c)
    gate.wait_event("handshake failed", len(claims), reason="handshake timed out")
    seen = [[(rec.type, rec.epoch, rec.seq, len(rec.body)) for rec in c.probe()] for c in trying]
    assert seen[0] == seen[1] == seen[2] != []
    intact(by=client(gate, suite=suite).handshake())


@suites(ALL_SUITES)
def test_T_24_a_helper_s_names_are_no_different(client, start, tmp_path, intact, request, suite):
    """The same where a helper knows the one name and not the other, when it is asked and behind
    that."""
    answers = {b"dev-1": KEY.hex().encode() + b"\n"}
    helper = Helper(tmp_path / "helper", lambda name: answers.get(name, b"none\n"), delay=0.05)
    request.addfinalizer(helper.end)
    gate = start(
        keys={"other": os.urandom(16)},
        psk_helper=helper.path,
        **{"retransmit_first": "200ms", "retransmit_cap": "10s", "handshake_timeout": "1s"},
    )
    for turn in (1, 2):
        trying = []
        for identity in (b"nobody", b"dev-1"):
            c = client(gate, identity=identity, key=os.urandom(16), suite=suite)
            c.begin()
            assert c.answers(*c.flight()) == []
            trying.append(c)
        gate.wait_event("handshake failed", 2 * turn, reason="handshake timed out")
        assert sorted(helper.asked) == [b"dev-1", b"nobody"]
        seen = [[(rec.type, rec.epoch, rec.seq, len(rec.body)) for rec in c.probe()] for c in trying]
        assert seen[0] == seen[1] != []
    intact(by=client(gate, suite=suite).handshake())


def share_of_earlier(a, b):
    """How often one of `a` is less than one of `b`: 0.5 for two samples of the same (Mann and
    Whitney), with a standard error of 1 / sqrt(6 n) for n each."""
    ranked = sorted([(x, 0) for x in a] + [(x, 1) for x in b])
    ranks = sum(rank for rank, (_, which) in enumerate(ranked) if which == 1)
    return (ranks - len(b) * (len(b) - 1) / 2) / len(a) / len(b)


class Stopwatch:
    """Times what a gate makes of datagrams by the answer to a hello that comes right behind."""

    def __init__(self, client):
        self.client = client
        self.taken = {}

    def time(self, what, *datagrams):
        c = self.client
        mark = 1 << 40
        hello = c.hello(cookie=b"", random=os.urandom(32), message_seq=0)
        marker = wire.record(HANDSHAKE, hello, 0, mark)
        begun = time.perf_counter_ns()
        for datagram in datagrams:
            c.socket.send(datagram)
        c.socket.send(marker)
        (rec,) = c.receive()
        self.taken.setdefault(what, []).append(time.perf_counter_ns() - begun)
        assert rec.seq == mark

    def check(self):
        known, unknown = self.taken[b"dev-1"], self.taken[b"dev-9"]
        share, error = share_of_earlier(known, unknown), 1 / math.sqrt(6 * len(known))
        print(
            f"{len(known)} each: median {statistics.median(known) / 1000:.1f} us known,"
            f" {statistics.median(unknown) / 1000:.1f} us unknown;"
            f" known ones are earlier in {share:.4f} +- {error:.4f}"
        )
        assert abs(share - 0.5) < max(LEAST_TOLD, 5 * error)


def names(count):
    listed = [b"dev-1", b"dev-9"] * count
    random.shuffle(listed)
    return listed


@pytest.mark.patience(1200)
@pytest.mark.parametrize("key_length", [16, 32])
@suites([keys.GCM, keys.GCM256, keys.ECDHE_CHACHA])
def test_T_24_timing_of_a_wrong_key(client, start, suite, key_length):
    c = client(start(keys={IDENTITY: os.urandom(key_length)}), suite=suite)
    watch = Stopwatch(c)
    for c.identity in names(TRIES):
        c.reset()
        c.begin()
        watch.time(c.identity, b"".join(c.flight()))
    watch.check()


def forged_exchange(c, identity, seq):
    """A well-formed ClientKeyExchange."""
    point = wire.vec8(os.urandom(31) + b"\x40") if c.suite.ecdhe else b""
    return plain(HANDSHAKE, c.key_exchange_message(identity=identity, point=point), seq)


def junk_finished(c, seq):
    """What looks like a Finished: keys are derived for it."""
    return wire.record(HANDSHAKE, os.urandom(FINISHED_SIZE[c.suite]), 1, seq)


def forged_flight(c, identity, seq):
    return forged_exchange(c, identity, seq) + junk_finished(c, seq)


@pytest.mark.patience(1200)
@suites([keys.GCM, keys.CCM8, keys.ECDHE_CHACHA])
def test_T_24_timing_behind_many_names(client, calm, suite):
    """What bounds the work for names that nobody has must not tell which ones these are."""
    c = client(suite=suite)
    watch = Stopwatch(c)
    for identity in names(TRIES * 2 // 5):
        c.reset()
        c.begin()
        for number in range(10):
            c.socket.send(forged_flight(c, b"nobody-%d" % number, 10 + number))
        assert c.probe() == []
        watch.time(identity, forged_flight(c, identity, 30))
    watch.check()


@pytest.mark.patience(1200)
@suites([keys.GCM, keys.CCM8, keys.ECDHE_CHACHA])
def test_T_24_timing_of_a_repeated_name(client, calm, suite):
    """Nor must it be told by how long a name is remembered."""
    c = client(suite=suite)
    watch = Stopwatch(c)
    for identity in names(TRIES * 2 // 5):
        c.reset()
        c.begin()
        again = forged_flight(c, identity, 9)
        c.socket.send(again)
        for number in range(10):
            c.socket.send(forged_flight(c, b"nobody-%d" % number, 10 + number))
        assert c.probe() == []
        watch.time(identity, again)
    watch.check()


@pytest.mark.patience(1200)
@suites([keys.GCM, keys.CCM8, keys.ECDHE_CHACHA])
def test_T_24_timing_of_a_name_that_stays(client, calm, suite):
    """Were it kept longer than others, there would be one less to derive keys for."""
    c = client(suite=suite)
    watch = Stopwatch(c)
    for identity in names(TRIES * 2 // 5):
        c.reset()
        c.begin()
        c.socket.send(forged_exchange(c, identity, 9))
        for number in range(16):
            c.socket.send(forged_exchange(c, b"nobody-%d" % number, 10 + number))
            if number == 7:
                c.socket.send(junk_finished(c, 40))
        assert c.probe() == []
        watch.time(identity, junk_finished(c, 41))
    watch.check()


STRANGE_IDENTITIES = [
    b"dev-1 ", b" dev-1", b"DEV-1", b"dev-10", b"dev-", b"\xff\xfe", "gerät".encode(),
    b"a\nsession open: id=7", b"\x1b[31mred", b"%s%n%d", b'"quoted"', b"x" * 128, b"y" * 256,
]  # fmt: skip


def test_T_25_identities_are_bytes(client, calm, intact):
    for identity in STRANGE_IDENTITIES:
        c = client(identity=identity)
        c.begin()
        assert c.answers(*c.flight()) == []
    for wrong in (b"", b"z" * 257, b"z" * 590):
        c = client(identity=wrong)
        c.begin()
        assert c.answers(*c.flight()) == []
    intact()
    calm.end()
    assert len(calm.events("session open")) == 1
    assert all("\x1b" not in line for line in calm.log.lines)
    assert not calm.log.find(r"^session open")


def test_T_25_strange_identities_are_found(client, start, echo):
    table = {name: os.urandom(16) for name in STRANGE_IDENTITIES if b"\n" not in name}
    gate = start(keys=table)
    for identity, key in table.items():
        client(gate, identity=identity, key=key).handshake().echo(identity)
    assert echo.data == list(table)
    gate.end()
    assert len(gate.events("session open")) == len(table)
    assert all("\x1b" not in line for line in gate.log.lines)


@pytest.mark.parametrize("length", [1, 8, 15])
def test_T_26_weak_keys_are_refused(run, psk, length):
    path = psk({"dev-1": bytes(length)})
    args = ["-l", "127.0.0.1:0", "-b", "127.0.0.1:9", "-k", path, "-t"]
    refused = run(*args)
    assert refused.returncode == 2 and "dev-1" in refused.stderr
    assert run(*args, "-o", "service.default.allow-weak-keys=yes").returncode == 0


def test_T_26_doubtful_keys_are_told(start):
    """By the line of the first of each kind. Whoever ends a gate sees that no key is in the log."""
    gate = start(
        keys={"good": os.urandom(16), "short": b"\1" * 8, "text": b"correct horse ba", "copy": KEY,
              IDENTITY: KEY},
        allow_weak_keys="yes",
    )  # fmt: skip
    for line, what in ((2, "shorter than 16"), (3, "readable text"), (5, "key of another")):
        (warning,) = gate.log.find(what)
        assert f"psk:{line}: " in warning and " warning " in warning


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o666])
def test_T_26_open_key_files_are_refused(run, psk, mode):
    path = psk({"dev-1": bytes(16)})
    path.chmod(mode)
    refused = run("-l", "127.0.0.1:0", "-b", "127.0.0.1:9", "-k", path, "-t")
    assert refused.returncode == 2 and str(path) in refused.stderr


@pytest.mark.parametrize("suite", ALL_SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("first", range(4))
def test_T_29_no_order_of_messages_replaces_the_key(client, echo, intact, suite, first):
    """Each order of the flight, with the key wrong, and data behind each step."""
    c = client(suite=suite, key=os.urandom(16))
    c.begin()
    exchange, ccs, finished = c.flight()
    empty = plain(HANDSHAKE, wire.message(wire.FINISHED, 3, bytes(12)), 70)
    pieces = [exchange, ccs, finished, empty]
    for turn in range(4):
        piece = pieces[(first + turn) % 4]
        data = [c.seal(DATA, b"stolen"), plain(DATA, b"stolen", 80)]
        assert c.answers(piece, *data) == []
    assert c.answers(*pieces[::-1], c.seal(DATA, b"stolen")) == []
    intact()
