"""Erlang/OTP's own client, the first one that dtlsgate was made for."""

import pathlib

import pytest

from lib.programs import Program

KEY = bytes.fromhex("123456789012345678901234567890aa")
SCRIPT = pathlib.Path(__file__).parent / "lib" / "client.escript"
OLD = "aes_128_cbc_sha"
NEW = "TLS_PSK_WITH_AES_128_GCM_SHA256"


@pytest.fixture
def erlang():
    started = []

    def start(gate, version, cipher, text="Hello"):
        words = ("escript", SCRIPT, gate.port, version, cipher, KEY.hex(), text)
        started.append(Program(*words))
        return started[-1]

    yield start
    for program in started:
        program.stop()


def check(gate, echo, program, suite, version):
    assert program.wait(30) == 0, program.out.text()
    assert program.out.lines[1:] == ["answer HELLO", "closed"]
    assert echo.data == [b"Hello"]
    opened = gate.wait_event("session open", identity="Client_identity")
    assert (opened["suite"], opened["version"]) == (suite, version)
    assert gate.wait_event("session end")["reason"] == "closed by client"


@pytest.fixture
def upper(backend):
    return backend(bytes.upper)


def test_dtls_1_0_with_cbc(gate, upper, erlang):
    g = gate(upper, keys={"Client_identity": KEY}, min_version="1.0")
    check(g, upper, erlang(g, "dtlsv1", OLD), "PSK-AES128-CBC-SHA", "1.0")


def test_dtls_1_2_with_cbc(gate, upper, erlang):
    g = gate(upper, keys={"Client_identity": KEY}, min_version="1.0")
    check(g, upper, erlang(g, "dtlsv1.2", OLD), "PSK-AES128-CBC-SHA", "1.2")


@pytest.mark.parametrize("min_version", ["1.0", "1.2"])
def test_dtls_1_2_with_gcm(gate, upper, erlang, min_version):
    g = gate(upper, keys={"Client_identity": KEY}, min_version=min_version)
    check(g, upper, erlang(g, "dtlsv1.2", NEW), "PSK-AES128-GCM-SHA256", "1.2")


def test_dtls_1_0_is_refused_by_default(gate, upper, erlang, client):
    g = gate(upper, keys={"Client_identity": KEY})
    other = client(g, "Client_identity", KEY).connect()
    program = erlang(g, "dtlsv1", OLD)
    assert program.wait(30) != 0
    assert "protocol_version" in program.out.text()
    assert other.ask(b"still here") == b"STILL HERE"
