"""Sessions that are resumed by a ticket: where they go on, and what makes a key exchange due again."""

import pytest

from lib.control import Control
from lib.dtls import Refused, records
from lib.gate import IDENTITY, KEY, FileLog, fields
from lib.helper import Helper
from lib.programs import s_client

SUITE = "ECDHE-PSK-CHACHA20-POLY1305"
OTHER_KEY = bytes(range(50, 66))


@pytest.fixture
def start(gate, echo):
    """A gate that gives tickets."""

    def make(**how):
        return gate(echo, **{"resumption": "yes", **how})

    return make


@pytest.fixture
def first(client):
    """A client's first visit. Returns its session."""

    def visit(to, suite=SUITE, **how):
        c = client(to, ciphers=suite, ticket=True, **how).connect()
        c.ask(b"first")
        assert not c.is_resumed
        session = c.session()
        c.close()
        return session

    return visit


@pytest.fixture
def again(client):
    """Another one by that session. Returns whether it was resumed."""

    def visit(to, session, suite=SUITE, **how):
        c = client(to, ciphers=suite, session=session, **how).connect()
        c.ask(b"again")
        is_resumed = c.is_resumed
        c.close()
        return is_resumed

    return visit


def test_openssl_comes_back(start, tmp_path):
    to = start()
    for n, option in enumerate(["-sess_out", "-sess_in", "-sess_in"]):
        program = s_client(to.address(), "-cipher", SUITE, option, tmp_path / "session")
        try:
            program.out.wait("SSL-Session")
            program.write("hello %d\n" % n)
            program.out.wait("hello %d" % n)
            assert bool(program.out.find("^Reused, ")) == (n > 0)
            assert program.out.find("Extended master secret: yes")
        finally:
            program.stop()
    events = to.events("session open")
    assert [e["resumed"] for e in events] == ["no", "yes", "yes"]
    totals = to.end()
    assert (totals["handshakes_resumed"], totals["tickets_issued"]) == (2, 1)
    assert "tickets_refused" not in totals


@pytest.mark.parametrize("suite", [SUITE, "DHE-PSK-AES256-GCM-SHA384", "DHE-PSK-AES128-CCM8"])
def test_at_any_worker(start, first, again, suite):
    to = start(daemon={"workers": 4}, ciphers=suite)
    session = first(to, suite)
    assert session.has_ticket
    assert all(again(to, session, suite) for _ in range(16))
    assert len({int(e["id"]) % 4 for e in to.events("session open", resumed="yes")}) > 1
    assert to.end()["handshakes_resumed"] == 16


def test_where_there_is_nothing_to_save_there_is_no_ticket(start, first, again):
    to = start()
    session = first(to, "PSK-AES128-GCM-SHA256")
    assert not session.has_ticket and not again(to, session, "PSK-AES128-GCM-SHA256")
    assert not first(to, ems=False).has_ticket
    assert "tickets_issued" not in to.end()


def test_it_is_off_by_default(gate, echo, first, again):
    to = gate(echo)
    session = first(to)
    assert not session.has_ticket and not again(to, session)


def test_without_the_extended_master_secret_it_is_the_end(start, first, again):
    """RFC 7627 5.3"""
    to = start()
    session = first(to)
    with pytest.raises(Refused):
        again(to, session, ems=False)
    to.wait_event("handshake failed")
    assert not to.events("session open", resumed="yes")
    assert again(to, first(to))  # libssl has thrown the other away
    assert to.end()["tickets_refused"] == 1


@pytest.mark.parametrize("lost", range(2))  # of the gate: the third has the second's datagram
def test_a_lost_flight_costs_no_resumption(start, first, client, lossy, lost):
    to = start(retransmit_first="200ms")
    between = lossy(to.address(), lost)
    session = first(to)
    c = client(between.address, ciphers=SUITE, session=session)
    c.connect()
    c.ask_surely(b"all the same")
    assert c.is_resumed
    c.close()
    assert to.end()["handshakes_resumed"] == 1


def test_the_client_last_flight_may_get_lost(start, first, client):
    """It is done by then, and sends data; our repeated flight makes it repeat its own."""
    to = start(retransmit_first="200ms")
    c = client(to, ciphers=SUITE, session=first(to))
    send, lost = c.send_datagram, []

    def lose_one(datagram):
        if not lost and any(epoch == 1 for _, epoch, _ in records(datagram)):
            lost.append(datagram)
        else:
            send(datagram)

    c.send_datagram = lose_one
    c.connect()
    c.ask_surely(b"all the same")
    assert c.is_resumed and len(lost) == 1
    c.close()
    totals = to.end()
    assert totals["handshakes_resumed"] == 1 and totals["client.drop_early"] >= 1


@pytest.mark.parametrize("lost", range(3))
def test_a_lost_ticket_comes_again(start, client, again, lossy, lost):
    to = start(retransmit_first="200ms")
    between = lossy(to.address(), lost)
    c = client(between.address, ciphers=SUITE, ticket=True)
    c.connect()
    session = c.session()
    c.ask_surely(b"all the same")
    c.close()
    assert session.has_ticket and again(to, session)


# ---- what ends it ----


@pytest.fixture
def written(gate, settings, psk, echo):
    """A gate whose settings and keys can be changed: change(keys, policies, option=value)."""

    def make(keys, policies=(), **service):
        place = {"listen": "127.0.0.1:0", "backend": echo.address, "resumption": "yes"}

        def write(keys, policies=(), **service):
            named = {f"identity {pattern}": rules for pattern, rules in dict(policies).items()}
            whole = {**place, "psk-file": psk(keys), **service}
            return settings({"daemon": {}, "service default": whole, **named})

        def change(*args, **service):
            write(*args, **service)
            assert "dtlsgate: reloaded" in g.reload()

        g = gate(ini=write(keys, policies, **service), keys=keys)
        g.change = change
        return g

    return make


def whole_again(to, session, again):
    """The client has to make a key exchange."""
    assert not again(to, session)
    assert not to.events("session open", resumed="yes")


KEYS = {IDENTITY: KEY, "dev-2": KEY}


def test_never_past_the_removal_of_its_identity(written, first, client):
    to = written(KEYS)
    session = first(to)
    to.change({"dev-2": KEY})
    c = client(to, ciphers=SUITE, session=session)
    c.begin()
    for _ in range(3):
        c.step()
    assert not c.is_resumed
    assert not to.events("session open", resumed="yes")
    c.abandon()
    # It is back, and so is the ticket.
    to.change(KEYS)
    assert to.end()["tickets_refused"] == 1


def test_never_with_another_key(written, first, again):
    to = written(KEYS)
    session = first(to)
    to.change({IDENTITY: OTHER_KEY, "dev-2": KEY})
    whole_again(to, session, lambda *a: again(*a, key=OTHER_KEY))


def test_never_as_somebody_else(written, first, client):
    """The ticket says who it is, whatever the client would call itself."""
    to = written(KEYS)
    session = first(to)
    c = client(to, "dev-2", ciphers=SUITE, session=session).connect()
    c.ask(b"who am I?")
    assert c.is_resumed
    assert [e["identity"] for e in to.events("session open")] == [IDENTITY, IDENTITY]


@pytest.mark.parametrize(
    "rule",
    [{"ciphers": "PSK-AES128-GCM-SHA256"}, {"allow-from": "10.0.0.0/8"}, {"not-after": "2001-01-01"}],
    ids=lambda rule: next(iter(rule)),
)
def test_never_past_a_policy(written, first, client, rule):
    to = written(KEYS)
    session = first(to)
    to.change(KEYS, {IDENTITY: rule})
    c = client(to, ciphers=SUITE, session=session)
    try:
        c.connect(timeout=2)
        assert c.wait_closed()
    except (Refused, AssertionError):
        pass  # an identity that is over is unknown, and gets no answer
    assert len(to.events("session open")) == 1
    if "allow-from" not in rule:
        assert to.end()["tickets_refused"] >= 1


def test_never_by_a_suite_that_is_not_allowed_any_more(written, first, again):
    to = written(KEYS)
    session = first(to)
    to.change(KEYS, ciphers="PSK-AES128-GCM-SHA256")
    assert not again(to, session, SUITE + ":PSK-AES128-GCM-SHA256")
    to.change(KEYS)
    assert again(to, session)


def test_switched_off_by_a_reload(written, first, again):
    to = written(KEYS)
    session = first(to)
    to.change(KEYS, resumption="no")
    whole_again(to, session, again)
    to.change(KEYS)
    assert again(to, session)


def test_never_at_another_service(gate, settings, psk, echo, first, again):
    place = {"listen": "127.0.0.1:0", "backend": echo.address, "resumption": "yes"}
    one, two = psk({IDENTITY: KEY}, "one"), psk({IDENTITY: KEY}, "two")
    to = gate(
        ini=settings(
            {
                "daemon": {},
                "service one": {**place, "psk-file": one},
                "service two": {**place, "psk-file": two},
            }
        )
    )
    session = first(to.address("one"))
    assert not again(to.address("two"), session)
    assert again(to.address("one"), session)
    assert to.end()["tickets_refused"] == 1


def test_never_behind_a_restart(start, first, again):
    one = start()
    session = first(one)
    one.end()
    two = start()
    whole_again(two, session, again)
    assert two.end()["tickets_refused"] == 1


def test_identities_of_a_helper_are_asked_for_each_time(start, first, again, tmp_path):
    answer = KEY.hex().encode() + b"\n"
    helper = Helper(tmp_path / "helper", lambda _identity: answer)
    try:
        to = start(psk_helper=helper.path)
        session = first(to, identity="dev-9")
        assert not session.has_ticket
        assert not again(to, session, identity="dev-9")
        assert "tickets_issued" not in to.end()
    finally:
        helper.end()


def test_what_is_told_of_it(start, first, again, tmp_path):
    path = tmp_path / "access.log"
    control = tmp_path / "control"
    to = start(daemon={"access-log": path, "control-socket": control})
    log = FileLog(path)
    assert again(to, first(to))
    log.wait("info session: id=", 2)
    assert sorted(fields(line)["resumed"] for line in log.find("info session: id=")) == ["no", "yes"]
    assert "handshakes_resumed" in Control(control)("status")
