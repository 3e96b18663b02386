"""state-dir: sessions that outlive the process, and numbers that never come twice."""

import os
import pathlib
import random
import signal
import subprocess
import threading

import pytest

from lib.control import Control
from lib.gate import KEY, Gate, until

GCM = "PSK-AES128-GCM-SHA256"
SUITES = [GCM, "PSK-AES128-CCM8", "PSK-AES256-GCM-SHA384", "PSK-CHACHA20-POLY1305"]
KILLS = int(os.environ.get("STATE_KILLS", "10"))


def processes_with(argument):
    """Process ids of those that still run; ours that have ended are waited for."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argument.encode() in arguments:
            found.append(int(entry.name))
    return found


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

    def begin(self):
        """As start(), but nobody waits until it is ready."""
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

    def start(self):
        self.begin()
        return self.gate.wait_ready()

    def kill(self):
        """All that runs with our settings, whoever it is a child of."""
        for pid in processes_with(str(self.tmp_path / "dtlsgate.ini")):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.gate.process.wait()
        self.gate.stderr.finish()
        until(lambda: not processes_with(str(self.tmp_path / "dtlsgate.ini")))

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


def test_clients_find_their_worker_whatever_the_number(house, client):
    """The rule that shares them out is the key's; another number of workers means another place for
    most, and they are taken there."""
    house.daemon["workers"] = 4
    house.start()
    clients = [client(house.gate).connect() for _ in range(12)]
    for number in (4, 3, 1, 2):
        house.daemon["workers"] = number
        house.crash()
        assert house.taken()["restored"] == "12"
        for c in clients:
            assert c.is_alive(b"among %d" % number)


def test_a_cookie_is_good_across_a_crash(house, client):
    house.start()
    c = client(house.gate).begin()
    held, send = [], c.send_datagram
    c.send_datagram = held.append
    assert not c.step()  # it has a cookie, and its second hello is not on its way yet
    c.send_datagram = send
    house.crash()
    assert house.taken()["cookies"] == "kept"
    for datagram in held:
        send(datagram)
    c.connect()
    assert c.is_alive()
    totals = house.gate.end()
    assert totals["client.hello_accepted"] == 1 and "client.hello_answered" not in totals


ECDHE = "ECDHE-PSK-CHACHA20-POLY1305"


def comes_back(client, to, session):
    """A visit by a session of before. Returns whether it was resumed."""
    c = client(to, ciphers=ECDHE, session=session).connect()
    assert c.is_alive(b"again")
    is_resumed = c.is_resumed
    c.close()
    return is_resumed


def visit(client, to):
    """A first one. Returns its session, which has a ticket."""
    c = client(to, ciphers=ECDHE, ticket=True).connect()
    assert c.is_alive(b"first")
    session = c.session()
    assert session.has_ticket
    c.close()
    return session


@pytest.mark.parametrize("way", ["crash", "restart"])
def test_a_ticket_is_good_for_the_next_process(house, client, way):
    house.service = {"resumption": "yes"}
    house.start()
    session = visit(client, house.gate)
    for _ in range(3):
        getattr(house, way)()
        assert comes_back(client, house.gate, session)
    totals = house.gate.end()
    assert totals["handshakes_resumed"] == 1 and "tickets_refused" not in totals


def test_a_ticket_behind_an_upgrade_and_a_crash(house, client, control):
    """The keys are in the new file before the old one is replaced."""
    house.service = {"resumption": "yes"}
    house.start()
    session = visit(client, house.gate)
    control("upgrade")
    house.crash()
    assert comes_back(client, house.gate, session)


@pytest.mark.parametrize("later, is_good", [(12 * 3600 - 60, True), (12 * 3600 + 1, False)])
def test_a_ticket_is_no_better_for_a_restart(house, client, later, is_good, shifted_clock):
    """Its life counts from its key exchange, whoever looks."""
    house.service = {"resumption": "yes", "ticket-lifetime": "12h"}
    house.start()
    session = visit(client, house.gate)
    house.kill()
    with shifted_clock(later):
        house.start()
    assert comes_back(client, house.gate, session) == is_good
    totals = house.gate.end()
    assert totals.get("tickets_refused", 0) == (not is_good)


@pytest.mark.parametrize("how", ["deleted", "garbage", "another key"])
def test_without_its_file_a_ticket_is_good_for_nothing(house, client, how):
    house.service = {"resumption": "yes"}
    house.start()
    session = visit(client, house.gate)
    house.kill()
    if how == "another key":
        house.write_key()
    elif how == "deleted":
        house.file.unlink()
    else:
        spoil(house, how)
    house.start()
    assert not comes_back(client, house.gate, session)
    assert comes_back(client, house.gate, visit(client, house.gate))
    totals = house.gate.end()
    assert (totals["tickets_refused"], totals["tickets_issued"]) == (1, 2)


def test_a_session_keeps_its_own_address(house, client, echo):
    house.daemon["max-sessions"] = 1000
    house.service = {"backend-source": "127.77.0.0/16"}
    house.start()
    clients = [client(house.gate).connect() for _ in range(5)]
    for c in clients:
        assert c.is_alive()
    before = {d.peer[0] for d in echo.received}
    house.crash()
    for c in reversed(clients):
        assert c.is_alive()
    assert {d.peer[0] for d in echo.received} == before
    assert len(before) == 5


def test_one_that_libssl_keeps_is_told_goodbye(house, client):
    house.service = {"min-version": "1.0"}
    house.start()
    c = client(house.gate, ciphers="PSK-AES128-CBC-SHA").connect()
    assert c.is_alive()
    house.gate.end()
    assert c.wait_closed()
    house.start()
    assert house.taken()["restored"] == "0"


def test_whose_identity_is_gone_stays_away(house, client):
    house.keys = {"dev-1": KEY, "dev-2": KEY[::-1], "dev-3": KEY * 2}
    house.start()
    clients = [client(house.gate, name, key).connect() for name, key in house.keys.items()]
    del house.keys["dev-1"]
    house.keys["dev-3"] = KEY[::-1] * 2
    house.crash()
    assert house.taken() == {"restored": "1", "not-restored": "2", "damaged": "0", "cookies": "kept"}
    house.gate.wait_event("session not restored", identity="dev-1", reason="identity removed")
    house.gate.wait_event("session not restored", identity="dev-3", reason="key changed")
    assert clients[1].is_alive()


@pytest.mark.parametrize(
    "before, behind, is_taken",
    [
        ("[service default]", "[service other]", False),
        ("listen = 127.0.0.1:", "listen = 127.0.0.2:", False),
        ("listen = 127.0.0.1:", "listen = 0.0.0.0:", True),
        ("listen = 127.0.0.1:", "deny = 127.0.0.0/8\nlisten = 127.0.0.1:", False),
        ("idle-timeout = 1h", "idle-timeout = 2h", True),
    ],
)
def test_what_the_next_settings_say_of_it(house, client, before, behind, is_taken):
    house.service = {"idle-timeout": "1h"}
    house.start()
    c = client(house.gate).connect()
    assert c.is_alive()
    house.kill()
    write = house.settings

    def change(*args):
        path = write(*args)
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, behind))
        return path

    house.settings = change
    house.start()
    assert house.taken()["restored"] == str(int(is_taken))
    assert len(house.gate.events("session not restored")) == int(not is_taken)
    assert not is_taken or c.is_alive()


def spoil(house, how):
    content = bytearray(house.file.read_bytes())
    if how == "half-written":
        del content[len(content) // 2 :]
    elif how == "garbage":
        content = bytearray(random.Random(1).randbytes(len(content)))
    elif how == "empty":
        content = bytearray()
    elif how == "torn":
        content[262144 + 64 + 100 :: 448] = bytes(len(content[262144 + 64 + 100 :: 448]))
    house.file.write_bytes(content)


@pytest.mark.parametrize(
    "how, says",
    [
        ("deleted", "holds no sessions yet"),
        ("half-written", 'state: restored=[01] .*damaged=[01]'),
        ("garbage", "is not taken up: it is no state file of dtlsgate; all clients begin anew"),
        ("empty", "is not taken up: it is no state file of dtlsgate; all clients begin anew"),
        ("torn", "state: restored=0 not-restored=0 damaged=1 cookies=kept"),
        ("another key", "is not taken up: it was sealed with another key; all clients begin anew"),
        ("open to others", "is not taken up: it is open to others; all clients begin anew"),
    ],
)
def test_a_file_that_is_not_as_it_was(house, client, how, says):
    """A clean start, whatever is there, and a line that says why."""
    house.start()
    c = client(house.gate).connect()
    assert c.is_alive()
    house.kill()
    if how == "deleted":
        house.file.unlink()
    elif how == "another key":
        house.write_key()
    elif how == "open to others":
        house.file.chmod(0o644)
    else:
        spoil(house, how)
    house.start()
    house.gate.log.wait(says)
    assert client(house.gate).connect().is_alive()
    house.crash()
    assert int(house.taken()["restored"]) >= 1


def test_a_folder_is_used_by_one(house, client, run, free_port):
    house.start()
    c = client(house.gate).connect()
    ini = house.tmp_path / "other.ini"
    text = (house.tmp_path / "dtlsgate.ini").read_text()
    ini.write_text(text.replace(f"127.0.0.1:{house.port}", "127.0.0.1:0"))
    done = run("-c", ini)
    assert done.returncode == 1
    assert "is in use by another process; stop that one first" in done.stderr
    assert c.is_alive()


def test_a_folder_that_is_not_there_is_made(house, client):
    house.dir.rmdir()
    house.start()
    assert house.dir.stat().st_mode & 0o777 == 0o700
    assert house.file.stat().st_mode & 0o777 == 0o600


def test_a_key_is_needed(house, run):
    house.key.write_bytes(b"short")
    ini = house.tmp_path / "x.ini"
    house.start = None
    ini.write_text(
        f"[daemon]\nstate-dir = {house.dir}\nstate-key = {house.key}\n[service a]\n"
        f"listen = 127.0.0.1:0\nbackend = 127.0.0.1:9\npsk-file = {house.psk(house.keys)}\n"
    )
    done = run("-c", ini)
    assert done.returncode == 2
    assert "daemon.state-key: " in done.stderr and "has 5 bytes; make it of 32" in done.stderr
    ini.write_text(ini.read_text().replace("state-dir", "#state-dir"))
    done = run("-t", "-c", ini)
    assert done.returncode == 2
    assert "x.ini:3: daemon.state-key: is set without state-dir" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_as_another_user(house, client, public_path):
    """The key is root's alone, the folder that user's."""
    house.tmp_path.chmod(0o755)
    house.dir = public_path / "state"
    house.dir.mkdir(mode=0o700)
    os.chown(house.dir, 65534, 65534)
    house.daemon["user"] = "nobody"
    house.start()
    c = client(house.gate).connect()
    assert c.is_alive()
    assert house.file.stat().st_uid == 65534
    house.crash()
    assert c.is_alive()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hide something from a process")
def test_who_cannot_know_the_hosts_start_says_so(house, client, tmp_path):
    """With ProcSubset=pid a folder on a disk is good for stops alone; one in memory for crashes too."""
    hidden = tmp_path / "hidden"
    hidden.write_text(
        "#!/bin/sh\nexec unshare -m sh -c "
        f"'mount -t proc -o subset=pid proc /proc && exec {house.binary} \"$@\"' sh \"$@\"\n"
    )
    hidden.chmod(0o755)
    house.binary = str(hidden)
    in_memory = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True)
    house.start()
    c = client(house.gate).connect()
    assert c.is_alive()
    if in_memory.stdout.strip() == "tmpfs":
        assert house.gate.log.find("cannot be read") == []
        house.crash()
        assert c.is_alive()
        return
    house.gate.log.wait("boot_id cannot be read: sessions outlive a stop, but no crash")
    house.restart()
    assert c.is_alive()
    house.crash()
    house.gate.log.wait("is not taken up: the host went down before it was closed")


def in_small_memory(house, size):
    """Lets the folder be a file system of so many bytes, which the gate alone sees."""
    wrapper = house.tmp_path / "small"
    wrapper.write_text(
        "#!/bin/sh\nexec unshare -m sh -c "
        f"'mount -t tmpfs -o size={size},mode=700 none {house.dir} && exec {house.binary} \"$@\"'"
        ' sh "$@"\n'
    )
    wrapper.chmod(0o755)
    house.binary = str(wrapper)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_a_full_disk_costs_the_keeping_alone(house, client):
    """Whatever has no room there is not kept, and whatever is there has its room for good."""
    in_small_memory(house, 600 << 10)  # a head, and a block for small entries
    house.keys["x" * 120] = KEY
    house.start()
    kept = client(house.gate).connect()
    assert kept.is_alive()
    other = client(house.gate, "x" * 120).connect()
    house.gate.log.wait("session not kept: no room in state-dir: id=")
    for c in (other, kept) * 100:
        assert c.is_alive()
    totals = house.gate.end()
    assert totals["sessions_unkept"] == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_a_disk_that_is_full_at_the_start(house):
    in_small_memory(house, 100 << 10)
    house.begin()
    assert house.gate.process.wait(20) == 1
    house.gate.stderr.finish()
    assert "daemon.state-dir: no room in" in house.gate.log.text()


@pytest.fixture
def control(control, orphans, house):
    house.daemon["control-socket"] = control.path
    return control


def test_an_upgrade_takes_the_state_along(house, client, upgrade, echo):
    house.start()
    clients = [client(house.gate, ciphers=suite).connect() for suite in SUITES]
    for n, c in enumerate(clients):
        assert c.is_alive(b"%d before" % n)
    for turn in range(2):
        upgrade(house.gate)
        for n, c in enumerate(clients):
            assert c.is_alive(b"%d behind upgrade %d" % (n, turn))
    house.crash()
    assert house.taken()["restored"] == "4"
    for n, c in enumerate(clients):
        assert c.is_alive(b"%d behind the crash" % n)
        assert len(numbers(c)) == len(set(numbers(c))) == 5
    assert len(echo.data) == len(set(echo.data)) == 16


@pytest.mark.parametrize("what", ["state-dir", "another folder"])
def test_an_upgrade_cannot_take_the_state_away(house, client, control, what):
    house.start()
    c = client(house.gate).connect()
    ini = house.tmp_path / "dtlsgate.ini"
    text = ini.read_text()
    if what == "state-dir":
        ini.write_text(text.replace("state-", "#state-"))
    else:
        ini.write_text(text.replace(f"{house.dir}\n", f"{house.tmp_path / 'other'}\n"))
        (house.tmp_path / "other").mkdir(mode=0o700)
        (house.tmp_path / "other" / "lock").touch()
    with pytest.raises(Control.Refused) as refused:
        control("upgrade")
    assert "and an upgrade cannot change" in str(refused.value)
    assert c.is_alive()
    house.crash()
    assert c.is_alive()


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
