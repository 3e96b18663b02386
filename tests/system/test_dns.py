"""DNS through dtlsgate: dig asks, a relay of the test's speaks DTLS for it, dnsmasq answers."""

import socket
import subprocess
import threading

import pytest

from lib.programs import dnsmasq

LONG_TEXT = "t" * 250


@pytest.fixture
def server():
    texts = ",".join([LONG_TEXT] * 12)
    program, port = dnsmasq(
        "--address=/gate.test/192.0.2.7",
        "--address=/gate.test/2001:db8::7",
        "--edns-packet-max=4096",
        f"--txt-record=long.test,{texts}",
    )
    yield f"127.0.0.1:{port}"
    program.stop()


class Relay:
    """Takes plain datagrams of one resolver client and carries each over a DTLS session."""

    def __init__(self, client):
        self.client = client
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            question, peer = self.socket.recvfrom(65536)
            if not question:
                return
            answer = self.client.ask(question)
            if answer is not None:
                self.socket.sendto(answer, peer)

    def close(self):
        self.socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self.socket.close()


@pytest.fixture
def dig(gate, server, client):
    relay = Relay(client(gate(server)).connect())

    def ask(*question):
        done = subprocess.run(
            ["dig", "@127.0.0.1", "-p", str(relay.port), "+tries=1", "+time=10", *question],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    yield ask
    relay.close()


def test_addresses(dig):
    assert dig("+short", "gate.test", "A") == "192.0.2.7\n"
    assert dig("+short", "gate.test", "AAAA") == "2001:db8::7\n"


def test_an_answer_larger_than_a_packet(dig):
    answer = dig("+bufsize=4096", "+ignore", "long.test", "TXT")
    assert answer.count(LONG_TEXT) == 12
    assert "flags: qr aa rd ra;" in answer, "truncated"


def test_a_name_that_is_not_there(dig):
    assert "status: REFUSED" in dig("elsewhere.test")


def test_a_hundred_questions_over_one_session(dig):
    names = [f"n{i}.gate.test" for i in range(100)]
    assert dig("+short", *names) == "192.0.2.7\n" * len(names)
