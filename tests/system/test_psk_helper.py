"""Keys that a helper knows: the shipped one over SQLite and Redis, and helpers that misbehave."""

import os
import socket
import sqlite3
import threading
import time

import pytest

from lib.dtls import Refused
from lib.gate import KEY, until
from lib.helper import Helper, Redis, Shipped

OTHER_KEY = bytes(range(32))
ODD = "söme/thing: %41 'x' \\ \"y\"\n".encode() + b"\xff\x01"


def line(key):
    return key.hex().encode() + b"\n"


def known(keys):
    """Answers as a helper should that knows these."""
    return lambda identity: line(keys[identity]) if identity in keys else b"none\n"


@pytest.fixture
def helper(tmp_path):
    """Makes helpers; they end with the test."""
    made = []

    def make(what, *args, **how):
        made.append(what(tmp_path / "helper", *args, **how))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def redis(tmp_path):
    server = Redis(tmp_path)
    yield server
    server.end()


@pytest.fixture
def asking(gate, echo, tmp_path):
    """A gate that asks the helper of the test, and has dev-1 in its file."""

    def start(**service):
        service.setdefault("handshake_timeout", "3s")
        service.setdefault("psk_helper", tmp_path / "helper")
        return gate(echo, **service)

    return start


def is_refused(gate, client, identity, key, **how):
    try:
        client(gate, identity, key, **how).connect(timeout=1.5, repeat=0.4)
    except (AssertionError, Refused):
        return True
    return False


# ---- the shipped helper ----


def test_keys_from_sqlite(asking, client, helper, tmp_path):
    with sqlite3.connect(tmp_path / "keys.db") as db:
        db.execute("CREATE TABLE psk (identity TEXT PRIMARY KEY, key)")
        db.execute("INSERT INTO psk VALUES ('text', ?)", (OTHER_KEY.hex(),))
        db.execute("INSERT INTO psk VALUES ('blob', ?)", (OTHER_KEY,))
    db.close()
    helper(Shipped, "sqlite", tmp_path / "keys.db")
    g = asking(daemon={"workers": 1})
    for identity in ("text", "blob"):
        assert client(g, identity, OTHER_KEY).connect().is_alive()
        g.wait_event("session open", identity=identity)
    assert client(g).connect().is_alive()
    assert is_refused(g, client, "nobody' OR '1'='1", OTHER_KEY)
    assert is_refused(g, client, "text", KEY)
    totals = g.end()
    assert (totals["keys_asked"], totals["keys_found"], totals["keys_none"]) == (3, 2, 1)


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_is_told_when_it_can_be_asked(helper, tmp_path, monkeypatch, is_abstract):
    place = f"{tmp_path}/notify"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{place}" if is_abstract else place)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{place}" if is_abstract else place)
        manager.settimeout(5)
        helper(Shipped, "sqlite", tmp_path / "keys.db")
        assert manager.recv(100) == b"READY=1"
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(str(tmp_path / "helper"))


@pytest.mark.parametrize("cipher", ["PSK-AES128-GCM-SHA256", "ECDHE-PSK-CHACHA20-POLY1305"])
def test_keys_from_redis(asking, client, helper, redis, cipher):
    redis.command("SET", b"psk:" + ODD, OTHER_KEY.hex())
    helper(Shipped, "redis", f"127.0.0.1:{redis.port}")
    g = asking()
    assert client(g, ODD, OTHER_KEY, ciphers=cipher).connect().is_alive()
    assert client(g, ciphers=cipher).connect().is_alive()
    assert is_refused(g, client, "nobody", OTHER_KEY, ciphers=cipher)


def test_a_store_that_is_away(asking, client, helper, redis):
    redis.command("SET", "psk:dev-2", OTHER_KEY.hex())
    h = helper(Shipped, "redis", f"127.0.0.1:{redis.port}")
    redis.end()
    g = asking()
    assert is_refused(g, client, "dev-2", OTHER_KEY)
    g.log.wait("psk-helper .*it has closed the connection")
    assert h.log.find("redis: ")


# ---- suites, old and new ----


@pytest.mark.parametrize(
    ("cipher", "version"),
    [
        ("PSK-AES128-CCM8", 0xFEFD),
        ("DHE-PSK-AES128-GCM-SHA256", 0xFEFD),
        ("PSK-AES128-CBC-SHA", 0xFEFF),
        ("PSK-AES128-CBC-SHA256", 0xFEFD),
    ],
)
def test_every_kind_of_suite(asking, client, helper, cipher, version):
    helper(Helper, known({b"dev-2": OTHER_KEY}), delay=0.1)
    g = asking(min_version="1.0", ciphers=cipher)
    c = client(g, "dev-2", OTHER_KEY, ciphers=cipher, version=version)
    assert c.connect(repeat=0.05).is_alive()
    assert is_refused(g, client, "dev-2", KEY, ciphers=cipher, version=version)
    assert is_refused(g, client, "dev-3", KEY, ciphers=cipher, version=version)


# ---- helpers that are away or slow ----


def test_without_the_helper_the_file_still_counts(asking, client, helper):
    g = asking(handshake_timeout="1s", daemon={"workers": 1})
    assert is_refused(g, client, "dev-2", OTHER_KEY)
    assert client(g).connect().is_alive()
    g.log.wait("psk-helper .*helper: No such file or directory; identities that are not in")
    h = helper(Helper, known({b"dev-2": OTHER_KEY}))
    assert client(g, "dev-2", OTHER_KEY).connect(repeat=0.3).is_alive()
    assert b"dev-1" not in h.asked
    g.log.wait("psk-helper answers again")


def test_a_session_outlives_the_helper(asking, client, helper):
    h = helper(Helper, known({b"dev-2": OTHER_KEY}))
    g = asking(psk_helper_cache="1s")
    c = client(g, "dev-2", OTHER_KEY).connect()
    h.end()
    g.reload()
    assert c.is_alive()


def test_a_slow_helper_is_in_nobodys_way(asking, client, helper):
    helper(Helper, known({b"dev-2": OTHER_KEY}), delay=0.3)
    g = asking(daemon={"workers": 1})
    other = client(g).connect()
    rounds, longest, done = 0, 0.0, threading.Event()

    def connect():
        client(g, "dev-2", OTHER_KEY).connect(repeat=0.1)
        done.set()

    thread = threading.Thread(target=connect)
    began = time.monotonic()
    thread.start()
    while not done.is_set():
        before = time.monotonic()
        assert other.ask(b"tick") == b"tick"
        longest, rounds = max(longest, time.monotonic() - before), rounds + 1
    thread.join()
    assert time.monotonic() - began >= 0.3
    assert rounds > 20 and longest < 0.25, (rounds, longest)


def test_an_answer_that_is_late_helps_the_next_try(asking, client, helper):
    h = helper(Helper, known({b"dev-2": OTHER_KEY}), delay=0.3)
    g = asking(psk_helper_timeout="200ms", handshake_timeout="10s")
    assert client(g, "dev-2", OTHER_KEY).connect(repeat=0.2).is_alive()
    assert h.asked == [b"dev-2"]
    assert g.end()["keys_late"] == 1


# ---- helpers that are wrong ----


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"hello\n", "neither a key in hex nor none"),
        (b"\n", "neither a key in hex nor none"),
        (b"abc\n", "neither a key in hex nor none"),
        (line(KEY)[:-1] + b"\r\n", "neither a key in hex nor none"),
        (line(b"k" * 65), "too long"),
        (b"x" * 100000, "too long"),
        (b"\0" * 20 + b"\n", "neither a key in hex nor none"),
    ],
    ids=range(7),
)
def test_nonsense(asking, client, helper, answer, why):
    helper(Helper, lambda identity: answer)
    g = asking(handshake_timeout="1s")
    assert is_refused(g, client, "dev-2", OTHER_KEY)
    g.log.wait(f"psk-helper .*{why}")
    assert client(g).connect().is_alive()


def test_an_answer_that_nobody_asked_for_is_nobodys(asking, client, helper):
    answers = {b"dev-2": line(OTHER_KEY) + line(KEY), b"dev-3": b"none\n"}
    h = helper(Helper, answers.get)
    g = asking(handshake_timeout="1s", daemon={"workers": 1})
    assert client(g, "dev-2", OTHER_KEY).connect().is_alive()
    assert is_refused(g, client, "dev-3", KEY)
    assert h.connections == 2


@pytest.mark.parametrize("answer", [line(OTHER_KEY)[:20], None], ids=["half", "none"])
def test_half_an_answer_or_none(asking, client, helper, answer):
    helper(Helper, lambda identity: answer)
    g = asking(handshake_timeout="1s", psk_helper_timeout="100ms")
    assert is_refused(g, client, "dev-2", OTHER_KEY)
    g.log.wait("psk-helper .*no answer came in time")
    assert client(g).connect().is_alive()


def test_answers_out_of_order_open_nothing(asking, client, helper):
    """Each is taken for the question that is its turn, so keys and names do not fit."""
    keys = {b"dev-2": OTHER_KEY, b"dev-3": KEY}
    swapped = {b"dev-2": line(keys[b"dev-3"]), b"dev-3": line(keys[b"dev-2"])}
    helper(Helper, swapped.get, delay=0.1)
    g = asking(handshake_timeout="1s", daemon={"workers": 1})
    clients = [client(g, name, key).begin() for name, key in keys.items()]
    for c in clients:
        with pytest.raises(AssertionError, match="no handshake within"):
            c.connect(timeout=1.2, repeat=0.3)
    assert client(g).connect().is_alive()
    assert not g.events("session open", identity="dev-2")
    assert not g.events("session open", identity="dev-3")


def test_a_helper_that_dies_in_the_middle_of_an_answer(asking, client, tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "helper"))
    listener.listen()
    g = asking(handshake_timeout="10s", daemon={"workers": 1})
    thread = threading.Thread(target=lambda: client(g, "dev-2", OTHER_KEY).connect(repeat=0.2))
    thread.start()
    for answer in (line(OTHER_KEY)[:-1], line(OTHER_KEY)):
        link = listener.accept()[0]
        assert link.recv(100) == b"get dev-2\n"
        link.sendall(answer)
        if not answer.endswith(b"\n"):
            link.close()
            g.log.wait("psk-helper .*it has closed the connection")
    thread.join(10)
    g.wait_event("session open", identity="dev-2")
    link.close()
    listener.close()


def test_an_answer_in_pieces_is_an_answer(asking, client, tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "helper"))
    listener.listen()
    g = asking()
    thread = threading.Thread(target=client(g, "dev-2", OTHER_KEY).connect, daemon=True)
    thread.start()
    link = listener.accept()[0]
    assert link.recv(100) == b"get dev-2\n"
    for byte in line(OTHER_KEY):
        link.sendall(bytes([byte]))
        time.sleep(0.001)
    thread.join(10)
    g.wait_event("session open", identity="dev-2")
    link.close()
    listener.close()


def test_a_short_key_counts_as_none(asking, client, helper):
    helper(Helper, known({b"dev-2": b"short"}))
    g = asking(handshake_timeout="1s")
    assert is_refused(g, client, "dev-2", b"short")
    g.log.wait('the key of "dev-2" has fewer than 16 bytes')


# ---- many ----


def test_a_hundred_at_once(asking, client, helper):
    keys = {f"many-{n}".encode(): os.urandom(16) for n in range(100)}
    h = helper(Helper, known(keys), delay=0.2)
    g = asking(daemon={"workers": 1}, handshake_timeout="10s")
    clients = [client(g, identity, key).begin() for identity, key in keys.items()]
    began = time.monotonic()
    threads = [threading.Thread(target=c.connect) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(c.is_alive() for c in clients)
    assert sorted(h.asked) == sorted(keys)
    assert h.most_waiting > 20
    assert time.monotonic() - began < 10


def test_the_same_name_is_asked_for_once(asking, client, helper):
    h = helper(Helper, known({b"dev-2": OTHER_KEY}), delay=0.2)
    g = asking(daemon={"workers": 1})
    clients = [client(g, "dev-2", OTHER_KEY).begin() for _ in range(10)]
    threads = [threading.Thread(target=c.connect) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client(g, "dev-2", OTHER_KEY).connect().is_alive()
    assert h.asked == [b"dev-2"]
    g.wait_event("identity shared", identity="dev-2", sessions=11)


# ---- changes ----


def test_a_reload_asks_again(asking, client, helper):
    keys = {f"dev-{n}".encode(): OTHER_KEY for n in (2, 3, 4)}
    h = helper(Helper, known(keys))
    g = asking()
    stays, goes, changes = (client(g, f"dev-{n}", OTHER_KEY).connect() for n in (2, 3, 4))
    del keys[b"dev-3"]
    keys[b"dev-4"] = KEY
    assert all(c.is_alive() for c in (stays, goes, changes))
    h.asked.clear()
    g.reload()
    g.wait_event("session end", identity="dev-3", reason="identity removed")
    g.wait_event("session end", identity="dev-4", reason="key changed")
    assert goes.wait_closed() and changes.wait_closed()
    assert stays.is_alive()
    assert sorted(h.asked) == [b"dev-2", b"dev-3", b"dev-4"]
    assert client(g, "dev-4", KEY).connect().is_alive()


def test_an_identity_moves_from_the_file_to_the_helper_and_back(asking, client, helper, psk):
    h = helper(Helper, known({b"dev-1": KEY}))
    g = asking()
    c = client(g).connect()
    psk({})
    g.reload()
    until(lambda: h.asked == [b"dev-1"])
    assert c.is_alive()
    psk({"dev-1": KEY})
    g.reload()
    assert c.is_alive()
    psk({"dev-1": OTHER_KEY})
    g.reload()
    assert c.wait_closed()
    g.wait_event("session end", reason="key changed")


def test_without_the_setting_its_sessions_end(asking, client, helper, settings, psk, echo):
    helper(Helper, known({b"dev-2": OTHER_KEY}))
    g = asking()
    c = client(g, "dev-2", OTHER_KEY).connect()
    service = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": psk({"dev-1": KEY})}
    settings({"daemon": {}, "service default": service})
    g.reload()
    assert c.wait_closed()
    g.wait_event("session end", identity="dev-2", reason="identity removed")


@pytest.mark.parametrize("workers", [1, 4])
def test_one_session_each(asking, client, helper, workers):
    helper(Helper, known({b"dev-2": OTHER_KEY}))
    g = asking(max_sessions_per_identity="1", daemon={"workers": workers})
    for n in range(1, 7):
        c = client(g, "dev-2", OTHER_KEY).connect()
        if n > 1:
            g.wait_event("session end", n - 1, reason="identity in use elsewhere")
    assert c.is_alive()


def test_a_lower_cap_holds_from_the_next_session_on(asking, client, helper, settings, psk, echo):
    """Workers know of their own sessions alone, until one of them asks the others."""
    h = helper(Helper, known({b"dev-2": OTHER_KEY}))
    daemon = {"workers": 4}
    g = asking(daemon=daemon)
    many = [client(g, "dev-2", OTHER_KEY).connect() for _ in range(12)]
    other = client(g).connect()
    assert all(c.is_alive() for c in (*many, other))
    service = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": psk({"dev-1": KEY})}
    service |= {"psk-helper": h.path, "handshake-timeout": "3s", "max-sessions-per-identity": 2}
    settings({"daemon": daemon, "service default": service})
    g.reload()
    many.append(client(g, "dev-2", OTHER_KEY).connect())
    g.wait_event("session end", 11, reason="identity in use elsewhere", identity="dev-2")
    assert many[-1].is_alive() and other.is_alive()
    assert len(g.events("session end")) == 11


def test_workers_share_the_rate_of_a_name(asking, client, helper, settings, psk, echo):
    h = helper(Helper, known({b"dev-2": OTHER_KEY, b"dev-3": OTHER_KEY}))
    service = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": psk({})}
    rate = {"identity dev-2": {"rate-datagrams": 20}}
    g = asking(ini=settings({"daemon": {"workers": 4}, "service default": service
                             | {"psk-helper": h.path}, **rate}))
    many = [client(g, "dev-2", OTHER_KEY).connect() for _ in range(12)]
    free = client(g, "dev-3", OTHER_KEY).connect()
    for number in range(120):
        many[number % 12].send(b"limited")
    for _ in range(120):
        free.send(b"free")
    until(lambda: echo.data.count(b"free") == 120)
    totals = g.end()
    assert totals["client.drop_policy_rate"] + totals["client.forwarded"] == 240
    assert 20 <= echo.data.count(b"limited") < 60, "twelve rates would let pass all"


def test_answers_that_are_kept_are_counted(asking, client, helper):
    h = helper(Helper, known({b"dev-2": OTHER_KEY}))
    g = asking(daemon={"workers": 1})
    for _ in range(3):
        assert client(g, "dev-2", OTHER_KEY).connect().is_alive()
    assert h.asked == [b"dev-2"]
    totals = g.end()
    assert (totals["keys_asked"], totals["keys_found"], totals["keys_cached"]) == (1, 1, 2)


def test_the_helper_alone_knows_names(asking, client, helper, psk):
    helper(Helper, known({b"dev-2": OTHER_KEY}))
    g = asking(psk_file=psk({}), handshake_timeout="1s")
    assert client(g, "dev-2", OTHER_KEY).connect().is_alive()
    assert is_refused(g, client, "dev-1", KEY)


def test_the_alert_waits_for_the_answer(asking, client, helper):
    h = helper(Helper, known({b"dev-2": OTHER_KEY}), delay=0.1)
    g = asking(unknown_identity="alert")
    assert client(g, "dev-2", OTHER_KEY).connect(repeat=0.05).is_alive()
    with pytest.raises(Refused, match="unknown psk identity"):
        client(g, "dev-3", OTHER_KEY).connect()
    h.end()
    c = client(g, "dev-4", OTHER_KEY)
    with pytest.raises(AssertionError, match="no handshake within"):
        c.connect(timeout=1.0, repeat=0.3)
