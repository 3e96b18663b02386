"""house: one dtlsgate after the other in the same place, where sessions outlive the process."""

import os
import pathlib
import signal

from lib.gate import KEY, Gate, until

SUITES = [
    "PSK-AES128-GCM-SHA256",
    "PSK-AES128-CCM8",
    "PSK-AES256-GCM-SHA384",
    "PSK-CHACHA20-POLY1305",
]


def processes_with(argument):
    """Process ids of those that still run; ours that have ended are waited for."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argument.encode() in arguments:
            found.append(int(entry.name))
    return found


class House:
    """One dtlsgate after the other, on the same port, with the same folder."""

    def __init__(self, binary, tmp_path, settings, psk, backend, port):
        self.binary, self.tmp_path, self.settings, self.psk = binary, tmp_path, settings, psk
        self.backend, self.port = backend, port
        self.dir = tmp_path / "state"
        self.dir.mkdir(mode=0o700)
        self.key = tmp_path / "state.key"
        self.write_key()
        self.gate = None
        self.daemon, self.service, self.keys = {}, {}, {"dev-1": KEY}

    @property
    def file(self):
        return self.dir / "sessions"

    def write_key(self):
        self.key.write_bytes(os.urandom(32))
        self.key.chmod(0o600)

    def begin(self):
        """As start(), but nobody waits until it is ready."""
        ini = self.settings(
            {
                "daemon": {"state-dir": self.dir, "state-key": self.key, "workers": 2, **self.daemon},
                "service default": {
                    "listen": f"127.0.0.1:{self.port}",
                    "backend": self.backend.address,
                    "psk-file": self.psk(self.keys),
                    **self.service,
                },
            }
        )
        self.gate = Gate(self.binary, ["-c", ini], self.tmp_path, secrets=[KEY.hex()])

    def start(self):
        self.begin()
        return self.gate.wait_ready()

    def kill(self):
        """All that runs with our settings, whoever it is a child of."""
        for pid in processes_with(str(self.tmp_path / "dtlsgate.ini")):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.gate.process.wait()
        self.gate.stderr.finish()
        until(lambda: not processes_with(str(self.tmp_path / "dtlsgate.ini")))

    def crash(self):
        self.kill()
        return self.start()

    def restart(self):
        self.gate.end()
        return self.start()

    def taken(self):
        return self.gate.wait_event("state")


def numbers(client):
    """The epoch 1 record numbers that the gate has sent to a client, as they came."""
    found = []
    for datagram in client.seen:
        while len(datagram) >= 13:
            size = 13 + int.from_bytes(datagram[11:13], "big")
            if datagram[3:5] == b"\0\1":
                found.append(int.from_bytes(datagram[5:11], "big"))
            datagram = datagram[size:]
    return found
