"""Who may come in, how many at once and how often (T-18, T-20, T-28 and S-51 of doc/CONFORMANCE.md,
and the caps of the settings)."""

import os
import time

import pytest
from lib.gate import IDENTITY, KEY, until
from raw import keys, wire
from raw.wire import ALERT, HANDSHAKE

NEAR, ALSO_NEAR, FAR = "127.5.0.2", "127.5.0.3", "127.6.0.1"
NO_SUCH_SUITE = 0x002C


def is_silent(c):
    """Whether nothing at all is there for it, once the gate has dealt with what it sent."""
    c.socket.setblocking(False)
    try:
        c.socket.recv(65535)
        return False
    except BlockingIOError:
        return True


def is_refused(c):
    """Shows a cookie and is not answered; the next hello without one is, as ever."""
    c.reset()
    c.get_cookie()
    return c.answers(c.record(HANDSHAKE, c.hello())) == []


# ---- access lists ----

DUAL = "[::]:0"  # v4 peers are v4-mapped to its socket


@pytest.mark.parametrize("listen", ["127.0.0.1:0", DUAL], ids=["v4", "v4-mapped"])
@pytest.mark.parametrize("form", ["{}", "::ffff:{}"], ids=["v4-rule", "v4-mapped-rule"])
@pytest.mark.parametrize("way", ["allow", "deny"])
def test_T_28_lists_mean_mapped_addresses_too(client, start, intact, listen, form, way):
    bits = 96 if ":" in form else 0
    rule = f"{form.format('127.5.0.0')}/{16 + bits}"
    gate = start(listen=listen, **{way: rule})
    to = ("127.0.0.1", gate.port)
    inside, outside = client(to, source=NEAR), client(to, source=FAR)
    welcome, stranger = (inside, outside) if way == "allow" else (outside, inside)
    stranger.say_hello()
    stranger.send(stranger.record(HANDSHAKE, stranger.hello(cookie=os.urandom(17))))
    intact(by=welcome.handshake())
    assert is_silent(stranger)
    totals = gate.end()
    assert totals["client.drop_denied"] == 2 and totals["handshakes_started"] == 1


def test_T_28_deny_is_stronger_than_allow(client, start, intact):
    gate = start(allow="127.0.0.0/8", deny=f"{NEAR}, 127.6.0.0/16, 2001:db8::/32")
    for source in (NEAR, FAR):
        client(gate, source=source).say_hello()
    intact(by=client(gate, source=ALSO_NEAR).handshake())
    assert gate.end()["client.drop_denied"] == 2


def test_T_28_an_address_that_is_not_mapped_is_none_of_v4(client, start):
    """::7f05:2 is no IPv4 address, nor is the loopback one."""
    gate = start(listen=DUAL, allow="127.5.0.0/16, ::127.5.0.2")
    c = client(("::1", gate.port))
    c.say_hello()
    client(("127.0.0.1", gate.port), source=NEAR).handshake().echo()
    assert is_silent(c)


# ---- caps ----


def test_oldest_handshake_of_a_prefix_gives_way(client, start, echo):
    gate = start(daemon={"max_handshakes_per_prefix": 4})
    settled = client(gate, source=NEAR).handshake()
    far = client(gate, source=FAR)
    far.begin()
    pending = [client(gate, source=NEAR if i % 2 else ALSO_NEAR) for i in range(6)]
    for c in pending:
        c.begin()
    for c in pending[:2]:
        assert c.answers(*c.flight()) == []
    for c in [*pending[2:], far]:
        c.finish()
        c.echo(b"in time")
    settled.echo(b"settled")
    evicted = gate.events("handshake failed", reason="handshake evicted to make room")
    assert [event["peer"].split(":")[0] for event in evicted] == [ALSO_NEAR, NEAR]
    assert gate.end()["handshakes_failed"] == 2


def test_prefix_lengths_are_as_set(client, start):
    gate = start(daemon={"max_handshakes_per_prefix": 1, "prefix_v4": 32})
    both = [client(gate, source=source) for source in (NEAR, ALSO_NEAR)]
    for c in both:
        c.begin()
    for c in both:
        c.finish()
        c.echo()


def test_sessions_of_a_prefix_never_give_way(client, start, echo):
    gate = start(daemon={"max_sessions_per_prefix": 2})
    first, second = (client(gate, source=s).handshake() for s in (NEAR, ALSO_NEAR))
    third = client(gate, source=NEAR)
    assert is_refused(third)
    for c in (first, second, client(gate, source=FAR).handshake()):
        c.echo(b"lives")
    second.reset()
    second.handshake().echo(b"came back")
    first.answers(first.seal(ALERT, b"\1\0"))
    gate.wait_event("session end", reason="closed by client")
    third.reset()
    third.handshake().echo(b"now there is room")
    assert gate.end()["client.drop_cap"] == 1


def test_sessions_of_a_prefix_that_begin_at_once(client, start):
    """They were all admitted when none was open; no more than may be open all the same."""
    gate = start(daemon={"max_sessions_per_prefix": 2})
    pending = [client(gate, source=NEAR) for _ in range(5)]
    for c in pending:
        c.begin()
    for c in pending:
        c.send(*c.flight())
        c.probe()
    assert len(gate.events("session open")) <= 2


# ---- rates ----


@pytest.mark.parametrize("option", ["handshake_rate", "handshake_rate_per_prefix"])
def test_handshakes_per_second(client, start, intact, option):
    gate = start(daemon={option: 3})
    refused = [is_refused(client(gate, source=NEAR)) for _ in range(10)]
    assert not any(refused[:3]) and any(refused[3:])
    stranger = client(gate, source=FAR)
    if option == "handshake_rate_per_prefix":
        stranger.handshake()
    late = client(gate, source=NEAR)
    until(lambda: not is_refused(late))
    late.reset()
    until(lambda: not is_refused(late))
    totals = gate.end()
    assert totals["client.drop_rate"] >= sum(refused)


def fail_often(client, gate, source, count=60):
    """Handshakes of names that nobody has, each ended by an alert. Returns how many were begun."""
    begun = 0
    for _ in range(count):
        c = client(gate, source=source, identity=b"nobody")
        c.get_cookie()
        answer = c.answers(c.record(HANDSHAKE, c.hello()))
        if answer:
            c.answers(wire.record(HANDSHAKE, c.key_exchange_message(), 0, 9))
            begun += 1
    return begun


def test_a_storm_of_failures_is_held_back(client, start, echo):
    gate = start(unknown_identity="alert")
    settled = client(gate, source=NEAR).handshake()
    begun = time.monotonic()
    admitted = fail_often(client, gate, NEAR)
    assert 31 <= admitted <= 32 + time.monotonic() - begun
    client(gate, source=ALSO_NEAR).handshake().echo(b"another address")
    settled.echo(b"settled")
    late = client(gate, source=NEAR)
    until(lambda: not is_refused(late))
    assert gate.end()["client.drop_rate"] >= 60 - admitted


def test_a_fleet_with_wrong_keys_is_held_back(client, start, intact):
    """Nobody tells them: each waits until its handshake's time is over."""
    gate = start(handshake_timeout="1s")
    fleet = [client(gate, source=NEAR, key=bytes(16)) for _ in range(40)]
    for c in fleet:
        c.begin()
        c.send(*c.flight())
    late = client(gate, source=NEAR)
    until(lambda: is_refused(late))
    intact(by=client(gate, source=ALSO_NEAR).handshake())
    assert gate.end()["client.drop_rate"] >= 1


def test_T_20_alerts_are_one_a_second_and_address(client, start):
    gate = start()
    begun = time.monotonic()
    alerts = []
    for _ in range(30):
        c = client(gate, source=NEAR, suites=[NO_SUCH_SUITE])
        c.get_cookie()
        alerts += c.answers(c.record(HANDSHAKE, c.hello()))
    assert {(rec.type, rec.epoch) for rec in alerts} == {(ALERT, 0)}
    assert len(alerts) <= 1 + time.monotonic() - begun
    other = client(gate, source=ALSO_NEAR, suites=[NO_SUCH_SUITE])
    other.get_cookie()
    assert len(other.answers(other.record(HANDSHAKE, other.hello()))) == 1


# ---- one identity ----


def test_S_51_one_identity_from_two_places_is_told(client, start):
    gate = start()
    one, other = client(gate, source=NEAR).handshake(), client(gate, source=FAR).handshake()
    event = gate.wait_event("identity shared")
    assert (event["identity"], event["sessions"]) == (IDENTITY, "2")
    assert event["peer"].startswith(FAR)
    for c in (one, other):
        c.echo()


@pytest.mark.parametrize("workers", [1, 4])
def test_S_51_a_further_session_of_an_identity_ends_the_older(client, start, workers):
    gate = start(
        daemon={"workers": workers},
        keys={IDENTITY: KEY, "dev-2": KEY},
        max_sessions_per_identity=1,
    )
    other = client(gate, identity=b"dev-2").handshake()
    old = client(gate).handshake()
    for number in range(1, 13):
        new = client(gate).handshake()
        new.echo(b"new")
        event = gate.wait_event("session end", number, reason="identity in use elsewhere")
        assert event["identity"] == IDENTITY
        assert event["peer"].endswith(":%d" % old.socket.getsockname()[1])
        (goodbye,) = old.receive()
        assert goodbye.type == ALERT and old.open(goodbye) == b"\1\0"
        old = new
    other.echo(b"not touched")
    old.echo(b"the last")
    assert gate.events("identity shared", sessions="2")


def test_S_51_the_longest_idle_goes_first(client, start):
    gate = start(max_sessions_per_identity=3)
    first, second, third = (client(gate).handshake() for _ in range(3))
    for c in (second, third, first):
        time.sleep(0.002)  # idle times are told in milliseconds
        c.echo()
    client(gate).handshake().echo()
    event = gate.wait_event("session end", reason="identity in use elsewhere")
    assert event["peer"].endswith(":%d" % second.socket.getsockname()[1])
    for c in (third, first):
        c.echo()


def test_S_51_a_client_that_comes_back_is_one(client, start):
    """From the same address: the new session takes the place of the old one, as ever."""
    gate = start(max_sessions_per_identity=1)
    c = client(gate).handshake()
    for _ in range(3):
        c.reset()
        c.handshake().echo()
    gate.wait_event("session end", 3, reason="replaced by a new handshake")
    assert not gate.events("identity shared")


# ---- hellos that come again ----


@pytest.mark.parametrize("suite", [keys.GCM, keys.ECDHE_CHACHA], ids=lambda suite: suite.name)
def test_T_18_a_used_hello_is_used_once(client, calm, intact, suite):
    """Its cookie is good for minutes; who has seen it cannot begin handshakes with it."""
    c = client(suite=suite)
    c.get_cookie()
    hello = c.record(HANDSHAKE, c.hello())
    c.transcript = [c.hello()]
    c.socket.send(hello)
    c.await_server_flight()
    c.finish()
    c.echo(b"one")
    assert c.answers(*[hello] * 20) == []
    c.answers(c.seal(ALERT, b"\1\0"))
    calm.wait_event("session end", reason="closed by client")
    assert c.answers(*[hello] * 20) == []
    intact(b"one")
    assert calm.end()["handshakes_started"] == 2
