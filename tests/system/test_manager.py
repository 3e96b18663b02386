"""The service manager: what systemd is told, what it is asked for, and the sockets it passes."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import pytest

from lib.gate import KEY, Gate, ending
from lib.programs import Program

WATCHDOG_US = 400_000
# Put before libc's own: the worker that the file is for never comes back.
HANG = """
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    if (access(HANG_WHEN, F_OK) == 0)
        poll(0, 0, -1);
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}
"""


class Manager:
    """The socket that systemd would listen on."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(name.replace("@", "\0", 1))
        self.socket.settimeout(20)
        self.last_pid = None

    def next(self):
        data, control, _flags, _from = self.socket.recvmsg(4096, 64)
        self.last_pid = int.from_bytes(control[0][2][:4], "little")
        return data.decode()

    def until(self, wanted):
        """All that comes, up to what begins with `wanted`."""
        seen = [self.next()]
        while not seen[-1].startswith(wanted):
            seen.append(self.next())
        return seen


@pytest.fixture
def manager(public_path, monkeypatch):
    made = []

    def make(name=None, watchdog_us=None):
        public_path.chmod(0o755)
        name = name or str(public_path / "notify")
        made.append(Manager(name))
        if not name.startswith("@"):
            os.chmod(name, 0o777)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        if watchdog_us:
            monkeypatch.setenv("WATCHDOG_USEC", str(watchdog_us))
        return made[-1]

    yield make
    for one in made:
        one.socket.close()


def test_a_life_is_told(manager, gate, echo, client):
    m = manager()
    g = gate(echo, daemon={"workers": 2})
    assert m.until("READY=1") == ["STATUS=services 1, workers 2, sessions 0", "READY=1"]
    assert m.last_pid == g.pid
    assert client(g).connect().is_alive()
    assert m.until("STATUS=") == ["STATUS=services 1, workers 2, sessions 1"]
    before = int(pathlib.Path("/proc/uptime").read_text().split()[0].replace(".", "")) * 10_000
    assert "reloaded" in g.reload()
    reloading, ready = m.next(), m.next()
    stamp = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", reloading)
    assert stamp and 0 <= int(stamp.group(1)) - before < 60_000_000
    assert ready == "READY=1"
    g.end()
    assert m.next() == "STOPPING=1"


@pytest.mark.parametrize("user", ["nobody", None])
def test_an_abstract_name_and_another_user(manager, gate, echo, user):
    if user and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    m = manager(f"@dtlsgate-test-{os.getpid()}")
    gate(echo, daemon={"user": user} if user else {})
    m.until("READY=1")


def test_a_reload_that_fails_is_over_as_well(manager, gate, echo, tmp_path):
    m = manager()
    g = gate(echo)
    m.until("READY=1")
    (tmp_path / "dtlsgate.ini").write_text("[nonsense]\n")
    assert "failed" in g.reload()
    assert m.next().startswith("RELOADING=1\n")
    assert m.next() == "READY=1"


def test_reloads_that_queue_up_end_ready(manager, gate, echo):
    """However many fall together, each beginning is followed by its end, or by the end of all."""
    m = manager()
    g = gate(echo, daemon={"workers": 2})
    m.until("READY=1")
    for _ in range(5):
        g.tell(signal.SIGHUP)
    g.log.wait("dtlsgate: reloaded")
    g.end()
    *news, last = [line for line in m.until("STOPPING=1") if "STATUS" not in line]
    assert last == "STOPPING=1"
    assert len(news) >= 2
    assert all(line.startswith("RELOADING=1") for line in news[::2]), news
    assert all(line == "READY=1" for line in news[1::2]), news


def test_a_sign_of_life_comes_twice_in_the_time(manager, gate, echo):
    m = manager(watchdog_us=WATCHDOG_US)
    g = gate(echo, daemon={"workers": 2})
    m.until("READY=1")
    for _ in range(5):
        assert m.until("WATCHDOG=1")[:-1] in ([], ["STATUS=services 1, workers 2, sessions 0"])
    g.end()
    m.until("STOPPING=1")


@pytest.mark.filtered
def test_a_worker_that_hangs_gives_no_sign_of_life(
    manager, gate, echo, client, tmp_path, monkeypatch
):
    library, source, flag = tmp_path / "hang.so", tmp_path / "hang.c", tmp_path / "flag"
    source.write_text(HANG)
    subprocess.run(
        [*os.environ.get("CC", "cc").split(), "-D_GNU_SOURCE", "-shared", "-fPIC"]
        + [f'-DHANG_WHEN="{flag}"', "-o", library, source],
        check=True,
    )
    m = manager(watchdog_us=WATCHDOG_US)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    g = gate(echo, daemon={"workers": 2})
    monkeypatch.delenv("LD_PRELOAD")
    c = client(g).connect()
    assert c.is_alive()
    m.until("WATCHDOG=1")
    flag.touch()
    c.send(b"never answered")
    # One may have been under way. Behind it the main thread goes on and says no more than this.
    m.socket.settimeout(5 * WATCHDOG_US / 1e6)
    late = []
    with pytest.raises(TimeoutError):
        while late.count("WATCHDOG=1") < 2:
            late.append(m.next())
    assert [line for line in late if not line.startswith("STATUS=")] in ([], ["WATCHDOG=1"])
    g.ended = True
    g.kill()


def with_passed(*sockets, names="", count=None):
    """The words in front of a command that pass it sockets as its descriptors from 3 on."""
    moves = " ".join(f"{at}<&{s.fileno()}" for at, s in enumerate(sockets, 3))
    count = len(sockets) if count is None else count
    script = f'exec env LISTEN_PID=$$ LISTEN_FDS="{count}" LISTEN_FDNAMES="{names}" "$@" {moves}'
    return ["bash", "-c", script, "bash"]


@pytest.fixture
def udp():
    """A socket as systemd makes it, which another one may join or not."""
    made = []

    def make(port=0, reuse=False, host="127.0.0.1"):
        made.append(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, 2))
        made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse)
        made[-1].bind((host, port))
        os.set_inheritable(made[-1].fileno(), True)
        return made[-1], made[-1].getsockname()[1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def start_passed(binary, echo, psk, tmp_path):
    """Starts it as a service manager does that has bound its sockets."""
    made = []

    def start(sockets, listen, *options, **how):
        words = ["-l", listen, "-b", echo.address, "-k", psk({"dev-1": KEY}), *options]
        command = [*with_passed(*sockets, **how), binary, *map(str, words)]
        fds = [s.fileno() for s in sockets]
        made.append(Gate(command[0], command[1:], tmp_path, pass_fds=fds))
        return made[-1]

    with ending(made):
        yield start


def refusal(gate):
    """What it says instead of becoming ready."""
    gate.ended = True
    assert gate.process.wait(20) == 2
    gate.stderr.finish()
    return gate.stderr.text()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_passed_socket_is_served(start_passed, udp, client, workers):
    passed, port = udp()
    g = start_passed([passed], f"127.0.0.1:{port}", "-o", f"daemon.workers={workers}")
    g.wait_ready()
    assert g.port == port
    for _ in range(4 * workers):
        assert client(g).connect().is_alive()


def test_one_passed_for_each_worker_is_served(start_passed, udp, client):
    first, port = udp(reuse=True)
    second, _ = udp(port, reuse=True)
    g = start_passed([first, second], f"127.0.0.1:{port}", "-o", "daemon.workers=2").wait_ready()
    for _ in range(8):
        assert client(g).connect().is_alive()


def test_what_came_before_the_start_is_answered(start_passed, udp, client):
    """The reason for all of it: while nobody runs, nothing is lost."""
    passed, port = udp()
    c = client(("127.0.0.1", port))
    c.begin()
    start_passed([passed], f"127.0.0.1:{port}", "-o", "daemon.workers=1").wait_ready()
    while not c.step():
        pass
    assert c.is_alive()


def test_a_passed_ipv6_wildcard_decides_about_ipv4(start_passed, udp, client):
    passed, port = udp(host="::")
    g = start_passed([passed], f"[::]:{port}", "-o", "daemon.workers=2").wait_ready()
    assert client(("127.0.0.1", port)).connect().is_alive()
    assert client(("::1", port)).connect().is_alive()
    assert g.port == port


def test_a_passed_socket_that_fits_no_service_is_refused(start_passed, udp):
    passed, port = udp()
    _, other = udp()
    said = refusal(start_passed([passed], "127.0.0.1:0", names="coap"))
    assert said.startswith(f"passed socket 3 (coap) on 127.0.0.1:{port}: no worker of any service")
    assert "(default has 127.0.0.1:0)" in said
    assert other != port


def test_what_is_no_udp_socket_is_refused(start_passed, tmp_path):
    with open(tmp_path / "file", "wb") as file:
        said = refusal(start_passed([file], "127.0.0.1:0"))
    assert said.startswith("passed socket 3: is no bound UDP socket: ")


def test_an_environment_that_cannot_be_is_refused(start_passed, run, psk, monkeypatch):
    said = refusal(start_passed([], "127.0.0.1:0", count="lots"))
    assert said.startswith("LISTEN_FDS is no number from 0 to 512; unset it")
    monkeypatch.setenv("NOTIFY_SOCKET", "nowhere")
    done = run("-l", "127.0.0.1:0", "-b", "127.0.0.1:1", "-k", psk({"dev-1": KEY}))
    assert done.returncode == 2
    assert done.stderr.startswith("environment: NOTIFY_SOCKET is neither an absolute path nor")


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="no systemd")
def test_systemd_passes_a_socket(binary, echo, psk, client, free_port):
    """systemd's own tool, which starts us when the first datagram is there."""
    at = f"127.0.0.1:{free_port}"
    program = Program(
        *("systemd-socket-activate", "--datagram", "--listen", at, "--fdname=coap", binary),
        *("-l", at, "-b", echo.address, "-k", psk({"dev-1": KEY}), "-o", "daemon.workers=1"),
    )
    try:
        program.out.wait(rf"Listening on {at}")
        c = client(("127.0.0.1", free_port)).connect()
        assert c.is_alive()
        program.out.wait(rf"listening on {at}")
        program.out.wait("session open")
        program.process.send_signal(signal.SIGTERM)
        assert program.wait() == 0
        program.out.wait("dtlsgate: stopped")
    finally:
        program.stop()


# ---- an upgrade ----


def test_an_upgrade_names_the_new_process(manager, gate, echo, client, orphans):
    """By the process that the manager knows, once the new one is its child; nothing comes of the
    new one before. Then that is alive, too."""
    m = manager(watchdog_us=WATCHDOG_US)
    g = gate(echo, daemon={"workers": 2})
    c = client(g).connect()
    m.until("READY=1")
    for _ in range(2):
        before = g.pid
        g.tell(signal.SIGUSR2)
        news = m.next()
        while not news.startswith("MAINPID="):
            assert m.last_pid == before
            news = m.next()
        pid = int(news.removeprefix("MAINPID="))
        assert m.last_pid == before != pid
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        assert int(stat.rsplit(") ", 1)[1].split()[1]) == os.getpid()
        g.follow(pid)
        told = [m.next() for _ in range(4)]
        assert m.last_pid == pid
        assert told[0] == "READY=1" and "WATCHDOG=1" in told
        assert c.is_alive()
    g.end()
    m.until("STOPPING=1")
    assert m.last_pid == pid


def test_an_upgrade_that_fails_is_not_told(manager, gate, echo, tmp_path, orphans):
    m = manager()
    g = gate(echo)
    m.until("READY=1")
    (tmp_path / "dtlsgate.ini").write_text("[nonsense]\n")
    g.tell(signal.SIGUSR2)
    g.log.wait("upgrade failed")
    g.end()
    assert m.next() == "STOPPING=1"
    assert m.last_pid == g.pid
