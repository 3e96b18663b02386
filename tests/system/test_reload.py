"""HUP: the new settings and keys whole, or nothing at all."""

import re
import signal

from lib.dtls import Refused
from lib.gate import DEADLINE, KEY, until

NEW_KEY = bytes(range(32))


def refused(gate, client, identity, key):
    """Whether that identity and key get no session."""
    count = len(gate.events("handshake failed"))
    c = client(gate, identity, key).begin()
    try:
        while not c.step(0.5):
            pass
        return False
    except AssertionError:  # silence
        gate.wait_event("handshake failed", count + 1)
        return True
    except Refused:
        return True


def test_a_new_identity_works_and_the_others_go_on(gate, echo, client, psk):
    g = gate(echo, handshake_timeout="1s")
    c = client(g).connect()
    assert c.is_alive()
    assert refused(g, client, "dev-2", NEW_KEY)
    psk({"dev-1": KEY, "dev-2": NEW_KEY})
    assert "dtlsgate: reloaded" in g.reload()
    assert client(g, "dev-2", NEW_KEY).connect().is_alive()
    assert c.is_alive()
    assert client(g).connect().is_alive()
    assert not g.events("session end")
    assert len(echo.ports) == 3, "a session lost its backend port"


def test_a_removed_identity_loses_its_session(gate, echo, client, psk):
    g = gate(echo, keys={"dev-1": KEY, "dev-2": NEW_KEY}, handshake_timeout="1s")
    stays, goes = client(g).connect(), client(g, "dev-2", NEW_KEY).connect()
    assert stays.is_alive() and goes.is_alive()
    psk({"dev-1": KEY})
    g.reload()
    assert goes.wait_closed()
    end = g.wait_event("session end")
    assert (end["identity"], end["reason"]) == ("dev-2", "identity removed")
    assert stays.is_alive()
    assert refused(g, client, "dev-2", NEW_KEY)


def test_a_changed_key_ends_the_session(gate, echo, client, psk):
    g = gate(echo, min_version="1.0", handshake_timeout="1s")
    sessions = [client(g).connect(), client(g, ciphers="PSK-AES128-CBC-SHA").connect()]
    assert all(c.is_alive() for c in sessions)
    psk({"dev-1": NEW_KEY})
    g.reload()
    assert all(c.wait_closed() for c in sessions)
    assert len(g.events("session end", reason="key changed")) == 2
    assert refused(g, client, "dev-1", KEY)
    assert client(g, "dev-1", NEW_KEY).connect().is_alive()
    g.secrets.append(NEW_KEY.hex())


def test_a_handshake_under_way_is_judged_by_the_new_keys(gate, echo, client, psk):
    g = gate(echo, keys={"dev-1": KEY, "dev-2": KEY}, daemon={"workers": 1})
    c = client(g, "dev-2").begin()
    assert not c.step()
    flight = c.datagram(DEADLINE)
    psk({"dev-1": KEY})
    assert "reloaded" in g.reload()
    c.take(flight)
    c.connect()
    assert c.wait_closed()
    assert g.wait_event("handshake failed")["reason"] == "identity removed"
    assert not g.events("session open")
    assert echo.data == []


def test_broken_settings_change_nothing_and_say_where(gate, echo, client, psk, tmp_path):
    g = gate(echo)
    c = client(g).connect()
    ini = tmp_path / "dtlsgate.ini"
    good = ini.read_text()
    ini.write_text(good + "idel-timeout = 5m\nmtu = 12\n")
    psk({"dev-2": NEW_KEY})
    assert "dtlsgate: reload failed, nothing changed" in g.reload()
    line = good.count("\n") + 1
    errors = [text.split(" error ", 1)[1] for text in g.log.find(" error ")]
    assert errors == [
        f"{ini}:{line}: service.default.idel-timeout: unknown key; did you mean idle-timeout?",
        f'{ini}:{line + 1}: service.default.mtu: "12" is not a number from 256 to 16384',
        "dtlsgate: reload failed, nothing changed",
    ]
    assert c.is_alive()
    assert client(g).connect().is_alive(), "the old keys have to be in use"


def test_a_broken_key_file_changes_nothing_and_says_where(gate, echo, client, tmp_path):
    g = gate(echo)
    c = client(g).connect()
    path = tmp_path / "psk"
    path.write_text("# keys\ndev-1:00112233445566778899aabbccddeefg\n")
    assert "nothing changed" in g.reload()
    assert g.log.find(rf"error {path}:2: identity \"dev-1\": key has a character that is no hex")
    assert "eefg" not in g.log.text()
    path.chmod(0o644)
    g.reload()
    assert g.log.find(rf"error {path}: is readable by others \(mode 0644\)")
    path.unlink()
    g.reload()
    assert g.log.find(rf"error {path}: cannot be opened: No such file")
    assert c.is_alive()
    assert client(g).connect().is_alive()


def test_what_only_a_restart_can_change_is_refused(gate, echo, client, tmp_path):
    g = gate(echo, daemon={"workers": 1})
    c = client(g).connect()
    ini = tmp_path / "dtlsgate.ini"
    good = ini.read_text()
    for old, new, what in (
        ("workers = 1", "workers = 2", r"daemon\.workers: .*\(now 1, new 2\); restart"),
        ("127.0.0.1:0", "127.0.0.2:0", r"service\.default\.listen: .*restart dtlsgate"),
        ("service default", "service other", r"service\.default: cannot go .*restart dtlsgate"),
        ("service default", "service other", r"service\.other: cannot be added .*restart"),
        ("[daemon]", "[daemon]\nuser = nobody", r"daemon\.user: cannot change"),
    ):
        assert old in good
        changed = good.replace(old, new)
        ini.write_text(changed)
        assert "nothing changed" in g.reload()
        number = changed[: changed.index(new) + len(new)].count("\n") + 1
        place = ini if "go" in what else f"{ini}:{number}"
        assert g.log.find(rf" error {place}: {what}"), what
    ini.write_text(good)
    assert "reloaded" in g.reload()
    assert c.is_alive()


def test_new_settings_hold_for_what_begins_behind_them(gate, echo, backend, client, tmp_path):
    g = gate(echo)
    old = client(g).connect()
    assert old.is_alive()
    ini = tmp_path / "dtlsgate.ini"
    other = backend(bytes.upper)
    text = ini.read_text().replace(echo.address, other.address)
    ini.write_text(text + "ciphers = PSK-AES256-CCM\nunknown-identity = alert\n")
    assert "reloaded" in g.reload()
    assert old.ask(b"loud") == b"LOUD", "a session has stayed with a backend that is gone"
    new = client(g).connect()
    assert new.suite == "PSK-AES256-CCM"
    assert new.ask(b"loud") == b"LOUD"
    try:
        client(g, "dev-3").connect()
        raise AssertionError("an unknown identity got in")
    except Refused as error:
        assert "unknown psk identity" in str(error)


def test_a_shorter_idle_timeout_reaches_old_sessions(gate, echo, client, tmp_path):
    g = gate(echo)
    c = client(g).connect()
    assert c.is_alive()
    with open(tmp_path / "dtlsgate.ini", "a", encoding="ascii") as ini:
        ini.write("idle-timeout = 1s\n")
    assert "reloaded" in g.reload()
    assert c.wait_closed()
    assert g.wait_event("session end")["reason"] == "idle timeout"


def test_the_log_level_follows(gate, echo, client, tmp_path):
    g = gate(echo, daemon={"log-level": "info"}, has_totals=False)
    ini = tmp_path / "dtlsgate.ini"
    ini.write_text(ini.read_text().replace("log-level = info", "log-level = error"))
    g.tell(signal.SIGHUP)

    def is_silent():
        count = len(g.events("session flow"))
        assert client(g).connect().is_alive()
        return len(g.events("session flow")) == count

    until(is_silent)
    ini.write_text("nonsense\n")
    assert "nothing changed" in g.reload()
    assert g.log.find(rf" error {ini}:1: ")


def test_many_reloads_under_traffic(gate, echo, client, psk):
    g = gate(echo, daemon={"workers": 2})
    clients = [client(g).connect() for _ in range(5)]
    for n in range(20):
        psk({"dev-1": KEY, f"dev-{n + 2}": NEW_KEY})
        for c in clients:
            c.send(b"%d" % n)
        assert "reloaded" in g.reload()
        assert [c.recv() for c in clients] == [b"%d" % n] * len(clients)
    assert len(echo.ports) == len(clients)
    assert not g.events("session end")


def test_a_reload_without_changes_says_so_in_one_line(gate, echo):
    g = gate(echo)
    count = len(g.log.lines)
    g.reload()
    assert [re.sub(r"^\S+ ", "", line) for line in g.log.lines[count:]] == [
        "info dtlsgate: reloaded"
    ]


def test_a_folder_of_keys_is_read_again(gate, echo, client, psk, tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    psk({"dev-1": KEY}, "keys/one")
    g = gate(echo, psk_file=folder, handshake_timeout="1s")
    c = client(g).connect()
    psk({"dev-2": NEW_KEY}, "keys/two")
    g.reload()
    assert client(g, "dev-2", NEW_KEY).connect().is_alive()
    assert c.is_alive()
    (folder / "one").unlink()
    g.reload()
    assert c.wait_closed()
