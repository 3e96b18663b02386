"""Connection ids (RFC 9146): clients that change their address, and those who say they did."""

import os
import random
import select
import socket

import pytest
from lib.control import Control, connect
from lib.gate import IDENTITY, KEY, FileLog, fields, until
from lib.wire import Wire
from raw import keys, wire
from raw.client import Silence
from raw.patient import Patient
from raw.wire import ALERT, DATA

SUITES = sorted(keys.SUITES.values(), key=lambda suite: suite.id)
OTHER_KEY = bytes(range(100, 116))
AWAY = "127.5.0.2"


def sealed_size(size, cid=4):
    """Of a record of the gate's under AES-GCM."""
    return 13 + cid + 8 + size + 1 + 16


class Thief:
    """Another address. It has no keys."""

    def __init__(self, to, source="127.5.0.9"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((source, 0))
        self.socket.connect(to.address())
        self.own = "%s:%d" % self.socket.getsockname()

    def send(self, *records):
        self.socket.send(b"".join(records))

    def loot(self):
        """What has come so far."""
        self.socket.setblocking(False)
        got = []
        while True:
            try:
                got.append(self.socket.recv(65536))
            except BlockingIOError:
                return got


@pytest.fixture
def thief():
    made = []

    def make(to, **how):
        made.append(Thief(to, **how))
        return made[-1]

    yield make
    for one in made:
        one.socket.close()


@pytest.mark.parametrize("length", [0, 1, 8, 255])
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_S_56_each_suite_with_ids_of_each_length(client, start, echo, suite, length):
    to = start(ciphers=suite.name)
    c = client(to, suite=suite, cid=bytes(range(length))).handshake()
    assert len(c.server_cid) == 8 and c.server_cid[0] == 0
    for size in (0, 1, 1000):
        c.echo(b"x" * size)
    c.move()
    c.echo(b"from elsewhere" * 20)  # long enough that the answer is within the bound
    event = to.wait_event("session move")
    assert event["peer"] == c.own and event["moves"] == "1"
    assert len(echo.ports) == 1
    totals = to.end()
    assert totals["sessions_moved"] == 1 and totals["handshakes_started"] == 1


@pytest.mark.parametrize("lost", range(3), ids=["cookie", "ServerHello", "Finished"])
def test_a_lost_flight_costs_no_handshake(start, lost):
    to = start(retransmit_first="200ms")
    wire_between = Wire(to.address(), lost)
    c = Patient(wire_between.address, IDENTITY.encode(), KEY, cid=b"", rrc=True)
    c.handshake()
    c.echo()
    assert wire_between.lost == 1 and c.server_cid is not None
    c.close()
    wire_between.close()
    assert to.end()["handshakes_completed"] == 1


def test_S_62_off_there_is_none(client, start):
    to = start(cid="off")
    c = client(to, cid=b"mine").handshake()
    assert wire.CONNECTION_ID not in c.server_hello.extensions
    c.echo()
    c.move()
    assert c.answers(c.seal(DATA, b"lost")) == []
    assert to.end()["client.drop_stranger"] == 1


def test_S_56_unasked_there_is_none(client):
    c = client().handshake()
    assert wire.CONNECTION_ID not in c.server_hello.extensions
    c.echo()


def test_S_56_malformed_extensions_are_refused(client):
    for at, body in enumerate((b"", b"\1", b"\2a", b"\0a", b"\xffab")):
        c = client(extensions=[(wire.CONNECTION_ID, body)], source="127.5.1.%d" % (1 + at))
        c.get_cookie()
        with pytest.raises(Silence, match="alert"):
            c.use_cookie()


def test_S_57_other_suites_have_none(client, start):
    """CBC stays with libssl, and DTLS 1.0 does, too."""
    to = start(min_version="1.0", ciphers="PSK-AES128-CBC-SHA256:PSK-AES128-CBC-SHA")
    c = client(to, cid=b"mine", suites=[0x00AE])
    c.get_cookie()
    c.await_server_flight = lambda: None
    c.use_cookie()
    (hello, _) = c.receive()
    (message,) = wire.parse_messages(hello.body)
    found = wire.parse_server_hello(message.body)
    assert found.suite == 0x00AE and wire.CONNECTION_ID not in found.extensions


def test_S_58_ids_are_new_with_each_handshake(client):
    seen = set()
    for _ in range(20):
        c = client(cid=b"").handshake()
        seen.add(c.server_cid)
        c.reset()
        c.handshake()
        seen.add(c.server_cid)
        c.echo()
    assert len(seen) == 40


def test_S_57_plain_records_are_dropped_once_there_is_an_id(client, calm, intact):
    c = client(cid=b"mine").handshake()
    plain = c.writer.seal(DATA, b"plain", 1, 50)
    alert = c.writer.seal(ALERT, b"\1\0", 1, 51)
    assert c.answers(plain, alert) == []
    intact(by=c)
    assert calm.end()["client.drop_type"] == 2


def test_S_59_padding_goes_and_what_is_no_plaintext_is_dropped(client, calm, intact):
    c = client(cid=b"mine").handshake()
    cid = c.server_cid
    c.send(c.writer.seal_cid(cid, DATA, b"padded", 1, 60, padding=300))
    assert c.await_data() == b"padded"
    nothing = c.writer.seal_cid(cid, 0, b"\0" * 20, 1, 61)
    itself = c.writer.seal_cid(cid, wire.CID, b"data", 1, 62)
    strange = c.writer.seal_cid(cid, 99, b"data", 1, 63)
    ccs = c.writer.seal_cid(cid, wire.CCS, b"\1", 1, 64)
    short = wire.cid_header(cid, 1, 65, 16) + b"\0" * 16
    assert c.answers(nothing, itself, strange, ccs, short) == []
    c.seq[1] = 70
    intact(b"padded", by=c)
    totals = calm.end()
    assert totals["client.drop_type"] == 4 and totals["client.drop_size"] == 1


def test_S_60_the_id_is_authenticated(client, calm, intact):
    """Records of one session under the id of another, and under a longer one in the AEAD's eyes."""
    one, other = (client(cid=b"mine").handshake() for _ in range(2))
    crossed = one.writer.seal_cid(other.server_cid, DATA, b"crossed", 1, 50)
    longer = one.writer.seal_cid(
        one.server_cid, DATA, b"longer", 1, 51, aad_cid=one.server_cid + b"\0"
    )
    without = one.writer.seal_cid(one.server_cid, DATA, b"without", 1, 52, aad_cid=b"")
    assert one.answers(crossed, longer, without) == []
    intact(by=one)
    other.echo(b"marker")
    assert calm.end()["client.drop_forged"] == 3


def test_S_57_unknown_ids_are_nobodys(client, calm, intact):
    c = client(cid=b"mine").handshake()
    for at in range(8):
        wrong = bytearray(c.server_cid)
        wrong[at] ^= 1
        c.send(c.writer.seal_cid(bytes(wrong), DATA, b"wrong", 1, 50))
    intact(by=c)
    assert calm.end()["client.drop_stranger"] == 8


def test_S_61_a_handshake_does_not_move(client, calm, intact):
    c = client(cid=b"mine")
    c.begin()
    exchange, ccs, finished = c.flight()
    c.send(exchange, ccs)
    home = c.socket
    away = c.new_socket(AWAY)
    away.send(finished)
    assert c.probe() == []
    c.send(finished)
    c.await_finished()
    away.close()
    assert c.socket is home
    intact(by=c)
    assert calm.end()["client.drop_stranger"] == 1


def test_S_61_an_older_record_is_delivered_and_moves_nothing(client, calm, echo, thief):
    c = client(cid=b"mine").handshake()
    old = c.seal(DATA, b"old")
    c.echo(b"new")
    elsewhere = thief(calm)
    elsewhere.send(old)
    assert c.await_data() == b"old"
    assert elsewhere.loot() == [] and echo.data == [b"new", b"old"]
    assert calm.end().get("sessions_moved", 0) == 0


def test_S_61_replays_and_forgeries_change_nothing(client, calm, intact, thief):
    c = client(cid=b"mine").handshake()
    elsewhere = thief(calm)
    taken = c.seal(DATA, b"taken")
    c.send(taken)
    assert c.await_data() == b"taken"
    next_one = c.writer.seal_cid(c.server_cid, DATA, b"forged", 1, c.seq[1] + 5)
    for record in (taken, next_one[:-1] + bytes([next_one[-1] ^ 1]), taken + taken):
        elsewhere.send(record)
    intact(b"taken", by=c)
    assert elsewhere.loot() == []
    totals = calm.end()
    assert totals.get("sessions_moved", 0) == 0
    assert totals["client.drop_replay"] == 3 and totals["client.drop_forged"] == 1


def test_S_64_a_copy_that_comes_first_gets_three_times_its_bytes(
    client, backend, gate, thief, tmp_path
):
    """Who copies the newest record and is faster moves the session until the next one."""
    flood = backend(lambda data: [b"y" * 100] * 20 if data == b"flood" else data)
    to = gate(flood, daemon={"workers": 1, "control_socket": tmp_path / "control"})
    control = Control(tmp_path / "control")
    c = client(to, cid=b"mine", source="127.0.0.1").handshake()
    c.echo(b"here")
    elsewhere = thief(to, source="127.0.0.9")
    stolen = c.seal(DATA, b"flood")
    elsewhere.send(stolen)
    until(lambda: to.events("session move", peer=elsewhere.own))
    c.send(stolen)  # comes too late, and is a replay
    until(lambda: control.json("status")["counters"]["backend_datagrams"] == 1 + 20)
    c.echo(b"here again")
    assert to.wait_event("session move", 2)["peer"] == c.own
    loot = b"".join(elsewhere.loot())
    assert 0 < len(loot) <= 3 * len(stolen)
    c.echo(b"and again")  # heard of twice: no bound any more
    c.send_data(b"flood")
    assert [c.await_data() for _ in range(20)] == [b"y" * 100] * 20
    totals = to.end()
    assert totals["backend.drop_unproven"] == 20 - (3 * len(stolen)) // sealed_size(100)
    assert totals["client.drop_replay"] == 1


def test_S_64_one_datagram_proves_nothing(client, backend, gate, thief, tmp_path):
    """However many records are in it, a copy of it is no more than one copy."""
    flood = backend(lambda data: [b"y" * 100] * 20 if data == b"flood" else [])
    to = gate(flood, daemon={"workers": 1, "control_socket": tmp_path / "control"})
    control = Control(tmp_path / "control")
    c = client(to, cid=b"mine", source="127.0.0.1").handshake()
    elsewhere = thief(to, source="127.0.0.9")
    stolen = [c.seal(DATA, data) for data in (b"flood", b"", b"")]
    elsewhere.send(*stolen)
    until(lambda: control.json("status")["counters"]["backend_datagrams"] == 20)
    assert 0 < sum(map(len, elsewhere.loot())) <= 3 * sum(map(len, stolen))
    c.send_data(b"flood")
    to.wait_event("session move", 2)  # it is home again, which needs no other proof
    assert [c.await_data() for _ in range(20)] == [b"y" * 100] * 20


def test_S_64_a_thief_that_copies_all_never_gets_more(client, backend, gate, thief):
    flood = backend(lambda data: [b"y" * 500] * 5)
    to = gate(flood, daemon={"workers": 1})
    c = client(to, cid=b"mine", source="127.0.0.1").handshake()
    thieves = [thief(to, source="127.0.0.9") for _ in range(20)]  # each copy from another address
    stolen = c.seal(DATA, b"q" * 50)
    for turn, elsewhere in enumerate(thieves):
        elsewhere.send(stolen)
        flood.wait(turn + 1)
        stolen = c.seal(DATA, b"q" * 50)
    c.send(stolen, c.seal(DATA, b""))
    assert c.await_data() == b"y" * 500  # all answers before it have been dealt with
    for elsewhere in thieves:
        assert sum(map(len, elsewhere.loot())) <= 3 * len(stolen)
    assert to.end()["sessions_moved"] == 21


def test_a_goodbye_from_elsewhere_is_answered_there(client, calm):
    c = client(cid=b"mine").handshake()
    c.echo()
    c.move()
    (answer,) = c.answers(c.seal(ALERT, b"\1\0"))
    assert (answer.type, c.open(answer)) == (ALERT, b"\1\0")
    assert calm.wait_event("session end")["peer"] == c.own


def test_a_repeated_finished_from_elsewhere_is_answered_there(client):
    c = client(cid=b"mine").handshake()
    c.move()
    exchange, ccs, finished = c.repeat_flight()
    c.send(finished)
    c.await_finished()
    c.echo()


def test_S_64_the_whole_answer_to_a_repeated_finished_is_within_the_bound(client, calm, thief):
    c = client(cid=bytes(140)).handshake()
    exchange, ccs, finished = c.repeat_flight()
    elsewhere = thief(calm)
    elsewhere.send(finished)
    calm.wait_event("session move")
    c.echo()
    assert sum(map(len, elsewhere.loot())) <= 3 * len(finished)


def test_the_session_is_told_with_its_ids(client, start, tmp_path):
    to = start(daemon={"control_socket": tmp_path / "control"})
    c = client(to, cid=b"mine").handshake()
    client(to).handshake()
    for _ in range(2):
        c.move()
        c.echo()
    told, plain = Control(tmp_path / "control").json("sessions")["sessions"]
    if "cid" not in told:
        told, plain = plain, told
    assert told["cid"] == c.server_cid.hex() and told["peer-cid"] == b"mine".hex()
    assert told["moves"] == 2 and told["peer"] == c.own
    assert "cid" not in plain and "moves" not in plain


def test_a_trace_tells_of_its_records_both_ways(client, start, tmp_path):
    to = start(daemon={"control_socket": tmp_path / "control"})
    with connect(tmp_path / "control") as trace:
        trace.sendall(b"trace %s\n" % IDENTITY.encode())
        to.log.wait('control: line="trace')
        Control(tmp_path / "control")("sessions")  # behind which it has begun
        c = client(to, cid=b"mine").handshake()
        c.echo()
        c.answers(c.seal(ALERT, b"\1\0"))
        told = b""
        while b"event=end" not in told:
            told += trace.recv(65536)
    events = [fields(line) for line in told.decode().splitlines() if "event=" in line]
    sealed = [(e["event"], e["number"]) for e in events if e.get("type") == "tls12_cid"]
    assert sealed == [(way, str(number)) for number in range(3) for way in ("in", "out")]


def test_the_access_log_tells_how_often_it_moved(client, start, tmp_path):
    to = start(daemon={"access_log": tmp_path / "access.log"})
    access = FileLog(tmp_path / "access.log")
    c = client(to, cid=b"mine").handshake()
    for _ in range(2):
        c.move()
        c.echo()
    c.answers(c.seal(ALERT, b"\1\0"))
    assert fields(access.wait("session: id="))["moves"] == "2"


def test_moves_while_the_backend_streams(client, backend, gate):
    """Each answer is at one of the addresses, and the last ones at the last."""
    numbers = iter(range(100000))
    stream = backend(lambda data: [b"%d" % next(numbers) for _ in range(10)])
    to = gate(stream, daemon={"workers": 1})
    c = client(to, cid=b"mine", source="127.0.0.1").handshake()
    got = []

    def gather(sockets, count):
        while len(got) < count:
            ready, _, _ = select.select(sockets, [], [], 10)
            assert ready, "%d of %d answers" % (len(got), count)
            for one in ready:
                got.extend(c.open(rec) for rec in c.parse(one.recv(65536)))

    for turn in range(30):
        c.send_data(b"more")
        gather([c.socket], 30 * turn + 4)  # the rest is on its way when it moves
        old, c.socket = c.socket, c.new_socket("127.0.0.1")
        c.send_data(b"more" * 200)  # so long that all answers are within its bound
        c.send_data(b"more")
        gather([old, c.socket], 30 * turn + 30)
        old.close()
    assert len(stream.ports) == 1 and len(set(got)) == 900
    totals = to.end()
    assert totals["sessions_moved"] == 30 and totals["handshakes_started"] == 1
    assert totals["backend.sealed"] == 900


def test_the_books_of_a_nat_that_rebinds(client, calm, echo):
    """Under loss, reordering and duplication what gets through is delivered once, from wherever it
    comes, and the session is one."""
    dice = random.Random(9146)
    c = client(cid=b"nat").handshake()
    arrived, late = set(), []
    for number in range(600):
        if number % 7 == 6:
            c.move()
        data = b"%d" % number
        record = c.seal(DATA, data)
        fate = dice.random()
        if fate < 0.1:
            continue
        arrived.add(data)
        if fate < 0.4:
            late.append(record)
            continue
        c.send(record)
        if fate < 0.6:
            c.send(record)
        while late and dice.random() < 0.7:
            c.send(late.pop(dice.randrange(len(late))))
    for record in late:
        c.send(record)
    for data in (b"first", b"second"):
        c.send_data(data)
        while c.await_data() != data:  # answers to the others come before
            pass
    assert len(echo.data) == len(set(echo.data))
    assert set(echo.data) - {b"first", b"second"} <= arrived
    totals = calm.end()
    assert len(echo.data) == totals["client.forwarded"]
    assert len(echo.data) > len(arrived) * 0.95
    assert totals["handshakes_started"] == 1 and totals["sessions_moved"] > 60


def test_an_address_that_may_not_come_in_is_not_followed(client, start, intact):
    to = start(deny=AWAY)
    c = client(to, cid=b"mine").handshake()
    c.echo(b"marker")
    away = c.new_socket(AWAY)
    record = c.seal(DATA, b"away")
    away.send(record)
    assert c.probe() == []
    c.send(record)  # the copy did not make a replay of it
    assert c.await_data() == b"away"
    away.close()
    totals = to.end()
    assert totals["client.drop_denied"] == 1 and totals.get("sessions_moved", 0) == 0


def test_an_identity_is_not_followed_to_where_it_may_not_be(client, gate, echo, settings, psk):
    ini = settings(
        {
            "daemon": {"workers": 1},
            "service default": {
                "listen": "127.5.0.1:0",
                "backend": echo.address,
                "psk-file": psk({IDENTITY: KEY}),
            },
            "identity dev-*": {"allow-from": "127.5.0.1, 127.5.0.3"},
        }
    )
    to = gate(ini=ini)
    c = client(to, cid=b"mine").handshake()
    c.echo()
    home, away = c.socket, c.new_socket(AWAY)
    away.send(c.seal(DATA, b"away"))
    assert c.probe() == []
    c.socket = c.new_socket("127.5.0.3")
    c.echo(b"allowed")
    home.close()
    away.close()
    totals = to.end()
    assert totals["client.drop_denied"] == 1 and totals["sessions_moved"] == 1


def test_another_service_does_not_know_it(client, gate, echo, backend, settings, psk):
    other = backend(host="127.5.0.1")
    places = {"psk-file": psk({IDENTITY: KEY}), "listen": "127.5.0.1:0"}
    to = gate(
        ini=settings(
            {
                "daemon": {"workers": 1},
                "service one": {**places, "backend": echo.address},
                "service two": {**places, "backend": other.address},
            }
        )
    )
    c = client(to.address("one"), cid=b"mine").handshake()
    record = c.seal(DATA, b"data")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(to.address("two"))
        s.send(record)
        c.send(record)
        assert c.await_data() == b"data"
    assert other.data == []
    totals = to.end()
    assert totals["client.drop_stranger"] == 1 and totals.get("sessions_moved", 0) == 0


def test_the_proxy_header_follows(client, start, echo):
    to = start(proxy_protocol="v2")
    c = client(to, cid=b"mine").handshake()
    echo.transform = lambda data: data[-6:]
    for _ in range(3):
        c.send_data(b"hello!")
        assert c.await_data() == b"hello!"
        header = echo.received[-1].data
        assert socket.inet_ntoa(header[16:20]) == c.socket.getsockname()[0]
        assert int.from_bytes(header[24:26], "big") == c.socket.getsockname()[1]
        c.move(AWAY)
    assert len(echo.ports) == 1


def test_the_proxy_header_follows_to_another_family(client, start, echo):
    """And to another address of the service; the header becomes longer with the very record."""
    to = start(listen="127.5.0.1:0, [::1]:0", proxy_protocol="v2")
    v4, v6 = to.addresses()
    echo.transform = lambda data: data[-6:]
    c = client(to, cid=b"mine").handshake()
    for address, source, family in [(v4, "127.5.0.1", 0x12), (v6, "::1", 0x22)] * 2:
        c.address = address
        c.move(source)
        c.send_data(b"hello!")
        assert c.await_data() == b"hello!"
        header = echo.received[-1].data
        assert header[13] == family
        assert header[:12] == b"\r\n\r\n\0\r\nQUIT\n"
        length = 16 + int.from_bytes(header[14:16], "big")
        assert header[length:] == b"hello!"
        port = 24 if family == 0x12 else 48
        assert int.from_bytes(header[port : port + 2], "big") == c.socket.getsockname()[1]
    assert len(echo.ports) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="takes CAP_NET_RAW")
def test_a_transparent_source_follows(client, start, echo):
    to = start(transparent="yes")
    c = client(to, cid=b"mine").handshake()
    for source in ("127.5.0.1", "127.5.0.1", AWAY):
        c.move(source)
        c.echo(b"data")
    hosts = [d.peer[0] for d in echo.received]
    assert hosts == ["127.5.0.1", "127.5.0.1", AWAY]
    assert len(echo.ports) == 2  # another port alone leaves the flow as it is


def test_clients_of_two_identities_may_have_had_one_address(client, start, psk):
    """A NAT gives one's port to another: neither ends the other's session, and either is found."""
    to = start(psk_file=psk({IDENTITY: KEY, "dev-2": OTHER_KEY}))
    first = client(to, cid=b"one").handshake()
    first.echo()
    second = client(to, identity=b"dev-2", key=OTHER_KEY, cid=b"two!")
    second.socket.close()
    second.socket = first.socket
    second.handshake()
    second.echo(b"of the second")
    first.socket = first.new_socket(AWAY)
    first.echo(b"of the first")
    second.echo(b"of the second")
    assert not to.events("session end")
    second.reset()
    second.handshake()  # a restart does end its own
    assert to.wait_event("session end")["reason"] == "replaced by a new handshake"
    second.echo(b"anew")
    first.echo(b"of the first")
    first.socket.close()


def test_each_record_of_a_datagram_is_its_own_sessions(client, start, echo, psk):
    to = start(psk_file=psk({IDENTITY: KEY, "dev-2": OTHER_KEY}))
    one = client(to, cid=b"one").handshake()
    other = client(to, identity=b"dev-2", key=OTHER_KEY, cid=b"four").handshake()
    plain = client(to).handshake()
    plain.echo(b"plain")
    one.echo(b"one")
    other.echo(b"other")
    ports = echo.ports
    one.send(one.seal(DATA, b"1"), other.seal(DATA, b"2"), plain.seal(DATA, b"3"))
    assert one.await_data() == b"1"
    (answer,) = wire.parse_records(one.socket.recv(65536), len(other.cid))
    assert other.reader.open_cid(answer) == (DATA, b"2")
    assert [(echo.ports.index(d.peer[1]), d.data) for d in echo.received[3:]] == [
        (1, b"1"),
        (2, b"2"),
    ]
    assert echo.ports == ports
    totals = to.end()
    # Without an id a record is of the address, where only sessions with ids are.
    assert totals["client.drop_type"] == 1 and totals["sessions_moved"] == 1


def test_a_session_without_id_keeps_its_address(client, start, psk):
    """One that moves there, by a forged source even, takes nothing from it."""
    to = start(psk_file=psk({IDENTITY: KEY, "dev-2": OTHER_KEY}))
    plain = client(to).handshake()
    plain.echo(b"plain")
    roaming = client(to, identity=b"dev-2", key=OTHER_KEY, cid=b"two!").handshake()
    roaming.echo(b"roaming")
    plain.send(roaming.seal(DATA, b"from there"))
    raw = plain.socket.recv(65535)
    (answer,) = wire.parse_records(raw, len(roaming.cid))
    assert roaming.reader.open_cid(answer) == (DATA, b"from there")
    plain.echo(b"plain still")
    roaming.echo(b"roaming still")
    assert not to.events("session end")


def test_a_reload_leaves_running_sessions_their_ids(client, gate, echo, settings, psk):
    def write(cid):
        return settings(
            {
                "daemon": {"workers": 1},
                "service default": {
                    "listen": "127.5.0.1:0",
                    "backend": echo.address,
                    "psk-file": psk({IDENTITY: KEY}),
                    "cid": cid,
                },
            }
        )

    to = gate(ini=write("on"))
    c = client(to, cid=b"mine").handshake()
    c.echo()
    write("off")
    assert "reloaded" in to.reload()
    c.move()
    c.echo()
    assert client(to, cid=b"other").handshake().server_cid is None
    write("on")
    to.reload()
    assert client(to, cid=b"other").handshake().server_cid is not None
    c.move()
    c.echo()


WORKERS = 4


@pytest.fixture
def crowd(client, gate, echo, psk):
    """A gate of four workers and clients of all of them."""
    to = gate(echo, daemon={"workers": WORKERS}, listen="127.5.0.1:0")
    clients = [client(to, cid=b"c%d" % i).handshake() for i in range(24)]
    assert {c.server_cid[0] for c in clients} == set(range(WORKERS))
    return to, clients


def test_each_record_finds_the_worker_of_its_id(crowd):
    to, clients = crowd
    for turn in range(5):
        for c in clients:
            c.move()
            c.echo(b"%d" % turn)
    totals = to.end()
    assert totals["sessions_moved"] == 5 * len(clients)
    assert totals.get("records_passed_on", 0) == 0


def test_records_that_land_on_another_worker_are_passed_on(crowd):
    """The first record of a datagram decides where it goes; here that is another worker's."""
    to, clients = crowd
    passed = 0
    for c in clients:
        for worker in range(WORKERS):
            nobody = c.writer.seal_cid(bytes([worker]) + b"unknown", DATA, b"", 1, 0)
            c.move()
            c.send(nobody, c.seal(DATA, b"passed"), c.seal(DATA, b""))
            assert [c.await_data(), c.await_data()] == [b"passed", b""]
            passed += 2 * (worker != c.server_cid[0])
    totals = to.end()
    assert totals["records_passed_on"] == passed
    assert totals["client.drop_stranger"] == WORKERS * len(clients)


def test_a_datagram_full_of_others_records_is_not_passed_on_whole(crowd):
    to, clients = crowd
    c = clients[0]
    others = [
        c.writer.seal_cid(bytes([(c.server_cid[0] + 1) % WORKERS]) + b"unknown", DATA, b"", 1, 0)
    ]
    c.send(c.seal(DATA, b"mine"), *others * 500)
    assert c.await_data() == b"mine"
    c.echo()
    totals = to.end()
    assert totals["records_passed_on"] == 8 and totals["client.drop_worker"] == 492


# ---- return routability (RFC 9853) ----


@pytest.fixture
def flooded(client, backend, gate):
    """A client that checks routes, and a backend that answers `flood` with far more than three
    times what came."""
    answers = backend(lambda data: [b"y" * 1000] * 20 if data == b"flood" else data)
    to = gate(answers, daemon={"workers": 1})
    c = client(to, cid=b"mine", rrc=True, source="127.0.0.1").handshake()
    assert c.server_hello.extensions[wire.RETURN_ROUTABILITY] == b""
    c.echo()
    return to, c


def flood(c):
    """How many of the twenty answers come."""
    c.send_data(b"flood")
    c.send_data(b"last")
    got = 0
    while (data := c.await_data()) != b"last":
        got += data != b""  # of what was sent before
    return got


def test_S_63_only_with_a_connection_id(client, start):
    without = client(rrc=True).handshake()
    assert wire.RETURN_ROUTABILITY not in without.server_hello.extensions
    unasked = client(cid=b"mine").handshake()
    assert wire.RETURN_ROUTABILITY not in unasked.server_hello.extensions
    to = start(cid="off")
    off = client(to, cid=b"mine", rrc=True).handshake()
    assert wire.RETURN_ROUTABILITY not in off.server_hello.extensions


def test_S_63_messages_without_the_extension_are_dropped(client, calm, intact):
    c = client(cid=b"mine").handshake()
    assert c.answers(c.seal(wire.RRC, b"\0" + b"cookie.."), c.seal(wire.RRC, b"")) == []
    intact(by=c)
    assert calm.end()["client.drop_type"] == 2


def test_S_63_a_malformed_extension_is_refused(client):
    c = client(cid=b"mine", extensions=[(wire.RETURN_ROUTABILITY, b"\0")])
    c.get_cookie()
    with pytest.raises(Silence, match="alert"):
        c.use_cookie()


def test_S_64_an_address_is_proven_by_its_answer_alone(flooded):
    to, c = flooded
    c.move()
    c.send_data(b"")
    what, cookie = c.await_check()
    assert what == wire.PATH_CHALLENGE
    for _ in range(3):  # newer records are no answer
        assert flood(c) == 0
    for wrong in (bytes(8), cookie[:-1] + bytes([cookie[-1] ^ 1])):
        c.say_check(wire.PATH_RESPONSE, wrong)
    for what in (wire.PATH_DROP, 3, 255):
        c.say_check(what, cookie)
    allowed = flood(c)
    assert allowed <= 1  # they count as bytes that came
    c.say_check(wire.PATH_RESPONSE, cookie)
    assert flood(c) == 20
    totals = to.end()
    assert totals["sessions_moved"] == 1
    assert totals["backend.drop_unproven"] == 4 * 20 - allowed


def test_S_64_no_answer_from_elsewhere_proves_it(flooded, thief):
    """The answer itself moves the session to where it comes from, and that is asked anew."""
    to, c = flooded
    c.move()
    c.send_data(b"")
    _, cookie = c.await_check()
    answer = c.seal(wire.RRC, bytes([wire.PATH_RESPONSE]) + cookie)
    elsewhere = thief(to, source="127.0.0.9")
    elsewhere.send(answer)
    until(lambda: to.events("session move", peer=elsewhere.own))
    c.send_data(b"")
    what, other = c.await_check()
    assert what == wire.PATH_CHALLENGE and other != cookie
    assert flood(c) == 0
    c.say_check(wire.PATH_RESPONSE, other)
    assert flood(c) == 20
    assert sum(map(len, elsewhere.loot())) <= 3 * len(answer)


def test_S_65_challenges_are_random_and_paced(flooded):
    to, c = flooded
    seen = set()
    for _ in range(10):
        c.move()
        for _ in range(20):
            c.send_data(b"")
        got = [rec.plain for rec in c.probe() if rec.type == wire.RRC]
        assert len(got) == 1
        seen.update(got)
    assert len(seen) == 10


def test_S_66_challenges_of_the_client_are_answered_once_where_they_come_from(flooded, thief):
    to, c = flooded
    cookies = [bytes([i]) * 8 for i in range(5)]
    for cookie in cookies:
        c.say_check(wire.PATH_CHALLENGE, cookie)
        assert c.await_check() == (wire.PATH_RESPONSE, cookie)
    old = c.seal(wire.RRC, bytes([wire.PATH_CHALLENGE]) + b"elsewher")
    c.echo()
    elsewhere = thief(to, source="127.0.0.9")
    elsewhere.send(old)  # genuine, and not the newest: the session stays
    elsewhere.socket.settimeout(10)
    (rec,) = c.parse(elsewhere.socket.recv(65536))
    assert rec.plain == bytes([wire.PATH_RESPONSE]) + b"elsewher"
    elsewhere.send(old)
    for junk in (b"", b"\0", b"\0short", b"\0" + bytes(9), b"\7" + bytes(8)):
        c.send(c.seal(wire.RRC, junk))
    assert c.probe() == [] and elsewhere.loot() == []
    c.echo()
    assert to.end().get("sessions_moved", 0) == 0


def test_S_66_a_long_id_makes_no_answer_amplify(client, calm, thief):
    """The id that a client has chosen stands in each record to it. Whoever has a key can make up
    the address that a question comes from, and let each be older than the one before."""
    c = client(cid=bytes(255), rrc=True).handshake()
    question = c.seal(wire.RRC, bytes([wire.PATH_CHALLENGE]) + b"elsewher")
    c.say_check(wire.PATH_CHALLENGE, b"from-own")
    assert c.await_check() == (wire.PATH_RESPONSE, b"from-own")
    elsewhere = thief(calm)
    elsewhere.send(question)
    assert c.probe() == []
    assert sum(map(len, elsewhere.loot())) <= 3 * len(question)


def test_S_68_without_an_answer_it_is_where_it_was(flooded, thief):
    """A second later who stole a record has nothing left, and the client need not even speak."""
    to, c = flooded
    elsewhere = thief(to, source="127.0.0.9")
    stolen = c.seal(DATA, b"here")
    elsewhere.send(stolen)
    until(lambda: to.events("session move", peer=elsewhere.own))
    old = c.writer.seal_cid(c.server_cid, DATA, b"old", 1, c.seq[1] - 2)
    # A replay, which moves nothing by itself: only that time has passed does.
    until(lambda: (c.send(old), to.events("session move", peer=c.own))[1])
    c.echo(b"back")
    assert flood(c) == 20
    assert 0 < sum(map(len, elsewhere.loot())) <= 3 * len(stolen)


@pytest.mark.parametrize("count", [1, 2])
def test_S_68_who_goes_on_copying_does_not_keep_it(flooded, thief, count):
    """Faster than the client with each of its records, from one place or from turn to turn another,
    and without an answer: what is asked again is no new second."""
    to, c = flooded
    elsewhere = [thief(to, source="127.0.0.%d" % (9 + n)) for n in range(count)]
    heard = []

    def speak():
        stolen = c.seal(DATA, b"what is new?")
        elsewhere[len(stolen_all) % count].send(stolen)
        stolen_all.append(stolen)
        c.send(stolen)
        try:
            heard.extend(rec for rec in c.receive(0.05) if rec.type == DATA)
        except Silence:
            heard.clear()
        return len(heard) >= 10  # one after the other: it is the client's for good

    stolen_all = []
    until(speak)
    assert 0 < sum(map(len, elsewhere[0].loot())) <= 3 * sum(map(len, stolen_all))


def test_S_68_a_late_answer_still_proves_it(flooded):
    """Slow networks take longer than a second."""
    to, c = flooded
    home = c.socket
    c.socket = c.new_socket("127.0.0.1")
    c.send_data(b"")
    _, cookie = c.await_check()
    replay = c.writer.seal_cid(c.server_cid, DATA, b"", 1, c.seq[1] - 1)
    until(lambda: (c.send(replay), len(to.events("session move")) == 2)[1])
    c.say_check(wire.PATH_RESPONSE, cookie)
    assert flood(c) == 20
    home.close()
    assert to.end()["sessions_moved"] == 3


def test_back_where_it_was_it_needs_no_proof(flooded):
    to, c = flooded
    home, c.socket = c.socket, c.new_socket("127.0.0.1")
    c.send_data(b"")
    c.await_check()
    c.socket.close()
    c.socket = home
    assert flood(c) == 20
    assert to.end()["sessions_moved"] == 2


@pytest.fixture
def state(tmp_path):
    """The settings of a daemon that keeps its sessions."""
    key = tmp_path / "state.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    (tmp_path / "state").mkdir(mode=0o700)
    return {"state_dir": tmp_path / "state", "state_key": key}


def test_data_from_where_it_is_writes_no_session_anew(client, gate, echo, state):
    """Only what has changed is told to the next start: numbers, now and then."""
    to = gate(echo, daemon={"workers": 1, **state})
    c = client(to, cid=b"mine").handshake()
    c.echo()
    file = state["state_dir"] / "sessions"
    before = file.read_bytes()
    for n in range(50):
        c.echo(b"%d" % n)
    changed = sum(a != b for a, b in zip(before, file.read_bytes()))
    assert changed <= 64
    c.move()
    c.echo(b"from elsewhere")
    c.echo(b"and heard of again")
    assert sum(a != b for a, b in zip(before, file.read_bytes())) > 64


def test_it_is_found_by_its_id_behind_a_crash(client, gate, echo, tmp_path, state):
    """At its worker, whatever address it comes from, and where it was proven to be last."""
    daemon = {"workers": 3, **state}
    to = gate(echo, daemon=daemon, listen="127.5.0.1:0")
    address = to.address()
    clients = [client(address, cid=b"mine", rrc=True).handshake() for _ in range(6)]
    for c in clients:
        c.echo()
        c.move()
        c.send_data(b"question" * 20)
        kind, cookie = c.await_check()
        assert kind == wire.PATH_CHALLENGE
        assert c.await_data() == b"question" * 20
        c.say_check(wire.PATH_RESPONSE, cookie)
        c.echo()
    to.kill()
    to.ended = True
    again = gate(echo, daemon=daemon, listen="%s:%d" % address[:2])
    told = again.wait_event("state")
    assert (told["restored"], told["not-restored"]) == ("6", "0")
    restored = {event["peer"] for event in again.events("session restored")}
    assert restored == {"%s:%d" % c.socket.getsockname()[:2] for c in clients}
    for c in clients:
        c.echo()
        c.move()
        c.echo(b"from elsewhere" * 20)
    assert len({c.server_cid[0] for c in clients}) > 1
