#!/usr/bin/python3
"""Measures dtlsgate beside plain proxies; README.md says how and what the figures mean.

Starts an echo service, one proxy at a time in front of it and the load generator, takes the CPU
time of the proxy from /proc, and prints medians over all rounds as Markdown. Exits with 1 when any
answer was wrong or any session failed.
"""

import argparse
import collections
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # beside the sources
from cases import CASES, Bench, takes  # noqa: E402  after the line above
from procs import Failure, note, raise_descriptors  # noqa: E402
from proxies import PROXIES, missing  # noqa: E402
from report import report  # noqa: E402

# What is only measured when it is asked for: it takes minutes.
LONG = ["devices"]
BEGIN, END = "<!-- figures of run.py -->\n", "<!-- end of the figures -->\n"
SMOKE = {
    "rounds": 1,
    "seconds": 1,
    "count": 2000,
    "handshakes": 200,
    "sessions": 300,
    "devices": 3000,
    "shakes": 200,
    "wakes": 200,
    "rate": 2000,
    "hello_rate": 5000,
    "calm": 0.1,
    "limit": 30,
}


def add_numbers(parser):
    for name, default, what in (
        ("rounds", 5, "of all cases"),
        ("seconds", 3, "of traffic"),
        ("count", 0, "datagrams of traffic, instead of seconds"),
        ("handshakes", 5000, "in one run"),
        ("concurrent", 16, "handshakes at a time"),
        ("sessions", 10000, "idle ones"),
        ("rate", 5000, "datagrams a second of the open loop"),
        ("paced-sessions", 100, "of the open loop"),
        ("hello-rate", 50000, "spoofed hellos a second; 0 is flat out"),
        ("devices", 1000000, "that sleep"),
        ("shakes", 10000, "handshakes beside them"),
        ("wakes", 1000, "of them that wake"),
        ("limit", 1800, "seconds for one run"),
    ):
        parser.add_argument(
            f"--{name}", type=int, default=default, help=f"{what} (default: {default})"
        )


def parse(argv):
    parser = argparse.ArgumentParser(description="Measure dtlsgate beside plain proxies.")
    parser.add_argument("--builddir", default=".", help="where make has built (default: .)")
    parser.add_argument("--dtlsgate", help="the program (default: BUILDDIR/src/dtlsgate)")
    parser.add_argument(
        "--case", action="append", choices=CASES, help="only this one; may be repeated"
    )
    parser.add_argument(
        "--proxy", action="append", choices=list(PROXIES), help="only this one; may be repeated"
    )
    parser.add_argument("--all", action="store_true", help=f"{', '.join(LONG)} as well")
    parser.add_argument(
        "--smoke", action="store_true", help="a little of everything: does it work at all?"
    )
    add_numbers(parser)
    parser.add_argument("--suite", default="PSK-AES128-GCM-SHA256", help="(default: %(default)s)")
    parser.add_argument("--libssl", action="store_true", help="clients of libssl, for other suites")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="for dtlsgate -o"
    )
    parser.add_argument("--readme", help="a file whose figures are replaced")
    parser.set_defaults(calm=1)
    options = parser.parse_args(argv)
    if options.smoke:
        vars(options).update(SMOKE)
    everything = options.all or options.smoke
    options.case = options.case or [c for c in CASES if everything or c not in LONG]
    options.dtlsgate = options.dtlsgate or os.path.join(options.builddir, "src", "dtlsgate")
    return options


def choose_proxies(options):
    """Those that were asked for must be there; without a choice, what is there will do."""
    if options.proxy or options.smoke or options.all:
        wanted = options.proxy or list(PROXIES)
        lacking = [what for what in map(missing, wanted) if what]
        if lacking:
            raise Failure(f"not installed: {'; '.join(lacking)} (scripts/setup bench)")
        return wanted
    for name in filter(missing, PROXIES):
        note(f"run.py: without {name}, which needs {missing(name)} (scripts/setup bench)")
    return [name for name in PROXIES if not missing(name)]


def collect(bench, proxies):
    """All rounds; within a round each case goes to each proxy in turn, so that what the machine
    does meanwhile meets all alike. What takes long is measured once."""
    options = bench.options
    results = collections.defaultdict(list)
    for number in range(1, options.rounds + 1):
        note(f"round {number} of {options.rounds}")
        for case in options.case:
            if case in LONG and number > 1:
                continue
            for name in (name for name in proxies if takes(case, name)):
                result = bench.run(case, name)
                results[case, name].append(result)
                figures = (f"{k}={v:.6g}" for k, v in result.items() if k != "mode")
                note(f"  {case:12} {name:10} {' '.join(figures)}")
    return results


def version_of(dtlsgate):
    told = subprocess.run([dtlsgate, "-V"], capture_output=True, text=True, check=True)
    return told.stdout.splitlines()[0]


def replace_figures(path, lines):
    with open(path, encoding="utf-8") as file:
        head, found, rest = file.read().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not found or not end:
        raise Failure(f"{path}: has no place for figures")
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + BEGIN + "\n".join(lines) + "\n" + END + tail)


def main(argv):
    options = parse(argv)
    try:
        raise_descriptors(max(options.sessions, 1000) + 200)
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(options, folder)
            results = collect(bench, choose_proxies(options))
        lines = report(options, results, version_of(options.dtlsgate))
        print("\n".join(lines))
        if options.readme:
            replace_figures(options.readme, lines)
    except (Failure, OSError) as problem:
        note(f"run.py: {problem}")
        return 1
    for failure in bench.failures:
        note(f"run.py: {failure}")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
