"""Many clients at once: nobody ever gets what was meant for another."""

import random
import subprocess

import pytest

from lib.gate import IDENTITY, KEY


@pytest.mark.parametrize("workers", [1, 4])
def test_a_thousand_sessions_each_reply_for_its_owner(gate, echo, many_clients, workers):
    g = gate(echo, daemon={"workers": workers})
    host, port = g.address()
    done = subprocess.run(
        [many_clients, host, str(port), IDENTITY, KEY.hex(), "1000", "3"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len(echo.ports) == 1000
    for n in (1, 1000):
        g.wait_event("session end", n, reason="closed by client")
    totals = g.end()
    assert totals["sessions_ended"] == totals["flows_opened"] == 1000


def test_sessions_of_many_identities_and_suites_interleaved(gate, echo, client):
    keys = {f"dev-{n}": random.Random(n).randbytes(16 + n) for n in range(40)}
    suites = ["ECDHE-PSK-CHACHA20-POLY1305", "PSK-AES256-GCM-SHA384", "PSK-AES128-CBC-SHA"]
    g = gate(echo, keys=keys, min_version="1.0")
    clients = {
        name: client(g, name, key, ciphers=suites[n % 3]).connect()
        for n, (name, key) in enumerate(keys.items())
    }
    for turn in range(5):
        for name, c in clients.items():
            c.send(f"{name} in turn {turn}".encode())
        for name, c in clients.items():
            assert c.recv() == f"{name} in turn {turn}".encode()
    assert len(echo.ports) == len(clients)
    assert {o["identity"] for o in g.events("session open")} == set(keys)
