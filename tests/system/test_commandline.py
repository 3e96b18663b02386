"""The command line: what scripts rely on."""

import configparser
import re
import subprocess

import pytest

from lib.gate import KEY, Gate, without_root


@pytest.fixture
def line(psk, echo):
    """-l, -b and -k: enough for a service, without a file."""
    return ["-l", "127.0.0.1:0", "-b", echo.address, "-k", psk({"dev-1": KEY})]


@pytest.fixture
def start(binary, tmp_path):
    made = []

    def start_it(*args, **how):
        made.append(Gate(binary, args, tmp_path, **how))
        return made[-1]

    yield start_it
    for one in made:
        if not one.ended:
            one.end()


def test_one_service_without_a_file(start, line, client, echo):
    g = start(*line).wait_ready()
    assert client(g).connect().is_alive()
    assert echo.data
    long = ["--listen", "127.0.0.1:0", "--backend", echo.address, "--psk-file", line[-1]]
    other = start(*long).wait_ready()
    assert client(other).connect().is_alive()
    assert other.events("session open")[0]["service"] == "default"


def test_listen_may_be_given_more_than_once(start, line):
    g = start(*line, "-l", "[::1]:0").wait_ready()
    assert [host for host, _ in g.addresses()] == ["127.0.0.1", "::1"]


def test_overrides_reach_every_key_and_the_last_one_wins(run, line):
    shown = run(*line, "-T").stdout
    parser = configparser.ConfigParser()
    parser.read_string(shown)
    section = {"daemon": "daemon", "service default": "service.default"}
    for title, name in section.items():
        for key, value in parser[title].items():
            done = run(*line, "-o", f"{name}.{key}=wrong", "--set", f"{name}.{key}={value}", "-T")
            assert (done.returncode, done.stdout) == (0, shown), key


def test_an_override_wins_over_the_file(run, settings, line):
    place = {"listen": "127.0.0.1:0", "backend": "127.0.0.1:1", "psk-file": line[-1], "mtu": 500}
    ini = settings({"daemon": {"workers": 7}, "service coap": place})
    shown = run("-c", ini, "-o", "service.coap.mtu=600", "-o", "daemon.workers=3", "-T").stdout
    assert "mtu = 600\n" in shown and "workers = 3\n" in shown


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nonsense", '"nonsense" is not SECTION.KEY=VALUE, such as daemon.workers=2'),
        ("workers=2", '"workers=2" is not SECTION.KEY=VALUE'),
        ("daemon.workres=2", "daemon.workres: unknown key; did you mean workers?"),
        ("deamon.workers=2", "deamon: unknown section; did you mean [daemon]?"),
        ("daemon.workers=x", 'daemon.workers: "x" is not a number from 0 to 256'),
        ("service.default.mtu=1", 'service.default.mtu: "1" is not a number from 256 to 16384'),
        ("service.default.ciphers=NULL", 'service.default.ciphers: "NULL" selects no '),
    ],
)
def test_a_wrong_override(run, line, override, message):
    done = run(*line, "-o", override)
    assert done.returncode == 2
    assert done.stderr.startswith(f"command line: {message}"), done.stderr


def test_an_incomplete_service(run):
    done = run("-l", "127.0.0.1:0")
    assert done.returncode == 2
    assert [text.split(": ")[1] for text in done.stderr.splitlines()] == [
        "service.default.backend",
        "service.default.psk-file",
    ]


@pytest.mark.parametrize("word", ["-t", "--test"])
def test_test(run, line, word):
    done = run(*line, word)
    assert (done.returncode, done.stdout) == (0, "command line: settings are valid\n")
    done = run("-c", "/nonexistent.ini", word)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "/nonexistent.ini: cannot be opened: No such file or directory\n"


@pytest.fixture
def unwise(settings, echo, psk):
    """Settings that are legal and unwise in many ways, and what is said of them."""
    daemon = {"socket-buffer": "64k", "log-level": "debug", "max-handshakes": 20000}
    daemon |= {"max-handshakes-per-prefix": 0, "max-sessions": 10}
    place = {"listen": "127.0.0.1:0", "backend": echo.address, "idle-timeout": "2d"}
    place |= {"psk-file": psk({"dev-1": b"\x01", "dev-2": b"\x01"}), "allow-weak-keys": "yes"}
    place |= {"unknown-identity": "alert", "min-version": "1.0"}
    far = {"listen": "127.0.0.1:0", "backend": "192.0.2.1:53", "psk-file": psk({"a": KEY}, "far")}
    ini = settings({"daemon": daemon, "service coap": place, "service far": far})
    said = [f"{ini}: daemon.{key}: {value} " for key, value in list(daemon.items())[:-1]]
    unwise = ("idle-timeout", "allow-weak-keys", "unknown-identity", "min-version")
    said += [f"{ini}:8: service.coap.{key}: {place[key]} " for key in unwise]
    said += [f"{ini}:17: service.far.backend: 192.0.2.1:53 is a public address, "]
    said += [f"{place['psk-file']}:1: a key is shorter than 16 bytes; 2 such in all; "]
    said += [f"{place['psk-file']}:2: an identity has the key of another one; 1 such in all; "]
    return ini, said


def test_test_warns_of_what_is_legal_and_unwise(run, unwise):
    ini, said = unwise
    done = run("-c", ini, "-t")
    assert (done.returncode, done.stdout) == (0, f"{ini}: settings are valid\n")
    lines = without_root(done.stderr.splitlines())
    assert len(lines) == len(said), done.stderr
    for what in said:
        assert [line for line in lines if line.startswith(f"warning: {what}")], (what, lines)


def test_a_start_and_a_reload_log_the_same_warnings(start, unwise):
    ini, said = unwise
    g = start("-c", ini).wait_ready()
    g.reload()
    for what in said:
        assert len(g.log.find(rf"^\S+ warning {re.escape(what)}")) == 2, (what, g.log.text())


def test_test_knows_how_many_files_may_be_open(run, line):
    """Ten million are more than the kernel lets anybody have."""
    options = [*line, "-o", "daemon.workers=1", "-t", "-o"]
    assert not without_root(run(*options, "daemon.max-sessions=10").stderr.splitlines())
    done = run(*options, "daemon.max-sessions=10000000")
    assert done.returncode == 0
    assert re.fullmatch(
        "warning: command line: daemon.max-sessions: 10000000 may need 10000073 open files, and "
        r"\d+ are allowed; raise the limit \(LimitNOFILE, ulimit -n\) or lower the setting",
        "\n".join(without_root(done.stderr.splitlines())),
    )


def test_test_opens_no_socket(start, run, line):
    g = start(*line).wait_ready()
    again = ["-l", f"127.0.0.1:{g.port}", *line[2:]]
    assert run(*again, "-t").returncode == 0
    assert run(*again).returncode == 2


@pytest.mark.parametrize("word", ["-T", "--show-config"])
def test_show_config_is_a_file_that_shows_the_same(run, line, tmp_path, word):
    first = run(*line, "-o", "service.default.idle-timeout=90m", word)
    assert first.returncode == 0
    assert KEY.hex() not in first.stdout
    assert "idle-timeout = 90m\n" in first.stdout
    path = tmp_path / "shown.ini"
    path.write_text(first.stdout)
    assert run("-c", path, word).stdout == first.stdout


def test_show_config_starts_from_its_own_output(start, run, line, tmp_path, client):
    path = tmp_path / "shown.ini"
    path.write_text(run(*line, "-T").stdout)
    g = start("-c", path).wait_ready()
    assert client(g).connect().is_alive()


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_version(run, word):
    done = run(word)
    assert done.returncode == 0
    pattern = r"dtlsgate \d+\.\d+\.\d+\S*\nOpenSSL 3\.\S+ .*, libevent 2\.\S+\n"
    assert re.fullmatch(pattern, done.stdout)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_names_every_option(run, word):
    done = run(word)
    assert (done.returncode, done.stderr) == (0, "")
    for option in (
        *("-c, --config", "-l, --listen", "-b, --backend", "-k, --psk-file", "-o, --set"),
        *("-t, --test", "-T, --show-config", "-v, --verbose", "-q, --quiet"),
        *("-V, --version", "-h, --help", "--genpsk", "-d, --daemon", "--pidfile FILE"),
    ):
        assert option in done.stdout


def test_output_that_cannot_be_written_is_no_success(binary):
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([binary, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=20)
    assert done.returncode == 1


def test_genpsk_makes_a_line_that_works(run, gate, echo, client, tmp_path):
    lines = [run("--genpsk", "sensor:1").stdout for _ in range(2)]
    assert lines[0] != lines[1]
    assert all(re.fullmatch(r"sensor:1:[0-9a-f]{64}\n", text) for text in lines)
    path = tmp_path / "made"
    path.write_text(lines[0])
    path.chmod(0o600)
    key = bytes.fromhex(lines[0].rstrip().rsplit(":", 1)[1])
    g = gate(echo, psk_file=path, keys={})
    assert client(g, "sensor:1", key).connect().is_alive()
    assert key.hex() not in g.log.text()


def test_genpsk_makes_keys_that_an_argument_can_carry(run):
    for _ in range(150):
        key = bytes.fromhex(run("--genpsk", "x").stdout.split(":")[1])
        assert b"\0" not in key and b"\n" not in key


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        ("", "has 0 bytes; give 1 to 256"),
        ("x" * 257, "has 257 bytes; give 1 to 256"),
        ("a\nb", "has a line break; give it without"),
        ("#a", "starts with '#', which makes its line a comment; give another"),
    ],
)
def test_genpsk_refuses_what_no_file_could_hold(run, identity, why):
    done = run("--genpsk", identity)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"dtlsgate: --genpsk: {why}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-x"], "-x is no option"),
        (["--nonsense"], "--nonsense is no option, or short for more than one"),
        (["--conifg"], "--conifg is no option; did you mean --config?"),
        (["-c"], "-c needs a value"),
        (["--config"], "--config needs a value"),
        (["-c", ""], "-c needs the name of a file"),
        (["--help=x"], "--help=x: this option takes no value"),
        (["file.ini"], "file.ini is no option, and nothing else is awaited"),
        (["-t", "-T"], "-t and -T exclude each other; choose one"),
        (["-q", "-v"], "-q and -v exclude each other; choose one"),
        (["--genpsk", "x", "-t"], "--genpsk excludes -t and -T; choose one"),
    ],
)
def test_wrong_usage(run, words, message):
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"dtlsgate: {message}\nTry 'dtlsgate --help'.\n"


def test_all_wrong_usage_is_told_at_once(run):
    done = run("-x", "-q", "-v", "word")
    assert len(done.stderr.splitlines()) == 4


def test_quiet_logs_errors_only(start, line, client, free_port):
    line[1] = f"127.0.0.1:{free_port}"
    g = start(*line, "-q", has_totals=False)
    assert client(("127.0.0.1", free_port)).connect().is_alive()
    g.end()
    assert g.log.lines == []


@pytest.mark.parametrize("words", [["-v"], ["-vv"], ["-v", "--verbose", "-v"]])
def test_verbose_says_more(start, line, client, words):
    g = start(*line, "-o", "daemon.log-level=info", *words).wait_ready()
    assert client(g).connect().is_alive()


def test_verbose_raises_a_warning_level_to_info(start, line):
    start(*line, "-o", "daemon.log-level=warning", "-v").wait_ready()


def test_without_anything_the_file_in_etc_is_read(run):
    done = run("-t")
    assert re.search(r"/dtlsgate/dtlsgate\.ini: ", done.stderr + done.stdout)
