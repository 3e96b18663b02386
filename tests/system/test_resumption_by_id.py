"""Sessions that are resumed by their id, for clients that know nothing of tickets: where they go on,
and what makes a key exchange due again. What both have in common is in test_resumption.py."""

import pytest

from lib.control import Control
from lib.dtls import Refused
from lib.gate import IDENTITY, KEY
from lib.gnutls import GnutlsClient
from lib.helper import Helper
from lib.programs import s_client

SUITE = "ECDHE-PSK-CHACHA20-POLY1305"
OTHER_KEY = bytes(range(50, 66))


@pytest.fixture
def start(gate, echo):
    """A gate where sessions can be resumed."""

    def make(**how):
        return gate(echo, **{"resumption": "yes", **how})

    return make


@pytest.fixture
def first(client):
    """A client's first visit. Returns its session."""

    def visit(to, suite=SUITE, **how):
        c = client(to, ciphers=suite, **how).connect()
        c.ask(b"first")
        assert not c.is_resumed
        session = c.session()
        assert not session.has_ticket
        c.close()
        return session

    return visit


@pytest.fixture
def again(client):
    """Another one by that session. Returns whether it was resumed."""

    def visit(to, session, suite=SUITE, **how):
        c = client(to, ciphers=suite, session=session, ticket=False, **how).connect()
        c.ask(b"again")
        is_resumed = c.is_resumed
        c.close()
        return is_resumed

    return visit


def test_openssl_comes_back(start, tmp_path):
    to = start(daemon={"workers": 2})
    for n, option in enumerate(["-sess_out", "-sess_in", "-sess_in", "-sess_in"]):
        session = (option, tmp_path / "session")
        program = s_client(to.address(), "-cipher", SUITE, "-no_ticket", *session)
        try:
            program.out.wait("SSL-Session")
            program.write("hello %d\n" % n)
            program.out.wait("hello %d" % n)
            assert bool(program.out.find("^Reused, ")) == (n > 0)
            assert program.out.find("Extended master secret: yes")
            assert program.out.find("Session-ID: [0-9A-F]{64}$")
        finally:
            program.stop()
    assert [e["resumed"] for e in to.events("session open")] == ["no", "yes", "yes", "yes"]
    totals = to.end()
    assert (totals["handshakes_resumed"], totals["session_ids_issued"]) == (3, 1)
    assert "session_ids_refused" not in totals and "tickets_issued" not in totals


@pytest.mark.parametrize(
    "exchange, suite",
    [
        ("+ECDHE-PSK:+CHACHA20-POLY1305", SUITE),
        ("+DHE-PSK:+AES-128-GCM", "DHE-PSK-AES128-GCM-SHA256"),
        ("+DHE-PSK:+AES-256-CCM-8", "DHE-PSK-AES256-CCM8"),
    ],
)
def test_gnutls_comes_back(start, exchange, suite):
    to = start(ciphers=suite, daemon={"workers": 2})
    priority = f"NONE:+VERS-DTLS1.2:+MAC-ALL:+SIGN-ALL:+GROUP-ALL:+COMP-NULL:{exchange}:%NO_TICKETS"
    data = None
    for n in range(4):
        c = GnutlsClient(to.address(), priority, data)
        try:
            c.connect()
            assert c.ask(b"hello %d" % n) == b"hello %d" % n
            assert c.has_ems and c.is_resumed == (n > 0)
            data = data or c.data()
        finally:
            c.close()
    assert [e["resumed"] for e in to.events("session open", suite=suite)] == ["no"] + 3 * ["yes"]


@pytest.mark.parametrize("suite", [SUITE, "DHE-PSK-AES256-GCM-SHA384", "DHE-PSK-AES128-CCM8"])
def test_at_any_worker(start, first, again, suite):
    to = start(daemon={"workers": 4}, ciphers=suite)
    session = first(to, suite)
    assert len(session.id) == 32
    assert all(again(to, session, suite) for _ in range(16))
    assert len({int(e["id"]) % 4 for e in to.events("session open", resumed="yes")}) > 1
    assert to.end()["handshakes_resumed"] == 16


def test_where_there_is_nothing_to_save_there_is_no_id(start, first):
    to = start()
    assert first(to, "PSK-AES128-GCM-SHA256").id == b""
    assert first(to, ems=False).id == b""
    assert "session_ids_issued" not in to.end()


@pytest.mark.parametrize("off", [{"resumption": "no"}, {"daemon": {"resumption-cache": 0}}], ids=str)
def test_switched_off_there_is_none(start, first, again, off):
    to = start(**off)
    session = first(to)
    assert session.id == b"" and not again(to, session)
    assert not {name for name in to.end() if name.startswith("session_ids")}


def test_who_gets_a_ticket_needs_no_place(start, client):
    to = start()
    c = client(to, ciphers=SUITE, ticket=True).connect()
    c.ask(b"first")
    assert c.session().has_ticket
    c.close()
    totals = to.end()
    assert totals["tickets_issued"] == 1 and "session_ids_issued" not in totals


def test_the_oldest_gives_way(start, first, again):
    to = start(daemon={"resumption-cache": 2, "workers": 2})
    sessions = [first(to) for _ in range(4)]
    assert [again(to, session) for session in reversed(sessions)] == [True, True, False, False]
    totals = to.end()
    assert totals["session_ids_issued"] == 6 and totals["session_ids_evicted"] == 4
    assert totals["session_ids_refused"] == 2


def test_without_the_extended_master_secret_it_is_the_end(start, first, again):
    """RFC 7627 5.3"""
    to = start()
    session = first(to)
    with pytest.raises(Refused):
        again(to, session, ems=False)
    to.wait_event("handshake failed")
    assert not to.events("session open", resumed="yes")
    assert to.end()["session_ids_refused"] == 1


@pytest.mark.parametrize("lost", range(2))  # of the gate: the third has the second's datagram
def test_a_lost_flight_costs_no_resumption(start, first, client, lossy, lost):
    to = start(retransmit_first="200ms")
    between = lossy(to.address(), lost)
    c = client(between.address, ciphers=SUITE, session=first(to), ticket=False)
    c.connect()
    c.ask_surely(b"all the same")
    assert c.is_resumed
    c.close()
    assert to.end()["handshakes_resumed"] == 1


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


KEYS = {IDENTITY: KEY, "dev-2": KEY}


def test_never_past_the_removal_of_its_identity(written, first, again, client):
    to = written(KEYS)
    session = first(to)
    to.change({"dev-2": KEY})
    c = client(to, ciphers=SUITE, session=session, ticket=False).begin()
    for _ in range(3):
        c.step()
    assert not c.is_resumed and not to.events("session open", resumed="yes")
    c.abandon()
    assert to.end()["session_ids_refused"] == 1


def test_never_with_another_key(written, first, again):
    to = written(KEYS)
    session = first(to)
    to.change({IDENTITY: OTHER_KEY, "dev-2": KEY})
    assert not again(to, session, key=OTHER_KEY)
    assert not to.events("session open", resumed="yes")


def test_never_as_somebody_else(written, first, client):
    """It is whose it was, whatever the client would call itself."""
    to = written(KEYS)
    c = client(to, "dev-2", ciphers=SUITE, session=first(to), ticket=False).connect()
    c.ask(b"who am I?")
    assert c.is_resumed
    assert [e["identity"] for e in to.events("session open")] == [IDENTITY, IDENTITY]


def test_never_by_a_suite_that_is_not_allowed_any_more(written, first, again):
    to = written(KEYS)
    session = first(to)
    to.change(KEYS, ciphers="PSK-AES128-GCM-SHA256")
    assert not again(to, session, SUITE + ":PSK-AES128-GCM-SHA256")
    to.change(KEYS)
    assert again(to, session)


def test_never_by_a_suite_that_its_identity_may_not_use(written, first, client):
    to = written(KEYS)
    session = first(to)
    to.change(KEYS, {IDENTITY: {"ciphers": "PSK-AES128-GCM-SHA256"}})
    c = client(to, ciphers=SUITE, session=session, ticket=False)
    c.connect(timeout=2)
    assert c.wait_closed() and not c.is_resumed
    assert len(to.events("session open")) == 1
    assert to.end()["session_ids_refused"] == 1


def test_switched_off_by_a_reload(written, first, again):
    to = written(KEYS)
    session = first(to)
    to.change(KEYS, resumption="no")
    assert not again(to, session)
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
    assert again(to.address("one"), session)
    assert not again(to.address("two"), session)
    assert to.end()["session_ids_refused"] == 1


def test_never_behind_a_restart(start, first, again):
    one = start()
    session = first(one)
    one.end()
    two = start()
    assert not again(two, session)
    assert two.end()["session_ids_refused"] == 1


def test_identities_of_a_helper_are_asked_for_each_time(start, first, again, tmp_path):
    answer = KEY.hex().encode() + b"\n"
    helper = Helper(tmp_path / "helper", lambda _identity: answer)
    try:
        to = start(psk_helper=helper.path)
        session = first(to, identity="dev-9")
        assert not again(to, session, identity="dev-9")
        assert "session_ids_issued" not in to.end()
    finally:
        helper.end()


def test_what_is_told_of_it(start, first, again, tmp_path):
    control = tmp_path / "control"
    to = start(daemon={"control-socket": control})
    assert again(to, first(to))
    status = Control(control)("status")
    assert "session_ids_issued" in status and "handshakes_resumed" in status
