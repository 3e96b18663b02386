"""The attacker of doc/CONFORMANCE.md, all at once: one who knows a client's addresses and ports
sends 10,000 forged datagrams per second in its name, of every kind. A handshake is delayed by less
than one retransmission, and an established session loses nothing.

DTLSGATE_LONG=1: a hundred times. The figures are in what a test prints (pytest -rP)."""

import os
import pathlib
import re
import subprocess
import time

import pytest
from lib.gate import IDENTITY, KEY
from raw.cases import ALL_SUITES
from raw.patient import FIRST_WAIT, Patient

RATE = 10000
OTHER = "dev-2"  # another name that the gate knows, and the attacker too
BREATH = 0.05  # seconds that a client takes for its flight: 500 forgeries come in
ECHOES = 10  # behind each handshake
RUNS = 100 if os.environ.get("DTLSGATE_LONG") == "1" else 4


@pytest.fixture(scope="session")
def flood_program(compiled):
    return compiled(pathlib.Path(__file__).parent / "flood.c")


class Flood:
    """Datagrams in the name of a client, to the end of the block."""

    def __init__(self, program, client, kind="all"):
        fd = client.socket.fileno()
        self.process = subprocess.Popen(
            [program, str(RATE), IDENTITY, OTHER, kind, str(fd)],
            pass_fds=[fd],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        out, _ = self.process.communicate("")
        assert self.process.returncode == 0
        self.sent, milliseconds = map(int, re.findall(r"\d+", out))
        assert self.sent > RATE * milliseconds / 1000 * 0.8


@pytest.fixture
def patient(gate, echo):
    """Makes patient clients of one gate with its settings as they are by default."""
    keys = {IDENTITY: KEY, OTHER: KEY[::-1]}
    to = gate(echo, keys=keys, daemon={"workers": 1}, listen=f"{echo.host}:0")
    made = []

    def make(**how):
        made.append(Patient(to.address(), IDENTITY.encode(), KEY, **how))
        return made[-1]

    make.gate = to
    yield make
    for one in made:
        one.close()


def shake(client, suite, in_pieces):
    """A handshake on the client's one port, its second flight in one datagram or in three. Returns
    how long it had to wait, in seconds."""

    def send(*records):
        for datagram in records if in_pieces else [b"".join(records)]:
            client.send(datagram)

    client.reset()
    client.suite = suite
    client.forget_answers()
    begun = time.monotonic()
    client.begin()
    time.sleep(BREATH)
    client.finish(send)
    return time.monotonic() - begun - BREATH


def talk(client):
    """Each question has to come back: nothing is asked twice."""
    client.forget_answers()
    for number in range(ECHOES):
        client.echo(b"question %d" % number)


CASES = [(suite, in_pieces) for suite in ALL_SUITES for in_pieces in (False, True)]


@pytest.mark.parametrize("run", range(RUNS))
def test_flood_in_the_name_of_a_client(patient, flood_program, run):
    handshaking, established = patient(), patient(suite=ALL_SUITES[run % len(ALL_SUITES)])
    established.begin()
    established.finish()
    calm = [shake(handshaking, *case) for case in CASES]
    with Flood(flood_program, handshaking) as one, Flood(flood_program, established) as two:
        flooded = []
        for case in CASES:
            flooded.append(shake(handshaking, *case))
            talk(established)
    delays = [b - a for a, b in zip(calm, flooded)]
    print(f"delays: mean {sum(delays) / len(delays):.4f} s, longest {max(delays):.4f} s,")
    print(f"repeats of the client: {handshaking.repeats}, forged: {one.sent + two.sent}")
    assert max(delays) < FIRST_WAIT
    totals = patient.gate.end()
    assert totals["client.forwarded"] == len(CASES) * ECHOES
    assert totals["client_datagrams"] > 0.8 * (one.sent + two.sent)
    assert totals["handshakes_completed"] == totals["handshakes_started"] == 1 + 2 * len(CASES)
