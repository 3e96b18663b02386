"""The processes of a measurement: servers, whose CPU and memory are read, and loads."""

import glob
import os
import platform
import re
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time

STOP_SECONDS = 60


class Failure(Exception):
    """What went wrong, in words for the operator."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def is_number(text):
    return re.fullmatch(r"-?[0-9.]+", text) is not None


def read_pairs(line):
    """The key=value line of a load, numbers as such."""
    pairs = dict(pair.split("=", 1) for pair in line.split())
    return {key: float(text) if is_number(text) else text for key, text in pairs.items()}


def end_process(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def unused_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def is_bound(port):
    """Whether a UDP socket of this machine has that port, proc(5)."""
    lines = []
    for name in glob.glob("/proc/net/udp*"):
        with open(name, encoding="ascii") as file:
            lines += file.readlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)


class Server:
    """A process that listens; ended with the `with` block. It says where, by a line "listening on
    ADDR:PORT" among output that matches `ready`, or it is told: then `port` is on 127.0.0.1."""

    start_seconds = 20

    def __init__(self, command, ready=None, port=None):
        self.command, self.ready, self.port = command, ready, port
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output
        )

    def __enter__(self):
        try:
            self.address = self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        end_process(self.process)
        self.output.close()

    def read_output(self):
        return os.pread(self.output.fileno(), 1 << 20, 0).decode(errors="replace")

    def find_address(self):
        if self.port is not None:
            return f"127.0.0.1:{self.port}" if is_bound(self.port) else None
        text = self.read_output()
        if not re.search(self.ready, text):
            return None
        return re.search(r"listening on (\S+:\d+)", text).group(1)

    def wait_until_ready(self):
        deadline = time.monotonic() + self.start_seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            address = self.find_address()
            if address:
                return address
            time.sleep(0.01)
        raise Failure(f"{' '.join(self.command)} does not get ready:\n{self.read_output()}")

    def cpu_seconds(self):
        """What all its threads have run, in the kernel for it as well; to the nanosecond."""
        total = 0
        for name in glob.glob(f"/proc/{self.process.pid}/task/*/schedstat"):
            with open(name, encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total / 1e9

    def memory(self):
        """Bytes in memory: all, and the part without a file behind it (heap, stacks)."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", file.read(), re.MULTILINE))
        return int(sizes["VmRSS"]) * 1024, int(sizes["RssAnon"]) * 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def settled_memory(self, calm=1):
        """The memory once `calm` seconds have passed without a change, as parts go back late."""
        last, since = self.memory(), time.monotonic()
        deadline = since + 30
        while time.monotonic() < min(since + calm, deadline):
            time.sleep(0.1)
            now = self.memory()
            if now != last:
                last, since = now, time.monotonic()
        return last


class Gate(Server):
    """dtlsgate; its totals are what it logs at its end."""

    def __init__(self, dtlsgate, arguments, settings):
        command = [dtlsgate, *arguments]
        for setting in settings:
            command += ["-o", setting]
        super().__init__(command, ready=r"dtlsgate: ready")

    def totals(self):
        """Ends it."""
        end_process(self.process)
        size = os.fstat(self.output.fileno()).st_size
        tail = os.pread(self.output.fileno(), 1 << 14, max(0, size - (1 << 14))).decode()
        line = re.search(r" totals: (.*)", tail)
        if not line or self.process.returncode != 0:
            raise Failure(f"dtlsgate ended with {self.process.returncode}:\n{tail}")
        return {key: int(value) for key, value in re.findall(r"([\w.]+)=(\d+)", line.group(1))}


class Load:
    """One run of a load generator, which answers line by line."""

    def __init__(self, program, arguments, target, limit):
        self.command = [program, *map(str, arguments), target]
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.unread = b""
        self.limit = limit

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_process(self.process)
        self.process.stdin.close()
        self.process.stdout.close()

    def line(self):
        """The next line of the output."""
        deadline = time.monotonic() + self.limit
        while b"\n" not in self.unread:
            wait = max(0, deadline - time.monotonic())
            if not select.select([self.process.stdout], [], [], wait)[0]:
                raise Failure(f"{' '.join(self.command)}: no answer within {self.limit} s")
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise Failure(f"{' '.join(self.command)}: ended too early")
            self.unread += more
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode()

    def go(self):
        """Waits until it is ready for the measured part."""
        if self.line() != "ready":
            raise Failure(f"{' '.join(self.command)}: did not get ready")

    def say(self, line="go"):
        self.process.stdin.write(f"{line}\n".encode())

    def result(self):
        return read_pairs(self.line())


def raise_descriptors(needed):
    """The children inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Failure(f"{needed} descriptors are needed and the hard limit is {hard}")


def machine():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        found = re.search(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    model = found.group(1) if found else platform.machine()
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def median(results, key):
    return statistics.median(result[key] for result in results)
