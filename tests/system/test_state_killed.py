"""state-dir: whoever is killed at whatever moment, sessions go on and no number comes twice."""

import os
import random
import signal
import threading

import pytest

from lib.house import SUITES, numbers, processes_with

KILLS = int(os.environ.get("STATE_KILLS", "10"))


@pytest.fixture(autouse=True)
def nobody_looks_for_leaks(monkeypatch):
    """Who is killed while it looks for them at its end would leave half a report."""
    options = [os.environ.get("ASAN_OPTIONS"), "detect_leaks=0"]
    monkeypatch.setenv("ASAN_OPTIONS", ":".join(filter(None, options)))


@pytest.fixture
def control(control, orphans, house):
    house.daemon["control-socket"] = control.path
    return control


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
    assert sorted(lost)[len(lost) // 2] == 0
    print(f"{KILLS} kills, records lost behind each: {sorted(lost)[len(lost) // 2]} in the middle, "
          f"less than {max(lost) + 1} at most")
    house.gate.end()


def assert_all_go_on(house, loaders, chance):
    """Behind a crash: no handshake, and nothing of before does anything."""
    assert house.taken()["restored"] == str(len(loaders)), house.gate.log.text()
    for one in loaders:
        one.replay(chance, 8)
        one.comes_through(16384)
    assert house.gate.events("session open") == []


def assert_nothing_twice(loaders, echo):
    for one in loaders:
        found = numbers(one.client)
        assert len(found) == len(set(found)) > 0
    assert len(echo.data) == len(set(echo.data))


@pytest.mark.patience(120 + 5 * KILLS)
def test_killed_at_any_moment_of_a_start(house, client, echo):
    """Of the two files one counts at each moment, and nothing has been sent by the other."""
    chance = random.Random(int(os.environ.get("STATE_SEED", "1")))
    house.keys = {f"dev-{n}": random.Random(n).randbytes(16) for n in range(8)}
    house.start()
    loaders = [Loader(house.gate, client, n, house.keys[f"dev-{n}"]) for n in range(8)]
    for _ in range(KILLS):
        for one in chance.choices(loaders, k=50):
            one.speak()
        house.kill()
        for _ in range(chance.randrange(1, 4)):
            house.begin()
            timer = threading.Timer(chance.uniform(0.0, 0.05), house.kill)
            timer.start()
            while timer.is_alive():
                chance.choice(loaders).speak()
                timer.join(0.001)
        house.start()
        assert_all_go_on(house, loaders, chance)
    assert_nothing_twice(loaders, echo)


def kill_one(house, chance):
    """The process that was there before, or the one that is to take over, where it is there yet; the
    other one does what it thinks right."""
    there = sorted(processes_with(str(house.tmp_path / "dtlsgate.ini")))
    try:
        os.kill(chance.choice(there), signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        pass  # it has ended by itself


@pytest.mark.patience(120 + 5 * KILLS)
def test_one_of_two_is_killed_at_any_moment_of_an_upgrade(house, client, control, echo):
    """Then the other, at any later one."""
    chance = random.Random(int(os.environ.get("STATE_SEED", "1")))
    house.keys = {f"dev-{n}": random.Random(n).randbytes(16) for n in range(8)}
    house.start()
    loaders = [Loader(house.gate, client, n, house.keys[f"dev-{n}"]) for n in range(8)]
    for _ in range(KILLS):
        os.kill(house.gate.pid, signal.SIGUSR2)
        first = chance.uniform(0.01, 0.1)
        timers = [
            threading.Timer(first, kill_one, (house, chance)),
            threading.Timer(first + chance.uniform(0.0, 0.1), house.kill),
        ]
        for timer in timers:
            timer.start()
        while timers[1].is_alive():
            chance.choice(loaders).speak()
            timers[1].join(0.001)
        house.start()
        assert_all_go_on(house, loaders, chance)
    assert_nothing_twice(loaders, echo)


@pytest.mark.patience(120 + 5 * KILLS)
def test_killed_at_any_moment_of_an_upgrade(house, client, control, echo):
    """Whoever has the sessions at that moment: each goes on, and no number comes twice."""
    chance = random.Random(int(os.environ.get("STATE_SEED", "1")))
    house.keys = {f"dev-{n}": random.Random(n).randbytes(16) for n in range(8)}
    house.start()
    loaders = [Loader(house.gate, client, n, house.keys[f"dev-{n}"]) for n in range(8)]
    for _ in range(KILLS):
        os.kill(house.gate.pid, signal.SIGUSR2)
        timer = threading.Timer(chance.uniform(0.0, 0.12), house.kill)
        timer.start()
        while timer.is_alive():
            chance.choice(loaders).speak()
            timer.join(0.001)
        house.start()
        assert_all_go_on(house, loaders, chance)
    assert_nothing_twice(loaders, echo)
