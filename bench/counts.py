#!/usr/bin/python3
"""Counts the instructions that dtlsgate runs in its own process for one relayed round trip, one
handshake and one cookie answer, under valgrind's callgrind; README.md says what they are good for.

Each is the difference of two runs that differ only in how many they do, so that start and end
cancel out. The kernel's instructions are not counted.
"""

import argparse
import os
import re
import sys
import tempfile

sys.dont_write_bytecode = True  # beside the sources
from cases import Bench  # noqa: E402  after the line above
from procs import Failure, Gate, note  # noqa: E402
from run import version_of  # noqa: E402

# How many in the shorter and in the longer run.
ONCE = {
    "relay": (1000, 5000),
    "relay-1200": (1000, 5000),
    "relay-16": (1600, 8000),
    "handshake": (100, 600),
    "cookie": (500, 2500),
}
SHAPES = {"relay": ["-p", 64], "relay-1200": ["-p", 1200], "relay-16": ["-p", 64, "-w", 16]}
COUNTERS = {"handshake": "handshakes_completed", "cookie": "client.hello_answered"}


class Counted(Gate):
    """dtlsgate under callgrind. Its filter of system calls is made for dtlsgate alone."""

    start_seconds = 120

    def __init__(self, bench, backend):
        options = bench.options
        settings = [
            "daemon.workers=1",
            "daemon.sandbox=no",
            "daemon.max-sessions=10000",
            f"service.default.ciphers={options.suite}",
            *options.set,
        ]
        arguments = ["-l", "127.0.0.1:0", "-b", backend, "-k", bench.psk_file]
        super().__init__(options.dtlsgate, arguments, settings)

    def collected(self):
        """Ends it; the instructions of its life, and its totals."""
        totals = self.totals()
        found = re.findall(r"== Collected : (\d+)", self.read_output())
        if not found:
            raise Failure(f"valgrind tells no count:\n{self.read_output()[-2000:]}")
        return max(map(int, found)), totals  # the other one is the spawner's


class CountBench(Bench):
    def run_load(self, program, arguments, gate):
        with self.load(arguments, gate.address, program) as load:
            self.check(program, load.result())

    def run_loads(self, what, many, gate):
        """One at a time, so that each run takes the same way."""
        if what == "handshake":
            arguments = ["-m", "handshakes", "-k", many]
        elif what == "cookie":
            self.run_load("hello_flood", ["-k", many, "-r", 1000, "-d", 60], gate)
            arguments = ["-m", "handshakes", "-k", 1]  # once it is done, so are all those before
        else:
            arguments = ["-k", many, "-t", 30000, *SHAPES[what]]
        self.run_load("dtls_load", [*arguments, *self.psk_arguments()], gate)

    def count(self, what, many):
        """The instructions, and how many there really were."""
        with self.echo() as echo, Counted(self, echo.address) as gate:
            self.run_loads(what, many, gate)
            instructions, totals = gate.collected()
        return instructions, totals[COUNTERS.get(what, "client.forwarded")]

    def each(self, what):
        (less, few), (more, many) = (self.count(what, n) for n in ONCE[what])
        if many <= few:
            raise Failure(f"{what}: {many} are not more than {few}")
        return round((more - less) / (many - few))


def write_wrapper(options, folder):
    """A program that is dtlsgate under callgrind, as everything here starts programs."""
    path = os.path.join(folder, "dtlsgate")
    keep = options.keep or os.path.join(folder, "callgrind.out")
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            "#!/bin/sh\n"
            f"exec valgrind --tool=callgrind --callgrind-out-file='{keep}' '{options.dtlsgate}'"
            ' "$@"\n'
        )
    os.chmod(path, 0o700)
    return path


def compare(counts):
    """With the last release that is on record."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "counts.txt")
    with open(path, encoding="ascii") as file:
        last = [line for line in file if not line.startswith("#")][-1]
    before = dict(re.findall(r"([\w-]+)=(\d+)", last))
    for what, number in counts.items():
        if what in before:
            note(f"{what}: {number / int(before[what]):.3f} of what it was")


def parse(argv):
    parser = argparse.ArgumentParser(description="Count dtlsgate's instructions.")
    parser.add_argument("--builddir", default=".", help="where make has built (default: .)")
    parser.add_argument("--dtlsgate", help="the program (default: BUILDDIR/src/dtlsgate)")
    parser.add_argument("--what", action="append", choices=list(ONCE), help="only this one")
    parser.add_argument("--keep", help="where callgrind's profile of the last run is to stay")
    parser.add_argument("--suite", default="PSK-AES128-GCM-SHA256", help="(default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="for dtlsgate -o"
    )
    parser.set_defaults(libssl=False, concurrent=1, limit=300)
    options = parser.parse_args(argv)
    options.what = options.what or list(ONCE)
    options.dtlsgate = options.dtlsgate or os.path.join(options.builddir, "src", "dtlsgate")
    return options


def main(argv):
    options = parse(argv)
    try:
        version = version_of(options.dtlsgate)
        with tempfile.TemporaryDirectory() as folder:
            options.dtlsgate = write_wrapper(options, folder)
            bench = CountBench(options, folder)
            counts = {what: bench.each(what) for what in options.what}
    except (Failure, OSError) as problem:
        note(f"counts.py: {problem}")
        return 1
    print(version, options.suite, *(f"{what}={number}" for what, number in counts.items()))
    compare(counts)
    for failure in bench.failures:
        note(f"counts.py: {failure}")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
