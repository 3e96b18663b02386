"""A trace whose reader stops for a while."""

import time

from lib.control import Control, connect
from lib.gate import IDENTITY, fields


def test_a_reader_that_stops_for_a_while_is_told_of_a_gap(client, start, tmp_path):
    to = start(daemon={"control_socket": tmp_path / "control"})
    with connect(tmp_path / "control") as trace:
        trace.sendall(b"trace %s\n" % IDENTITY.encode())
        to.log.wait('control: line="trace')
        Control(tmp_path / "control")("sessions")
        c = client(to).handshake()
        for _ in range(3000):  # more than waits anywhere for who does not read
            c.echo(b"x")
        time.sleep(6)  # a list that nobody asks for is gone by then
        c.echo(b"x")
        told = b""
        while b"event=left-out" not in told or not told.endswith(b"\n"):
            told += trace.recv(65536)
    events = [fields(line) for line in told.decode().splitlines() if "event=" in line]
    seen = sum(e["event"] != "left-out" for e in events)
    gap = sum(int(e["events"]) for e in events if e["event"] == "left-out")
    assert seen + gap >= 3 * 3001
