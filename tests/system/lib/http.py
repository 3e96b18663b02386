"""http: what the gate tells by HTTP, asked for byte by byte or as a program would."""

import json
import re
import socket

from lib.gate import DEADLINE, split_address


def http_address(gate):
    return split_address(re.search(r"http: listening on (\S+)", gate.log.text()).group(1))


def exchange(gate, request, timeout=DEADLINE):
    """Sends these bytes and returns all that comes back, up to the end of the connection."""
    with socket.create_connection(http_address(gate), timeout) as s:
        s.sendall(request)
        got = b""
        while data := s.recv(65536):
            got += data
    return got


class Answer:
    def __init__(self, raw):
        head, self.body = raw.split(b"\r\n\r\n", 1)
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split()[1])
        self.fields = dict(line.split(": ", 1) for line in lines)
        assert int(self.fields["Content-Length"]) == len(self.body) or not self.body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


def get(gate, path, host="localhost", method="GET"):
    return Answer(exchange(gate, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()))


SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def metrics(gate):
    """{(name, ((label, value), ...)): number} of /metrics."""
    found = {}
    for line in get(gate, "/metrics").text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = SAMPLE.match(line).groups()
        key = (name, tuple(LABEL.findall(labels or "")))
        assert key not in found
        found[key] = float(value)
    return found
