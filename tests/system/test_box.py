"""The box: what the process can no longer do while it serves, and that it can still do its work."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess

import pytest

from lib.gate import KEY, Gate, ending, until
from lib.helper import Helper
from lib.programs import s_client

NOBODY = 65534
SIGSYS_BLOCKED = 1 << (signal.SIGSYS - 1)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
DENIED = "system call denied"
# Put before libc's own, so that each worker makes a call that the box denies.
MEDDLER = """
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    if (chroot("/") == 0)
        return -1;
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}
"""
UNFILTERED = "system calls are not filtered: this build has a sanitizer"


def threads(gate):
    """The status of each thread of the process."""
    for task in pathlib.Path(f"/proc/{gate.pid}/task").iterdir():
        text = (task / "status").read_text()
        yield dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def new_log(path):
    path.touch()
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    return path


@pytest.fixture
def keys(psk, public_path):
    """Writes the key file that nobody can read: keys({"identity": key})."""

    def write(content):
        path = psk(content, public_path / "psk")
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        return path

    return write


@pytest.fixture
def place(echo, keys):
    """The options of a service."""
    return {
        "listen": "127.0.0.1:0",
        "backend": echo.address,
        "psk-file": keys({"dev-1": KEY}),
    }


@pytest.fixture(params=["from root", "as ordinary user"])
def start(request, gate, binary, settings, public_path):
    """Starts a gate that ends up as nobody, or as whoever runs the tests: start(daemon, service)."""
    made = []
    is_root = os.geteuid() == 0
    if request.param == "from root" and not is_root:
        pytest.skip("needs root")

    def start_it(daemon, service, log_path=None):
        if request.param == "from root":
            daemon = {**daemon, "user": "nobody"}
        ini = settings({"daemon": daemon, "service default": service}, public_path / "box.ini")
        if request.param == "from root" or not is_root:
            return gate(ini=ini, log_path=log_path)
        program = shutil.copy(binary, public_path)
        words = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", program, "-c", ini]
        made.append(Gate("setpriv", words, public_path, log_path))
        return made[-1].wait_ready()

    start_it.was_root = request.param == "from root"
    with ending(made):
        yield start_it


def blocks_sigsys(status):
    return int(status["SigBlk"], 16) & SIGSYS_BLOCKED


def assert_boxed(g, was_root):
    is_filtered = not g.log.find(UNFILTERED)
    seen = list(threads(g))
    for s in seen:
        assert s["NoNewPrivs"] == "1"
        assert s["Seccomp"] == ("2" if is_filtered else "0")
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") + ("CapBnd",) * was_root:
            assert int(s[name], 16) == 0, name
        if os.geteuid() == 0:
            assert s["Uid"].split() == s["Gid"].split() == [str(NOBODY)] * 4
    # A thread that is just being made blocks everything for a moment.
    until(lambda: not any(blocks_sigsys(s) for s in threads(g)))
    return seen


def test_each_thread_is_in_the_box(start, place):
    g = start({"workers": 3}, place)
    assert len(assert_boxed(g, start.was_root)) >= 4


def test_keys_are_locked_in_memory(start, place):
    g = start({}, place)
    assert int(next(threads(g))["VmLck"].split()[0]) > 0
    assert not g.log.find("may come to lie on swap")


@pytest.mark.parametrize("form", ["text", "json"])
def test_all_work_is_done_in_the_box(start, place, keys, client, backend, public_path, form):
    """Traffic, a reload with another key and a name to look up, a rotated log, and the end."""
    log = new_log(public_path / "log")
    daemon = {"workers": 4, "log": log, "log-format": form, "log-level": "debug"}
    g = start(daemon, place, log_path=log)
    old, new = client(g), bytes(range(32))
    assert old.connect().is_alive()
    assert client(g, ciphers="PSK-AES128-CCM8").connect().is_alive()

    keys({"dev-1": KEY, "dev-2": new})
    address = socket.getaddrinfo("localhost", 0, type=socket.SOCK_DGRAM)[0][4][0]
    named = backend(bytes.upper, host=address)
    ini = public_path / "box.ini"
    ini.write_text(ini.read_text().replace(str(place["backend"]), f"localhost:{named.port}"))
    assert "reloaded" in g.reload()
    assert old.ask(b"moved") == b"MOVED"
    assert client(g, "dev-2", new).connect().ask(b"shout") == b"SHOUT"

    keys({"dev-2": new})
    assert "reloaded" in g.reload()
    assert old.wait_closed()

    address, full = g.address(), public_path / "log.1"
    log.rename(full)
    new_log(log)
    g.tell(signal.SIGUSR1)
    assert client(address, "dev-2", new).connect().ask(b"again") == b"AGAIN"
    g.end()
    assert "stopped" in g.log.text()
    assert DENIED not in full.read_text() + g.log.text() + g.stderr.text()


def test_helpers_are_asked_from_the_box(start, place, client, public_path, request):
    """Also one that comes back, and behind a reload that reads a folder of key files."""

    def helper():
        one = Helper(public_path / "helper", lambda name: KEY.hex().encode() + b"\n")
        os.chmod(one.path, 0o666)
        request.addfinalizer(one.end)
        return one

    folder = public_path / "keys.d"
    folder.mkdir(0o755)
    for name in ("one", "two"):
        (folder / name).write_text(f"{name}:{KEY.hex()}\n")
        (folder / name).chmod(0o600)
        if os.geteuid() == 0:
            os.chown(folder / name, NOBODY, NOBODY)
    first = helper()
    service = {**place, "psk-file": folder, "psk-helper": first.path, "psk-helper-cache": "1s"}
    g = start({"workers": 2}, service)
    assert_boxed(g, start.was_root)
    old = client(g, "dev-2", KEY).connect()
    assert old.is_alive() and client(g, "two").connect().is_alive()
    first.end()
    second = helper()
    assert "reloaded" in g.reload()
    assert client(g, "dev-3", KEY).connect(repeat=0.3).is_alive()
    assert old.is_alive() and b"dev-3" in second.asked
    g.end()
    assert DENIED not in g.log.text() + g.stderr.text()


def test_openssl_talks_through_the_box(start, place):
    g = start({}, place)
    program = s_client(g.address())
    try:
        program.out.wait("SSL-Session")
        program.write("Hello\n")
        program.out.wait("^Hello")
    finally:
        program.stop()
    g.end()
    assert not g.log.find(DENIED)


@pytest.mark.filtered
def test_a_library_that_makes_a_denied_call_does_not_end_a_worker(
    gate, echo, client, tmp_path, monkeypatch
):
    library, source = tmp_path / "meddler.so", tmp_path / "meddler.c"
    source.write_text(MEDDLER)
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run(
        [*compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, source], check=True
    )
    monkeypatch.setenv("LD_PRELOAD", str(library))
    g = gate(echo)
    monkeypatch.delenv("LD_PRELOAD")
    c = client(g).connect()
    for _ in range(30):
        assert c.is_alive()
    g.log.wait(rf" warning {DENIED}: call=chroot number=\d+ left-out=0$")
    g.end()
    assert 1 <= len(g.log.find(DENIED)) <= 20, "without limit"


@needs_root
def test_root_itself_is_locked_in(gate, echo, client):
    g = gate(echo)
    for s in threads(g):
        assert s["NoNewPrivs"] == "1"
        assert {int(s[name], 16) for name in s if name.startswith("Cap")} == {0}
    assert client(g).connect().is_alive()
    assert "reloaded" in g.reload()
    g.end()
    assert not g.log.find(DENIED)


@needs_root
def test_root_is_told_what_it_will_not_be_able_to_read(gate, place, settings, public_path):
    place["psk-file"].chmod(0o600)
    ini = settings({"service default": place}, public_path / "box.ini")
    g = gate(ini=ini)
    assert g.log.find(r"warning .*user root cannot read .*/psk \(psk-file\): Permission denied")
    assert "failed, nothing changed" in g.reload()


def test_the_box_can_be_left_open(gate, echo, client):
    g = gate(echo, daemon={"sandbox": "no"})
    for s in threads(g):
        assert (s["NoNewPrivs"], s["Seccomp"]) == ("0", "0")
    assert client(g).connect().is_alive()
    assert "reloaded" in g.reload()
