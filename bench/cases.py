"""The cases: what is done to a proxy, and what is read from it."""

import collections
import os
import signal
import time

from procs import Failure, Gate, Load, Server
from proxies import IDENTITY, KEY, PROXIES, client_arguments

Traffic = collections.namedtuple("Traffic", "sessions window payload")
TRAFFIC = {
    "1x16-64": Traffic(1, 16, 64),
    "16x4-64": Traffic(16, 4, 64),
    "16x4-1200": Traffic(16, 4, 1200),
    "1000x1-64": Traffic(1000, 1, 64),
}
CASES = [*TRAFFIC, "latency", "handshakes", "idle", "hellos", "devices"]
# Who else than dtlsgate a case is for.
BESIDE = {
    **{name: list(PROXIES) for name in TRAFFIC},
    "latency": ["relay", "relay-g", "nginx", "dtlsgate", "dtlsgate-2"],
    "handshakes": ["dtlsgate", "dtlsgate-2"],
    "idle": ["nginx", "dtlsgate"],
    "hellos": ["dtlsgate"],
    "devices": ["dtlsgate"],
}
FEW = 1000  # open sessions that a handshake's cost is compared with
WARM_UP_SECONDS = 1
PEAK = 200  # sessions whose memory is that of any
FLOWS_CLOSE = "service.default.flow-timeout=1s"


def takes(case, name):
    most = PROXIES[name].most
    sessions = TRAFFIC[case].sessions if case in TRAFFIC else 0
    return name in BESIDE[case] and (most == 0 or 0 < sessions <= most)


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.psk_file = os.path.join(folder, "bench.psk")
        with open(os.open(self.psk_file, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"{IDENTITY}:{KEY}\n")
        self.failures = []

    def program(self, name):
        return os.path.join(self.options.builddir, "bench", name)

    def echo(self):
        return Server([self.program("udp_echo")], ready=r"listening on \S+\n")

    def load(self, arguments, target, program="dtls_load"):
        return Load(self.program(program), arguments, target, self.options.limit)

    def psk_arguments(self):
        options = self.options
        found = ["-c", options.suite, "-i", IDENTITY, "-s", KEY, "-j", options.concurrent]
        return ["-l", *found] if options.libssl else found

    def check(self, what, result):
        bad = {k: int(result[k]) for k in ("failed", "closed", "wrong") if result.get(k, 0) != 0}
        if bad:
            self.failures.append(f"{what}: {bad}")

    def measure(self, proxy, arguments):
        """One run: the result of the load, with the proxy's CPU time as cpu."""
        with self.load(["-g", *arguments], proxy.address) as load:
            load.go()
            before = proxy.cpu_seconds()
            load.say()
            result = load.result()
            result["cpu"] = proxy.cpu_seconds() - before
            return result

    def start(self, name, echo, *settings):
        return PROXIES[name].start(self, echo.address, *settings)

    def until(self):
        options = self.options
        return ["-k", options.count] if options.count else ["-d", options.seconds]

    def run(self, case, name):
        if case in TRAFFIC:
            return self.traffic(case, name)
        return getattr(self, case)(name)

    def traffic(self, case, name):
        sessions, window, payload = TRAFFIC[case]
        arguments = ["-n", sessions, "-w", window, "-p", payload, *self.until()]
        with self.echo() as echo, self.start(name, echo) as proxy:
            result = self.measure(proxy, [*arguments, *client_arguments(self, name)])
        self.check(f"{name} {case}", result)
        if result["round_trips"] == 0:
            raise Failure(f"{name} {case}: not one datagram came back")
        result["cost"] = result["cpu"] / result["round_trips"] * 1e6
        return result

    def latency(self, name):
        """An open loop: some devices, each once in a while."""
        options = self.options
        arguments = ["-m", "paced", "-r", options.rate, "-n", options.paced_sessions, *self.until()]
        with self.echo() as echo, self.start(name, echo) as proxy:
            result = self.measure(proxy, [*arguments, *client_arguments(self, name)])
        self.check(f"{name} latency", result)
        if result["round_trips"] == 0:
            raise Failure(f"{name} latency: not one datagram came back")
        return result

    def handshakes(self, name):
        arguments = ["-m", "handshakes", "-k", self.options.handshakes, *self.psk_arguments()]
        with self.echo() as echo, self.start(name, echo) as proxy:
            result = self.measure(proxy, arguments)
        self.check(f"{name} handshakes", result)
        if result["handshakes"] == 0:
            raise Failure("handshakes: not one came to its end")
        result["cost"] = result["cpu"] / result["handshakes"] * 1e6
        return result

    def idle(self, name):
        """Some sessions first, so that their peak is part of the base line and not of the growth.
        A plain proxy has a session only once a datagram has come."""
        plain = PROXIES[name].clients == "plain"
        if not plain and not self.options.libssl:
            return self.sleepers(name)
        sessions = self.options.sessions
        held = ["-x", "-n", sessions, "-k", sessions] if plain else ["-m", "idle", "-n", sessions]
        warm_up = ["-x", "-n", 100, "-k", 100] if plain else ["-m", "handshakes", "-k", 200]
        if not plain:
            held, warm_up = ([*a, *self.psk_arguments()] for a in (held, warm_up))
        with self.echo() as echo, self.start(name, echo) as proxy:
            self.check(f"{name} idle, warm-up", self.measure(proxy, warm_up))
            before = proxy.settled_memory(self.options.calm)
            with self.load(held, proxy.address) as load:
                result = load.result()
                after = proxy.settled_memory(self.options.calm)
        self.check(f"{name} idle", result)
        if result["sessions"] == 0:
            raise Failure("idle: no session could be opened")
        result["rss"], result["anonymous"] = (
            (b - a) / result["sessions"] for a, b in zip(before, after)
        )
        return result

    def sleepers(self, name):
        """Twice: before the sessions have sent anything, and once each has had an answer of the
        backend and its flow is closed again."""
        sessions, calm = self.options.sessions, self.options.calm
        fleet_arguments = ["-c", self.options.suite, "-i", IDENTITY, "-s", KEY]
        with self.echo() as echo, self.start(name, echo, FLOWS_CLOSE) as gate:
            without_flows = gate.descriptors()
            with self.load(fleet_arguments, gate.address, "devices") as fleet:
                fleet.go()
                self.ask(fleet, f"shake {self.options.shakes}")  # all the prefixes it remembers
                self.ask(fleet, f"open {PEAK}")
                self.ask(fleet, f"wake {PEAK}")
                self.wait_for_flows(gate, without_flows)
                before = gate.settled_memory(calm)
                self.ask(fleet, f"open {PEAK + sessions}")
                silent = gate.settled_memory(calm)
                self.ask(fleet, f"wake {PEAK + sessions}")
                self.wait_for_flows(gate, without_flows)
                after = gate.settled_memory(calm)
        result = {"sessions": sessions, "silent": (silent[0] - before[0]) / sessions}
        result["rss"], result["anonymous"] = ((b - a) / sessions for a, b in zip(before, after))
        return result

    def wait_for_flows(self, gate, descriptors):
        """Until all are closed."""
        deadline = time.monotonic() + 60
        while gate.descriptors() > descriptors:
            if time.monotonic() > deadline:
                raise Failure("idle: the flows do not close")
            time.sleep(0.1)

    def flood(self, seconds, gate):
        options = self.options
        arguments = ["-g", "-m", "hello", "-r", options.hello_rate, "-d", seconds]
        with self.load(arguments, gate.address, "hello_flood") as load:
            load.go()
            load.say()
            return load.result()

    def hellos(self, name):
        """Spoofed ones; how many were taken in is what the totals say, as some may be lost."""
        with self.echo() as echo, self.start(name, echo) as gate:
            cpu = gate.cpu_seconds()
            self.flood(WARM_UP_SECONDS, gate)
            before = gate.settled_memory(self.options.calm)
            result = self.flood(self.options.seconds, gate)
            after = gate.settled_memory(self.options.calm)
            cpu = gate.cpu_seconds() - cpu
            totals = gate.totals()
        result["growth"] = (after[0] - before[0]) / 1024
        result["taken"] = totals.get("client.hello_answered", 0)
        if result["taken"] == 0 or result["taken"] != totals["client_records"]:
            self.failures.append(f"hellos: not each one was answered: {totals}")
            return {**result, "cost": 0}
        result["cost"] = cpu / result["taken"] * 1e6
        return result

    # --- sleeping devices ---

    def write_settings(self, backend, level):
        """As a file, for the log's level is changed once all is ready: two lines for each of a
        million sessions would be the disk's measurement."""
        path = os.path.join(self.folder, "devices.ini")
        room = self.options.devices + 2 * self.options.shakes + FEW
        text = (
            f"[daemon]\nworkers = 1\nmax-sessions = {room}\nlog-level = {level}\n"
            "[service default]\nlisten = 127.0.0.1:0\n"
            f"backend = {backend}\npsk-file = {self.psk_file}\n"
            f"ciphers = {self.options.suite}\nflow-timeout = 2s\nidle-timeout = 6h\n"
        )
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def ask(self, fleet, command):
        """What comes after a failure would measure nothing."""
        fleet.say(command)
        result = fleet.result()
        if result["failed"] or result["wrong"]:
            raise Failure(f"devices, {command}: {result}")
        return result

    def cost_of_handshakes(self, fleet, gate):
        before = gate.cpu_seconds()
        done = self.ask(fleet, f"shake {self.options.shakes}")["done"]
        return (gate.cpu_seconds() - before) / max(1, done) * 1e6

    def devices(self, _name):
        options = self.options
        fleet_arguments = ["-c", options.suite, "-i", IDENTITY, "-s", KEY]
        with self.echo() as echo:
            path = self.write_settings(echo.address, "info")
            with Gate(options.dtlsgate, ["-c", path], options.set) as gate:
                self.write_settings(echo.address, "warning")
                gate.process.send_signal(signal.SIGHUP)
                with self.load(fleet_arguments, gate.address, "devices") as fleet:
                    fleet.go()
                    return self.put_to_sleep(fleet, gate)

    def put_to_sleep(self, fleet, gate):
        options = self.options
        few = min(FEW, options.devices)
        self.ask(fleet, f"open {few}")
        self.cost_of_handshakes(fleet, gate)  # what is only done once is done
        result = {"cost_few": self.cost_of_handshakes(fleet, gate)}
        before = gate.settled_memory(options.calm)
        opened = self.ask(fleet, f"open {options.devices}")
        after = gate.settled_memory(options.calm)
        result["sessions"] = opened["sessions"]
        result["open_per_second"] = opened["per_second"]
        result["rss_mb"] = after[0] / 1e6
        result["rss"] = (after[0] - before[0]) / max(1, options.devices - few)
        woken = self.ask(fleet, f"wake {options.wakes}")
        result["woken"], result["repeated"] = woken["done"], woken["repeated"]
        result["wrong"] = woken["wrong"]
        result["cost_many"] = self.cost_of_handshakes(fleet, gate)
        result["ratio"] = result["cost_many"] / result["cost_few"]
        return result
