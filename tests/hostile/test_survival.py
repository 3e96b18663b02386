"""Sessions with connection ids whose keys a helper has given, and whose clients come back from
elsewhere: behind upgrades, and behind a process that was killed."""

import os
import random
import select
import threading
import time

import pytest
from lib.control import Control
from lib.gate import IDENTITY, KEY, until
from lib.helper import Helper
from raw import keys
from raw.wire import ALERT

GIVEN = {b"given-%d" % n: bytes([n]) * 16 for n in range(4)}
OTHER_KEY = bytes(range(64, 80))
AWAY = "127.5.0.2"
KILLS = int(os.environ.get("STATE_KILLS", "10"))


class Watch:
    """What one client sends, and the numbers of what it gets, which may only grow."""

    def __init__(self, client):
        self.sent, self.newest = [], -1
        self.send, client.send = client.send, self.note
        self.parse, client.parse = client.parse, self.look

    def note(self, *records):
        self.sent.append(b"".join(records))
        self.send(*records)

    def look(self, datagram):
        records = self.parse(datagram)
        for rec in records:
            if rec.epoch == 1:
                assert rec.seq > self.newest
                self.newest = rec.seq
        return records


@pytest.fixture
def helper(tmp_path):
    known, made = dict(GIVEN), []

    def answer(name):
        return known[name].hex().encode() + b"\n" if name in known else b"none\n"

    def make():
        made.append(Helper(tmp_path / "helper", answer))
        made[-1].known = known
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def crowd(client):
    """Clients of the files' keys and of the helper's, each with an id of its own length."""

    def make(to):
        known = {IDENTITY.encode(): KEY, **GIVEN}
        suites = [keys.GCM, keys.CCM8, keys.CHACHA, keys.GCM256]
        made = []
        for n in range(10):
            name = list(known)[n % len(known)]
            how = {"cid": bytes(range(n)), "rrc": False, "suite": suites[n % 4]}
            made.append(client(to, identity=name, key=known[name], **how).handshake())
        return made

    return make


def test_given_keys_ids_and_upgrades(crowd, start, helper, echo, orphans, tmp_path):
    """They go along with the keys, whoever has moved and whoever moves; a key that the helper has
    no more ends its sessions where their clients are by then."""
    control = Control(tmp_path / "control.sock")
    told = helper()
    daemon = {"workers": 3, "control_socket": control.path}
    to = start(daemon=daemon, psk_helper=tmp_path / "helper", ciphers="PSK")
    clients = crowd(to)
    watches = [Watch(c) for c in clients]
    for turn in range(3):
        for n, c in enumerate(clients):
            if (n + turn) % 2:
                c.move()
            c.echo(b"%d before %d" % (n, turn))
        answer = control.json("upgrade")
        assert (answer["sessions"], answer["left-behind"]) == (10, 0)
        to.follow(answer["pid"])
        for n, c in enumerate(clients):
            if (n + turn) % 3:
                c.move(AWAY if turn % 2 else "127.5.0.1")
            c.echo(b"%d behind %d" % (n, turn))
    assert len(echo.ports) == 10 and len(set(echo.data)) == len(echo.data) == 60
    assert all(w.newest >= 6 for w in watches)
    told.known[b"given-1"] = OTHER_KEY
    del told.known[b"given-2"]
    to.follow(control.json("upgrade")["pid"])
    until(lambda: len(to.events("session end")) == 4)
    gone = {event["identity"]: event["reason"] for event in to.events("session end")}
    assert gone == {"given-1": "key changed", "given-2": "identity removed"}
    for c in clients:
        if c.identity.decode() in gone:
            assert ALERT in [rec.type for rec in c.receive()]
        else:
            c.echo(b"still here")
    totals = to.end()
    assert totals["handshakes_started"] == totals["flows_opened"] == 10


def test_from_another_port_behind_a_crash(crowd, gate, helper, echo, tmp_path):
    """The first that the next process hears of a client comes from elsewhere: new records move its
    session there, those of before do nothing; the helper need not be there for that."""
    key = tmp_path / "state.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    daemon = {"workers": 3, "state_dir": tmp_path / "state", "state_key": key}
    how = {"psk_helper": tmp_path / "helper", "ciphers": "PSK"}
    told = helper()
    to = gate(echo, daemon=daemon, listen="127.5.0.1:0", **how)
    listen = "%s:%d" % to.address()[:2]
    clients = crowd(to)
    watches = [Watch(c) for c in clients]
    for turn in range(4):
        for n, c in enumerate(clients):
            c.echo(b"%d before %d" % (n, turn))
        to.kill()
        to.ended = True
        if turn == 1:
            told.end()
        to = gate(echo, daemon=daemon, listen=listen, **how)
        event = to.wait_event("state")
        assert (event["restored"], event["damaged"]) == ("10", "0")
        for n, c in enumerate(clients):
            c.move(AWAY if turn % 2 else "127.5.0.1")
            for datagram in watches[n].sent:
                c.socket.send(datagram)
            c.echo(b"%d behind %d" % (n, turn))
    assert len(set(echo.data)) == len(echo.data) == 80
    totals = to.end()
    assert totals.get("handshakes_started", 0) == 0
    assert totals["sessions_restored"] == totals["sessions_moved"] == 10
    assert totals["client.drop_replay"] == 10 * 7


class Restless(Watch):
    """One that speaks from anywhere and hears whatever is there."""

    def __init__(self, client, name, chance):
        super().__init__(client)
        self.client, self.name, self.chance, self.said = client, name, chance, 0

    def speak(self):
        if self.chance.random() < 0.3:
            self.client.move(self.chance.choice([AWAY, "127.5.0.1"]))
        self.said += 1
        text = b"%d of %d" % (self.said, self.name)
        try:
            self.client.send_data(text)
        except ConnectionRefusedError:
            pass  # nobody is there right now
        return text

    def hear(self):
        """What has come so far has to be whole, and newer than what was there before."""
        watch = select.poll()
        watch.register(self.client.socket, select.POLLIN)
        while watch.poll(0):
            try:
                records = self.client.parse(self.client.socket.recv(65535))
            except ConnectionRefusedError:
                continue
            assert all(self.client.open(rec) is not None for rec in records)


@pytest.mark.patience(120 + 5 * KILLS)
def test_killed_while_all_of_them_move(crowd, gate, helper, echo, tmp_path):
    """Each move rewrites what is kept of a session: whole, or as it was before. The first new record
    of each is delivered by the next process, which knows of all that were there before."""
    chance = random.Random(int(os.environ.get("STATE_SEED", "1")))
    key = tmp_path / "state.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    daemon = {"workers": 3, "state_dir": tmp_path / "state", "state_key": key}
    how = {"psk_helper": tmp_path / "helper", "ciphers": "PSK"}
    helper()
    to = gate(echo, daemon=daemon, listen="127.5.0.1:0", **how)
    listen = "%s:%d" % to.address()[:2]
    clients = [Restless(c, n, chance) for n, c in enumerate(crowd(to))]
    for _ in range(KILLS):
        timer = threading.Timer(chance.uniform(0.001, 0.15), to.process.kill)
        timer.start()
        while to.process.poll() is None:
            chance.choice(clients).speak()
        timer.join()
        to.ended = True
        for c in clients:
            c.hear()
        to = gate(echo, daemon=daemon, listen=listen, **how)
        event = to.wait_event("state")
        assert (event["restored"], event["damaged"]) == ("10", "0")
        for c in clients:
            for datagram in chance.sample(c.sent, min(8, len(c.sent))):
                c.client.socket.send(datagram)
        said = {c.speak() for c in clients}
        until(lambda: said <= set(echo.data))
        assert to.events("session open") == []
        for c in clients:
            c.hear()
    assert len(set(echo.data)) == len(echo.data) > 0


@pytest.mark.long
@pytest.mark.patience(900)
@pytest.mark.parametrize("cid", [None, b"theirs!!"], ids=["plain", "ids"])
def test_how_long_ten_thousand_kept_sessions_take(client, gate, echo, orphans, tmp_path, cid):
    """To be handed over, and to be taken up behind a crash; each with a flow and a slot. What is
    printed goes into the notes of a release."""
    control = Control(tmp_path / "control.sock")
    key = tmp_path / "state.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    daemon = {"workers": 2, "state_dir": tmp_path / "state", "state_key": key}
    daemon["control_socket"] = control.path
    to = gate(echo, daemon=daemon, listen="127.5.0.1:0")
    listen = "%s:%d" % to.address()[:2]
    clients = [client(to, cid=cid).handshake() for _ in range(10000)]
    watches = [Watch(c) for c in clients]
    stills = []
    for turn in range(5):
        for n, c in enumerate(clients[turn::5]):
            c.echo(b"%d in %d" % (n, turn))
        answer = control.json("upgrade")
        assert (answer["sessions"], answer["left-behind"]) == (10000, 0)
        to.follow(answer["pid"])
        stills.append(answer["still-us"] / 1000)
    assert len(echo.ports) == 10000
    pid = to.pid
    to.kill()
    os.waitpid(pid, 0)
    to.ended = True
    size = (tmp_path / "state" / "sessions").stat().st_size
    begun = time.monotonic()
    to = gate(echo, daemon=daemon, listen=listen)
    took = time.monotonic() - begun
    assert to.wait_event("state")["restored"] == "10000"
    for n, c in enumerate(clients):
        if cid is not None:
            c.move()
        c.echo(b"%d at the end" % n)
    assert all(w.newest >= 2 for w in watches)
    assert len(set(echo.data)) == len(echo.data) == 20000
    print(f"10000 sessions, ids {cid}: still for {min(stills):.1f} to {max(stills):.1f} ms; ready "
          f"{took:.2f} s behind a crash; {size / 10000:.0f} bytes of file each")
    assert to.end()["sessions_restored"] == 10000
