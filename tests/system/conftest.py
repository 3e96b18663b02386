"""Fixtures: clients as they should be, and what stands between them and the gate."""

import contextlib
import os
import pathlib
import tempfile

import pytest

from lib.backend import unused_port
from lib.dtls import Client
from lib.gate import Gate
from lib.wire import Wire

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def public_path():
    """A folder that other users can enter; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def echo(backend):
    return backend()


@pytest.fixture
def start(gate, echo, control):
    """Starts a gate with two workers that listens to `control`, in front of `echo` unless `to` is
    another; files of tests have their own where that is not what they need."""

    def start_it(daemon=None, **how):
        place = {"control-socket": control.path, "workers": 2}
        return gate(how.pop("to", echo), daemon={**place, **(daemon or {})}, **how)

    return start_it


@pytest.fixture
def client():
    """Makes clients; those still open at the test's end are abandoned."""
    made = []

    def make(to, *args, **how):
        address = to.address() if isinstance(to, Gate) else to
        made.append(Client(address, *args, **how))
        return made[-1]

    yield make
    for one in made:
        one.abandon()


@pytest.fixture(scope="session")
def many_clients(compiled):
    """The C program that is a thousand clients at once."""
    path = os.environ.get("MANY_CLIENTS")
    return path or compiled(HERE / "many_clients.c", "-lssl", "-lcrypto")


@pytest.fixture
def shifted_clock(compiled, monkeypatch):
    """with shifted_clock(seconds): whoever is started in there has a wall clock that is ahead."""
    library = compiled(HERE / "clock_shift.c", "-shared", "-fPIC")

    @contextlib.contextmanager
    def shift(seconds):
        with monkeypatch.context() as m:
            m.setenv("LD_PRELOAD", str(library))
            m.setenv("ASAN_OPTIONS", "verify_asan_link_order=0")
            m.setenv("CLOCK_SHIFT", str(seconds))
            yield

    return shift


@pytest.fixture
def lossy():
    """Puts a wire that loses something between a client and the gate."""
    made = []

    def make(*args):
        made.append(Wire(*args))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def free_port():
    return unused_port()
