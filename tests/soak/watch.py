"""watch: samples of a process's memory, descriptors and threads, and what they say.

It must never know what happened meanwhile, but for the name of the phase.
"""

import collections
import os
import re
import statistics
import threading
import time

Sample = collections.namedtuple("Sample", "seconds phase rss descriptors threads heap")


class Watch(threading.Thread):
    """Takes a sample each few seconds; `phase` is what the samples are filed under, `pid()` tells
    which process, `heap()` how many bytes it has from malloc(), or None."""

    def __init__(self, pid, heap, every=2.0):
        super().__init__(daemon=True)
        self._pid, self._heap, self.every = pid, heap, every
        self.phase = "start"
        self.samples = []
        self._begun = time.monotonic()
        self._is_over = threading.Event()

    def take(self):
        """One sample, which is also returned."""
        pid = self._pid()
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            found = dict(re.findall(r"^(\w+):\s+(\d+)\b", file.read(), re.MULTILINE))
        sample = Sample(
            time.monotonic() - self._begun,
            self.phase,
            int(found["VmRSS"]) * 1024,
            self._descriptors(pid),
            int(found["Threads"]),
            self._heap(),
        )
        self.samples.append(sample)
        return sample

    @staticmethod
    def _descriptors(pid):
        """None where we may not look, for want of privileges."""
        try:
            return len(os.listdir(f"/proc/{pid}/fd"))
        except PermissionError:
            return None

    def run(self):
        while not self._is_over.wait(self.every):
            try:
                self.take()
            except (FileNotFoundError, ProcessLookupError, KeyError):
                continue  # it has ended; whoever ends it looks how, and may start another

    def stop(self):
        self._is_over.set()
        self.join()

    def of(self, phase):
        return [sample for sample in self.samples if sample.phase == phase]


Trend = collections.namedtuple("Trend", "count minutes per_minute growth spread middle")


def trend(samples, what):
    """Least squares over one size of the samples: per minute, in all, the distance of the extremes,
    the median, in KB. None: too few, or not known."""
    minutes = [sample.seconds / 60 for sample in samples]
    sizes = [getattr(sample, what) for sample in samples]
    if len(samples) < 3 or None in sizes:
        return None
    sizes = [size / 1024 for size in sizes]
    slope = statistics.linear_regression(minutes, sizes).slope
    length = minutes[-1] - minutes[0]
    spread = max(sizes) - min(sizes)
    return Trend(len(samples), length, slope, slope * length, spread, statistics.median(sizes))


def second_half(samples):
    return samples[len(samples) // 2 :]
