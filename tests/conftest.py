"""Fixtures of all that is tested from outside. Who starts things also ends them, and looks at what
they left behind."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).parent / "system"))

from lib import gate as gate_module  # noqa: E402  after the path to it
from lib.backend import Backend  # noqa: E402
from lib.control import Control  # noqa: E402
from lib.gate import IDENTITY, KEY, Gate, adopt_orphans, ending  # noqa: E402

TEST_SECONDS = 120


def pytest_configure(config):
    config.addinivalue_line("markers", "patience(seconds): the test may take that long")
    config.addinivalue_line("markers", "filtered: makes no sense with a sanitizer's build")
    config.addinivalue_line("markers", "long: runs where LONG is set, as scripts/survive does")


def is_wanted(item, is_sanitized):
    """A sanitizer's build has no filter of system calls, so what looks at it has no subject."""
    if is_sanitized and item.get_closest_marker("filtered"):
        return False
    return "LONG" in os.environ or not item.get_closest_marker("long")


def pytest_collection_modifyitems(config, items):
    program = pathlib.Path(os.environ.get("DTLSGATE", "/nonexistent"))
    is_sanitized = program.exists() and b"__asan_init" in program.read_bytes()
    unwanted = [item for item in items if not is_wanted(item, is_sanitized)]
    config.hook.pytest_deselected(items=unwanted)
    items[:] = [item for item in items if item not in unwanted]


@pytest.fixture(autouse=True)
def hurry(request):
    """No test may hang: everything waits with a deadline, and this is the one behind them. A test
    that is meant to be long says so: @pytest.mark.patience(seconds)."""
    patience = request.node.get_closest_marker("patience")
    seconds = patience.args[0] if patience else TEST_SECONDS

    def give_up(_number, _frame):
        raise TimeoutError(f"the test takes longer than {seconds} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    yield
    signal.alarm(0)


@pytest.fixture(scope="session")
def binary():
    path = os.environ.get("DTLSGATE")
    if not path:
        pytest.exit("set DTLSGATE to the program to test, as make check-system does", 2)
    return os.path.abspath(path)


@pytest.fixture
def run(binary, tmp_path):
    """Runs dtlsgate for something that ends by itself."""

    def run_it(*args, **how):
        return gate_module.run(binary, *args, cwd=tmp_path, **how)

    return run_it


@pytest.fixture
def psk(tmp_path):
    """Writes a key file: psk({"identity": key_bytes}, name="psk")."""

    def write(keys, name="psk"):
        path = tmp_path / name
        lines = []
        for identity, key in keys.items():
            identity = identity.encode() if isinstance(identity, str) else identity
            lines.append(identity + b":" + key.hex().encode() + b"\n")
        path.write_bytes(b"".join(lines))
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def settings(tmp_path):
    """Writes an INI file of sections: settings({"daemon": {...}, "service coap": {...}})."""

    def write(sections, name="dtlsgate.ini"):
        text = ""
        for title, pairs in sections.items():
            lines = [f"{key.replace('_', '-')} = {value}\n" for key, value in pairs.items()]
            text += f"[{title}]\n{''.join(lines)}\n"
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def backend():
    """Makes backends; they end with the test."""
    made = []

    def make(*args, **how):
        made.append(Backend(*args, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def gate(binary, tmp_path, psk, settings):
    """Starts dtlsgates; at the test's end each must end well.

    gate(backend, keys={...}, daemon={...}, option=value, ...) makes an INI file with one service
    named default; gate(ini=PATH) takes one as it is; `args` come behind both."""
    made = []

    def start(to=None, *, ini=None, keys=None, daemon=None, args=(), log_path=None, **service):
        has_totals = service.pop("has_totals", True)
        keys = {IDENTITY: KEY} if keys is None else keys
        if ini is None:
            place = {
                "listen": service.pop("listen", "127.0.0.1:0"),
                "backend": to if isinstance(to, str) else to.address,
                "psk-file": service.pop("psk_file", None) or psk(keys),
            }
            ini = settings({"daemon": daemon or {}, "service default": {**place, **service}})
        secrets = [key.hex() for key in keys.values()]
        made.append(Gate(binary, ["-c", ini, *args], tmp_path, log_path, has_totals, secrets))
        return made[-1].wait_ready()

    with ending(made):
        yield start


@pytest.fixture
def orphans():
    """Behind an upgrade the new process is a child of ours."""
    adopt_orphans(True)
    yield
    adopt_orphans(False)


@pytest.fixture
def control(tmp_path):
    """The control socket of a gate that is told of its path."""
    return Control(tmp_path / "control.sock")


@pytest.fixture
def upgrade(control, orphans):
    """Upgrades the gate that `control` speaks to; what that one answers."""

    def upgrade_it(g):
        answer = control.json("upgrade")
        assert answer["upgraded"] is True
        g.follow(answer["pid"])
        return answer

    return upgrade_it


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Makes a program of a C source that belongs to the tests."""

    def make(source, *libraries):
        path = tmp_path_factory.mktemp(source.stem) / source.stem
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run(
            [*compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
            + ["-o", path, source, *libraries],
            check=True,
        )
        return path

    return make
