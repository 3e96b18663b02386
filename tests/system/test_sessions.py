"""Sessions from hello to goodbye, each datagram in sight."""

import signal

import pytest

from lib.dtls import DEADLINE, DTLS10, records
from lib.gate import IDENTITY, KEY
from lib.programs import s_client

SUITES = ["ECDHE-PSK-CHACHA20-POLY1305", "PSK-AES128-GCM-SHA256", "PSK-AES128-CCM8"]
OLD = "PSK-AES128-CBC-SHA"


def has_sealed_record(datagram):
    return any(epoch == 1 for _, epoch, _ in records(datagram))


class LoseFirst:
    """Loses the first datagram that it is asked about and that `which` picks."""

    def __init__(self, which):
        self.which = which
        self.lost = 0

    def __call__(self, datagram):
        if self.lost or not self.which(datagram):
            return False
        self.lost += 1
        return True


def test_hello_reaches_the_backend_and_the_reply_the_client(gate, echo, client):
    g = gate(echo)
    c = client(g).connect()
    assert c.ask(b"Hello") == b"Hello"
    assert echo.data == [b"Hello"]
    c.close()
    assert g.wait_event("session end")["reason"] == "closed by client"


def test_close_notify_of_the_client_is_answered(gate, echo, client):
    g = gate(echo)
    c = client(g).connect()
    c.shutdown()
    assert c.wait_closed()


@pytest.mark.parametrize("suite", SUITES + [OLD])
def test_lost_last_flight(gate, echo, client, suite):
    """The client repeats its Finished; the answer comes again, as new records."""
    g = gate(echo, min_version="1.0")
    lose = LoseFirst(has_sealed_record)
    c = client(g, ciphers=suite, drop=lose).connect(repeat=0.2)
    assert lose.lost == 1
    assert c.is_alive()
    sealed = [d for d in c.seen if has_sealed_record(d)]
    assert len(set(sealed)) == len(sealed), "the very same record again"


@pytest.mark.parametrize("lost", range(3))
def test_s_client_gets_through_whichever_flight_is_lost(gate, backend, lossy, lost):
    """With the timers that real clients have."""
    upper = backend(bytes.upper)
    g = gate(upper)
    middle = lossy(g.address(), lost)
    program = s_client(middle.address, "-cipher", "PSK-AES128-GCM-SHA256")
    try:
        program.out.wait("SSL-Session")
        program.write("Hello\n")
        program.out.wait("HELLO")
    finally:
        program.stop()
    assert middle.lost == 1


@pytest.mark.parametrize("suite", SUITES + [OLD])
def test_a_thousand_datagrams_in_a_row(gate, echo, client, suite):
    g = gate(echo, min_version="1.0")
    c = client(g, ciphers=suite).connect()
    sent = [b"%d " % n * (1 + n % 190) for n in range(1000)]
    got = []
    window = 16
    for n, data in enumerate(sent):
        c.send(data)
        if n >= window:
            got.append(c.recv())
    got += [c.recv() for _ in range(window)]
    assert got == sent
    assert echo.data == sent
    assert len(echo.ports) == 1
    c.close()
    end = g.wait_event("session end")
    assert end["in-datagrams"] == end["out-datagrams"] == "1000"
    assert end["in-bytes"] == end["out-bytes"] == str(sum(map(len, sent)))
    assert end["drops"] == "0"


@pytest.mark.parametrize("suite", SUITES + [OLD])
def test_reconnect_from_the_same_port(gate, echo, client, suite):
    """As after a reboot: no goodbye. RFC 6347 4.2.8."""
    g = gate(echo, min_version="1.0")
    first = client(g, ciphers=suite).connect()
    assert first.is_alive(b"before")
    source = first.source
    first.abandon()
    second = client(g, ciphers=suite, source=source).connect()
    assert second.is_alive(b"behind")
    assert g.wait_event("session end")["reason"] == "replaced by a new handshake"
    assert len(echo.ports) == 2, "the backend could take it for the old session"


def test_s_client_reconnects_from_the_same_port(gate, backend):
    upper = backend(bytes.upper)
    g = gate(upper)
    ports = []
    for _ in range(2):
        bind = [] if not ports else ["-bind", f"127.0.0.1:{ports[0]}"]
        program = s_client(g.address(), *bind)
        program.out.wait("SSL-Session")
        program.write("Hello\n")
        program.out.wait("HELLO")
        program.process.kill()
        program.stop()
        ports.append(int(g.events("session open")[-1]["peer"].rsplit(":")[1]))
    assert ports[0] == ports[1]
    assert g.wait_event("session end")["reason"] == "replaced by a new handshake"


def test_an_old_session_lives_until_the_new_one_is_proven(gate, echo, client):
    g = gate(echo)
    c = client(g).connect()
    intruder = client(g, key=bytes(16))
    intruder.socket.close()
    intruder.socket = c.socket  # the same five-tuple, as a forger would have it
    intruder.begin()
    for _ in range(2):
        assert not intruder.step()
    intruder.repeat_flight()
    answers = [c.datagram(0.2) for _ in range(3)]
    assert not any(has_sealed_record(d) for d in answers if d)
    assert c.is_alive()
    assert not g.events("session end")
    intruder.socket = c.socket.dup()


def test_a_late_copy_of_the_hello_changes_nothing(gate, echo, client):
    g = gate(echo)
    c = client(g)
    sent = []
    send = c.send_datagram
    c.send_datagram = lambda datagram: (sent.append(datagram), send(datagram))
    c.connect()
    assert c.is_alive()
    for datagram in sent[:2]:
        send(datagram)
    assert c.is_alive()
    assert len(echo.ports) == 1
    assert g.end()["handshakes_started"] == 1


@pytest.mark.parametrize("etm", [True, False])
@pytest.mark.parametrize("suite", SUITES + [OLD])
def test_replayed_and_forged_records_are_dropped(gate, echo, client, suite, etm):
    g = gate(echo, min_version="1.0")
    c = client(g, ciphers=suite, etm=etm)
    sent = []
    send = c.send_datagram
    c.send_datagram = lambda datagram: (sent.append(datagram), send(datagram))
    c.connect()
    assert c.is_alive(b"once")
    send(sent[-1])
    forged = bytearray(sent[-1])
    forged[10] += 40  # a later sequence number, so the tag is wrong
    send(bytes(forged))
    assert c.is_alive(b"twice")
    assert echo.data == [b"once", b"twice"]


def test_idle_timeout(gate, echo, client):
    g = gate(echo, idle_timeout="1s")
    c = client(g).connect()
    assert c.is_alive()
    assert c.wait_closed()
    end = g.wait_event("session end", reason="idle timeout")
    assert 1000 <= int(end["age-ms"]) < 5000


def test_traffic_keeps_a_session_from_being_idle(gate, echo, client):
    g = gate(echo, idle_timeout="1s")
    quiet, busy = client(g).connect(), client(g).connect()
    assert quiet.is_alive()
    while not g.events("session end"):
        assert busy.is_alive()
        quiet.datagram(0.05)
    end = g.events("session end")
    assert len(end) == 1 and end[0]["peer"].endswith(f":{quiet.source[1]}")
    assert busy.is_alive()


@pytest.mark.parametrize("etm", [True, False])
@pytest.mark.parametrize("suite", ["PSK-AES128-GCM-SHA256", "ECDHE-PSK-CHACHA20-POLY1305", OLD])
def test_an_unknown_identity_looks_like_a_wrong_key(gate, echo, client, suite, etm):
    """The same datagrams, of the same sizes, until the gate gives up."""
    g = gate(echo, min_version="1.0", handshake_timeout="1s")
    shapes = []
    for identity, key in ((IDENTITY, bytes(16)), ("dev-2", KEY)):
        c = client(g, identity, key, ciphers=suite, etm=etm).begin()
        for _ in range(2):
            assert not c.step()
        failed = g.wait_event("handshake failed", len(shapes) + 1)
        assert failed["identity"] == identity
        while c.datagram(0.1):
            pass
        shapes.append([[(kind, len(body)) for kind, _, body in records(d)] for d in c.seen])
        assert not any(kind == 21 for shape in shapes[-1] for kind, _ in shape), "an alert"
    assert shapes[0] == shapes[1]
    assert client(g).connect().is_alive()


def test_an_unknown_identity_gets_the_alert_where_asked_for(gate, echo, client):
    g = gate(echo, unknown_identity="alert")
    with pytest.raises(Exception, match="unknown psk identity"):
        client(g, "dev-2").connect()
    failed = g.wait_event("handshake failed", identity="dev-2")
    assert failed["detail"] == "unknown identity"
    assert client(g).connect().is_alive()


def test_s_client_with_an_unknown_identity_sees_the_alert(gate, echo):
    g = gate(echo, unknown_identity="alert")
    program = s_client(g.address(), identity="dev-2")
    assert program.wait() != 0
    program.stop()
    assert "alert number 115" in program.out.text()


def test_wrong_key_is_silence_also_where_alerts_are_asked_for(gate, echo, client):
    g = gate(echo, unknown_identity="alert", handshake_timeout="1s")
    c = client(g, key=bytes(16)).begin()
    for _ in range(2):
        assert not c.step()
    assert g.wait_event("handshake failed")["reason"] == "handshake timed out"
    assert not any(kind == 21 for d in c.seen for kind, _, _ in records(d))


def test_max_sessions_evicts_the_one_that_is_idle_for_longest(gate, echo, client):
    g = gate(echo, daemon={"workers": 1, "max-sessions": 3})
    clients = [client(g).connect() for _ in range(3)]
    for n in (1, 2, 0):
        assert clients[n].is_alive()
        clients[n].datagram(0.01)  # another millisecond, so that their order is plain
    late = client(g).connect()
    assert clients[1].wait_closed()
    end = g.wait_event("session end", reason="evicted to make room")
    assert end["peer"].endswith(f":{clients[1].source[1]}")
    for c in (clients[0], clients[2], late):
        assert c.is_alive()
    assert g.end()["sessions_evicted"] == 1


def test_max_handshakes_evicts_the_oldest_one(gate, echo, client):
    g = gate(echo, daemon={"workers": 1, "max-handshakes": 2})
    pending = []
    for _ in range(3):
        pending.append(client(g).begin())
        assert not pending[-1].step()
        assert pending[-1].datagram(5)  # the ServerHello: a handshake is under way
    failed = g.wait_event("handshake failed")
    assert failed["reason"] == "handshake evicted to make room"
    assert failed["peer"].endswith(f":{pending[0].source[1]}")
    assert client(g).connect().is_alive()


def test_a_handshake_that_goes_nowhere_ends(gate, echo, client):
    g = gate(echo, handshake_timeout="1s", retransmit_first="100ms")
    c = client(g).begin()
    assert not c.step()
    failed = g.wait_event("handshake failed", reason="handshake timed out")
    assert failed["detail"] == "no ClientKeyExchange came"
    assert 1000 <= int(failed["age-ms"]) < 5000
    count = 0
    while c.datagram(0.1):
        count += 1
    assert 3 <= count <= 5, "flights at 0, 100, 300 and 700 ms"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_says_goodbye_to_all(gate, echo, client, number):
    g = gate(echo, min_version="1.0")
    clients = [
        client(g, ciphers="PSK-AES128-GCM-SHA256"),
        client(g, ciphers=OLD),
        client(g, ciphers=OLD, version=DTLS10),
    ]
    for c in clients:
        assert c.connect().is_alive()
    g.end(number)
    assert all(c.wait_closed() for c in clients)
    assert len(g.events("session end", reason="shutdown")) == 3


def test_the_end_in_the_midst_of_a_handshake(gate, echo, client):
    g = gate(echo)
    c = client(g).begin()
    assert not c.step()
    assert c.datagram(DEADLINE)
    totals = g.end()
    assert totals["handshakes_failed"] == 1
    assert g.events("handshake failed")[0]["reason"] == "shutdown"


def test_s_client_sees_the_end(gate, echo):
    g = gate(echo)
    program = s_client(g.address())
    program.out.wait("SSL-Session")
    g.wait_event("session open")
    g.end()
    assert program.wait() == 0
    program.stop()
    assert "closed" in program.out.lines


def test_renegotiation_is_refused_and_the_session_stays(gate, backend):
    upper = backend(bytes.upper)
    g = gate(upper)
    program = s_client(g.address())
    program.out.wait("SSL-Session")
    program.write("R\n")
    program.out.wait("RENEGOTIATING")
    g.wait_event("session open")
    program.stop()
    assert g.end()["handshakes_started"] == 1
