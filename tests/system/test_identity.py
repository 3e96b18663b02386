"""[identity PATTERN]: what holds for some identities beside what their service says, and what a
reload of it does to sessions that are open."""

import datetime

import pytest

from lib.control import Control
from lib.gate import KEY, until
from lib.helper import Helper
from lib.programs import s_client

KEYS = {"dev-1": KEY, "dev-2": KEY, "tech": KEY}


def utc(seconds):
    """That many seconds from now, as not-after has it."""
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(params=["file", "helper"])
def source(request, tmp_path, psk):
    """The settings by which a service knows KEYS."""
    if request.param == "file":
        yield {"psk-file": psk(KEYS)}
        return
    answers = {name.encode(): key.hex().encode() + b"\n" for name, key in KEYS.items()}
    helper = Helper(tmp_path / "helper", lambda identity: answers.get(identity, b"none\n"))
    yield {"psk-file": psk({}), "psk-helper": helper.path}
    helper.end()


@pytest.fixture
def start(gate, settings, source, echo):
    """start({"dev-*": {"max-sessions": 1}}, option=value): a gate with one service in front of
    `echo`; its `policies()` writes other sections and reloads."""

    def make(policies, daemon=(), **service):
        place = {"listen": "127.0.0.1:0", "backend": echo.address, **source}

        def write(sections):
            named = {f"identity {pattern}": keys for pattern, keys in sections.items()}
            common = {"daemon": dict(daemon), "service default": {**place, **service}}
            return settings({**common, **named})

        def change(sections):
            write(sections)
            assert "dtlsgate: reloaded" in g.reload()

        g = gate(ini=write(policies), keys=KEYS)
        g.policies = change
        return g

    return make


def fails(gate, client, reason, *args, **how):
    """A client that proves its identity and is told goodbye, with that reason in the log."""
    before = len(gate.events("handshake failed", reason=reason))
    c = client(gate, *args, **how).connect()
    assert c.wait_closed()
    gate.wait_event("handshake failed", before + 1, reason=reason)
    return c


# ---- backend ----


def test_some_identities_have_another_backend(start, echo, backend, client):
    upper = backend(bytes.upper)
    g = start({"tech": {"backend": upper.address}})
    assert client(g, "tech").connect().ask(b"hello") == b"HELLO"
    assert client(g, "dev-1").connect().ask(b"hello") == b"hello"
    assert g.events("session open", identity="tech", backend=upper.address)
    assert g.events("session open", identity="dev-1", backend=echo.address)


def test_the_log_and_the_control_tell_which(start, echo, backend, client, tmp_path):
    """Though the service has one backend alone."""
    upper = backend(bytes.upper)
    path = tmp_path / "control"
    g = start({"tech": {"backend": upper.address}}, daemon={"control-socket": path})
    told = {}
    for identity in ("tech", "dev-1"):
        c = client(g, identity, KEYS[identity]).connect()
        session = g.wait_event("session open", identity=identity)["id"]
        assert Control(path).json(f"session {session}")["backend"] == "-"
        c.ask(b"a")
        told[identity] = (
            g.wait_event("session flow", id=session).get("backend"),
            Control(path).json(f"session {session}")["backend"],
        )
    assert told == {"tech": (upper.address, upper.address), "dev-1": (None, echo.address)}


def test_both_backends_are_heard_on_a_shared_socket(start, backend, client):
    upper = backend(bytes.upper)
    g = start({"tech": {"backend": upper.address}}, **{"backend-source": "127.64.0.0/10"})
    assert client(g, "tech").connect().ask(b"hello") == b"HELLO"
    assert client(g, "dev-1").connect().ask(b"hello") == b"hello"
    session = g.wait_event("session open", identity="tech", backend=upper.address)["id"]
    assert g.wait_event("session flow", id=session)["backend-source"].startswith("127.64.")
    assert g.end().get("backend.drop_stranger", 0) == 0


def test_the_backend_of_an_identity_may_refuse(start, echo, backend, client):
    gone = backend()
    gone.close()
    g = start({"tech": {"backend": gone.address}}, backend=f"{echo.address}, 127.0.0.1:9 backup")
    c = client(g, "tech").connect()
    for _ in range(3):
        c.send(b"lost")
        refused = g.wait_event("backend refuses", backend=gone.address)
    assert refused["service"] == "default"
    assert not g.events("backend down")
    assert client(g, "dev-1").connect().ask(b"hello") == b"hello"


def test_s_client_reaches_the_backend_of_its_identity(start, backend):
    upper = backend(bytes.upper)
    g = start({"dev-2": {}, "dev-*": {"backend": upper.address}})
    program = s_client(g.address())
    try:
        program.out.wait("SSL-Session")
        program.write("shout\n")
        program.out.wait("SHOUT")
    finally:
        program.stop()


def test_a_reload_gives_new_sessions_the_other_backend(start, backend, client):
    upper = backend(bytes.upper)
    g = start({})
    old = client(g).connect()
    assert old.is_alive()
    g.policies({"dev-?": {"backend": upper.address}})
    assert old.ask(b"as ever") == b"as ever"
    assert client(g).connect().ask(b"new") == b"NEW"


# ---- allow-from ----


def test_an_identity_comes_from_its_addresses_only(start, client):
    g = start({"dev-1": {"allow-from": "127.0.0.2, 10.0.0.0/8"}})
    fails(g, client, "address not allowed for the identity")
    assert client(g, source=("127.0.0.2", 0)).connect().is_alive()
    assert client(g, "dev-2").connect().is_alive()


def test_a_reload_ends_who_comes_from_elsewhere(start, client):
    g = start({})
    goes, stays = client(g).connect(), client(g, source=("127.0.0.2", 0)).connect()
    assert goes.is_alive() and stays.is_alive()
    g.policies({"dev-*": {"allow-from": "127.0.0.2"}})
    assert goes.wait_closed()
    assert g.wait_event("session end")["reason"] == "address not allowed for the identity"
    assert stays.is_alive()
    assert len(g.events("session end")) == 1


# ---- max-sessions ----


@pytest.mark.parametrize("workers", [1, 4])
def test_the_cap_of_an_identity_is_its_own(start, client, workers):
    g = start(
        {"tech": {"max-sessions": 2}},
        daemon={"workers": workers},
        max_sessions_per_identity=1,
    )
    old = client(g, "dev-1").connect()
    assert client(g, "dev-1").connect().is_alive()
    assert old.wait_closed()
    two = [client(g, "tech").connect() for _ in range(2)]
    assert all(c.is_alive() for c in two)
    assert client(g, "tech").connect().is_alive()
    until(lambda: len(g.events("session end", reason="identity in use elsewhere")) == 2)
    assert [e["identity"] for e in g.events("session end")] == ["dev-1", "tech"]


# Of a helper's names each worker counts the sessions for itself: test_psk_helper has more of them.
@pytest.mark.parametrize(
    ("source", "workers"), [("file", 1), ("file", 4), ("helper", 1)], indirect=["source"]
)
def test_a_reload_that_lowers_the_cap_ends_sessions(start, client, workers):
    g = start({}, daemon={"workers": workers})
    many = [client(g, "tech").connect() for _ in range(6)]
    other = client(g, "dev-1").connect()
    assert all(c.is_alive() for c in (*many, other))
    g.policies({"tech": {"max-sessions": 2}})
    g.wait_event("session end", 4, reason="identity in use elsewhere", identity="tech")
    assert other.is_alive()
    assert len(g.events("session end")) == 4
    gone = {e["peer"] for e in g.events("session end")}
    assert all(c.is_alive() for c in many if "%s:%d" % c.source not in gone)


# ---- rates ----


def test_datagrams_over_the_rate_are_dropped(start, client, echo):
    g = start({"dev-*": {"rate-datagrams": 10}})
    c, free = client(g).connect(), client(g, "tech").connect()
    for number in range(100):
        c.send(b"%d" % number)
        free.send(b"free")
    until(lambda: len([d for d in echo.data if d == b"free"]) == 100)
    got = [d for d in echo.data if d != b"free"]
    assert got[:10] == [b"%d" % n for n in range(10)]
    assert len(got) < 60, "more than a slow machine explains"
    totals = g.end()
    assert totals["client.drop_policy_rate"] + totals["client.forwarded"] == 200
    assert totals["client.drop_policy_rate"] >= 40
    (end,) = g.events("session end", identity="dev-1")
    assert int(end["drops"]) == totals["client.drop_policy_rate"]


def test_bytes_over_the_rate_are_dropped_until_they_are_paid_for(start, client):
    g = start({"dev-1": {"rate-bytes": "2k"}})
    c = client(g).connect()
    assert c.ask(b"x" * 1000) and c.ask(b"y" * 1000)
    c.send(b"z" * 1000)
    assert c.recv(0.1) is None
    until(lambda: c.ask(b"again" * 100, 0.2))
    assert g.end()["client.drop_policy_rate"] >= 1


def test_a_reload_takes_the_rate_away(start, client):
    g = start({"dev-1": {"rate-datagrams": 1}})
    c = client(g).connect()
    assert c.ask(b"one")
    c.send(b"two")
    g.policies({})
    assert all(c.ask(b"more") == b"more" for _ in range(10))


# ---- not-after ----


def test_an_expired_identity_is_like_an_unknown_one(start, client):
    g = start({"dev-1": {"not-after": "2020-12-31"}}, handshake_timeout="1s")
    for identity in ("dev-1", "nobody"):
        c = client(g, identity).begin()
        with pytest.raises(AssertionError, match="no answer"):
            while not c.step(0.5):
                pass
        g.wait_event("handshake failed", identity=identity)
    assert client(g, "dev-2").connect().is_alive()
    reasons = {
        (e["reason"], e["detail"])
        for e in g.events("handshake failed")
    }
    assert len(reasons) == 1, reasons


def test_a_session_ends_when_its_time_is_over(start, client):
    g = start({"dev-1": {"not-after": utc(2)}, "dev-2": {"not-after": "2099-12-31"}})
    goes, stays = client(g).connect(), client(g, "dev-2").connect()
    assert goes.is_alive() and stays.is_alive()
    assert goes.wait_closed()
    end = g.wait_event("session end")
    assert (end["identity"], end["reason"]) == ("dev-1", "identity expired")
    assert stays.is_alive()


def test_a_reload_ends_whose_time_is_over(start, client):
    g = start({})
    goes, stays = client(g).connect(), client(g, "dev-2").connect()
    assert goes.is_alive() and stays.is_alive()
    g.policies({"dev-1": {"not-after": "2020-12-31T23:59:59Z"}})
    assert goes.wait_closed()
    end = g.wait_event("session end")
    assert (end["identity"], end["reason"]) == ("dev-1", "identity expired")
    assert stays.is_alive()
    g.policies({"dev-1": {"not-after": utc(3600)}})
    assert client(g).connect().is_alive()


# ---- ciphers ----


def test_an_identity_has_to_use_its_suites(start, client):
    g = start({"dev-*": {"ciphers": "PSK-AES256-GCM-SHA384:PSK-CHACHA20-POLY1305"}})
    why = "suite not allowed for the identity"
    fails(g, client, why, ciphers="PSK-AES128-GCM-SHA256")
    assert client(g, ciphers="PSK-CHACHA20-POLY1305").connect().is_alive()
    assert client(g, "tech", ciphers="PSK-AES128-GCM-SHA256").connect().is_alive()
    g.policies({"tech": {"ciphers": "PSK-AES256-CCM8"}})
    assert g.wait_event("session end", identity="tech")["reason"] == why
    assert len(g.events("session end")) == 1


def test_suites_of_old_devices(start, client):
    suite = "PSK-AES128-CBC-SHA"
    g = start({"dev-1": {"ciphers": suite}, "dev-2": {"ciphers": "AESGCM"}}, min_version="1.0")
    assert client(g, "dev-1", ciphers=suite).connect().is_alive()
    fails(g, client, "suite not allowed for the identity", "dev-2", ciphers=suite)


# ---- sections ----


def test_a_section_for_one_service(gate, settings, psk, echo, backend, client):
    upper = backend(bytes.upper)
    keys = psk(KEYS)
    place = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": keys}
    policies = {"identity one/*": {"backend": upper.address}}
    g = gate(ini=settings({"service one": place, "service two": place, **policies}), keys=KEYS)
    assert client(g.address("one")).connect().ask(b"hello") == b"HELLO"
    assert client(g.address("two")).connect().ask(b"hello") == b"hello"


def test_sections_from_the_command_line(gate, settings, psk, echo, client):
    place = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": psk(KEYS)}
    ini = settings({"service one": place})
    g = gate(ini=ini, keys=KEYS, args=["-o", "identity.dev-*.allow-from=10.0.0.0/8"])
    c = client(g.address("one")).connect()
    assert c.wait_closed()
    assert client(g.address("one"), "tech").connect().is_alive()


@pytest.mark.parametrize("source", ["file"], indirect=True)
def test_a_section_for_nobody_is_told(start):
    g = start({"dev-*": {}, "dev-1": {"max-sessions": 1}, "tehc": {}, "tech": {}})
    (line,) = g.log.find("is for nobody")
    assert "warning section [identity dev-1] is for nobody" in line
    assert line.endswith("2 such in all")
    g.policies({"dev-1": {"max-sessions": 1}, "dev-*": {}})
    assert len(g.log.find("is for nobody")) == 1


@pytest.mark.parametrize("source", ["helper"], indirect=True)
def test_a_helper_may_know_anybody(start):
    g = start({"dev-*": {}, "tehc": {"max-sessions": 1}})
    assert not g.log.find("is for nobody")


def test_T_prints_sections_that_are_read_back(run, settings, psk):
    place = {"listen": "127.0.0.1:0", "backend": "127.0.0.1:5683", "psk-file": psk(KEYS)}
    policy = {"not-after": "2031-12-31", "allow-from": "::1", "rate-bytes": "1024"}
    ini = settings({"service one": place, "identity z*": policy, "identity a": {}})
    shown = run("-c", ini, "-T").stdout
    assert "\n[identity z*]\n" in shown
    assert "not-after = 2031-12-31T23:59:59Z\n" in shown
    assert shown.index("[identity z*]") < shown.index("[identity a]"), "the order counts"
    ini.write_text(shown)
    assert run("-c", ini, "-T").stdout == shown
