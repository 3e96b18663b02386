"""control: the control socket as anybody can use it, and dtlsgatectl."""

import json
import os
import pathlib
import socket
import subprocess

from lib.gate import DEADLINE, environment


def connect(path, timeout=DEADLINE):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))  # waits where many are before us; a socket with a time-out would not
    s.settimeout(timeout)
    return s


def read_all(s):
    """What comes until the end; a peer that closed before it had read all of ours resets."""
    got = b""
    try:
        while data := s.recv(65536):
            got += data
    except ConnectionResetError:
        pass
    return got


def say(path, line):
    """Sends the bytes as they are and reads the answer to its end."""
    with connect(path) as s:
        try:
            s.sendall(line)
        except BrokenPipeError:
            pass
        return read_all(s).decode("ascii")


class Control:
    """Commands by the socket. What is refused raises Refused with the reason."""

    class Refused(Exception):
        pass

    def __init__(self, path):
        self.path = path

    def __call__(self, line):
        """The lines behind the "ok"."""
        first, rest = say(self.path, line.encode() + b"\n").split("\n", 1)
        if first != "ok":
            assert first.startswith("error: "), first
            raise Control.Refused(first.removeprefix("error: "), rest)
        return rest

    def json(self, line):
        return json.loads(self(line + " --json"))

    def refusal(self, line):
        """(reason, what follows it)."""
        try:
            self(line)
        except Control.Refused as refused:
            return refused.args
        raise AssertionError(f"{line} was not refused")


def ctl_path():
    return pathlib.Path(os.environ["DTLSGATE"]).resolve().parent / "dtlsgatectl"


def ctl(path, *words, **how):
    """Runs dtlsgatectl to its end."""
    return subprocess.run(
        [ctl_path(), "-s", path, *words],
        env=environment(),
        capture_output=True,
        timeout=DEADLINE,
        **how,
    )
