"""Sessions with connection ids through upgrades: found by their ids from wherever they speak, and
bound to the same limits in the new process."""

import pytest
from lib.gate import FileLog, fields, until
from raw.wire import ALERT, DATA

AWAY = "127.5.0.2"
SEALED_100 = 13 + 4 + 8 + 100 + 1 + 16  # a record of the gate's under AES-GCM


@pytest.fixture
def served(start, control):
    """A gate with four workers that can be upgraded."""

    def start_it(daemon=None, **service):
        return start(
            daemon={"workers": 4, "control_socket": control.path, **(daemon or {})}, **service
        )

    return start_it


class Numbers:
    """Record numbers of what one client gets: they may only grow."""

    def __init__(self, client):
        self.newest = 0
        self.parse, client.parse = client.parse, self.look

    def look(self, datagram):
        records = self.parse(datagram)
        for rec in records:
            if rec.epoch == 1:
                assert rec.seq > self.newest
                self.newest = rec.seq
        return records


def next_of(c, kind):
    """Not by a hello behind it: with several workers that one may be answered first."""
    while True:
        for rec in c.receive():
            if rec.type == kind:
                return rec


@pytest.mark.parametrize("length", [0, 8, 255])
def test_clients_rebind_through_upgrades(client, served, upgrade, echo, length):
    """Workers are chosen by the id in the new process as well, and backends see the same ports."""
    to = served()
    clients = [client(to, cid=bytes(range(length))).handshake() for _ in range(12)]
    numbers = [Numbers(c) for c in clients]
    ids = {c.server_cid for c in clients}
    assert len(ids) == 12
    for c in clients:
        c.echo(b"x" * 300)
    for turn in range(3):
        for at, c in enumerate(clients):
            if at % 2:
                c.move()
        assert upgrade(to)["sessions"] == 12
        for at, c in enumerate(clients):
            if at % 3:
                c.move(AWAY if turn % 2 else "127.5.0.1")
            c.echo(b"%d" % turn + b"x" * 300)
            c.echo(b"again")
    assert all(n.newest >= 6 for n in numbers)
    assert len(echo.ports) == 12
    fresh = [client(to, cid=b"new").handshake() for _ in range(4)]
    for c in fresh:
        c.echo()
    assert not ids & {c.server_cid for c in fresh}
    totals = to.end()
    assert totals["handshakes_started"] == 16 and totals["sessions_moved"] >= 24
    assert totals.get("client.drop_stranger", 0) == 0
    assert totals["flows_opened"] == 16
    assert totals.get("records_passed_on", 0) == 0  # the kernel steers in the new process, too


def test_the_window_and_the_moves_go_along(client, served, upgrade, control, tmp_path):
    to = served(daemon={"access_log": tmp_path / "access.log"})
    access = FileLog(tmp_path / "access.log")
    c = client(to, cid=b"mine").handshake()
    taken = c.seal(DATA, b"taken")
    c.send(taken)
    assert c.await_data() == b"taken"
    late = c.seal(DATA, b"late")
    for _ in range(2):
        c.move()
        c.echo()
    upgrade(to)
    (told,) = control.json("sessions")["sessions"]
    assert told["cid"] == c.server_cid.hex() and told["peer-cid"] == b"mine".hex()
    assert told["moves"] == 2 and told["peer"] == c.own
    c.send(taken)
    c.send(late)
    assert c.await_data() == b"late"
    c.move()
    c.echo()
    c.send(c.seal(ALERT, b"\1\0"))
    assert c.open(next_of(c, ALERT)) == b"\1\0"
    entry = fields(access.wait("session: id="))
    assert entry["moves"] == "3" and entry["in-datagrams"] == "5"
    assert (entry["replayed"], entry["reordered"], entry["lost"]) == ("1", "1", "0")
    assert to.end()["client.drop_replay"] == 1


def test_an_unproven_address_gets_no_more_for_an_upgrade(client, gate, backend, control, upgrade):
    """What is left of three times its bytes is all that it gets from the new process."""
    flood = backend(lambda data: [b"y" * 100] * 5 if data == b"flood" else data)
    to = gate(flood, daemon={"workers": 1, "control_socket": control.path})
    c = client(to, cid=b"mine", source="127.0.0.1").handshake()
    c.echo(b"here")
    c.move("127.0.0.9")
    record = c.seal(DATA, b"flood")
    c.send(record)
    fits = 3 * len(record) // SEALED_100
    assert [c.await_data() for _ in range(fits)] == [b"y" * 100] * fits
    dropped = lambda: control.json("status")["counters"].get("backend.drop_unproven", 0)
    until(lambda: dropped() == 5 - fits)
    upgrade(to)
    for _ in range(4):
        flood.send(flood.received[-1].peer, b"y" * 100)
    until(lambda: dropped() == 5 - fits + 4)
    c.send_data(b"flood")  # heard of twice: no bound any more
    assert [c.await_data() for _ in range(5)] == [b"y" * 100] * 5
    assert to.end()["backend.drop_unproven"] == 5 - fits + 4


def test_sessions_that_share_an_address_all_go(client, served, upgrade):
    """Which peers would be told apart by nothing but their ids."""
    to = served()
    one, other = (client(to, cid=b"mine").handshake() for _ in range(2))
    for c in (one, other):
        c.echo()
    shared = one.new_socket("127.5.0.1")
    for c in (one, other):
        c.socket.close()
        c.socket = shared.dup()
        c.echo(b"x" * 300)
    assert upgrade(to)["sessions"] == 2
    for c in (one, other, one):
        c.echo(b"from one place")
    assert to.end()["sessions_ended"] == 2
