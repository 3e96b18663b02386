"""steady: the C program that is many clients at a steady rate, and their backend."""

import json
import subprocess

from lib.backend import unused_port
from lib.gate import DEADLINE, IDENTITY, KEY


class Steady:
    """Its backend's port is known before it starts, so that a gate can be there first."""

    def __init__(self, program):
        self.program = program
        self.backend = f"127.0.0.1:{unused_port()}"
        self.process = None

    def begin(self, address, sessions, rate):
        """All are connected and speak `rate` times a second each when it returns."""
        host, port = address
        words = [host, port, IDENTITY, KEY.hex(), sessions, rate, self.backend.split(":")[1]]
        self.process = subprocess.Popen(
            [self.program, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "connected\n"
        return self

    def end(self):
        """What they have seen."""
        out, _ = self.process.communicate(timeout=DEADLINE)
        assert self.process.returncode == 0
        return json.loads(out)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)
