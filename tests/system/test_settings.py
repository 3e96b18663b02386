"""Every mistake in the settings has a message: FILE:LINE: section.key: what is wrong, what would
be right; all at once, exit status 2, and nothing starts."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from lib.gate import KEY

README = pathlib.Path(__file__).parents[2] / "README.md"

HEX = KEY.hex()
NUMERIC = "is not numeric ADDR:PORT such as 0.0.0.0:5684 or [::]:5684"
DAEMON = {
    "workers": ("257", '"257" is not a number from 0 to 256'),
    "log": ("relative/path", '"relative/path" is not stderr, syslog or an absolute path'),
    "log-level": ("loud", '"loud" is not one of error, warning, info, debug'),
    "log-format": ("xml", '"xml" is not one of text, json'),
    "access-log": ("relative", '"relative" is not stderr, syslog or an absolute path, or empty'),
    "access-log-format": ("xml", '"xml" is not one of text, json'),
    "max-sessions": ("0", '"0" is not a number from 1 to 10000000'),
    "max-handshakes": ("many", '"many" is not a number from 1 to 1000000'),
    "socket-buffer": ("1k", '"1k" is not a size from 64k to 256m (k, m or g)'),
    "udp-offload": ("on", '"on" is not one of off, auto'),
    "user": ("u" * 33, f'"{"u" * 33}" is not a text of 0 to 32 bytes'),
    "group": ("g" * 33, f'"{"g" * 33}" is not a text of 0 to 32 bytes'),
    "max-handshakes-per-prefix": ("x", '"x" is not a number from 1 to 1000000, or 0'),
    "max-sessions-per-prefix": ("x", '"x" is not a number from 1 to 10000000, or 0'),
    "handshake-rate": ("1k", '"1k" is not a number from 1 to 1000000, or 0'),
    "handshake-rate-per-prefix": ("1.5", '"1.5" is not a number from 1 to 1000000, or 0'),
    "resumption-cache": ("-1", '"-1" is not a number from 1 to 1000000, or 0'),
    "sandbox": ("maybe", '"maybe" is not yes or no'),
    "prefix-v4": ("7", '"7" is not a number from 8 to 32'),
    "prefix-v6": ("129", '"129" is not a number from 16 to 128'),
    "control-socket": (f"/{'s' * 107}", f'"/{"s" * 95}..." is not a text of 0 to 107 bytes'),
    "control-mode": ("rw", '"rw" is not an octal mode from 0000 to 0777'),
    "control-group": ("g" * 33, f'"{"g" * 33}" is not a text of 0 to 32 bytes'),
    "trace-keylog": (f"/{'k' * 4095}", f'"/{"k" * 95}..." is not a text of 0 to 4095 bytes'),
    "http": ("localhost:9684", f'"localhost:9684" {NUMERIC}'),
    "http-name": ("h" * 254, f'"{"h" * 96}..." is not a text of 0 to 253 bytes'),
    "state-dir": ("/" + "s" * 4095, f'"/{"s" * 95}..." is not a text of 0 to 4095 bytes'),
    "state-key": ("/" + "s" * 4095, f'"/{"s" * 95}..." is not a text of 0 to 4095 bytes'),
    "resolve-interval": ("2d", '"2d" is not a time from 1s to 1d, or 0 (ms, s, m, h or d)'),
}
NO_PREFIX = "is no address or prefix; write 10.0.0.0/8 or 2001:db8::/32"
TIME = "(ms, s, m, h or d)"
SERVICE = {
    "listen": ("localhost:5684", f'"localhost:5684" {NUMERIC}'),
    "backend": (
        "127.0.0.1:0",
        '"127.0.0.1:0" has port 0; write the port that the service listens on',
    ),
    "balance": ("random", '"random" is not one of identity, address, round-robin'),
    "backend-retry": ("1ms", f'"1ms" is not a time from 100ms to 1h {TIME}'),
    "probe": ("udp:0", '"udp:0" is not none or udp:HEX, up to 8 with commas'),
    "probe-interval": ("2h", f'"2h" is not a time from 100ms to 1h {TIME}'),
    "psk-file": (
        "/nonexistent/psk",
        '"/nonexistent/psk" cannot be used; cure what is said of it above',
    ),
    "psk-helper": ("/" + "h" * 107, f'"/{"h" * 95}..." is not a text of 0 to 107 bytes'),
    "psk-helper-timeout": ("49ms", f'"49ms" is not a time from 50ms to 1m {TIME}'),
    "psk-helper-cache": ("0", f'"0" is not a time from 1s to 1d {TIME}'),
    "allow-weak-keys": ("maybe", '"maybe" is not yes or no'),
    "unknown-identity": ("shout", '"shout" is not one of hide, alert'),
    "min-version": ("1.1", '"1.1" is not one of 1.0, 1.2'),
    "ciphers": (
        "AES-SOMETHING",
        '"AES-SOMETHING" selects no cipher suite; write OpenSSL names joined by \':\', '
        "such as PSK-AES128-GCM-SHA256",
    ),
    "identity-hint": ("h" * 129, f'"{"h" * 96}..." is not a text of 0 to 128 bytes'),
    "mtu": ("255", '"255" is not a number from 256 to 16384'),
    "retransmit-first": ("1ms", f'"1ms" is not a time from 50ms to 10s {TIME}'),
    "retransmit-cap": ("2m", f'"2m" is not a time from 50ms to 1m {TIME}'),
    "retransmit-total": ("-1", f'"-1" is not a time from 50ms to 10m {TIME}'),
    "handshake-timeout": ("500ms", f'"500ms" is not a time from 1s to 10m {TIME}'),
    "idle-timeout": ("31d", f'"31d" is not a time from 1s to 30d {TIME}'),
    "flow-timeout": ("10ms", f'"10ms" is not a time from 1s to 30d, or 0 {TIME}'),
    "backend-source": ("127.0.0.2:0", f'"127.0.0.2:0" {NO_PREFIX}'),
    "source-by": ("name", '"name" is not one of session, identity'),
    "transparent": ("maybe", '"maybe" is not one of no, yes, client'),
    "proxy-protocol": ("v1", '"v1" is not one of off, v2'),
    "allow": ("gate.test", f'"gate.test" {NO_PREFIX}'),
    "deny": ("10.0.0.0/33", f'"10.0.0.0/33" {NO_PREFIX}'),
    "ems": ("never", '"never" is not one of prefer, require'),
    "cid": ("maybe", '"maybe" is not yes or no'),
    "resumption": ("always", '"always" is not yes or no'),
    "ticket-lifetime": ("8d", f'"8d" is not a time from 1m to 7d {TIME}'),
    "max-sessions-per-identity": ("-1", '"-1" is not a number from 1 to 1000000, or 0'),
    "forgery-limit": ("4294967296", '"4294967296" is not a number from 1 to 4000000000, or 0'),
    "usage-limit": ("15", '"15" is not a number from 16 to 4000000000, or 0'),
}


IDENTITY = {
    "backend": ("127.0.0.1", '"127.0.0.1" is not of the form HOST:PORT, IPV4:PORT or [IPV6]:PORT'),
    "allow-from": ("10.0.0.0/33", f'"10.0.0.0/33" {NO_PREFIX}'),
    "max-sessions": ("many", '"many" is not a number from 1 to 1000000, or 0'),
    "rate-datagrams": ("1k", '"1k" is not a number from 1 to 1000000, or 0'),
    "rate-bytes": ("2g", '"2g" is not a size from 1 to 1g, or 0 (k, m or g)'),
    "not-after": (
        "2031-02-29",
        '"2031-02-29" is not a UTC date (2031-12-31, 2031-12-31T12:00:00Z)',
    ),
    "ciphers": (
        "PSK-NULL-SHA256",
        '"PSK-NULL-SHA256" selects no PSK suite that encrypts; '
        "write for instance PSK-AES128-GCM-SHA256",
    ),
}


@pytest.fixture
def place(psk):
    """What a service must have."""
    return {"listen": "127.0.0.1:0", "backend": "127.0.0.1:5683", "psk-file": psk({"dev-1": KEY})}


@pytest.fixture
def errors(run, tmp_path):
    """The complaints about an INI text, once both -t and a real start have made them."""

    def check(text, *args):
        ini = tmp_path / "dtlsgate.ini"
        ini.write_bytes(text if isinstance(text, bytes) else text.encode())
        words = ["-c", ini, *args]
        tested, started = run(*words, "-t"), run(*words)
        assert (tested.returncode, started.returncode) == (2, 2), started.stderr
        assert tested.stderr == started.stderr
        assert tested.stdout == started.stdout == ""
        return tested.stderr.replace(f"{ini}:", "INI:").splitlines()

    return check


def ini_of(place, daemon=(), **other):
    """The text, a service named coap; its keys begin in line 4 + the daemon's count."""
    lines = ["[daemon]", *[f"{k} = {v}" for k, v in dict(daemon).items()], "", "[service coap]"]
    merged = {**place, **{k.replace("_", "-"): v for k, v in other.items()}}
    return "\n".join(lines + [f"{k} = {v}" for k, v in merged.items()]) + "\n"


def test_these_cover_every_key(run, place, settings):
    """Whoever adds a setting adds its mistake here."""
    shown = run("-c", settings({"service coap": place, "identity *": {}}), "-T").stdout
    daemon, service, identity = (part.splitlines()[1:] for part in shown.rstrip().split("\n\n"))
    assert {line.split(" =")[0] for line in daemon} == set(DAEMON)
    assert {line.split(" =")[0] for line in service} == set(SERVICE)
    assert {line.split(" =")[0] for line in identity} == set(IDENTITY)


@pytest.mark.parametrize("key", DAEMON)
def test_a_wrong_value_in_the_daemon_section(errors, place, key):
    value, message = DAEMON[key]
    assert errors(ini_of(place, {key: value})) == [f"INI:2: daemon.{key}: {message}"]


@pytest.mark.parametrize("key", SERVICE)
def test_a_wrong_value_in_a_service(errors, place, key):
    value, message = SERVICE[key]
    place.pop(key, None)
    lines = errors(ini_of(place, **{key: value}))
    assert lines[-1] == f"INI:{4 + len(place)}: service.coap.{key}: {message}"
    assert len(lines) == (2 if key == "psk-file" else 1)


@pytest.mark.parametrize("key", IDENTITY)
def test_a_wrong_value_for_an_identity(errors, place, key):
    value, message = IDENTITY[key]
    lines = errors(ini_of(place) + f"[identity dev-*]\n{key} = {value}\n")
    assert lines == [f"INI:{5 + len(place)}: identity.dev-*.{key}: {message}"]


@pytest.mark.parametrize("key", ["listen", "backend", "psk-file"])
def test_a_key_that_must_be_given(errors, place, key):
    del place[key]
    (line,) = errors(ini_of(place))
    assert line.startswith(f"INI:3: service.coap.{key}: is missing; give it ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[deamon]\n", "INI:1: deamon: unknown section; did you mean [daemon]"),
        ("[identty a]\n", "INI:1: identty a: unknown section; did you mean [identity PATTERN]"),
        ("[identity]\n", "INI:1: identity: needs a pattern of 1 to 39 bytes"),
        ("[identity a\\]\n", "INI:1: identity a\\x5c: needs a pattern of 1 to 39 bytes"),
        ("[identity a]\nmtu = 9\n", "INI:2: identity.a.mtu: unknown key here; it belongs into a"),
        ("[servise a]\n", "INI:1: servise a: unknown section; did you mean [service NAME]"),
        ("[other]\n", "INI:1: other: unknown section; there are [daemon], [service NAME] and"),
        ("[service]\n", "INI:1: service: needs a name of 1 to 32 letters"),
        ("[service a b]\n", "INI:1: service a b: needs a name of 1 to 32 letters"),
        (f"[service {'x' * 33}]\n", f"INI:1: service {'x' * 33}: needs a name"),
        ("[daemon]\nworkres = 1\n", "INI:2: daemon.workres: unknown key; did you mean workers?"),
        ("[daemon]\nfoo = 1\n", "INI:2: daemon.foo: unknown key; dtlsgate.ini(5) tells which"),
        ("[daemon]\nmtu = 900\n", "INI:2: daemon.mtu: unknown key here; it belongs into"),
        ("[daemon]\nworkers = 1\nworkers = 2\n", "INI:3: daemon.workers: given twice, "),
        ("[daemon]\n[daemon]\n", "INI:2: daemon: second section of this name, the first"),
        ("workers = 1\n", "INI:1: this line stands before the first section"),
        ("[daemon]\nnonsense\n", 'INI:2: this line is neither "key = value" nor [section]'),
        ("[daemon] x\n", "INI:1: this line is no section"),
        ("[daemon\n", "INI:1: this line is no section"),
        ("[daemon]\n  workers = 1\n", "INI:2: this line is indented"),
        (f"[daemon]\nlog = /{'x' * 8192}\n", "INI:2: this line is too long; a line"),
        (f"[daemon]\nlog = /{'x' * 5000}\n", "INI:2: daemon.log: "),
        (b"[daemon]\nlog = a\0b\n", "INI:2: this line holds a NUL byte"),
        (f"[{'y' * 100}]\n", "INI:1: this line has too long a section name"),
    ],
)
def test_a_file_that_is_wrong(errors, text, message):
    lines = errors(text)
    assert any(line.startswith(message) for line in lines), lines


def test_no_service_at_all(errors):
    assert errors("[daemon]\n") == [
        "INI: no service; add a [service NAME] with listen, backend and psk-file"
    ]


def test_all_mistakes_are_told_at_once(errors):
    text = ini_of({"listen": "x"}, {"workers": "x", "log-levle": "info"}, mtu="1", ciphers="NULL")
    lines = errors(text)
    found = [" ".join(line.split(": ")[:2]) for line in lines]
    assert sorted(found) == [
        "INI:2 daemon.workers",
        "INI:3 daemon.log-levle",
        "INI:5 service.coap.backend",
        "INI:5 service.coap.psk-file",
        "INI:6 service.coap.listen",
        "INI:7 service.coap.mtu",
        "INI:8 service.coap.ciphers",
    ]


@pytest.mark.parametrize("name", ["missing.ini", "folder"])
def test_a_settings_file_that_cannot_be_read(run, tmp_path, name):
    (tmp_path / "folder").mkdir()
    done = run("-c", tmp_path / name, "-t")
    why = "is not a regular file"
    if name == "missing.ini":
        why = "cannot be opened: No such file or directory"
    assert (done.returncode, done.stderr) == (2, f"{tmp_path / name}: {why}\n")


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("retransmit-first", "retransmit-cap"),
        ("retransmit-first", "retransmit-total"),
        ("flow-timeout", "idle-timeout"),
    ],
)
def test_times_that_contradict_each_other(errors, place, less, more):
    (line,) = errors(ini_of(place, **{less: "5s", more: "1s"}))
    assert line == (
        f"INI:8: service.coap.{more}: {less} (5s) is longer than {more} (1s); "
        "the other way round would be right"
    )


@pytest.mark.parametrize(
    ("ciphers", "message"),
    [
        ("PSK-AES128-CBC-SHA", "selects only suites for old devices; they need min-version = 1.0"),
        ("PSK-NULL-SHA256", "selects no PSK suite that encrypts"),
        ("eNULL", "selects no PSK suite that encrypts"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "selects no PSK suite that encrypts"),
        ("RSA-PSK-AES128-GCM-SHA256", "selects no PSK suite that encrypts"),
    ],
)
def test_ciphers_that_serve_nobody(errors, place, ciphers, message):
    (line,) = errors(ini_of(place, ciphers=ciphers))
    assert line.startswith(f'INI:7: service.coap.ciphers: "{ciphers}" {message}')


def test_addresses_that_are_in_each_others_way(errors, place):
    place["listen"] = "127.0.0.1:5684, 127.0.0.1:5684"
    (line,) = errors(ini_of(place))
    assert line == "INI:4: service.coap.listen: 127.0.0.1:5684 stands there twice; leave one out"
    place["listen"] = "127.0.0.1:5684"
    both = ini_of(place) + ini_of(place).replace("[daemon]\n", "").replace("coap", "more")
    (line,) = errors(both)
    assert line.endswith("127.0.0.1:5684 is taken by service coap; choose another port or address")
    (line,) = errors(ini_of(place, backend="127.0.0.1:5684"))
    where = "INI:5: service.coap.backend: 127.0.0.1:5684"
    assert line == f"{where} is where service coap listens; write the address of the plain service"


@pytest.mark.parametrize(
    ("backend", "why"),
    [
        ("127.0.0.1", "is not of the form HOST:PORT, IPV4:PORT or [IPV6]:PORT"),
        ("0.0.0.0:5683", "is no address to send to; write 127.0.0.1 for this host"),
        ("127.0.0.256:5683", "has no valid IPv4 address"),
        ("[::g]:5683", "has no valid IPv6 address in its brackets"),
        ("localhost:65536", "has no valid port"),
        ("no.such.name.invalid:5683", "cannot be resolved: "),
        ("127.0.0.1:1 weight=0", "has a word that is none of weight=1 to weight=100, backup and "),
        ("127.0.0.1:1 backup", "has backups alone; leave the word out behind one"),
    ],
)
def test_a_backend_that_cannot_be(errors, place, backend, why):
    (line,) = errors(ini_of(place, backend=backend))
    assert line.startswith(f'INI:5: service.coap.backend: "{backend}" {why}')


@pytest.mark.parametrize(
    ("key", "value", "faults"),
    [
        ("listen", "0.0.0.0:1x, 127.0.0.1:0, bad", [f'"0.0.0.0:1x" {NUMERIC}', f'"bad" {NUMERIC}']),
        ("allow", "10.0.0.1/8, ::1, x", [f'"10.0.0.1/8" {NO_PREFIX}', f'"x" {NO_PREFIX}']),
        (
            "backend",
            "127.0.0.1, 127.0.0.1:1, 127.0.0.1:1 drain, 127.0.0.1:0",
            [
                '"127.0.0.1" is not of the form HOST:PORT, IPV4:PORT or [IPV6]:PORT',
                '"127.0.0.1:1 drain" stands there twice; leave one out',
                '"127.0.0.1:0" has port 0; write the port that the service listens on',
            ],
        ),
    ],
)
def test_each_of_a_list_is_told(errors, place, key, value, faults):
    lines = errors(ini_of({**place, key: value}))
    assert [line.partition(f"service.coap.{key}: ")[2] for line in lines] == faults


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("0.0.0.0:5999", "127.0.0.1:5999", "127.0.0.1:5999 overlaps 0.0.0.0:5999 of service coap"),
        ("[::1]:5999", "[::]:5999", "[::]:5999 overlaps [::1]:5999 of service coap"),
        ("127.0.0.1:5999", "127.0.0.1:5999", "127.0.0.1:5999 is taken by service coap"),
    ],
)
def test_addresses_in_each_others_way(errors, place, first, second, why):
    """Found where the settings are read, before anything is opened."""
    other = "".join(f"{k} = {v}\n" for k, v in {**place, "listen": second}.items())
    (line,) = errors(ini_of({**place, "listen": first}) + "[service other]\n" + other)
    assert f"service.other.listen: {why}; " in line
    (line,) = errors(ini_of({**place, "listen": f"{first}, {second}"}))
    assert line.startswith("INI:4: service.coap.listen: ")


def test_what_was_meant_is_not_missing(errors, place):
    place["lisen"] = place.pop("listen")
    (line,) = errors(ini_of(place))
    assert line.endswith("service.coap.lisen: unknown key; did you mean listen?")


# ---- key files ----


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dev-1", "1: no colon; write IDENTITY:HEXKEY"),
        (f":{HEX}", "1: no identity before the colon; write 1 to 256 bytes"),
        (f"{'i' * 257}:{HEX}", f'1: identity "{"i" * 257}": has 257 bytes; write 1 to 256'),
        ("dev-1:0123", '1: identity "dev-1": key has 4 hex digits; write 32 to 128'),
        (
            f"dev-1:{HEX}0",
            '1: identity "dev-1": key has 33 hex digits; write an even number, 32 to 128',
        ),
        (f"dev-1:{'00' * 65}", '1: identity "dev-1": key has 130 hex digits; write 32 to 128'),
        (f"dev-1:{HEX[:-1]}x", '1: identity "dev-1": key has a character that is no hex digit'),
        ("dev-1:", '1: identity "dev-1": key has 0 hex digits; write 32 to 128'),
        (f"# c\na:{HEX}\n\na:{HEX}", '4: identity "a": is on line 2 already; remove one'),
        (f"de\x1bv:{HEX[:-2]}", r'1: identity "de\x1bv": key has 30 hex digits'),
        (f"de\0v:{HEX}", r'1: identity "de\x00v": has a NUL byte; write it without'),
        (f"{HEX}:dev-1", "1: identity (not shown, it may hold a key): key has a character"),
        ("", ": holds no identity; write lines of IDENTITY:HEXKEY"),
        ("# nothing\n\n", ": holds no identity; write lines of IDENTITY:HEXKEY"),
    ],
)
def test_a_key_file_that_is_wrong(errors, place, content, message):
    path = place["psk-file"]
    path.write_text(content)
    lines = errors(ini_of(place))
    assert lines[0].startswith(f"{path}:{message}".replace("::", ":")), lines
    assert lines[1] == (
        f'INI:6: service.coap.psk-file: "{path}" cannot be used; cure what is said of it above'
    )
    assert HEX[:20] not in "".join(lines), "a key is in the message"


def test_all_mistakes_of_a_key_file_are_told_at_once(errors, place):
    place["psk-file"].write_text(f"a\nb:00\nc:{HEX}\n:{HEX}\n")
    assert len(errors(ini_of(place))) == 4


@pytest.mark.parametrize(
    ("mode", "what"), [(0o604, "readable"), (0o602, "writable"), (0o601, "executable")]
)
def test_a_key_file_that_is_open_to_others(errors, place, mode, what):
    place["psk-file"].chmod(mode)
    why = f"is {what} by others (mode 0{mode:o}); chmod o-rwx it"
    assert errors(ini_of(place))[0] == f"{place['psk-file']}: {why}"


def test_a_folder_of_key_files(errors, place, tmp_path, psk, run, settings):
    folder = tmp_path / "keys"
    folder.mkdir()
    psk({"dev-1": KEY}, "keys/one")
    psk({"dev-2": KEY}, "keys/two")
    (folder / "two.bak").write_text("nonsense")
    place["psk-file"] = folder
    assert run("-c", settings({"service coap": place}), "-t").returncode == 0
    psk({"dev-3": KEY, "dev-1": KEY}, "keys/three")
    assert errors(ini_of(place))[0] == (
        f'{folder}/three:2: identity "dev-1": is in {folder}/one:1 already; remove one of the two'
    )
    (folder / "three").unlink()
    folder.chmod(0o777)
    assert errors(ini_of(place))[0] == (
        f"{folder}: is writable by others (mode 0777); chmod o-w it"
    )


def test_a_key_file_that_is_none(errors, place, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for path, why in (
        (tmp_path / "fifo", "is not a regular file"),
        (tmp_path / "folder", "holds no identity; write lines of IDENTITY:HEXKEY"),
        (tmp_path / "none", "cannot be opened: No such file or directory"),
    ):
        place["psk-file"] = path
        assert errors(ini_of(place))[0] == f"{path}: {why}"


def test_weak_keys_where_they_are_allowed(gate, echo, client):
    g = gate(echo, keys={"dev-1": b"\x01"}, allow_weak_keys="yes")
    assert client(g, "dev-1", b"\x01").connect().is_alive()
    g.secrets.clear()  # two hex digits are in every log


@pytest.mark.parametrize("size", [16, 32, 64])
def test_keys_of_each_length(gate, echo, client, size):
    key = bytes(range(size))
    g = gate(echo, keys={"dev-1": key})
    assert client(g, "dev-1", key).connect().is_alive()


def test_identities_with_colons_blanks_and_256_bytes(gate, echo, client):
    names = [b"urn:dev:mac:00-11", b" dev 1 ", b"\xff\xfe\x80", b"i" * 127]
    g = gate(echo, keys={name: KEY for name in names})
    for name in names:
        assert client(g, name).connect().is_alive()


def test_a_user_that_is_not_there(run, place, settings):
    ini = settings({"daemon": {"user": "nosuchuser"}, "service coap": place})
    done = run("-c", ini, "-t")
    assert done.returncode == 2
    assert done.stderr == (
        f"{ini}: daemon.user: there is no user nosuchuser; create it or name another\n"
    )
    ini = settings({"daemon": {"user": "nobody", "group": "nosuchgroup"}, "service coap": place})
    assert "daemon.group: there is no group nosuchgroup" in run("-c", ini, "-t").stderr
    ini = settings({"daemon": {"group": "nogroup"}, "service coap": place})
    assert "daemon.group: is set without daemon.user" in run("-c", ini, "-t").stderr


def test_files_that_cannot_be_made_are_told_at_once(errors, place):
    files = {"log": "/none/log", "access-log": "/none/access", "control-socket": "/none/sock"}
    files["trace-keylog"] = "/none/keys"
    told = errors(ini_of(place, files), "--pidfile", "/none/pid")
    why = "cannot be made in /none: No such file or directory; make that folder or choose another path"
    assert told == [f"--pidfile: /none/pid {why}"] + [
        f"INI:{line}: daemon.{key}: {path} {why}"
        for line, (key, path) in enumerate(files.items(), 2)
    ]


def test_a_key_of_the_state_has_its_line(errors, place, tmp_path):
    (tmp_path / "short").write_bytes(b"12345")
    (tmp_path / "short").chmod(0o600)
    state = {"state-dir": tmp_path / "state", "state-key": tmp_path / "short", "log": "/none/log"}
    told = errors(ini_of(place, state))
    assert [line.split(": ")[:2] for line in told] == [
        ["INI:4", "daemon.log"],
        ["INI:3", "daemon.state-key"],
    ]
    assert not (tmp_path / "state").exists()


def test_a_credential_that_is_not_here_is_no_mistake(run, place, settings, tmp_path):
    ini = settings({"daemon": {"state-dir": tmp_path / "state"}, "service coap": place})
    done = run("-c", ini, "-t")
    assert done.returncode == 0
    assert "daemon.state-dir: its key is to come as a credential, which is not here" in done.stderr


@pytest.mark.parametrize("name", ["etc/dtlsgate.ini", "packaging/debian/dtlsgate.ini"])
def test_the_command_of_the_readme_makes_one_service(run, place, tmp_path, name):
    """Of the file with all settings as well as of the package's."""
    command = re.search(r"^sudo (sed -i .*) /etc/dtlsgate/dtlsgate\.ini$", README.read_text(), re.M)
    ini = shutil.copy(README.parent / name, tmp_path / "x.ini")
    subprocess.run(f"{command[1]} {ini}", shell=True, check=True)
    here = ["-o", f"service.coap.psk-file={place['psk-file']}"]
    here += ["-o", "daemon.user=", "-o", "daemon.control-socket="]
    done = run("-c", ini, "-t", *here)
    assert done.returncode == 0, done.stderr
    shown = run("-c", ini, "-T", *here).stdout
    assert re.findall(r"^\[.*\]$", shown, re.M) == ["[daemon]", "[service coap]"]
    example = README.read_text().split("```ini\n")[1].split("```")[0]
    for line in example.split("[service coap]\n")[1].splitlines():
        key, value = line.split(" = ")
        assert key == "psk-file" or re.search(rf"^{key} = {re.escape(value)}", shown, re.M), shown
