"""An upgrade: keys that a helper knows, the access log and traces, which two processes share."""

import subprocess

import pytest

from lib.control import ctl_path
from lib.gate import KEY, FileLog, Log, environment, fields, until
from lib.helper import Helper

OTHER_KEY = bytes(range(32))


# ---- keys of a helper ----


@pytest.fixture
def helper(tmp_path):
    made = []

    def make(keys):
        made.append(
            Helper(
                tmp_path / "helper",
                lambda name: keys[name].hex().encode() + b"\n" if name in keys else b"none\n",
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.end()


def test_keys_of_a_helper_are_asked_for_again(start, client, helper, upgrade, tmp_path):
    """As behind a reload: sessions go on meanwhile, and end by another answer."""
    keys = {f"dev-{n}".encode(): OTHER_KEY for n in (2, 3, 4)}
    h = helper(keys)
    g = start(psk_helper=tmp_path / "helper")
    stays, goes, changes = (client(g, f"dev-{n}", OTHER_KEY).connect() for n in (2, 3, 4))
    own = client(g).connect()
    h.asked.clear()
    assert upgrade(g)["sessions"] == 4
    until(lambda: sorted(h.asked) == [b"dev-2", b"dev-3", b"dev-4"])
    assert all(c.is_alive() for c in (stays, goes, changes, own))
    del keys[b"dev-3"]
    keys[b"dev-4"] = KEY
    assert upgrade(g)["sessions"] == 4
    g.wait_event("session end", identity="dev-3", reason="identity removed")
    g.wait_event("session end", identity="dev-4", reason="key changed")
    assert goes.wait_closed() and changes.wait_closed()
    assert stays.is_alive() and own.is_alive()


def test_a_helper_that_is_away_ends_nothing(start, client, helper, upgrade, tmp_path):
    h = helper({b"dev-2": OTHER_KEY})
    g = start(psk_helper=tmp_path / "helper")
    c = client(g, "dev-2", OTHER_KEY).connect()
    assert c.is_alive()
    h.end()
    for _ in range(2):
        assert upgrade(g)["sessions"] == 1
        assert c.is_alive()


def test_a_key_that_the_files_have_by_now(start, client, helper, upgrade, psk, tmp_path):
    helper({b"dev-2": OTHER_KEY, b"dev-3": OTHER_KEY})
    g = start(psk_helper=tmp_path / "helper")
    same, other = (client(g, name, OTHER_KEY).connect() for name in ("dev-2", "dev-3"))
    psk({"dev-1": KEY, "dev-2": OTHER_KEY, "dev-3": KEY})
    answer = upgrade(g)
    assert (answer["sessions"], answer["left-behind"]) == (1, 1)
    assert same.is_alive() and other.wait_closed()
    g.wait_event("session end", identity="dev-3", reason="not taken over by the new process")


# ---- the access log ----


def test_one_line_for_each_session(start, client, upgrade, control, tmp_path):
    """Of its whole life, from the process where it ends; none is lost between the two."""
    path = tmp_path / "access.log"
    g = start(daemon={"access-log": path}, ciphers="PSK:!aNULL:@SECLEVEL=0", min_version="1.0")
    access = FileLog(path)
    clients = [client(g, ciphers="PSK-AES128-GCM-SHA256").connect() for _ in range(8)]
    clients.append(client(g, ciphers="PSK-AES128-CBC-SHA").connect())
    ids = {told["id"] for told in control.json("sessions")["sessions"]}
    for turn in range(4):
        for c in clients:
            assert c.ask(b"%03d" % turn) == b"%03d" % turn
        clients.pop(0).close()
        answer = upgrade(g)
        assert answer["left-behind"] == (turn == 0)
        if turn == 0:
            assert clients.pop().wait_closed()
    for c in clients:
        c.close()
    access.wait("session: id=", 9)
    g.end()
    lines = [fields(line) for line in access.find("session: id=")]
    assert sorted(int(line["id"]) for line in lines) == sorted(ids)
    reasons = [line["reason"] for line in lines]
    assert reasons.count("not taken over by the new process") == 1
    assert reasons.count("closed by client") == 8
    for line in lines[-4:]:  # those that have seen all four upgrades
        assert (line["in-datagrams"], line["in-bytes"], line["out-datagrams"]) == ("4", "12", "4")
        assert (line["records"], line["lost"], line["reordered"]) == ("6", "0", "0")


def test_drops_are_counted_on(start, client, upgrade, tmp_path):
    path = tmp_path / "access.log"
    g = start(daemon={"access-log": path})
    access = FileLog(path)
    c = client(g).connect()
    sent, send = [], c.send_datagram
    c.send_datagram = lambda data: (sent.append(data), send(data))
    assert c.is_alive()
    for _ in range(3):
        send(sent[0])
        assert c.is_alive()
        upgrade(g)
    send(sent[0])
    assert c.is_alive()
    c.close()
    line = fields(access.wait("session: id="))
    assert line["replayed"] == line["client.drop_replay"] == "4"


# ---- traces ----


def test_a_trace_ends_with_its_process(start, client, upgrade, control):
    g = start()
    c = client(g).connect()
    process = subprocess.Popen(
        [ctl_path(), "-s", control.path, "trace", "dev-1"],
        env=environment(),
        stdout=subprocess.PIPE,
    )
    out = Log(process.stdout)
    try:
        g.log.wait('control: line="trace')
        control("sessions")
        assert c.is_alive()
        out.wait("^event: ", 2)
        upgrade(g)
        out.wait("^handed-over: yes$")
        assert process.wait(20) == 0
        assert out.find("^count: ")
    finally:
        process.kill()
        process.wait()
        out.finish()
    assert c.is_alive()


# ---- tickets ----

SUITE = "ECDHE-PSK-CHACHA20-POLY1305"


def test_a_ticket_of_the_process_before_is_good(start, client, upgrade, tmp_path):
    path = tmp_path / "access.log"
    g = start(daemon={"access-log": path}, resumption="yes")
    access = FileLog(path)
    c = client(g, ciphers=SUITE, ticket=True).connect()
    c.ask(b"first")
    session = c.session()
    c.close()
    for _ in range(2):
        upgrade(g)
        c = client(g, ciphers=SUITE, session=session).connect()
        c.ask(b"again")
        assert c.is_resumed
        upgrade(g)
        assert c.is_alive()
        c.close()
    until(lambda: len(access.find("session: id=")) == 3)
    lines = [fields(line) for line in access.find("session: id=")]
    assert [line["resumed"] for line in lines] == ["no", "yes", "yes"]
    assert "tickets_refused" not in g.end()


def test_session_ids_are_left_behind(start, client, upgrade):
    """Who comes back by one makes a whole handshake, and has another then."""
    g = start(resumption="yes")
    session = None
    for is_resumed in (False, True):
        c = client(g, ciphers=SUITE, session=session, ticket=False).connect()
        assert c.is_alive() and c.is_resumed == is_resumed
        session = session or c.session()
        c.close()
    upgrade(g)
    c = client(g, ciphers=SUITE, session=session, ticket=False).connect()
    assert c.is_alive() and not c.is_resumed
    session = c.session()
    c.close()
    c = client(g, ciphers=SUITE, session=session, ticket=False).connect()
    assert c.is_alive() and c.is_resumed
    totals = g.end()
    assert totals["session_ids_refused"] == 1 and totals["session_ids_issued"] == 2


def test_the_last_flight_is_repeated_with_its_ticket(start, client, upgrade):
    """It is lost once, and asked for again at the next process."""
    g = start(resumption="yes")
    lost = []

    def drop(datagram):
        is_last = datagram[0] == 22 and datagram[13] == 4 and not lost
        if is_last:
            lost.append(datagram)
        return is_last

    c = client(g, ciphers=SUITE, ticket=True, drop=drop).begin()
    c.step()
    c.step()
    g.wait_event("session open")
    upgrade(g)
    c.connect()
    assert lost and c.session().has_ticket and c.is_alive()
    assert len(g.events("session open")) == 1
