"""The tables: medians over the rounds, their spread, and ratios of what was measured in turn."""

import datetime
import math
import statistics

from cases import FEW, TRAFFIC
from procs import machine, median
from proxies import PROXIES


def spread(runs, key, digits=2):
    values = [run[key] for run in runs]
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio(results, case, one, other, key="cost"):
    """The median of the rounds' ratios: what the machine did in a round met both. None: one of
    them was not measured."""
    a, b = results.get((case, one), []), results.get((case, other), [])
    pairs = [x[key] / y[key] for x, y in zip(a, b) if y[key] > 0]
    return statistics.median(pairs) if pairs else None


def show(value, digits=2):
    return "–" if value is None else f"{value:.{digits}f}"


def geometric_mean(values):
    if not values or None in values:
        return None
    return math.exp(statistics.fmean(math.log(value) for value in values))


def row(*cells):
    return f"| {' | '.join(cells)} |"


def table(*heads):
    return [row(*heads), row(*["---"] * len(heads))]


def ratio_row(results, cases, title, one, other):
    ratios = [ratio(results, case, one, other) for case in cases]
    if all(r is None for r in ratios):
        return []
    return [row(title, *map(show, ratios), f"**{show(geometric_mean(ratios))}**")]


def traffic(results):
    cases = [case for case in TRAFFIC if any(key[0] == case for key in results)]
    if not cases:
        return []
    lines = ["CPU µs of the proxy per round trip; sessions x in flight, payload:", ""]
    lines += table("", *cases, "geometric mean")
    for name, proxy in PROXIES.items():
        if not any((case, name) in results for case in cases):
            continue
        runs = [results.get((case, name)) for case in cases]
        cells = [spread(r, "cost") if r else "–" for r in runs]
        medians = [median(r, "cost") if r else None for r in runs]
        lines.append(row(proxy.title, *cells, show(geometric_mean(medians))))
    lines += ratio_row(results, cases, "dtlsgate / nginx (goal 0.75)", "dtlsgate", "nginx")
    lines += ratio_row(results, cases, "dtlsgate / plain relay", "dtlsgate", "relay")
    lines += ratio_row(results, cases, "dtlsgate / with UDP_SEGMENT", "dtlsgate", "relay-g")
    lines += ratio_row(results, cases, "2 workers / 1 (goal 1.1)", "dtlsgate-2", "dtlsgate")
    runs = [run for case in cases for name in PROXIES for run in results.get((case, name), [])]
    lost, all_of_them = sum(r["lost"] for r in runs), sum(r["round_trips"] for r in runs)
    return [*lines, "", f"Lost: {lost:.0f} of {lost + all_of_them:.0f} datagrams.", ""]


def latency(options, results):
    names = [name for name in PROXIES if ("latency", name) in results]
    if not names:
        return []
    lines = [
        f"Latency in µs at {options.rate} datagrams a second in all over"
        f" {options.paced_sessions} sessions (open loop):",
        "",
        *table("", "p50", "p99", "p99.9", "p50 / relay", "p99 / relay", "lost"),
    ]
    for name in names:
        runs = results["latency", name]
        cells = [spread(runs, f"{key}_us", 0) for key in ("p50", "p99", "p999")]
        for key in ("p50_us", "p99_us"):
            cells.append(show(ratio(results, "latency", name, "relay", key)))
        lost = sum(run["lost"] for run in runs)
        lines.append(row(PROXIES[name].title, *cells, f"{lost:.0f}"))
    return [*lines, ""]


def handshakes(options, results):
    lines = []
    for name in ("dtlsgate", "dtlsgate-2"):
        runs = results.get(("handshakes", name))
        if runs:
            lines.append(
                f"Full handshakes, {options.concurrent} at a time, {PROXIES[name].title}:"
                f" {spread(runs, 'cost', 1)} µs of CPU each,"
                f" {median(runs, 'per_second'):.0f} a second."
            )
    runs = results.get(("hellos", "dtlsgate"))
    if runs:
        lines.append(
            f"A spoofed hello: {spread(runs, 'cost')} µs of CPU; memory growth at most"
            f" {max(run['growth'] for run in runs):.0f} KB."
        )
    return [line for pair in zip(lines, [""] * len(lines)) for line in pair]


def memory(options, results):
    lines = []
    for name in PROXIES:
        runs = results.get(("idle", name))
        if runs:
            lines.append(
                f"Memory per idle session, {options.sessions} of them, {PROXIES[name].title}:"
                f" {median(runs, 'rss'):.0f} bytes of RSS"
                + (f", {median(runs, 'silent'):.0f} before any data." if "silent" in runs[0] else ".")
            )
    runs = results.get(("devices", "dtlsgate"))
    if runs:
        lines.append(
            f"Sleeping devices: {runs[0]['sessions']:.0f} sessions, all flows closed:"
            f" {spread(runs, 'rss_mb', 0)} MB of RSS in all, {median(runs, 'rss'):.0f} bytes each."
            f" {sum(run['woken'] for run in runs):.0f} from all over were woken and got their own echo."
            f" A handshake costs {spread(runs, 'cost_many', 1)} µs then, {spread(runs, 'ratio')}"
            f" times what it does with {min(FEW, options.devices)} open (goal 1.3)."
        )
    return [line for pair in zip(lines, [""] * len(lines)) for line in pair]


def report(options, results, version):
    """Lines of Markdown."""
    today = datetime.date.today().isoformat()
    how = f"{options.count} datagrams" if options.count else f"{options.seconds} s"
    return [
        f"{version}, {today}: {machine()}; {options.suite}; medians (lowest–highest) of"
        f" {options.rounds} rounds of {how}, the proxies in turn in each; ratios are medians of"
        f" the rounds' ratios.",
        "",
        *traffic(results),
        *latency(options, results),
        *handshakes(options, results),
        *memory(options, results),
    ]
