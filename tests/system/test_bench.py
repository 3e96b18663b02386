"""The measurements work: each case with each proxy, a little of it, and nothing wrong in any answer.
Never a word about how long it took."""

import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from lib.gate import IDENTITY, KEY

TOP = pathlib.Path(__file__).parents[2]
BENCH = TOP / "bench"


@pytest.fixture
def measure(binary):
    """Runs a script of bench/ on the build that dtlsgate is of."""

    def run(script, *arguments, status=0):
        builddir = pathlib.Path(binary).parents[1]
        program = builddir / "bench" / "dtls_load"
        assert program.exists(), f"'make bench' makes {program}"
        command = [sys.executable, BENCH / script, "--builddir", builddir, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == status, done.stderr
        return done

    return run


def rows(text, head):
    """The cells of the rows that begin with `head`."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {head}")]
    return [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines]


def test_every_case_gives_its_figures(measure, tmp_path):
    readme = tmp_path / "README.md"
    text = (BENCH / "README.md").read_text()
    readme.write_text(text)
    out = measure("run.py", "--smoke", "--readme", readme).stdout
    assert out in readme.read_text()
    head, _, rest = text.partition("<!-- figures of run.py -->")
    assert readme.read_text().startswith(head)
    assert readme.read_text().endswith(rest.partition("<!-- end of the figures -->")[2])
    traffic, latency = rows(out, r"**dtlsgate**")
    assert len(traffic) == 5 and all(re.fullmatch(r"\d+\.\d\d", cell) for cell in traffic)
    assert latency[-1] == "0", "datagrams were lost"
    assert "Lost: 0 of" in out
    for proxy in ("plain relay, one", "plain relay with", "nginx", "socat", "dtlsgate, 2"):
        assert re.fullmatch(r"\d+\.\d\d", rows(out, proxy)[0][0]), proxy
    for words in ("Full handshakes", "A spoofed hello", "per idle session", "200 from all over were woken"):
        assert words in out


@pytest.mark.parametrize("case", ["1x16-64", "devices"])
def test_what_goes_wrong_is_no_figure(measure, tmp_path, case):
    """The identity of the clients is not one that the gate knows."""
    setting = [f"--set=service.default.{key}" for key in ("psk-file={}", "unknown-identity=alert")]
    psk = tmp_path / "other.psk"
    psk.write_text(f"other:{KEY.hex()}\n")
    psk.chmod(0o600)
    setting[0] = setting[0].format(psk)
    wrong = ["--case", case, "--proxy", "dtlsgate", *setting]
    told = measure("run.py", "--smoke", *wrong, status=1)
    assert "not one datagram" in told.stderr or "'failed': 1000" in told.stderr


def test_the_gate_is_measured_with_other_suites(measure):
    suite = ["--suite", "PSK-CHACHA20-POLY1305", "--libssl", "--case", "16x4-64"]
    out = measure("run.py", "--smoke", "--proxy", "dtlsgate", *suite).stdout
    assert "PSK-CHACHA20-POLY1305" in out and len(rows(out, r"**dtlsgate**")) == 1


@pytest.fixture
def load(binary):
    """Runs a load generator to its end: the status, and its last line as a dictionary."""

    def run(program, *arguments, **how):
        path = pathlib.Path(binary).parents[1] / "bench" / program
        done = subprocess.run(
            [path, *map(str, arguments)], capture_output=True, text=True, timeout=60, **how
        )
        pairs = dict(pair.split("=") for pair in done.stdout.splitlines()[-1].split())
        return done.returncode, pairs

    return run


def after(count, spoil):
    """Answers of a backend that goes wrong once."""
    turns = iter(range(1000000))
    return lambda data: spoil(data) if next(turns) == count else data


WRONG = {
    "of another session": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "of another place": lambda data: data[:4] + bytes([data[4] ^ 1]) + data[5:],
    "of another turn": lambda data: data[:8] + bytes([data[8] ^ 1]) + data[9:],
    "changed": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "cut": lambda data: data[:-1],
}


@pytest.mark.parametrize("mode", [["-w", 4], ["-m", "paced", "-r", 1000]], ids=["closed", "open"])
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_answer_is_told(load, backend, mode, what):
    to = backend(after(50, WRONG[what])).address
    status, told = load("dtls_load", "-x", "-n", 8, "-k", 200, "-t", 200, *mode, to)
    assert (status, told["wrong"], told["lost"]) == (1, "1", "1")


@pytest.mark.parametrize("mode", [["-w", 4], ["-m", "paced", "-r", 1000]], ids=["closed", "open"])
def test_lost_and_repeated_answers_are_told(load, backend, mode):
    arguments = ["-x", "-n", 8, "-k", 200, "-t", 200, *mode]
    status, told = load("dtls_load", *arguments, backend(after(50, lambda data: None)).address)
    assert (status, told["lost"], told["round_trips"]) == (0, "1", "199")
    twice = backend(after(50, lambda data: [data, data])).address
    status, told = load("dtls_load", *arguments, twice)
    assert (status, told["late"], told["round_trips"]) == (0, "1", "200")


def test_latency_counts_from_when_a_datagram_was_due(load, backend):
    """A service that stalls once: those that should have come meanwhile have waited, too."""
    to = backend(after(200, lambda data: time.sleep(0.5) or data)).address
    _, told = load("dtls_load", "-m", "paced", "-x", "-n", 4, "-r", 1000, "-k", 1000, to)
    assert told["round_trips"] == "1000"
    assert float(told["max_us"]) >= 500000 and float(told["p99_us"]) >= 450000


@pytest.mark.parametrize("what", ["echo", "changed"])
def test_devices_want_their_own_echo(load, gate, backend, what):
    address = gate(backend(WRONG.get(what, lambda data: data))).address()
    fleet = ["-i", IDENTITY, "-s", KEY.hex(), "{}:{}".format(*address)]
    told = load("devices", *fleet, input="open 10\nwake 10\n")[1]
    is_good = what == "echo"
    assert (told["done"], told["failed"]) == (("10", "0") if is_good else ("0", "10"))
    assert (told["wrong"] == "0") == is_good


def test_programs_say_how_they_are_used(binary):
    folder = pathlib.Path(binary).parents[1] / "bench"
    for name in ("devices", "dtls_load", "hello_flood", "udp_echo", "udp_relay"):
        done = subprocess.run([folder / name, "x", "y"], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.startswith(f"usage: {name} "), name
        assert os.access(folder / name, os.X_OK)
