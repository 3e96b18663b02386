#!/usr/bin/python3
"""Soaks dtlsgate: clients that come, go, die, lose datagrams or mean harm, while settings, keys,
backends and log files change under it, for as long as told. Exits with 1 when anything was wrong.

Time goes in tides. A tide begins with more handshakes and sessions at once than chance ever brings
together, so that memory is at its peak from the first one on. At high water everybody lives; at low
water all are gone and whatever they left has expired, so dtlsgate must be as it was before the
first came.

What is asked:
- every client with a key gets its sessions and its own answers, in each of its lives;
- with --restless, where the program is upgraded, restarted and killed under them, sessions outlive
  that, but for those that libssl keeps; its books are opened anew with each start, and memory, which
  then is another's each time, is not judged;
- at each low water the descriptors are as many as before the first client; the threads always are;
- memory is flat over the second half of the time (least squares): what dtlsgate has from malloc()
  at low water grows by less than HEAP_KB, RSS at low and at high water by less than RSS_PART of
  itself. RSS also holds what the allocator keeps for the next peak, so it needs RSS_MINUTES to
  tell, where the heap needs HEAP_MINUTES. Not judged with a sanitizer, whose memory it would be;
- nothing in the log of level error, but for reloads that have to fail; no denied system call;
- SIGTERM ends it with status 0 while sessions are open; the books balance, and agree with the log;
- no sanitizer has anything to report.
"""

import argparse
import collections
import os
import pathlib
import random
import re
import sys
import tempfile
import time

sys.dont_write_bytecode = True
for folder in ("system", "hostile"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / folder))

# pylint: disable=wrong-import-position  after the path to them
from crowd import (
    Fickle,
    Haunted,
    Homecomer,
    Lossy,
    Overslept,
    Returner,
    Sleeper,
    Steady,
    Tide,
    Uprooted,
    Wrong,
)
from house import House
from rovers import Rover
from strangers import Stranger
from watch import Watch, second_half, trend

HEAP_KB, HEAP_MINUTES = 32, 4
RSS_PART, RSS_MINUTES = 0.05, 10
TIDES_MIN, TIDE_SECONDS_MIN, TIDE_SECONDS_MAX = 3, 18, 60
RELOAD_SECONDS, ROTATE_SECONDS, RESTART_SECONDS = 3, 7, 11
UPGRADE_SECONDS, STOP_SECONDS, CRASH_SECONDS = 5, 8, 9  # where the program does not stay
SPRING = 250  # half-open handshakes at the begin of a tide, and as many sessions
HIGH_SECONDS_MIN = 5
REST_SECONDS = 40  # the longest that a life goes on at low water


def note(text):
    print(text, flush=True)


def is_sanitized(binary):
    text = pathlib.Path(binary).read_bytes()
    return bool(re.search(rb"__[atm]san_init", text))


class Soak:
    def __init__(self, options, folder):
        self.options = options
        self.is_sanitized = is_sanitized(options.dtlsgate)
        self.house = House(
            options.dtlsgate, folder, not (self.is_sanitized or options.restless), options.restless
        )
        self.tide = Tide()
        kinds = [Steady] * 3 + [Lossy] * 2 + [Sleeper, Homecomer, Haunted, Fickle] + [Stranger] * 3
        kinds += [Returner, Rover, Rover]
        self.dwellers = [self.make(kind) for kind in kinds]
        self.watch = Watch(lambda: self.house.process.pid, self.house.heap)
        self.base = self.watch.take()
        self.low = []
        self.wrong = []

    def make(self, kind):
        return kind(self.house, self.tide, random.random())

    # ---- the tides ----

    def run(self):
        """All of it; what was wrong is in self.wrong."""
        seconds = self.options.minutes * 60
        length = min(TIDE_SECONDS_MAX, max(TIDE_SECONDS_MIN, seconds / 8))
        tides = max(TIDES_MIN, round(seconds / length))
        for one in [self.watch, *self.dwellers]:
            one.start()
        for number in range(1, tides + 1):
            self.high_water(length - self.house.settle_seconds)
            if not self.is_running() or not self.low_water():
                break
            self.tell_tide(number, tides)
        self.watch.stop()
        if self.is_running():
            self.leave_some()
            self.wrong += self.house.end()
        else:
            self.wrong += [f"it ended by itself: {self.house.process.poll()}", *self.house.end()]
        self.tide.end()

    def is_running(self):
        return self.house.process.poll() is None

    def high_water(self, seconds):
        self.watch.phase = "rising"
        end = time.monotonic() + seconds
        self.spring()
        end = max(end, time.monotonic() + HIGH_SECONDS_MIN)
        self.tide.rise()
        due = [[time.monotonic() + every, every, action] for every, action in self.actions()]
        while time.monotonic() < end and self.is_running():
            for one in due:
                if time.monotonic() >= one[0]:
                    self.do(one[2])
                    one[0] = time.monotonic() + one[1]
            if end - time.monotonic() < seconds * 0.7:
                self.watch.phase = "high"
            time.sleep(0.1)
        self.watch.phase = "falling"
        self.tide.fall()

    def actions(self):
        yield RELOAD_SECONDS, self.house.reload
        yield ROTATE_SECONDS, self.house.rotate
        yield RESTART_SECONDS, self.house.restart_backend
        if self.options.restless:
            yield UPGRADE_SECONDS, self.house.upgrade
            yield STOP_SECONDS, self.house.restart
            yield CRASH_SECONDS, self.house.crash

    def spring(self):
        """All of a sudden very many, and all gone again."""
        host, stranger = self.make(Steady), self.make(Stranger)
        guests, halves = [], []
        try:
            for _ in range(SPRING):
                halves.append(stranger.begin_half_open())
            for _ in range(SPRING):
                guests.append(host.arrive())
            for guest in guests:
                host.ask(guest)
        except (Overslept, Uprooted):
            pass
        except Wrong as problem:
            self.wrong.append(f"many at once: {problem}")
        finally:
            for guest in guests:
                host.leave(guest)
            for half in halves:
                half.abandon()

    def do(self, action):
        try:
            action()
        except AssertionError as problem:
            self.wrong.append(f"{action.__name__}: {problem}")

    def low_water(self):
        """Waits until all have gone and what they left has expired. False: somebody stays."""
        deadline = time.monotonic() + REST_SECONDS
        while not all(one.is_resting for one in self.dwellers):
            if time.monotonic() > deadline:
                staying = [type(one).__name__ for one in self.dwellers if not one.is_resting]
                self.wrong.append(f"a client does not come to its end: {staying}")
                return False
            time.sleep(0.1)
        time.sleep(self.house.settle_seconds)
        self.watch.phase = "low"
        sample = self.watch.take()
        self.low.append(sample)
        if sample.descriptors != self.base.descriptors:
            self.wrong.append(
                f"low water: {sample.descriptors} descriptors, {self.base.descriptors} at first"
            )
        return True

    def leave_some(self):
        """Sessions for SIGTERM to end."""
        for service in ("new", "old"):
            host = self.make(Steady)
            host.services = [service]
            try:
                host.ask(host.arrive())
            except Exception as problem:  # pylint: disable=broad-except  told, whatever it is
                self.wrong.append(f"at the end: {problem!r}")

    # ---- the verdict ----

    def tell_tide(self, number, tides):
        counts = self.counts()
        low = self.low[-1]
        wrong = sum(one.counts["wrong"] for one in self.dwellers)
        high = [sample.rss for sample in self.watch.of("high")]
        note(
            f"tide {number:3} of {tides}: {counts['handshakes']:7} handshakes,"
            f" {counts['echoes']:8} echoes, {wrong} wrong; RSS {low.rss // 1024} KB low,"
            f" {max(high, default=0) // 1024} KB highest; heap {(low.heap or 0) / 1024:.0f} KB;"
            f" {low.descriptors} descriptors"
        )

    def counts(self):
        return sum((one.counts for one in self.dwellers), collections.Counter())

    def judge(self):
        """All that is wrong, in words."""
        wrong = self.wrong + [text for one in self.dwellers for text in one.wrongs]
        samples = self.low if self.options.restless else self.watch.samples
        threads = {sample.threads for sample in [self.base, *samples]}
        if len(threads) != 1:
            wrong.append(f"the threads change: {sorted(threads)}")
        silent = {type(one).__name__ for one in self.dwellers if not one.counts["lives"]}
        if silent:
            wrong.append(f"nobody of these has lived: {sorted(silent)}")
        return wrong + self.judge_memory()

    def judge_memory(self):
        low, high = second_half(self.low), second_half(self.watch.of("high"))
        minutes = 0 if self.is_sanitized or self.options.restless else self.options.minutes
        wrong = []
        for name, found, limit, least in (
            ("heap, low water", trend(low, "heap"), lambda _: HEAP_KB, HEAP_MINUTES),
            ("RSS, low water", trend(low, "rss"), lambda t: RSS_PART * t.middle, RSS_MINUTES),
            ("RSS, high water", trend(high, "rss"), lambda t: RSS_PART * t.middle, RSS_MINUTES),
        ):
            if not found:
                note(f"{name}: not known")
                continue
            text = (
                f"{name}, second half: {found.count} samples over {found.minutes:.1f} min,"
                f" median {found.middle:.0f} KB, spread {found.spread:.0f} KB, growth"
                f" {found.growth:+.0f} KB ({found.per_minute:+.1f} KB/min)"
            )
            is_judged = minutes >= least
            note(text + ("" if is_judged else ", not judged"))
            if is_judged and found.growth >= limit(found):
                wrong.append(f"not flat: {text}; {limit(found):.0f} KB would do")
        return wrong

    def tell_all(self):
        note("\nclients:")
        for kind in dict.fromkeys(type(one) for one in self.dwellers):
            counts = sum(
                (one.counts for one in self.dwellers if type(one) is kind), collections.Counter()
            )
            note(f"  {kind.__name__:10}" + ", ".join(f"{v} {k}" for k, v in counts.items()))
        journal = self.house.journal
        note(f"reloads: {dict(self.house.reloads)}; rotations: {journal.rotations}")
        if self.options.restless:
            note(f"the longest, in seconds: {dict(self.house.longest)}")
        note(f"ends: {dict(journal.reasons)}")
        note(f"totals: {journal.totals}\n")

    def close(self):
        self.house.close()


def parse(argv):
    parser = argparse.ArgumentParser(description="Soak dtlsgate for a while.")
    parser.add_argument("--dtlsgate", required=True, help="the program")
    parser.add_argument("--minutes", type=float, default=30, help="(default: %(default)s)")
    parser.add_argument(
        "--restless", action="store_true", help="upgrade, restart and kill it now and then"
    )
    parser.add_argument("--folder", help="where settings and log stay (default: nowhere)")
    parser.add_argument("--seed", type=int, help="for the clients' choices; the time is not in it")
    return parser.parse_args(argv)


def main(argv):
    options = parse(argv)
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    random.seed(seed)
    note(f"soak: {options.minutes:g} minutes, seed {seed}")
    with tempfile.TemporaryDirectory() as temporary:
        soak = Soak(options, options.folder or temporary)
        try:
            soak.run()
            soak.tell_all()
            wrong = soak.judge()
        finally:
            soak.close()
    for text in wrong:
        note(f"WRONG: {text}")
    note(f"soak: {'FAILED' if wrong else 'ok'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.stdout.flush()
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # whoever still waits in a thread does not hold us up
