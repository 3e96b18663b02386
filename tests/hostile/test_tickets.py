"""Tickets (RFC 5077): what a stranger, a thief of one or a liar gets for it."""

import os
import random

import pytest
from lib.gate import IDENTITY, KEY
from raw import keys, wire
from raw.client import Silence
from raw.returning import Returning
from raw.wire import ALERT, CCS, DATA, HANDSHAKE


@pytest.fixture
def tickets(start):
    """A gate that gives tickets."""
    return start(resumption="yes")


@pytest.fixture
def visitor():
    """Makes clients that have been there and got a ticket."""
    made = []

    def make(to, **how):
        c = Returning(to.address(), IDENTITY.encode(), KEY, **how)
        made.append(c)
        return c.handshake()

    yield make
    for one in made:
        one.close()


def refused(to):
    return to.end().get("tickets_refused", 0)


def test_a_resumption(tickets, visitor):
    c = visitor(tickets)
    assert c.lifetime == 12 * 3600 and KEY not in c.new_ticket
    assert IDENTITY.encode() not in c.new_ticket and c.master not in c.new_ticket
    for n in range(3):
        c.session_id = os.urandom(32) if n else b""
        c.hello_fields["session_id"] = c.session_id
        c.resume().echo()
    totals = tickets.end()
    assert totals["handshakes_resumed"] == 3 and totals["tickets_issued"] == 1


@pytest.mark.parametrize("length", [0, 1, 8, 255])
def test_S_58_connection_ids_are_settled_afresh(tickets, visitor, length):
    c = visitor(tickets, cid=b"first")
    before = c.server_cid
    c.cid = bytes(range(length))
    c.resume().echo()
    assert c.server_cid and c.server_cid != before
    c.move()
    c.echo(b"from elsewhere" * 20)
    assert tickets.end()["sessions_moved"] == 1
    c.cid = None


def test_ids_may_be_new_or_gone_with_it(tickets, visitor):
    c = visitor(tickets)
    c.cid = b"new"
    c.resume().echo()
    assert c.server_cid
    c.cid = None
    c.resume().echo()
    assert c.server_cid is None


def test_keys_and_randoms_are_new_each_time(tickets, visitor):
    c = visitor(tickets)
    seen = set()
    for _ in range(3):
        c.resume().echo()
        seen.add((c.server_hello.random, c.writer.iv))
    assert len(seen) == 3


def spoilt(ticket):
    yield b"\0"
    yield os.urandom(len(ticket))
    for at in (0, 15, 16, 27, 28, len(ticket) // 2, len(ticket) - 1):
        yield ticket[:at] + bytes([ticket[at] ^ 1]) + ticket[at + 1 :]
    for size in (1, 16, 28, 44, len(ticket) - 1):
        yield ticket[:size]
    yield ticket + b"\0"
    yield ticket * 3


def test_T_10_spoilt_tickets_lead_to_a_whole_handshake(tickets, visitor):
    c = visitor(tickets)
    fine = c.new_ticket
    count = 0
    for ticket in spoilt(fine):
        c.ticket = ticket
        c.reset()
        c.handshake().echo()
        assert c.new_ticket != ticket
        count += 1
    c.new_ticket = fine
    with pytest.raises(AssertionError):
        c.resume()  # of another master secret by now: the gate's Finished does not open
    assert refused(tickets) == count


def test_a_thief_of_a_ticket_gets_nowhere(tickets, visitor, echo):
    """It is seen in the clear, and worth nothing without the master secret."""
    c = visitor(tickets)
    thief = visitor(tickets)
    thief.new_ticket = c.new_ticket
    thief.come_back()
    with pytest.raises(AssertionError):
        thief.await_resumed()
    before = len(echo.ports)
    assert thief.answers(*thief.last_flight_records(), thief.seal(DATA, b"let me in")) == []
    c.resume().echo()  # good as ever
    assert len(echo.ports) == before + 1
    assert tickets.end()["client.drop_forged"] == 1


def test_T_14_a_ticket_without_a_cookie_is_answered_with_one(tickets, visitor):
    c = visitor(tickets)
    c.ticket = c.new_ticket
    c.reset()
    hello = c.record(HANDSHAKE, c.hello())
    c.send(hello)
    c.socket.settimeout(10)
    answer = c.socket.recv(65535)
    assert len(answer) == 45 < len(hello)
    assert tickets.end()["handshakes_started"] == 1


def test_our_flight_is_shorter_than_the_hello(tickets, visitor):
    c = visitor(tickets)
    c.ticket, master = c.new_ticket, c.master
    c.reset()
    c.master = master
    c.get_cookie()
    hello = c.hello()
    c.transcript = [hello]
    c.send(c.record(HANDSHAKE, hello))
    c.socket.settimeout(10)
    assert len(c.socket.recv(65535)) < len(hello)


def test_S_39_without_the_extended_master_secret(tickets, visitor):
    c = visitor(tickets)
    c.ems = False
    c.come_back()
    with pytest.raises(Silence, match="0228"):
        c.await_resumed()
    assert refused(tickets) == 1


def test_S_39_nor_is_there_a_ticket_without_it(tickets, visitor):
    c = visitor(tickets, ems=False)
    assert wire.TICKET not in c.server_hello.extensions
    assert "tickets_issued" not in tickets.end()


def test_who_does_not_ask_gets_none(tickets, visitor):
    c = visitor(tickets, ticket=None)
    assert wire.TICKET not in c.server_hello.extensions
    c.echo()


def test_off_it_is_not_looked_at(calm, visitor):
    c = visitor(calm, ticket=os.urandom(200))
    assert wire.TICKET not in c.server_hello.extensions
    totals = calm.end()
    assert "tickets_refused" not in totals and "tickets_issued" not in totals


def test_early_data_is_dropped_and_counted(tickets, visitor):
    c = visitor(tickets)
    c.move()  # away from its session, to which data would go
    c.come_back()
    c.await_resumed()
    ccs, finished = c.last_flight_records()
    c.send(c.seal(DATA, b"too early"))
    c.send(ccs, finished, c.seal(DATA, b"in time"))
    assert c.await_data() == b"in time"
    assert tickets.end()["client.drop_early"] == 1


def test_a_wrong_finished_ends_it(tickets, visitor):
    c = visitor(tickets)
    c.come_back()
    c.await_resumed()
    wrong = c.seal(HANDSHAKE, wire.message(wire.FINISHED, 2, bytes(12)))
    (alert,) = c.answers(c.ccs() + wrong)
    assert alert.type == ALERT and alert.body == b"\2\x33"
    tickets.wait_event("handshake failed")
    c.resume().echo()


def test_a_repeated_last_flight_is_answered_by_nothing(tickets, visitor):
    c = visitor(tickets)
    c.resume().echo()
    assert c.answers(c.ccs(), c.seal(HANDSHAKE, c.transcript[-1])) == []
    c.echo()


def test_a_key_exchange_has_no_place_in_it(tickets, visitor):
    c = visitor(tickets)
    c.come_back()
    c.await_resumed()
    exchange = c.key_exchange_message(point=b"\1x")
    assert c.answers(c.record(HANDSHAKE, exchange), c.record(CCS, b"\2")) == []
    c.send(*c.last_flight_records())
    c.echo()


def test_hellos_with_odd_extensions_beside_a_ticket(tickets, visitor):
    """Never a resumption of what is not wholly understood, never worse than a whole handshake."""
    rng = random.Random(5077)
    c = visitor(tickets)
    ticket = c.new_ticket
    for _ in range(40):
        c.reset()
        junk = rng.randbytes(rng.randrange(12))
        c.ticket = ticket
        c.extensions = [(rng.choice([1, 23, 54, 61, 0xFF01, 35000]), junk)]
        c.ems = c.extensions[0][0] != 23
        c.get_cookie()
        c.say_hello()
        c.probe()
    c.extensions, c.ems = [], True
    visitor(tickets).resume().echo()


def test_the_suite_is_the_tickets_own(tickets, visitor):
    """Offered another one only, the gate does not insist."""
    c = visitor(tickets)
    c.suite = keys.GCM
    c.ticket = c.new_ticket
    c.reset()
    c.handshake().echo()
    assert wire.TICKET not in c.server_hello.extensions
    assert refused(tickets) == 1


def test_S_64_a_ticket_that_is_repeated_is_within_the_bound(tickets, visitor):
    """The last flight has it in front, asked for from an address that may be made up."""
    c = visitor(tickets, cid=b"mine")
    exchange, ccs, finished = c.repeat_flight()
    c.send(finished)
    c.transcript.pop()
    c.transcript.pop()
    assert c.await_finished()
    exchange, ccs, finished = c.repeat_flight()
    elsewhere = c.new_socket("127.5.0.9")
    elsewhere.send(finished)
    tickets.wait_event("session move")
    c.echo()
    elsewhere.setblocking(False)
    try:
        got = elsewhere.recv(65536)
    except BlockingIOError:
        got = b""
    elsewhere.close()
    assert len(got) <= 3 * len(finished)
