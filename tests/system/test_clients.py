"""Clients of other projects, with every suite they have: openssl s_client and gnutls-cli."""

import pytest

from lib.programs import gnutls_cli, s_client

DEFAULT_SUITES = [
    "ECDHE-PSK-CHACHA20-POLY1305",
    "PSK-AES128-GCM-SHA256",
    "PSK-AES256-GCM-SHA384",
    "PSK-CHACHA20-POLY1305",
    "PSK-AES128-CCM",
    "PSK-AES256-CCM",
    "PSK-AES128-CCM8",
    "PSK-AES256-CCM8",
]
NAMED_SUITES = [
    "DHE-PSK-AES128-GCM-SHA256",
    "DHE-PSK-AES256-GCM-SHA384",
    "DHE-PSK-CHACHA20-POLY1305",
    "DHE-PSK-AES128-CCM",
    "DHE-PSK-AES256-CCM",
    "DHE-PSK-AES128-CCM8",
    "DHE-PSK-AES256-CCM8",
]
OLD_SUITES = [
    "PSK-AES128-CBC-SHA256",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA384",
    "PSK-AES256-CBC-SHA",
]
OLD_NAMED_SUITES = [
    "DHE-PSK-AES128-CBC-SHA",
    "DHE-PSK-AES256-CBC-SHA384",
    "ECDHE-PSK-AES128-CBC-SHA256",
    "ECDHE-PSK-AES256-CBC-SHA",
]

GNUTLS_PRIORITY = "NONE:+VERS-DTLS1.2:+COMP-NULL:+SIGN-ALL:+GROUP-ALL:"
# What OpenSSL calls a suite, and GnuTLS' priority string for it.
GNUTLS_SUITES = {
    "PSK-AES128-GCM-SHA256": "+PSK:+AES-128-GCM:+AEAD",
    "PSK-AES256-GCM-SHA384": "+PSK:+AES-256-GCM:+AEAD",
    "PSK-CHACHA20-POLY1305": "+PSK:+CHACHA20-POLY1305:+AEAD",
    "PSK-AES128-CCM": "+PSK:+AES-128-CCM:+AEAD",
    "PSK-AES256-CCM": "+PSK:+AES-256-CCM:+AEAD",
    "PSK-AES128-CCM8": "+PSK:+AES-128-CCM-8:+AEAD",
    "PSK-AES256-CCM8": "+PSK:+AES-256-CCM-8:+AEAD",
}
# gnutls-cli 3.7.9 completes the handshake of these and then, printing what it has negotiated, dies
# of SIGSEGV in gnutls_psk_server_get_username(), over TLS and against any server just the same.
GNUTLS_HANDSHAKE_ONLY = {
    "ECDHE-PSK-CHACHA20-POLY1305": "+ECDHE-PSK:+CHACHA20-POLY1305:+AEAD",
    "DHE-PSK-AES128-GCM-SHA256": "+DHE-PSK:+AES-128-GCM:+AEAD",
    "DHE-PSK-AES256-GCM-SHA384": "+DHE-PSK:+AES-256-GCM:+AEAD",
    "DHE-PSK-CHACHA20-POLY1305": "+DHE-PSK:+CHACHA20-POLY1305:+AEAD",
    "DHE-PSK-AES128-CCM": "+DHE-PSK:+AES-128-CCM:+AEAD",
    "DHE-PSK-AES256-CCM": "+DHE-PSK:+AES-256-CCM:+AEAD",
    "DHE-PSK-AES128-CCM8": "+DHE-PSK:+AES-128-CCM-8:+AEAD",
    "DHE-PSK-AES256-CCM8": "+DHE-PSK:+AES-256-CCM-8:+AEAD",
    "DHE-PSK-AES128-CBC-SHA": "+DHE-PSK:+AES-128-CBC:+SHA1",
    "DHE-PSK-AES256-CBC-SHA": "+DHE-PSK:+AES-256-CBC:+SHA1",
    "DHE-PSK-AES128-CBC-SHA256": "+DHE-PSK:+AES-128-CBC:+SHA256",
    "DHE-PSK-AES256-CBC-SHA384": "+DHE-PSK:+AES-256-CBC:+SHA384",
    "DHE-PSK-CAMELLIA128-SHA256": "+DHE-PSK:+CAMELLIA-128-CBC:+SHA256",
    "DHE-PSK-CAMELLIA256-SHA384": "+DHE-PSK:+CAMELLIA-256-CBC:+SHA384",
    "ECDHE-PSK-AES128-CBC-SHA": "+ECDHE-PSK:+AES-128-CBC:+SHA1",
    "ECDHE-PSK-AES256-CBC-SHA": "+ECDHE-PSK:+AES-256-CBC:+SHA1",
    "ECDHE-PSK-AES128-CBC-SHA256": "+ECDHE-PSK:+AES-128-CBC:+SHA256",
    "ECDHE-PSK-AES256-CBC-SHA384": "+ECDHE-PSK:+AES-256-CBC:+SHA384",
    "ECDHE-PSK-CAMELLIA128-SHA256": "+ECDHE-PSK:+CAMELLIA-128-CBC:+SHA256",
    "ECDHE-PSK-CAMELLIA256-SHA384": "+ECDHE-PSK:+CAMELLIA-256-CBC:+SHA384",
}
GNUTLS_OLD_SUITES = {
    "PSK-AES128-CBC-SHA": "+PSK:+AES-128-CBC:+SHA1",
    "PSK-AES256-CBC-SHA": "+PSK:+AES-256-CBC:+SHA1",
    "PSK-AES128-CBC-SHA256": "+PSK:+AES-128-CBC:+SHA256",
    "PSK-AES256-CBC-SHA384": "+PSK:+AES-256-CBC:+SHA384",
    "PSK-CAMELLIA128-SHA256": "+PSK:+CAMELLIA-128-CBC:+SHA256",
    "PSK-CAMELLIA256-SHA384": "+PSK:+CAMELLIA-256-CBC:+SHA384",
}
# Of those, the ones that DTLS 1.0 has: MACs of SHA-1.
GNUTLS_DTLS10 = [name for name in GNUTLS_OLD_SUITES if name.endswith("-SHA")]


@pytest.fixture
def talk():
    """Says a line through a program, awaits the upper-case echo, and ends it."""
    started = []

    def talk_with(program, greeting):
        started.append(program)
        program.out.wait(greeting)
        program.write("Hello\n")
        program.out.wait("HELLO")
        return program

    yield talk_with
    for program in started:
        program.stop()


@pytest.fixture
def upper(backend):
    """A backend whose answers no terminal's echo can pretend to be."""
    return backend(bytes.upper)


def check_session(gate, upper, suite, version="1.2"):
    opened = gate.wait_event("session open")
    assert (opened["suite"], opened["version"]) == (suite, version)
    assert upper.data == [b"Hello\n"]
    assert gate.wait_event("session end")["reason"] == "closed by client"


def check_s_client(gate, upper, talk, suite, version="-dtls1_2"):
    program = talk(s_client(gate.address(), "-cipher", suite, version=version), "^ *---$")
    program.write("Q\n")
    assert program.wait() == 0
    check_session(gate, upper, suite.split("@")[0], "1.0" if version == "-dtls1" else "1.2")


def check_gnutls(gate, upper, talk, priority, suite, version="1.2"):
    priority = f"{GNUTLS_PRIORITY}{priority}".replace("DTLS1.2", f"DTLS{version}")
    program = talk(gnutls_cli(gate.address(), priority), "Simple Client Mode")
    program.end_input()
    assert program.wait() == 0
    check_session(gate, upper, suite, version)


@pytest.mark.parametrize("suite", DEFAULT_SUITES)
def test_s_client_with_each_default_suite(gate, upper, talk, suite):
    check_s_client(gate(upper), upper, talk, suite)


@pytest.mark.parametrize("suite", NAMED_SUITES)
def test_s_client_with_each_dhe_suite_when_named(gate, upper, talk, suite):
    check_s_client(gate(upper, ciphers=suite), upper, talk, suite)


@pytest.mark.parametrize("suite", OLD_SUITES)
def test_s_client_with_each_cbc_suite_where_old_devices_may(gate, upper, talk, suite):
    check_s_client(gate(upper, min_version="1.0"), upper, talk, suite)


@pytest.mark.parametrize("suite", OLD_NAMED_SUITES)
def test_s_client_with_cbc_and_forward_secrecy_when_named(gate, upper, talk, suite):
    check_s_client(gate(upper, min_version="1.0", ciphers=suite), upper, talk, suite)


@pytest.mark.parametrize("suite", ["PSK-AES128-CBC-SHA", "PSK-AES256-CBC-SHA"])
def test_s_client_with_dtls_1_0(gate, upper, talk, suite):
    g = gate(upper, min_version="1.0")
    check_s_client(g, upper, talk, f"{suite}@SECLEVEL=0", "-dtls1")


@pytest.mark.parametrize("suite", ["PSK-AES128-GCM-SHA256", "ECDHE-PSK-CHACHA20-POLY1305"])
@pytest.mark.parametrize("ems", [True, False])
def test_extended_master_secret_is_used_where_offered(gate, upper, client, suite, ems):
    g = gate(upper)
    c = client(g, ciphers=suite, ems=ems).connect()
    assert c.ask(b"Hello\n") == b"HELLO\n"
    assert g.wait_event("session open")["ems"] == ("yes" if ems else "no")


@pytest.mark.parametrize("suite", GNUTLS_SUITES)
def test_gnutls_cli_with_each_aead_suite(gate, upper, talk, suite):
    check_gnutls(gate(upper), upper, talk, GNUTLS_SUITES[suite], suite)


@pytest.mark.parametrize("suite", GNUTLS_HANDSHAKE_ONLY)
def test_gnutls_cli_completes_each_diffie_hellman_handshake(gate, upper, suite):
    g = gate(upper, min_version="1.0", ciphers=suite)
    program = gnutls_cli(g.address(), GNUTLS_PRIORITY + GNUTLS_HANDSHAKE_ONLY[suite])
    opened = g.wait_event("session open")
    program.stop()
    assert (opened["suite"], opened["version"]) == (suite, "1.2")


@pytest.mark.parametrize("suite", GNUTLS_OLD_SUITES)
def test_gnutls_cli_with_each_cbc_suite(gate, upper, talk, suite):
    g = gate(upper, min_version="1.0", ciphers=suite)
    check_gnutls(g, upper, talk, GNUTLS_OLD_SUITES[suite], suite)


@pytest.mark.parametrize("suite", GNUTLS_DTLS10)
def test_gnutls_cli_with_dtls_1_0(gate, upper, talk, suite):
    g = gate(upper, min_version="1.0", ciphers=suite)
    check_gnutls(g, upper, talk, GNUTLS_OLD_SUITES[suite], suite, "1.0")


def test_gnutls_cli_with_its_own_priorities(gate, upper, talk):
    g = gate(upper)
    program = talk(gnutls_cli(g.address(), "NORMAL:-KX-ALL:+PSK"), "Simple Client Mode")
    program.end_input()
    assert program.wait() == 0
    assert g.wait_event("session open")["version"] == "1.2"


def test_the_servers_order_decides(gate, upper, client):
    g = gate(upper)
    offered = list(DEFAULT_SUITES)
    while offered:
        # The client prefers the reverse of what the server does.
        c = client(g, ciphers=":".join(reversed(offered))).connect()
        assert c.suite == offered.pop(0)
        c.close()


def test_the_order_of_the_settings_decides(gate, echo, client):
    g = gate(echo, ciphers="PSK-AES256-CCM:PSK-AES128-GCM-SHA256")
    c = client(g, ciphers="PSK-AES128-GCM-SHA256:PSK-AES256-CCM").connect()
    assert c.suite == "PSK-AES256-CCM"


def test_no_common_suite_is_refused_and_the_next_client_served(gate, upper, talk):
    g = gate(upper, ciphers="PSK-AES128-GCM-SHA256")
    refused = s_client(g.address(), "-cipher", "PSK-AES256-CCM")
    assert refused.wait() != 0
    assert "handshake failure" in refused.out.text()
    refused.stop()
    check_s_client(g, upper, talk, "PSK-AES128-GCM-SHA256")


def test_s_client_with_a_fragment_limit_survives_a_larger_reply(gate, backend, talk):
    def answer(data):
        return b"x" * 512 + b"\n" if data == b"large\n" else data.upper()

    b = backend(answer)
    g = gate(b)
    program = talk(s_client(g.address(), "-maxfraglen", "512"), "^ *---$")
    program.write("large\n")
    b.wait(2)
    program.write("still here\n")
    program.out.wait("STILL HERE")
    assert not program.out.find("xxxx")
    program.write("Q\n")
    assert program.wait() == 0
    assert g.wait_event("session end")["drops"] == "1"
    assert g.end()["backend.drop_too_big"] == 1
