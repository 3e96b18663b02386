#!/usr/bin/python3
"""Measures dtlsgate under floods of hellos; README.md says how and what the figures mean.

Two tables: what a spoofed hello costs, and what floods do to honest handshakes beside them. Exits
with 1 when an honest handshake failed or memory grew with the number of hellos.
"""

import argparse
import collections
import contextlib
import os
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # beside the sources
from cases import Bench  # noqa: E402  after the line above
from procs import Failure, Gate, machine, median, note, raise_descriptors  # noqa: E402

BACKEND = "127.0.0.1:9"  # where nothing is ever sent
WARM_UP_SECONDS = 1
# Pages that are touched for the first time, in KB; a hello that left a byte behind would be more.
MEMORY_NOISE_KB = 64

Flood = collections.namedtuple("Flood", "mode rate prefix")


def floods(options):
    """By name; in the order of the tables."""
    return {
        "nothing": None,
        "hellos": Flood("hello", options.rate, 9),
        "made-up cookies": Flood("cookie", options.rate, 9),
        "half-open": Flood("half-open", options.half_open_rate, 9),
        "half-open, from one /24": Flood("half-open", options.half_open_rate, 24),
    }


class FloodBench(Bench):
    def gate(self):
        """dtlsgate with one worker and its defaults."""
        options = self.options
        arguments = ["-l", "127.0.0.1:0", "-b", BACKEND, "-k", self.psk_file]
        return Gate(options.dtlsgate, arguments, ["daemon.workers=1", *options.set])

    def generator(self, flood, seconds, gate):
        arguments = ["-g", "-m", flood.mode, "-r", flood.rate, "-p", flood.prefix, "-d", seconds]
        return self.load(arguments, gate.address, "hello_flood")

    def run_flood(self, flood, seconds, gate):
        with self.generator(flood, seconds, gate) as load:
            load.go()
            load.say()
            return load.result()

    def cost(self, mode, rate):
        """Nothing but spoofed hellos: their CPU, and whether they leave anything behind."""
        flood = Flood(mode, rate, 9)
        with self.gate() as gate:
            cpu = gate.cpu_seconds()
            sent = self.run_flood(flood, WARM_UP_SECONDS, gate)["sent"]
            memory = gate.settled_memory()
            result = self.run_flood(flood, self.options.seconds, gate)
            after = gate.settled_memory()
            cpu = gate.cpu_seconds() - cpu
            sent += result["sent"]
            totals = gate.totals()
        if totals.get("client.hello_answered") != totals["client_records"]:
            self.failures.append(f"{mode}: not each hello was answered: {totals}")
        result["growth"] = (after[0] - memory[0]) / 1024
        if result["growth"] > MEMORY_NOISE_KB:
            self.failures.append(f"{mode}: memory grew by {result['growth']:.0f} KB")
        result["taken"] = totals["client_datagrams"]
        result["lost"] = sent - result["taken"]
        result["cost"] = cpu / totals["client_datagrams"] * 1e6
        return result

    def beside(self, name, flood):
        """Honest handshakes at a steady rate, beside a flood that begins before and ends after."""
        seconds = self.options.seconds
        flood_seconds = seconds + 2 * WARM_UP_SECONDS
        count = seconds * self.options.handshake_rate
        arguments = ["-g", "-m", "handshakes", "-k", count, "-r", self.options.handshake_rate]
        flooded = collections.defaultdict(float)
        with self.gate() as gate, contextlib.ExitStack() as stack:
            self.warm_up(gate)
            if flood:
                generator = stack.enter_context(self.generator(flood, flood_seconds, gate))
                generator.go()
                generator.say()
                time.sleep(WARM_UP_SECONDS)
            result = self.measure(gate, [*arguments, *self.psk_arguments()])
            if flood:
                flooded = generator.result()
            result["memory"] = gate.memory()[0] / 1024
        self.check(f"beside {name}", result)
        result["cpu"] /= result["seconds"]
        result["flood"] = (flooded["sent"] - flooded["echoed"]) / flood_seconds
        result["flood_cpu"] = flooded["cpu"] / flood_seconds
        return result

    def warm_up(self, gate):
        arguments = ["-m", "handshakes", "-k", 100, *self.psk_arguments()]
        with self.load(arguments, gate.address) as load:
            load.result()


def parse(argv):
    parser = argparse.ArgumentParser(description="Measure dtlsgate under floods of hellos.")
    parser.add_argument("--builddir", default=".", help="where make has built (default: .)")
    parser.add_argument("--dtlsgate", help="the program (default: BUILDDIR/src/dtlsgate)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=5, help="of flood (default: %(default)s)")
    parser.add_argument(
        "--rate", type=int, default=50000, help="hellos per second (default: %(default)s)"
    )
    parser.add_argument(
        "--half-open-rate", type=int, default=2000, help="per second (default: %(default)s)"
    )
    parser.add_argument(
        "--handshake-rate", type=int, default=200, help="honest ones (default: %(default)s)"
    )
    parser.add_argument("--concurrent", type=int, default=64, help=argparse.SUPPRESS)
    parser.add_argument("--suite", default="PSK-AES128-GCM-SHA256", help="(default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="for dtlsgate -o"
    )
    parser.add_argument("--limit", type=int, default=120, help=argparse.SUPPRESS)
    parser.set_defaults(libssl=False)
    options = parser.parse_args(argv)
    options.dtlsgate = options.dtlsgate or os.path.join(options.builddir, "src", "dtlsgate")
    return options


def collect(bench):
    """All rounds, each with all cases in turn, so that what the machine does meets all alike."""
    options = bench.options
    costs = [(mode, rate) for mode in ("hello", "cookie") for rate in (options.rate, 0)]
    results = collections.defaultdict(list)
    for number in range(1, options.rounds + 1):
        note(f"round {number} of {options.rounds}")
        for case in costs:
            results[case].append(bench.cost(*case))
        for name, flood in floods(options).items():
            results[name].append(bench.beside(name, flood))
        for case, runs in results.items():
            figures = (f"{k}={v:.6g}" for k, v in runs[-1].items() if k != "mode")
            note(f"  {case}: {' '.join(figures)}")
    return costs, results


def print_costs(costs, results):
    print("| spoofed hellos | sent/s | taken in | CPU µs each | RSS growth KB |"
          " the sender's CPU |")
    print("|---|---|---|---|---|---|")
    for mode, rate in costs:
        runs = results[mode, rate]
        what = "without cookie" if mode == "hello" else "made-up cookie"
        taken = sum(run["taken"] for run in runs)
        lost = sum(run["lost"] for run in runs)
        share = median(runs, "cpu") / median(runs, "seconds")
        print(
            f"| {what}, {f'{rate}/s' if rate else 'flat out'} | {median(runs, 'per_second'):.0f} |"
            f" {taken / (taken + lost):.1%} | {median(runs, 'cost'):.2f} |"
            f" {max(run['growth'] for run in runs):.0f} | {share:.0%} |"
        )
    print()


def print_beside(options, results):
    print("| beside | reached/s | honest handshakes | failed | p50 ms | p99 ms | longest ms |"
          " dtlsgate's CPU | its RSS KB | the sender's CPU |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in floods(options):
        runs = results[name]
        print(
            f"| {name} | {median(runs, 'flood'):.0f} |"
            f" {sum(run['handshakes'] for run in runs):.0f} |"
            f" {sum(run['failed'] for run in runs):.0f} | {median(runs, 'p50_ms'):.2f} |"
            f" {median(runs, 'p99_ms'):.2f} | {max(run['max_ms'] for run in runs):.0f} |"
            f" {median(runs, 'cpu'):.0%} | {max(run['memory'] for run in runs):.0f} |"
            f" {median(runs, 'flood_cpu'):.0%} |"
        )
    print()


def main(argv):
    options = parse(argv)
    try:
        raise_descriptors(1000)
        with tempfile.TemporaryDirectory() as folder:
            bench = FloodBench(options, folder)
            costs, results = collect(bench)
    except (Failure, OSError) as problem:
        note(f"flood.py: {problem}")
        return 1
    print(f"{machine()}; {options.suite},"
          f" {options.handshake_rate} honest handshakes/s; medians of {options.rounds} rounds of"
          f" {options.seconds} s, memory and the longest handshake: the worst of them\n")
    print_costs(costs, results)
    print_beside(options, results)
    for failure in bench.failures:
        note(f"flood.py: {failure}")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
