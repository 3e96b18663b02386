"""Session ids (RFC 5246 7.3): what a stranger, a thief of one or a liar gets for it."""

import os
import random

import pytest
from lib.gate import IDENTITY, KEY
from raw import keys, wire
from raw.client import Silence
from raw.known import Known
from raw.wire import ALERT, CCS, DATA, HANDSHAKE


@pytest.fixture
def knowing(start):
    """A gate where sessions can be resumed."""
    return start(resumption="yes")


@pytest.fixture
def visitor():
    """Makes clients that have been there."""
    made = []

    def make(to, identity=IDENTITY, key=KEY, **how):
        c = Known(to.address(), identity.encode(), key, **how)
        made.append(c)
        return c.handshake()

    yield make
    for one in made:
        one.close()


def refused(to):
    return to.end().get("session_ids_refused", 0)


def test_a_resumption(knowing, visitor):
    c = visitor(knowing)
    assert len(c.known) == 32 and wire.TICKET not in c.server_hello.extensions
    seen = {(c.server_hello.random, c.writer.iv)}
    for _ in range(3):
        c.resume().echo()
        assert c.server_hello.session_id == c.known
        seen.add((c.server_hello.random, c.writer.iv))
    assert len(seen) == 4  # keys and randoms are new each time
    totals = knowing.end()
    assert totals["handshakes_resumed"] == 3 and totals["session_ids_issued"] == 1
    assert "session_ids_refused" not in totals and "tickets_refused" not in totals


def test_ids_say_nothing(knowing, visitor):
    ids = [visitor(knowing).known for _ in range(8)]
    assert len({i[:4] for i in ids}) == len({i[-4:] for i in ids}) == 8


@pytest.mark.parametrize("length", [0, 1, 8, 255])
def test_S_58_connection_ids_are_settled_afresh(knowing, visitor, length):
    c = visitor(knowing, cid=b"first")
    before = c.server_cid
    c.cid = bytes(range(length))
    c.resume().echo()
    assert c.server_cid and c.server_cid != before
    c.move()
    c.echo(b"from elsewhere" * 20)
    assert knowing.end()["sessions_moved"] == 1
    c.cid = None


def test_a_thief_of_an_id_gets_nowhere(knowing, visitor, echo):
    """It is seen in the clear, and worth nothing without the master secret."""
    c, thief = visitor(knowing), visitor(knowing)
    thief.known = c.known
    thief.come_back()
    with pytest.raises(AssertionError):
        thief.await_resumed()
    before = len(echo.ports)
    assert thief.answers(*thief.last_flight_records(), thief.seal(DATA, b"let me in")) == []
    c.resume().echo()  # good as ever
    assert len(echo.ports) == before + 1
    assert knowing.end()["client.drop_forged"] == 1


def test_C_18_another_identity_stays_who_it_is(start, gate, echo, visitor):
    """With an id of somebody else's and its own key there is no way to be either of them."""
    keys_of_two = {IDENTITY: KEY, "dev-2": KEY[::-1]}
    to = start(resumption="yes", keys=keys_of_two)
    c, other = visitor(to), visitor(to, "dev-2", KEY[::-1])
    other.known = c.known
    other.come_back()
    with pytest.raises(AssertionError):
        other.await_resumed()
    other.known = b""
    other.begin_anew().echo()
    assert [e["identity"] for e in to.events("session open")] == [IDENTITY, "dev-2", "dev-2"]


def test_T_14_an_id_without_a_cookie_is_answered_with_one(knowing, visitor):
    c = visitor(knowing)
    c.hello_fields["session_id"] = c.known
    c.reset()
    hello = c.record(HANDSHAKE, c.hello())
    c.send(hello)
    c.socket.settimeout(10)
    answer = c.socket.recv(65535)
    assert len(answer) == 45 < len(hello)
    assert knowing.end()["handshakes_started"] == 1


def test_ids_that_nobody_has_given(knowing, visitor):
    rng = random.Random(5246)
    c = visitor(knowing)
    fine = c.known
    tried = [fine[:-1], fine[1:], fine[:1], fine[::-1], bytes(32), rng.randbytes(32)]
    tried += [fine[:n] + bytes([fine[n] ^ 1]) + fine[n + 1 :] for n in (0, 15, 31)]
    for known in tried:
        c.known = known
        c.begin_anew().echo()
        assert c.server_hello.session_id not in (fine, known)
    assert refused(knowing) == len(tried)


def test_S_39_without_the_extended_master_secret(knowing, visitor):
    c = visitor(knowing)
    c.ems = False
    c.come_back()
    with pytest.raises(Silence, match="0228"):
        c.await_resumed()
    c.ems = True
    c.resume().echo()
    assert refused(knowing) == 1


def test_S_39_nor_is_there_an_id_without_it(knowing, visitor):
    c = visitor(knowing, ems=False)
    assert c.known == b""
    assert "session_ids_issued" not in knowing.end()


def test_plain_psk_has_none(knowing, visitor):
    assert visitor(knowing, suite=keys.GCM).known == b""


def test_off_they_are_not_looked_at(calm, visitor):
    c = visitor(calm)
    assert c.known == b""
    c.known = os.urandom(32)
    c.begin_anew().echo()
    assert c.known == b""
    assert not {name for name in calm.end() if name.startswith("session_ids")}


def test_the_suite_is_the_session_s_own(knowing, visitor):
    """Offered another one only, the gate does not insist."""
    c = visitor(knowing)
    c.suite = keys.GCM
    c.begin_anew().echo()
    assert c.server_hello.session_id == b"" and c.server_hello.suite == keys.GCM.id
    assert refused(knowing) == 1


def test_a_hello_of_dtls_1_0_resumes_nothing(start, visitor):
    """Whatever else it offers; where it is let in it makes a whole handshake."""
    to = start(resumption="yes", min_version="1.0")
    c = visitor(to)
    c.version, c.hello_fields["suites"] = wire.DTLS10, [c.suite.id, 0x008C]
    c.come_back()
    rec, hello = c.first_answer()
    assert rec.type == HANDSHAKE and hello.session_id != c.known and hello.suite == 0x008C
    c.version = wire.DTLS12
    c.resume().echo()
    assert to.end()["session_ids_refused"] == 1


def test_nor_where_it_is_not_let_in(knowing, visitor):
    c = visitor(knowing)
    c.version = wire.DTLS10
    c.come_back()
    rec, _ = c.first_answer()
    assert rec.type == ALERT and rec.body == b"\2\x46"
    c.version = wire.DTLS12
    c.resume().echo()


def test_a_ticket_wins(knowing, visitor):
    """With a ticket in it a hello is judged by that alone (RFC 5077 3.4)."""
    c = visitor(knowing)
    c.ticket = os.urandom(180)
    c.begin_anew().echo()
    assert wire.TICKET in c.server_hello.extensions and c.server_hello.session_id == b""
    totals = knowing.end()
    assert totals["tickets_refused"] == 1 and "session_ids_refused" not in totals
    assert "handshakes_resumed" not in totals


def test_one_who_only_asks_for_a_ticket_may_come_back_by_its_id(knowing, visitor):
    c = visitor(knowing)
    c.ticket = b""
    c.resume().echo()
    assert knowing.end()["handshakes_resumed"] == 1


def test_who_was_forgotten_makes_a_whole_handshake(start, visitor):
    to = start(resumption="yes", daemon={"resumption-cache": 1})
    c = visitor(to)
    c.resume().echo()
    visitor(to)
    c.begin_anew().echo()
    totals = to.end()
    assert totals["session_ids_evicted"] == 2 and totals["session_ids_refused"] == 1


def test_a_flood_of_sessions_costs_no_more_than_their_places(start, visitor):
    to = start(resumption="yes", daemon={"resumption-cache": 8})
    c = visitor(to)
    for _ in range(40):
        c.reset()
        c.handshake()
    totals = to.end()
    assert totals["session_ids_issued"] == 41 and totals["session_ids_evicted"] == 33


def test_our_flight_is_shorter_than_the_hello(knowing, visitor):
    c = visitor(knowing)
    c.extensions = [(35000, bytes(64))]
    c.come_back()
    c.socket.settimeout(10)
    hello = wire.RECORD_HEADER + len(c.transcript[0])
    assert len(c.socket.recv(65535)) < hello


def test_early_data_is_dropped_and_counted(knowing, visitor):
    c = visitor(knowing)
    c.move()  # away from its session, to which data would go
    c.come_back()
    c.await_resumed()
    ccs, finished = c.last_flight_records()
    c.send(c.seal(DATA, b"too early"))
    c.send(ccs, finished, c.seal(DATA, b"in time"))
    assert c.await_data() == b"in time"
    assert knowing.end()["client.drop_early"] == 1


def test_a_wrong_finished_is_the_end_of_its_id(knowing, visitor):
    """RFC 5246 7.2.2: under the right keys it is no forgery."""
    c = visitor(knowing)
    c.come_back()
    c.await_resumed()
    wrong = c.seal(HANDSHAKE, wire.message(wire.FINISHED, 2, bytes(12)))
    (alert,) = c.answers(c.ccs() + wrong)
    assert alert.type == ALERT and alert.body == b"\2\x33"
    knowing.wait_event("handshake failed")
    c.begin_anew().echo()
    assert refused(knowing) == 1


def test_a_forged_one_is_not(knowing, visitor):
    c = visitor(knowing)
    c.come_back()
    c.await_resumed()
    forged = wire.record(HANDSHAKE, os.urandom(48), 1, 0)
    assert c.answers(c.ccs() + forged) == []
    c.send(*c.last_flight_records())
    c.echo()
    c.resume().echo()


def test_a_key_exchange_has_no_place_in_it(knowing, visitor):
    c = visitor(knowing)
    c.come_back()
    c.await_resumed()
    exchange = c.key_exchange_message(point=b"\1x")
    assert c.answers(c.record(HANDSHAKE, exchange), c.record(CCS, b"\2")) == []
    c.send(*c.last_flight_records())
    c.echo()


def test_hellos_with_odd_extensions_beside_an_id(knowing, visitor):
    """Never a resumption of what is not wholly understood, never worse than a whole handshake."""
    rng = random.Random(5246)
    c = visitor(knowing)
    known = c.hello_fields["session_id"] = c.known
    for _ in range(40):
        c.reset()
        junk = rng.randbytes(rng.randrange(12))
        c.extensions = [(rng.choice([1, 23, 35, 54, 61, 0xFF01, 35000]), junk)]
        c.ems = c.extensions[0][0] != 23
        c.get_cookie()
        c.say_hello()
        c.probe()
    assert c.known == known
    c.extensions, c.ems = [], True
    visitor(knowing).resume().echo()
