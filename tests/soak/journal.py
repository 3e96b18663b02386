"""journal: dtlsgate's log file, followed through its rotations, and what the lines add up to.

Nothing is kept but counts, complaints and the totals, so it can follow for days. It must never
know what the soak does, or why.
"""

import collections
import json
import os
import re
import threading
import time

from lib.gate import DEADLINE, fields

ENDS_KEPT = 5000
TEXT_LINE = re.compile(r"^\S+ (error|warning|info|debug) (.*)")


class Journal:
    def __init__(self, path):
        self.path = path
        self.totals = None
        self.complaints = []  # of level error, and denied system calls
        self.counts = collections.Counter()  # of messages, by the text before the first colon
        self.reasons = collections.Counter()  # of ends and failures
        self.rotations = 0
        self._ends = collections.OrderedDict()  # the last of them, by peer
        self._lock = threading.Lock()
        self._open = collections.deque()  # the file in use last; before it the one it replaced
        self._follow()

    def _follow(self):
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                self._open.append([open(self.path, "rb"), b""])
                return
            except FileNotFoundError:
                if time.monotonic() > deadline:
                    raise AssertionError("the log file was not made anew") from None
                time.sleep(0.01)

    def rotate(self, tell):
        """Moves the file away and waits until dtlsgate, told so by `tell()`, has made a new one.

        Lines that were on their way into the old one are still read, until the next rotation."""
        with self._lock:
            self._read_all()
            old = self.path.with_suffix(".1")
            os.replace(self.path, old)
            tell()
            self._follow()
            while len(self._open) > 2:
                self._open.popleft()[0].close()
            old.unlink()
            self.rotations += 1

    def read(self):
        with self._lock:
            self._read_all()
        return self

    def _read_all(self):
        for entry in self._open:
            *whole, entry[1] = (entry[1] + entry[0].read()).split(b"\n")
            for line in whole:
                self._take(line.decode("utf-8", "replace"))

    def _take(self, line):
        if line.startswith("{"):
            event = json.loads(line)
            level, message = event["level"], event["message"]
        else:
            event = None
            found = TEXT_LINE.match(line)
            level, message = found.groups() if found else ("error", line)
        subject, _, _ = message.partition(":")
        self.counts[message if subject == "dtlsgate" else subject] += 1
        if level == "error" or subject == "system call denied":
            self.complaints.append(line)
        if subject in ("session end", "handshake failed", "totals"):
            event = fields(line) if event is None else event
            if subject == "totals":
                self.totals = {k: int(v) for k, v in event.items() if str(v).isdigit()}
            else:
                self._note_end(event)

    def _note_end(self, event):
        self.reasons[event["reason"]] += 1
        self._ends.pop(event["peer"], None)
        self._ends[event["peer"]] = event["reason"]
        while len(self._ends) > ENDS_KEPT:
            self._ends.popitem(last=False)

    def end_of(self, peer):
        """Why the last session from there has ended, if that was not long ago."""
        self.read()
        return self._ends.get(f"{peer[0]}:{peer[1]}", "none in the log")

    def take_complaints(self):
        with self._lock:
            found, self.complaints = self.complaints, []
        return found

    def count(self, pattern):
        self.read()
        return sum(n for subject, n in self.counts.items() if re.search(pattern, subject))

    def wait(self, pattern, count, timeout=DEADLINE):
        deadline = time.monotonic() + timeout
        while self.count(pattern) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"no line like {pattern!r} within {timeout:.0f} s")
            time.sleep(0.02)

    def close(self):
        for file, _ in self._open:
            file.close()
