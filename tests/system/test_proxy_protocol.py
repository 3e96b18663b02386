"""proxy-protocol: receivers of other projects see the true client, and so does every byte."""

import struct

import pytest

from lib.dtls import DTLS10
from lib.gate import KEY, until
from lib.programs import ANYTHING, dnsdist, s_client, unbound

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESS = bytes([192, 0, 2, 7])
REFUSED = 5


def tlvs(data):
    found = {}
    while data:
        kind, size = struct.unpack("!BH", data[:3])
        found[kind] = data[3 : 3 + size]
        data = data[3 + size :]
    return found


class Header:
    """What stands in front of a datagram, read by the protocol's text alone."""

    def __init__(self, datagram):
        assert datagram.startswith(SIGNATURE) and datagram[12] == 0x21, datagram[:16]
        self.kind, size = struct.unpack("!BH", datagram[13:16])
        rest, self.payload = datagram[16 : 16 + size], datagram[16 + size :]
        form = {0x12: "!4s4sHH", 0x22: "!16s16sHH"}[self.kind]
        self.source, self.to, self.source_port, self.to_port = struct.unpack_from(form, rest)
        self.tlvs = tlvs(rest[struct.calcsize(form) :])
        self.ssl = tlvs(self.tlvs[0x20][5:])


def split(datagram):
    return Header(datagram).payload


@pytest.fixture
def receiver(backend):
    """A backend that answers what stands behind the header."""
    return backend(split)


def test_every_datagram_tells_who_speaks(gate, receiver, client):
    g = gate(receiver, proxy_protocol="v2")
    c = client(g, source=("127.0.0.5", 0)).connect()
    for data in (b"one", b"two", b"x" * 16000):
        assert c.ask(data) == data
    opened = g.events("session open")[0]
    for datagram, data in zip(receiver.wait(3), (b"one", b"two", b"x" * 16000)):
        h = Header(datagram.data)
        assert (h.kind, h.payload) == (0x12, data)
        assert (h.source, h.source_port) == (bytes([127, 0, 0, 5]), c.source[1])
        assert (h.to, h.to_port) == (bytes([127, 0, 0, 1]), g.port)
        assert h.tlvs[5] == int(opened["id"]).to_bytes(8, "big")
        assert h.tlvs[0x20][:5] == b"\1\0\0\0\0"
        assert h.ssl == {0x21: b"DTLSv1.2", 0x22: b"dev-1", 0x23: c.suite.encode()}
    c.close()
    ended = g.wait_event("session end")
    assert int(ended["in-bytes"]) == int(ended["out-bytes"]) == 16006, "the plaintext's"


def test_the_largest_datagram_and_the_longest_identity(gate, receiver, client):
    name = b"i" * 127
    g = gate(receiver, keys={name: KEY}, proxy_protocol="v2")
    c = client(g, name).connect()
    data = bytes(range(256)) * 64
    assert c.ask(data) == data
    assert Header(receiver.wait(1)[0].data).ssl[0x22] == name


def test_ipv6_clients(gate, backend, client):
    """Of an IPv4 backend, too: its socket and the header have nothing to do with each other."""
    receiver = backend(split)
    g = gate(receiver, listen="[::]:0", proxy_protocol="v2")
    for host, kind, size in (("::1", 0x22, 16), ("127.0.0.1", 0x12, 4)):
        c = client((host, g.port)).connect()
        assert c.is_alive()
        h = Header(receiver.received[-1].data)
        assert (h.kind, h.source_port, h.to_port) == (kind, c.source[1], g.port)
        assert len(h.source) == size and h.source == h.to


def test_sessions_that_libssl_keeps(gate, receiver, client):
    g = gate(receiver, min_version="1.0", proxy_protocol="v2")
    c = client(g, ciphers="PSK-AES128-CBC-SHA", version=DTLS10).connect()
    assert c.is_alive(b"old")
    h = Header(receiver.received[0].data)
    assert h.payload == b"old"
    assert (h.ssl[0x21], h.ssl[0x23]) == (b"DTLSv1.0", b"PSK-AES128-CBC-SHA")


def test_many_sessions_at_once(gate, receiver, client):
    """Joined or not on their way, each datagram has the header of its own session."""
    g = gate(receiver, proxy_protocol="v2", daemon={"workers": 2})
    clients = [client(g).connect() for _ in range(10)]
    for i in range(20):
        for j, c in enumerate(clients):
            c.send(b"%d.%d" % (j, i) * (i % 3 + 1))
    for j, c in enumerate(clients):
        assert [c.recv() for _ in range(20)] == [b"%d.%d" % (j, i) * (i % 3 + 1) for i in range(20)]
    ports = {c.source[1]: b"%d." % j for j, c in enumerate(clients)}
    for datagram in receiver.wait(200):
        h = Header(datagram.data)
        assert h.payload.startswith(ports[h.source_port])


@pytest.mark.parametrize("source", ["", "127.64.0.0/10"])
def test_a_reload_switches_it(gate, backend, client, psk, settings, source):
    echo = backend()
    place = {"listen": "127.0.0.1:0", "psk-file": psk({"dev-1": KEY}), "backend": echo.address}
    place["backend-source"] = source
    g = gate(ini=settings({"service default": place}))
    c = client(g).connect()
    assert c.ask(b"plain") == b"plain"
    settings({"service default": {**place, "proxy-protocol": "v2"}})
    g.reload()
    answer = c.ask(b"told")
    assert split(answer) == b"told"
    settings({"service default": place})
    g.reload()
    assert c.ask(b"plain") == b"plain"


# ---- receivers that others wrote ----


def ask(address, source, client):
    c = client(address, source=(source, 0)).connect()
    return c.source, c.ask(ANYTHING)


def test_unbound_sees_and_judges_the_client(gate, client, tmp_path):
    program, port = unbound(
        tmp_path,
        "access-control: 127.0.0.6/32 refuse",
        'local-data: "gate.test. A 192.0.2.7"',
    )
    g = gate(f"127.0.0.1:{port}", proxy_protocol="v2")
    assert ask(g, "127.0.0.5", client)[1].endswith(ADDRESS)
    program.out.wait(r"info: 127\.0\.0\.5 gate\.test\. A IN")
    _, answer = ask(g, "127.0.0.6", client)
    assert answer[3] & 15 == REFUSED, "its access list has not seen the client"
    program.stop()


@pytest.mark.parametrize("make", ["unbound", "dnsdist"])
def test_a_probe_speaks_for_the_proxy_itself(gate, tmp_path, make):
    """Behind a header, or it would be dropped; and by the socket's own address."""
    if make == "unbound":
        program, port = unbound(tmp_path, 'local-data: "gate.test. A 192.0.2.7"')
        asked = r"info: 127\.0\.0\.1 gate\.test\. A IN"
    else:
        program, port = dnsdist(tmp_path, DNSDIST)
        asked = r"query from 127\.0\.0\.1:\d+ to 127\.0\.0\.1:%d" % port
    before = len(program.out.find(asked))
    how = {"probe": "udp:" + ANYTHING.hex(), "probe_interval": "100ms"}
    g = gate(f"127.0.0.1:{port}", proxy_protocol="v2", **how)
    program.out.wait(asked, before + 5)
    assert not g.events("backend down"), "it has answered each of them"
    program.stop()
    g.wait_event("backend down", reason="refuses the probe")


def test_a_reload_puts_a_header_before_the_probe(gate, backend, tmp_path):
    b = backend()
    g = gate(b, probe="udp:70", probe_interval="100ms")
    b.wait(1)
    ini = tmp_path / "dtlsgate.ini"
    ini.write_text(ini.read_text() + "proxy-protocol = v2\n")
    assert "reloaded" in g.reload()
    until(lambda: SIGNATURE + b"\x20\0\0\0p" in b.data)
    assert set(b.data) == {b"p", SIGNATURE + b"\x20\0\0\0p"}


def test_unbound_answers_openssl_s_client(gate, tmp_path):
    """Its question stays a datagram as long as it has no line feed in it."""
    program, port = unbound(tmp_path, 'local-data: "gate.test. A 192.0.2.7"')
    g = gate(f"127.0.0.1:{port}", proxy_protocol="v2")
    c = s_client(g.address(), "-quiet", "-bind", "127.0.0.7:0")
    g.wait_event("session open")
    c.process.stdin.write(ANYTHING)
    c.process.stdin.flush()
    program.out.wait(r"info: 127\.0\.0\.7 gate\.test\. A IN")
    c.stop()
    program.stop()


DNSDIST = """
setACL({"127.0.0.0/8"})
addAction(AllRule(), LuaAction(function(dq)
  local told = ""
  for kind, value in pairs(dq:getProxyProtocolValues()) do
    told = told .. string.format(" %02x=", kind) .. value:gsub(".", function(c)
      return string.format("%02x", string.byte(c))
    end)
  end
  infolog("query from " .. dq.remoteaddr:toStringWithPort() .. " to "
          .. dq.localaddr:toStringWithPort() .. told)
  return DNSAction.None
end))
addAction(makeRule("127.0.0.6/32"), RCodeAction(DNSRCode.REFUSED))
addAction(AllRule(), SpoofAction("192.0.2.7"))
"""


def test_dnsdist_sees_and_judges_the_client(gate, client, tmp_path):
    program, port = dnsdist(tmp_path, DNSDIST)
    g = gate(f"127.0.0.1:{port}", proxy_protocol="v2")
    (host, source_port), answer = ask(g, "127.0.0.5", client)
    assert answer.endswith(ADDRESS)
    session = int(g.events("session open")[0]["id"])
    line = program.out.wait(f"query from {host}:{source_port} to 127.0.0.1:{g.port}")
    assert f" 05={session:016x}" in line
    assert b"dev-1".hex() in line.split(" 20=")[1].split()[0]
    assert ask(g, "127.0.0.6", client)[1][3] & 15 == REFUSED, "its rules have not seen the client"
    program.stop()
