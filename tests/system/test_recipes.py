"""doc/recipes.md: each recipe as it is written there, with the real server and other ports."""

import os
import pathlib
import re
import shlex
import signal
import subprocess

import pytest

from lib.backend import unused_port
from lib.gate import DEADLINE, until, without_root
from lib.programs import Program, start_on_unused_port

DOC = pathlib.Path(__file__).parents[2] / "doc" / "recipes.md"
BLOCK = re.compile(r"<!-- (\w+): (\S+) -->\n```\w*\n(.*?)```\n", re.DOTALL)
LISTEN = re.compile(r"^listen = .*$", re.MULTILINE)


def replaced(text, changes):
    """What is to be replaced must be there: otherwise the paper has moved on without the test."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in:\n{text}"
        text = text.replace(old, str(new))
    return text


def is_bound(port):
    """Whether a UDP socket of IPv4 has the port, seen without touching it."""
    ports = pathlib.Path("/proc/net/udp").read_text()
    return f":{port:04X} " in ports


def starts(program, port):
    until(lambda: program.process.poll() is not None or is_bound(port))
    return program.process.poll() is None


def run(script, cwd):
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=dict(os.environ, LC_ALL="C", MIBS=""),
    )


class Recipe:
    """The blocks of one section, and what was started for it."""

    def __init__(self, name, folder, gate):
        found = BLOCK.findall(DOC.read_text())
        self.name, self.folder, self._gate = name, folder, gate
        self.text = {file: text for of, file, text in found if of == name}
        self.bridge_text = next(text for of, _, text in found if of == "bridge")
        self.made = []

    def write(self, file, changes):
        path = self.folder / file
        path.write_text(replaced(self.text[file], changes))
        return path

    def serve(self, documented, command, file=None, changes=None):
        """Starts the server on another port than that which `documented`, a piece of the text, ends
        with; `command(port)` tells how. `file` is its settings."""

        def start(port):
            if file:
                moved = re.sub(r"\d+(?=\D*$)", str(port), documented)
                self.write(file, {documented: moved, **(changes or {})})
            return Program(*command(port), cwd=self.folder)

        program, self.port = start_on_unused_port(start, starts)
        self.made.append(program)
        return program

    def open_gate(self, backend):
        """dtlsgate with the recipe's settings and keys."""
        keys = self.write(f"{self.name}.psk", {})
        keys.chmod(0o600)
        text = LISTEN.sub("listen = 127.0.0.1:0", self.text["dtlsgate.ini"])
        changes = {f"/etc/dtlsgate/{self.name}.psk": keys, backend: f"127.0.0.1:{self.port}"}
        ini = self.folder / "dtlsgate.ini"
        ini.write_text(replaced(text, changes))
        self.key = keys.read_text().split(":")[1].strip()
        self.gate = self._gate(ini=ini, keys={"sensor-17": bytes.fromhex(self.key)})
        return self.gate

    def open_bridge(self):
        """The bridge of the paper, and the port where it takes plain datagrams."""
        port = unused_port()
        host, gate_port = self.gate.address(self.name)
        call = shlex.join(["bridge", str(port), host, str(gate_port), "sensor-17", self.key])
        script = f"{self.bridge_text}\n{call}"
        program = Program("bash", "-c", script, start_new_session=True, cwd=self.folder)
        self.made.append(program)
        assert starts(program, port), program.out.text()
        return port

    def attempt(self, changes):
        done = run(replaced(self.text["try.sh"], changes), self.folder)
        assert done.returncode == 0, done
        return done.stdout

    def check_log(self):
        """Each line of the paper's log has come: all of its words in one line."""
        for line in self.text["log"].splitlines():
            subject, words = line.split(": ", 1)
            found = shlex.split(words, posix=False)
            wanted = "".join(f"(?=.*{re.escape(word)})" for word in found)
            self.gate.log.wait(f" {subject}: {wanted}")

    def end(self):
        for program in self.made:
            try:
                if os.getpgid(program.process.pid) == program.process.pid:
                    os.killpg(program.process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            program.stop()


@pytest.fixture
def recipe(gate, tmp_path):
    made = []

    def make(name):
        made.append(Recipe(name, tmp_path, gate))
        return made[-1]

    yield make
    for one in made:
        one.end()


def test_coap(recipe):
    r = recipe("coap")
    command = shlex.split(r.text["server.sh"])
    assert command[-1] == "5683"
    r.serve("5683", lambda port: [*command[:-1], port])
    host, port = r.open_gate("127.0.0.1:5683").address("coap")
    assert "</time>" in r.attempt({"gate.example": f"{host}:{port}"})
    r.check_log()


def test_syslog(recipe, tmp_path):
    r = recipe("syslog")
    r.serve(
        'port="5514"',
        lambda _port: ["rsyslogd", "-n", "-i", "NONE", "-f", tmp_path / "rsyslog.conf"],
        "rsyslog.conf",
        {"/var/log/devices": tmp_path / "devices"},
    )
    g = r.open_gate("127.0.0.1:5514")
    port = r.open_bridge()
    r.attempt({"1514": port})
    r.check_log()
    source = g.wait_event("session flow")["backend-source"]
    file = tmp_path / "devices" / f"{source}.log"
    until(lambda: file.exists() and "\n" in file.read_text())
    assert file.read_text().endswith(f" {os.uname().nodename} boiler: it is hot\n")
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_dns(recipe, tmp_path):
    r = recipe("dns")
    options = ["--user=" if os.geteuid() else "--user=root", "--pid-file=", "--log-facility=-"]
    command = ["dnsmasq", "--keep-in-foreground", f"--conf-file={tmp_path}/dnsmasq.conf", *options]
    r.serve("port=5300", lambda _port: command, "dnsmasq.conf")
    r.open_gate("127.0.0.1:5300")
    assert r.attempt({"1053": r.open_bridge()}) == "192.168.7.1\n"
    r.check_log()


def test_snmp(recipe, tmp_path, monkeypatch):
    r = recipe("snmp")
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("SNMP_PERSISTENT_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MIBS", "")
    command = ["snmpd", "-f", "-C", "-c", tmp_path / "snmpd.conf", "-Lo"]
    r.serve("127.0.0.1:161", lambda _port: command, "snmpd.conf")
    r.open_gate("127.0.0.1:161")
    assert r.attempt({"127.0.0.1:1161": f"127.0.0.1:{r.open_bridge()}"}).endswith('"Rack 7"\n')
    r.check_log()


def test_vpn(recipe, tmp_path):
    """Without a device, which needs privileges; all else is the paper's, but more in a hurry."""
    r = recipe("vpn")
    done = run(r.text["keys.sh"], tmp_path)
    prints = re.findall(r"=((?:\w\w:){31}\w\w)$", done.stdout, re.MULTILINE)
    assert len(prints) == 2, done
    hurry = {"keepalive 10 60": "keepalive 1 3"}
    options = ["--dev", "null", "--ifconfig-noexec", "--verb", "6"]
    server = r.serve(
        "port 1194",
        lambda _port: ["openvpn", "--config", "server.conf", *options],
        "server.conf",
        {"CLIENT-FINGERPRINT": prints[1]} | hurry,
    )
    r.open_gate("127.0.0.1:1194")
    changes = {"127.0.0.1 11194": f"127.0.0.1 {r.open_bridge()}", "SERVER-FINGERPRINT": prints[0]}
    r.write("client.conf", changes | hurry)
    client = Program(*shlex.split(r.text["try.sh"]), *options, cwd=tmp_path)
    r.made.append(client)
    for side in (server, client):
        side.out.wait("Initialization Sequence Completed")
    so_far = [len(side.out.find("UDPv4 READ")) for side in (server, client)]
    for side, count in zip((server, client), so_far):
        side.out.wait("UDPv4 READ", count + 5)  # at one keep-alive a second
        assert not side.out.find("Inactivity timeout"), side.out.text()
    r.check_log()
    assert len(r.gate.events("session open")) == 1


def test_the_settings_are_no_cause_for_warnings(recipe, binary):
    """But for the one readable key, of which the paper tells."""
    for name in ("coap", "syslog", "dns", "snmp", "vpn"):
        r = recipe(name)
        r.port = 1
        keys = r.write(f"{name}.psk", {})
        keys.chmod(0o600)
        ini = r.write("dtlsgate.ini", {f"/etc/dtlsgate/{name}.psk": keys})
        options = ["-o", "daemon.max-sessions=100"]
        done = subprocess.run([binary, "-t", "-c", ini, *options], capture_output=True, text=True)
        assert done.returncode == 0
        warnings = without_root(done.stderr.splitlines())
        assert len(warnings) == (1 if name == "coap" else 0), done.stderr
        assert name != "coap" or "a key is readable text" in done.stderr
