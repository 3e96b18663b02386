"""What is told of each backend, wherever figures are told, while one of them dies and returns."""

import pytest

from lib.backend import Backend
from lib.control import Control
from lib.gate import KEY, fields, until
from lib.http import get, metrics

KEYS = {f"dev-{i}": KEY for i in range(1, 9)}


@pytest.fixture
def told(gate, backend, tmp_path):
    """A gate with two backends, of which the first may be closed, and all the ways to look."""

    def start(**how):
        a, b = backend(), backend()
        g = gate(
            f"{a.address}, {b.address} weight=3",
            keys=KEYS,
            balance="round-robin",
            daemon={"http": "127.0.0.1:0", "workers": 2, "control-socket": tmp_path / "control"},
            **how,
        )
        g.a, g.b = a, b
        g.control = Control(tmp_path / "control")
        return g

    return start


def row(gate, one):
    """One backend by the control socket."""
    return next(r for r in gate.control.json("backends")["backends"] if r["address"] == one.address)


def value(gate, name, one):
    return metrics(gate).get((name, (("service", "default"), ("backend", one.address))))


def by_control(gate):
    lines = [fields(line) for line in gate.control("backends default").splitlines()]
    return {f["address"]: f["state"] for f in lines}


def by_http(gate):
    (service,) = get(gate, "/status.json").json["services"]
    return {b["address"]: b["state"] for b in service["backends"]}


def states(gate):
    """Of both; each of the ways tells the same, as long as nothing changes in between."""
    before, found, after = by_control(gate), by_http(gate), by_control(gate)
    assert found == after or before != after
    return [after.get(one.address) for one in (gate.a, gate.b)]


def test_traffic_is_counted_by_backend(told, client):
    g = told(proxy_protocol="v2")
    clients = [client(g, i, KEYS[i]).connect() for i in KEYS]
    for c in clients:
        c.send(b"12345")
    g.a.wait(1), g.b.wait(1)
    until(lambda: sum(len(one.received) for one in (g.a, g.b)) == len(clients))
    until(lambda: sum(row(g, one)["received-datagrams"] for one in (g.a, g.b)) == len(clients))
    for one in (g.a, g.b):
        n = len(one.received)
        got = row(g, one)
        assert got["state"] == "up" and got["workers-up"] == 2 and got["refused"] == 0
        assert got["weight"] == (1 if one is g.a else 3)
        assert (got["flows"], got["flows-opened"], got["sent-datagrams"]) == (n, n, n)
        assert got["sent-bytes"] == 5 * n, "a header is no plaintext"
        assert got["received-bytes"] == sum(len(d.data) for d in one.received)
        assert value(g, "dtlsgate_backend_flows", one) == n
        assert value(g, "dtlsgate_backend_sent_bytes_total", one) == 5 * n
        assert value(g, "dtlsgate_backend_weight", one) == got["weight"]
    assert states(g) == ["up", "up"]
    assert row(g, g.a)["state-ms"] <= g.control.json("status")["uptime-ms"]


@pytest.mark.parametrize("probe", ["udp:70", "none"])
def test_one_that_dies_and_returns(told, client, probe):
    g = told(probe=probe, probe_interval="100ms", backend_retry="1s")
    clients = [client(g, i, KEYS[i]).connect() for i in KEYS]
    assert all(c.is_alive() for c in clients)
    before = value(g, "dtlsgate_backend_last_change_timestamp_seconds", g.a)
    port, host = g.a.port, g.a.host
    g.a.close()

    def is_down():
        for c in clients:
            c.send(b"lost")
        return states(g)[0] == "down"

    until(is_down)
    assert row(g, g.a)["workers-up"] < 2 or probe == "none"
    until(lambda: is_down() and value(g, "dtlsgate_backend_up", g.a) == 0)
    assert value(g, "dtlsgate_backend_up", g.b) == 1
    assert value(g, "dtlsgate_backend_last_change_timestamp_seconds", g.a) > before
    assert row(g, g.a)["state-ms"] < g.control.json("status")["uptime-ms"]
    back = Backend(host=host, port=port)
    until(lambda: states(g) == ["up", "up"])
    assert value(g, "dtlsgate_backend_up", g.a) == 1
    g.end()
    back.close()


def test_draining_and_gone(told, client, tmp_path):
    g = told()
    clients = [client(g, i, KEYS[i]).connect() for i in KEYS]
    assert all(c.is_alive() for c in clients)
    g.control(f"backend default {g.a.address} drain")
    assert states(g) == ["draining", "up"]
    assert value(g, "dtlsgate_backend_draining", g.a) == value(g, "dtlsgate_backend_up", g.a) == 1
    ini = tmp_path / "dtlsgate.ini"
    ini.write_text(ini.read_text().replace(f"{g.a.address}, ", ""))
    assert "reloaded" in g.reload()
    assert states(g) == ["gone", "up"]
    assert row(g, g.a)["flows"] > 0 and value(g, "dtlsgate_backend_flows", g.a) > 0
    assert value(g, "dtlsgate_backend_up", g.a) is None, "nobody is to be woken for it"
    assert all(c.is_alive() for c in clients)
    assert states(g) == [None, "up"], "its flows have moved"


def test_one_service_or_none_of_the_name(told):
    g = told()
    assert len(g.control.json("backends default")["backends"]) == 2
    assert g.control.refusal("backends other")[0].startswith("there is no service")
