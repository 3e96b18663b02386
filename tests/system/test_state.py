"""state-dir: sessions that outlive the process, and numbers that never come twice."""

import os
import random
import threading

import pytest

from lib.control import Control
from lib.gate import KEY, Gate

GCM = "PSK-AES128-GCM-SHA256"
SUITES = [GCM, "PSK-AES128-CCM8", "PSK-AES256-GCM-SHA384", "PSK-CHACHA20-POLY1305"]
KILLS = int(os.environ.get("STATE_KILLS", "10"))


class House:
    """One dtlsgate after the other, on the same port, with the same folder."""

    def __init__(self, binary, tmp_path, settings, psk, backend, port):
        self.binary, self.tmp_path, self.settings, self.psk = binary, tmp_path, settings, psk
        self.backend, self.port = backend, port
        self.dir = tmp_path / "state"
        self.dir.mkdir(mode=0o700)
        self.key = tmp_path / "state.key"
        self.write_key()
        self.gate = None
        self.daemon, self.service, self.keys = {}, {}, {"dev-1": KEY}

    @property
    def file(self):
        return self.dir / "sessions"

    def write_key(self):
        self.key.write_bytes(os.urandom(32))
        self.key.chmod(0o600)

    def start(self):
        ini = self.settings(
            {
                "daemon": {"state-dir": self.dir, "state-key": self.key, "workers": 2, **self.daemon},
                "service default": {
                    "listen": f"127.0.0.1:{self.port}",
                    "backend": self.backend.address,
                    "psk-file": self.psk(self.keys),
                    **self.service,
                },
            }
        )
        self.gate = Gate(self.binary, ["-c", ini], self.tmp_path, secrets=[KEY.hex()])
        return self.gate.wait_ready()

    def kill(self):
        self.gate.process.kill()
        self.gate.process.wait()
        self.gate.stderr.finish()

    def crash(self):
        self.kill()
        return self.start()

    def restart(self):
        self.gate.end()
        return self.start()

    def taken(self):
        return self.gate.wait_event("state")


@pytest.fixture
def house(binary, tmp_path, settings, psk, echo, free_port):
    h = House(binary, tmp_path, settings, psk, echo, free_port)
    yield h
    if h.gate and h.gate.process.poll() is None:
        h.gate.end()


def numbers(client):
    """The epoch 1 record numbers that the gate has sent to a client, as they came."""
    found = []
    for datagram in client.seen:
        while len(datagram) >= 13:
            size = 13 + int.from_bytes(datagram[11:13], "big")
            if datagram[3:5] == b"\0\1":
                found.append(int.from_bytes(datagram[5:11], "big"))
            datagram = datagram[size:]
    return found


@pytest.mark.parametrize("suite", SUITES)
def test_a_crash_does_not_end_a_session(house, client, suite):
    house.start()
    c = client(house.gate, ciphers=suite).connect()
    assert c.is_alive(b"before")
    house.crash()
    assert house.taken()["restored"] == "1"
    assert c.is_alive(b"behind")
    totals = house.gate.end()
    assert totals.get("handshakes_started", 0) == 0 and totals["sessions_restored"] == 1
    assert len(numbers(c)) == len(set(numbers(c)))


def test_a_stop_leaves_sessions_to_the_next_start(house, client):
    house.start()
    c = client(house.gate).connect()
    assert c.is_alive()
    house.restart()
    assert c.is_alive()
    ends = house.gate.events("session end")
    assert ends == []
    assert house.taken()["restored"] == "1"


def test_a_stop_with_farewell_keeps_none(house, client):
    house.daemon["control-socket"] = house.tmp_path / "control"
    house.start()
    c = client(house.gate).connect()
    assert c.is_alive()
    Control(house.tmp_path / "control")("stop farewell")
    assert c.wait_closed()
    house.gate.end()
    house.start()
    assert house.taken()["restored"] == "0"


def test_no_record_is_delivered_twice(house, client, echo):
    house.start()
    c = client(house.gate).connect()
    sent = []
    send = c.send_datagram
    c.send_datagram = lambda datagram: (sent.append(datagram), send(datagram))
    for n in range(5):
        assert c.is_alive(b"%d" % n)
    house.crash()
    for datagram in sent:
        send(datagram)
    assert c.is_alive(b"new")  # at this rate numbers are told as they come
    assert len(echo.data) == len(set(echo.data)) == 6
    totals = house.gate.end()
    assert totals["client.drop_replay"] == 5


class Loader:
    """A client, what it has sent, and what it has asked."""

    def __init__(self, gate, client, number, key):
        self.client = client(gate, f"dev-{number}", key, ciphers=SUITES[number % 4]).connect()
        self.number, self.sent, self.asked = number, [], 0
        self.send_datagram = self.client.send_datagram
        self.client.send_datagram = self.send

    def send(self, datagram):
        self.sent.append(datagram)
        try:
            self.send_datagram(datagram)
        except ConnectionRefusedError:
            pass  # nobody is there right now

    def speak(self):
        self.asked += 1
        self.client.send(b"%d of %d" % (self.asked, self.number))

    def replay(self, chance, count):
        for datagram in chance.sample(self.sent, min(len(self.sent), count)):
            self.send_datagram(datagram)

    def comes_through(self, most):
        """How many of its records were sent before one was answered, about."""
        begun, burst = self.asked, 1
        while self.asked - begun < most:
            for _ in range(burst):
                self.speak()
            wanted = b"%d of %d" % (self.asked, self.number)
            answer = self.client.recv(0.05)
            while answer not in (None, wanted):
                answer = self.client.recv(0.05)
            if answer == wanted:
                return self.asked - begun - 1
            burst = 2 * burst
        raise AssertionError(f"dev-{self.number} is lost")


def load_until_killed(house, loaders, chance):
    """Some speak often, some rarely; the end comes whenever it comes."""
    timer = threading.Timer(chance.uniform(0.001, 0.15), house.gate.process.kill)
    timer.start()
    while house.gate.process.poll() is None:
        chance.choice(loaders if chance.random() < 0.2 else loaders[:3]).speak()
    timer.join()
    house.kill()


@pytest.mark.patience(120 + 10 * KILLS)
def test_killed_at_any_moment_under_load(house, client, echo):
    """Every client goes on without a handshake, no number of the gate's comes twice, and nothing
    comes to the backend twice."""
    chance = random.Random(int(os.environ.get("STATE_SEED", "1")))
    house.keys = {f"dev-{n}": random.Random(n).randbytes(16) for n in range(16)}
    house.start()
    loaders = [Loader(house.gate, client, n, house.keys[f"dev-{n}"]) for n in range(16)]
    lost = []
    for _ in range(KILLS):
        load_until_killed(house, loaders, chance)
        house.start()
        assert house.taken()["restored"] == "16", house.gate.log.text()
        for one in loaders:
            one.replay(chance, 8)
            lost.append(one.comes_through(16384))
        assert house.gate.events("session open") == []
    for one in loaders:
        found = numbers(one.client)
        assert len(found) == len(set(found)) > 0
    assert len(echo.data) == len(set(echo.data))
    print(f"{KILLS} kills, records lost behind each: {sorted(lost)[len(lost) // 2]} in the middle, "
          f"less than {max(lost) + 1} at most")
    house.gate.end()
