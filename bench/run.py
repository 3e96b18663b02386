#!/usr/bin/python3
"""Measures dtlsgate beside a plain UDP relay; README.md says how and what the figures mean.

Starts an echo service, one proxy at a time in front of it and the load generator, takes the CPU
time of the proxy from /proc, and prints medians over all rounds as Markdown. Exits with 1 when any
answer was wrong or any session failed.
"""

import argparse
import collections
import os
import platform
import re
import resource
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time

KEY = "000102030405060708090a0b0c0d0e0f"  # made for this measurement, used nowhere else
IDENTITY = "bench"
START_SECONDS = 10
TICKS = os.sysconf("SC_CLK_TCK")

Traffic = collections.namedtuple("Traffic", "sessions window payload")
TRAFFIC = {
    "1x16-64": Traffic(1, 16, 64),
    "16x4-64": Traffic(16, 4, 64),
    "16x4-1200": Traffic(16, 4, 1200),
    "1000x1-64": Traffic(1000, 1, 64),
}
CASES = [*TRAFFIC, "handshakes", "idle"]


class Failure(Exception):
    """What went wrong, in words for the operator."""


def note(text):
    print(text, file=sys.stderr, flush=True)


class Server:
    """A process that says where it listens; ended with the `with` block."""

    def __init__(self, command, ready):
        self.command, self.ready = command, ready
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
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()

    def read_output(self):
        return os.pread(self.output.fileno(), 1 << 20, 0).decode(errors="replace")

    def wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            text = self.read_output()
            if re.search(self.ready, text):
                return re.search(r"listening on (\S+:\d+)", text).group(1)
            time.sleep(0.01)
        raise Failure(f"{' '.join(self.command)} does not get ready:\n{self.read_output()}")

    def cpu_seconds(self):
        """utime + stime, proc(5); the name in parentheses may hold spaces."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self):
        """Bytes in memory: all, and the part without a file behind it (heap, stacks)."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", file.read(), re.MULTILINE))
        return int(sizes["VmRSS"]) * 1024, int(sizes["RssAnon"]) * 1024

    def settled_memory(self):
        """The memory once a second has passed without a change, as freed parts go back late."""
        last, since = self.memory(), time.monotonic()
        deadline = since + 30
        while time.monotonic() < min(since + 1, deadline):
            time.sleep(0.1)
            now = self.memory()
            if now != last:
                last, since = now, time.monotonic()
        return last


class Load:
    """One run of a load generator; it waits for go() before the measured part."""

    def __init__(self, bench, arguments, target, program="dtls_load"):
        self.command = [bench.program(program), *map(str, arguments), target]
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.unread = b""
        self.limit = bench.options.limit

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
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
        if self.line() != "ready":
            raise Failure(f"{' '.join(self.command)}: did not get ready")

    def start(self):
        self.process.stdin.write(b"go\n")

    def result(self):
        fields = dict(pair.split("=", 1) for pair in self.line().split())
        return {key: value if key == "mode" else float(value) for key, value in fields.items()}


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.psk_file = os.path.join(folder, "bench.psk")
        with open(os.open(self.psk_file, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"{IDENTITY}:{KEY}\n")
        self.failures = []

    def program(self, name):
        return os.path.join(self.options.builddir, "bench", name)

    def echo(self):
        return Server([self.program("udp_echo")], r"listening on \S+\n")

    def proxy(self, name, backend):
        if name == "relay":
            command = [self.program("udp_relay"), "127.0.0.1:0", backend]
            return Server(command, r"listening on \S+\n")
        settings = [
            "daemon.workers=1",
            f"daemon.max-handshakes={max(64, 2 * self.options.concurrent)}",
            f"daemon.max-sessions={2 * max(self.options.sessions, self.options.handshakes)}",
            f"service.default.ciphers={self.options.suite}",
            *self.options.set,
        ]
        command = [self.options.dtlsgate, "-l", "127.0.0.1:0", "-b", backend, "-k", self.psk_file]
        for setting in settings:
            command += ["-o", setting]
        return Server(command, r"dtlsgate: ready")

    def dtls(self):
        return ["-c", self.options.suite, "-i", IDENTITY, "-s", KEY, "-j", self.options.concurrent]

    def check(self, what, result):
        bad = {k: int(result[k]) for k in ("failed", "closed", "wrong") if result.get(k, 0) != 0}
        if bad:
            self.failures.append(f"{what}: {bad}")

    def measure(self, proxy, arguments):
        """One run: the result of the load, with the proxy's CPU time as cpu."""
        with Load(self, ["-g", *arguments], proxy.address) as load:
            load.go()
            before = proxy.cpu_seconds()
            load.start()
            result = load.result()
            result["cpu"] = proxy.cpu_seconds() - before
            return result

    def traffic(self, name, case):
        with self.echo() as echo, self.proxy(name, echo.address) as proxy:
            arguments = ["-n", case.sessions, "-w", case.window, "-p", case.payload]
            arguments += ["-d", self.options.seconds]
            arguments += ["-x"] if name == "relay" else self.dtls()
            result = self.measure(proxy, arguments)
        self.check(f"{name} {case}", result)
        if result["round_trips"] == 0:
            raise Failure(f"{name} {case}: not one datagram came back")
        result["cost"] = result["cpu"] / result["round_trips"] * 1e6
        return result

    def handshakes(self):
        arguments = ["-m", "handshakes", "-k", self.options.handshakes, *self.dtls()]
        with self.echo() as echo, self.proxy("dtlsgate", echo.address) as proxy:
            result = self.measure(proxy, arguments)
        self.check("handshakes", result)
        if result["handshakes"] == 0:
            raise Failure("handshakes: not one came to its end")
        result["cost"] = result["cpu"] / result["handshakes"] * 1e6
        return result

    def idle(self):
        """Handshakes first, so that their peak is part of the base line and not of the growth."""
        with self.echo() as echo, self.proxy("dtlsgate", echo.address) as proxy:
            warm_up = ["-m", "handshakes", "-k", 10 * self.options.concurrent, *self.dtls()]
            self.check("idle, warm-up", self.measure(proxy, warm_up))
            before = proxy.settled_memory()
            arguments = ["-m", "idle", "-n", self.options.sessions, *self.dtls()]
            with Load(self, arguments, proxy.address) as load:
                result = load.result()
                if load.line() != "idle":
                    raise Failure("idle: the load generator did not hold its sessions")
                after = proxy.settled_memory()
        self.check("idle", result)
        if result["sessions"] == 0:
            raise Failure("idle: no session could be opened")
        result["rss"], result["anonymous"] = (
            (b - a) / result["sessions"] for a, b in zip(before, after)
        )
        return result


def parse(argv):
    parser = argparse.ArgumentParser(description="Measure dtlsgate beside a plain UDP relay.")
    parser.add_argument("--builddir", default=".", help="where make has built (default: .)")
    parser.add_argument("--dtlsgate", help="the program (default: BUILDDIR/src/dtlsgate)")
    parser.add_argument(
        "--case", action="append", choices=CASES, help="only this one; may be repeated"
    )
    parser.add_argument(
        "--proxy", action="append", choices=["relay", "dtlsgate"], help="only this one"
    )
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="of traffic (default: %(default)s)")
    parser.add_argument("--handshakes", type=int, default=5000, help="(default: %(default)s)")
    parser.add_argument("--concurrent", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument(
        "--sessions", type=int, default=10000, help="idle sessions (default: %(default)s)"
    )
    parser.add_argument("--suite", default="PSK-AES128-GCM-SHA256", help="(default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="for dtlsgate -o"
    )
    parser.add_argument(
        "--limit", type=int, default=120, help="seconds for one run (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    options.case = options.case or CASES
    options.proxy = options.proxy or ["relay", "dtlsgate"]
    options.dtlsgate = options.dtlsgate or os.path.join(options.builddir, "src", "dtlsgate")
    return options


def raise_descriptors(needed):
    """The children inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Failure(f"{needed} descriptors are needed and the hard limit is {hard}")


def cpu_model():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        found = re.search(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    return found.group(1) if found else platform.machine()


def collect(bench):
    """All rounds; within a round each case goes to each proxy in turn, so that what the machine
    does meanwhile meets all alike."""
    options = bench.options
    results = collections.defaultdict(list)
    for number in range(1, options.rounds + 1):
        note(f"round {number} of {options.rounds}")
        for case in options.case:
            for name in options.proxy:
                if case in TRAFFIC:
                    result = bench.traffic(name, TRAFFIC[case])
                elif name == "dtlsgate":
                    result = bench.handshakes() if case == "handshakes" else bench.idle()
                else:
                    continue
                results[case, name].append(result)
                figures = (f"{k}={v:.6g}" for k, v in result.items() if k != "mode")
                note(f"  {case:12} {name:9} {' '.join(figures)}")
    return results


def median(results, key):
    return statistics.median(result[key] for result in results)


def print_traffic(options, results):
    print("| sessions x in flight, payload | proxy | round trips/s | CPU µs per round trip |"
          " against the relay | lost of all |")
    print("|---|---|---|---|---|---|")
    for case in (case for case in options.case if case in TRAFFIC):
        for name in options.proxy:
            runs = results[case, name]
            cost = median(runs, "cost")
            relay = results.get((case, "relay"))
            ratio = f"{cost / median(relay, 'cost'):.2f}" if relay else "-"
            lost = sum(run["lost"] for run in runs)
            total = lost + sum(run["round_trips"] for run in runs)
            print(f"| {case} | {name} | {median(runs, 'per_second'):.0f} | {cost:.2f} | {ratio} |"
                  f" {lost:.0f} of {total:.0f} |")
    print()


def print_all(options, results):
    print(f"{cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}; {options.suite};"
          f" medians of {options.rounds} rounds of {options.seconds} s\n")
    if any(case in TRAFFIC for case in options.case):
        print_traffic(options, results)
    runs = results.get(("handshakes", "dtlsgate"))
    if runs:
        print(f"Full handshakes, {options.concurrent} at a time: {median(runs, 'per_second'):.0f}"
              f" a second, {median(runs, 'cost'):.1f} µs of CPU each.\n")
    runs = results.get(("idle", "dtlsgate"))
    if runs:
        print(f"Memory per idle session ({options.sessions} of them):"
              f" {median(runs, 'rss'):.0f} bytes RSS,"
              f" {median(runs, 'anonymous'):.0f} of them anonymous (heap).\n")


def main(argv):
    options = parse(argv)
    try:
        raise_descriptors(max(options.sessions, 1000) + 200)
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(options, folder)
            results = collect(bench)
    except (Failure, OSError) as problem:
        note(f"run.py: {problem}")
        return 1
    print_all(options, results)
    for failure in bench.failures:
        note(f"run.py: {failure}")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
