"""CoAP through dtlsgate: libcoap's clients (OpenSSL and GnuTLS) to libcoap's server without TLS."""

import concurrent.futures
import random

import pytest

from lib.programs import coap_client, coap_server

KEY = b"0123456789abcdef"
FLAVOURS = ["openssl", "gnutls"]


@pytest.fixture
def server():
    program, port = coap_server()
    yield f"127.0.0.1:{port}"
    program.stop()


@pytest.fixture
def coap_gate(gate, server):
    return gate(server, keys={"dev-1": KEY})


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_get(coap_gate, flavour):
    done = coap_client(flavour, coap_gate.address(), "/")
    assert b"This is a test server made with libcoap" in done.stdout
    assert coap_gate.wait_event("session end")["reason"] == "closed by client"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_well_known_core(coap_gate, flavour):
    done = coap_client(flavour, coap_gate.address(), "/.well-known/core")
    assert b"</time>" in done.stdout


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("block", [64, 256, 1024])
def test_block_wise_transfer_of_4_kib_there_and_back(coap_gate, tmp_path, flavour, block):
    content = random.Random(block).randbytes(4096)
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(content)
    options = ["-b", block, "-t", "binary"]
    place = coap_gate.address(), "/example_data"
    put = coap_client(flavour, *place, "-m", "put", "-f", there, *options)
    assert put.stderr == b"" and put.returncode == 0
    get = coap_client(flavour, *place, "-o", back, "-b", block)
    assert get.returncode == 0
    assert back.read_bytes() == content
    for session in range(1, 3):
        end = coap_gate.wait_event("session end", session, reason="closed by client")
        assert end["drops"] == "0"
        # The last acknowledgement may go without an answer: 4096 bytes are so many exchanges.
        assert int(end["in-datagrams"]) >= 4096 // block


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_observe(coap_gate, flavour):
    done = coap_client(flavour, coap_gate.address(), "/time", "-s", 2, "-w")
    ticks = done.stdout.split(b"\n")
    assert len([t for t in ticks if b":" in t]) >= 2, done


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_wrong_key_gets_nothing(coap_gate, flavour):
    done = coap_client(flavour, coap_gate.address(), "/", "-B", 2, key="fedcba9876543210")
    assert b"libcoap" not in done.stdout
    assert not coap_gate.events("session open")


def test_clients_of_two_libraries_at_once(coap_gate):
    address = coap_gate.address()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda flavour: coap_client(flavour, address, "/"), FLAVOURS * 3))
    assert all(b"libcoap" in d.stdout for d in done)
    opened = [coap_gate.wait_event("session open", n + 1) for n in range(6)]
    assert len({o["peer"] for o in opened}) == 6
