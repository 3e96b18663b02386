"""HTTP: metrics, health, status and sessions, and the files for Prometheus and Grafana."""

import json
import pathlib
import re
import subprocess

import pytest

from lib.control import Control
from lib.gate import KEY, until
from lib.http import Answer, exchange, get, http_address, metrics

TOP = pathlib.Path(__file__).parents[2]
RULES = TOP / "packaging/prometheus/dtlsgate.rules.yml"
DASHBOARD = TOP / "packaging/grafana/dtlsgate.json"
HTTP = {"http": "127.0.0.1:0", "workers": 2}


@pytest.fixture
def told(gate, echo, client):
    """A gate that has something to tell: two sessions, one of them gone, and a dropped datagram."""
    g = gate(echo, daemon=HTTP, keys={"dev-1": KEY, "dev-é": KEY})
    assert client(g).connect().is_alive()
    gone = client(g, "dev-é".encode()).connect()
    assert gone.is_alive()
    gone.close()
    until(lambda: get(g, "/status.json").json["totals"]["sessions_ended"] == 1)
    return g


def promtool(*words, **how):
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, **how)
    return done.returncode, done.stdout + done.stderr


def test_prometheus_likes_the_metrics(told):
    answer = get(told, "/metrics")
    assert answer.status == 200
    assert answer.fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert promtool("check", "metrics", input=answer.text) == (0, "")


def metric_of(name):
    """Where the counter of that name in the line of totals is to be found."""
    side, _, fate = name.partition(".")
    if fate.startswith("drop_"):
        return "dtlsgate_drops_total", {"side": side, "reason": fate.removeprefix("drop_")}
    if fate:
        return "dtlsgate_handled_total", {"side": side, "fate": fate}
    gauge = name in ("sessions", "handshakes", "flows")
    return f"dtlsgate_{name}" + ("" if gauge else "_total"), {}


def sum_of(found, name, labels):
    wanted = set(labels.items())
    values = [v for (n, pairs), v in found.items() if n == name and wanted <= set(pairs)]
    assert len(values) == 2, f"{name} {labels}: one of each worker"
    return sum(values)


def test_each_counter_is_a_metric_and_all_agree(told):
    found, totals = metrics(told), get(told, "/status.json").json["totals"]
    del totals["drops"]
    assert len(totals) > 40
    for name, value in totals.items():
        assert sum_of(found, *metric_of(name)) == value, name
    ours = {n for n, pairs in found if ("worker", "0") in pairs}
    assert ours == {metric_of(name)[0] for name in totals}, "nothing that no counter stands for"
    assert totals["handshakes_completed"] == 2 and totals["sessions"] == 1
    assert told.end()["client.forwarded"] == totals["client.forwarded"]


def test_services_are_counted_apart(gate, echo, client, psk, settings, free_port):
    place = {"listen": "127.0.0.1:0", "psk-file": psk({"dev-1": KEY})}
    sections = {
        "daemon": HTTP,
        "service deaf": {**place, "backend": f"127.0.0.1:{free_port}"},
        "service good": {**place, "backend": echo.address},
    }
    g = gate(ini=settings(sections))
    good = client(g.address("good")).connect()
    assert good.is_alive()
    client(g.address("good")).connect().close()
    client(g.address("deaf")).connect().send(b"anybody?")
    until(lambda: metrics(g)["dtlsgate_service_backend_refused_total", (("service", "deaf"),)] > 0)
    until(lambda: get(g, "/status.json").json["services"][1]["sessions_ended"] == 1)
    deaf, good = get(g, "/status.json").json["services"]
    assert (deaf["sessions"], deaf["flows"], deaf["sessions_opened"]) == (1, 1, 1)
    assert (good["sessions"], good["flows"], good["sessions_opened"]) == (1, 1, 2)
    assert good["backend_refused"] == 0
    found = metrics(g)
    assert found["dtlsgate_service_sessions_opened_total", (("service", "good"),)] == 2
    of_all = sum(v for (name, _), v in found.items() if name == "dtlsgate_handshakes_completed_total")
    assert of_all == 3


def test_what_every_process_tells(told):
    found = {name: value for (name, pairs), value in metrics(told).items() if not pairs}
    assert found["process_resident_memory_bytes"] > 1e6
    assert found["process_virtual_memory_bytes"] > found["process_resident_memory_bytes"]
    open_now = len(list(pathlib.Path(f"/proc/{told.pid}/fd").iterdir()))
    assert abs(found["process_open_fds"] - open_now) <= 2
    assert found["process_max_fds"] >= open_now
    assert found["process_cpu_seconds_total"] > 0
    boot = int(re.search(r"btime (\d+)", pathlib.Path("/proc/stat").read_text()).group(1))
    assert found["process_start_time_seconds"] > boot
    assert found["dtlsgate_ready"] == 1


def test_health(told):
    assert (get(told, "/healthz").status, get(told, "/healthz").text) == (200, "ok\n")
    assert (get(told, "/readyz").status, get(told, "/readyz").text) == (200, "serving\n")


def test_a_draining_process_is_not_ready(gate, echo, tmp_path):
    path = tmp_path / "control.sock"
    g = gate(echo, daemon={**HTTP, "control-socket": path})
    Control(path)("drain")
    assert (get(g, "/readyz").status, get(g, "/readyz").text) == (503, "draining\n")
    assert get(g, "/healthz").status == 200
    assert metrics(g)["dtlsgate_ready", ()] == 0
    Control(path)("undrain")
    assert get(g, "/readyz").status == 200


def test_reloads_are_told(told, tmp_path):
    told.reload()
    ini = tmp_path / "dtlsgate.ini"
    ini.write_text(ini.read_text() + "nonsense\n")
    assert "failed" in told.reload()
    status = get(told, "/status.json").json
    assert (status["reload"]["taken"], status["reload"]["refused"]) == (1, 1)
    assert status["reload"]["last_refused"] is True
    found = metrics(told)
    assert found["dtlsgate_reloads_total", (("result", "refused"),)] == 1
    assert found["dtlsgate_reload_last_successful", ()] == 0


def test_the_status_names_services_as_they_are(told):
    status = get(told, "/status.json").json
    (service,) = status["services"]
    assert service["name"] == "default" and service["identities"] == 2
    assert service["listen"] == [f"127.0.0.1:{told.port}"]
    assert len(status["workers"]) == 2
    assert sum(w["client_datagrams"] for w in status["workers"]) == (
        status["totals"]["client_datagrams"]
    )


def test_the_history_grows(told):
    until(lambda: get(told, "/history.json").json["last"] >= 3)
    all_of_it = get(told, "/history.json").json
    assert len(all_of_it["age_ms"]) == all_of_it["last"] - 1
    assert all(len(s) == len(all_of_it["age_ms"]) for s in all_of_it["series"].values())
    assert sum(all_of_it["series"]["client_datagrams"]) > 0
    later = get(told, f"/history.json?since={all_of_it['last'] - 1}").json
    assert 1 <= len(later["age_ms"]) <= 2


# ---- sessions ----


def sessions(gate, query=""):
    answer = get(gate, f"/sessions.json?{query}")
    assert answer.status == 200, answer.text
    return answer.json["sessions"]


def test_sessions_are_told_and_found(gate, echo, client):
    g = gate(echo, daemon=HTTP, keys={"dev-1": KEY, "other": KEY, b"\xff\"<b>": KEY})
    clients = [client(g, name).connect() for name in ("dev-1", "other", b"\xff\"<b>")]
    assert all(c.is_alive() for c in clients)
    for _ in range(5):
        assert clients[1].is_alive()
    assert [s["identity"] for s in sessions(g, "order=busiest&limit=1")] == ["other"]
    ages = [s["age_seconds"] for s in sessions(g, "order=newest")]
    assert len(ages) == 3 and ages == sorted(ages)
    idles = [s["idle_seconds"] for s in sessions(g, "order=active")]
    assert len(idles) == 3 and idles == sorted(idles)
    assert [s["identity"] for s in sessions(g, "search=DEV-")] == ["dev-1"]
    assert [s["identity"] for s in sessions(g, "search=%3Cb%3E")] == [r"\xff\x22<b>"]
    assert [s["identity"] for s in sessions(g, "search=nobody")] == []
    (one,) = sessions(g, "search=other")
    assert one["id"] in [s["id"] for s in sessions(g, f"search={one['id']}")]
    assert len(sessions(g, f"search={one['peer']}")) == 1
    assert len(sessions(g, "search=default")) == 3
    assert one["in_datagrams"] >= 6 and one["backend_port"] > 0 and one["version"] == "1.2"
    assert KEY.hex() not in get(g, "/sessions.json").text


@pytest.mark.parametrize("query", ["search=%00", "search=%zz", "limit=0", "limit=x&order=what"])
def test_odd_questions_get_an_answer(told, query):
    assert len(sessions(told, query)) == 1


# ---- who may ask, and how ----


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "10.1.2.3", "[::1]"])
def test_hosts_that_are_ours(told, host):
    assert get(told, "/healthz", host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil", "127.0.0.1.evil", "1.2.3"])
def test_hosts_that_are_not(told, host):
    assert get(told, "/status.json", host).status == 421


def test_a_name_of_its_own(gate, echo):
    g = gate(echo, daemon={**HTTP, "http-name": "gate.example"})
    assert get(g, "/healthz", "Gate.Example:8080").status == 200
    assert get(g, "/healthz", "other.example").status == 421


def test_head_is_get_without_the_body(told):
    for path in ("/", "/healthz", "/metrics", "/sessions.json", "/none"):
        head, whole = get(told, path, method="HEAD"), get(told, path)
        assert head.status == whole.status and head.body == b"" and whole.body
        assert head.fields["Content-Type"] == whole.fields["Content-Type"]


def test_what_each_answer_says_to_browsers(told):
    for path in ("/", "/app.js", "/status.json", "/none"):
        fields = get(told, path).fields
        assert fields["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert "unsafe" not in fields["Content-Security-Policy"]
        assert fields["X-Content-Type-Options"] == "nosniff"
        assert fields["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in fields


def test_only_get_and_head(told):
    answer = get(told, "/", method="POST")
    assert answer.status == 405 and answer.fields["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", 413),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"GET /" + b"x" * 600 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    ],
)
def test_heads_of_all_kinds(told, request_bytes, status):
    assert Answer(exchange(told, request_bytes)).status == status


def test_it_is_off_unless_asked_for(gate, echo):
    g = gate(echo)
    assert not g.log.find("http: listening")


def test_a_public_address_gives_a_warning(gate, run, settings, psk, echo):
    service = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": psk({"dev-1": KEY})}
    ini = settings({"daemon": {"http": "0.0.0.0:0"}, "service default": service})
    done = run("-c", ini, "-t")
    assert done.returncode == 0
    assert "daemon.http: 0.0.0.0:0 is no loopback address" in done.stderr
    g = gate(ini=ini)
    assert g.log.find("daemon.http: 0.0.0.0:0 is no loopback address")
    ini = settings({"daemon": {"http": "[::1]:0"}, "service default": service})
    assert "daemon.http" not in run("-c", ini, "-t").stderr


def test_an_address_that_is_taken(gate, run, echo, settings, psk):
    g = gate(echo, daemon=HTTP)
    host, port = http_address(g)
    place = {"listen": "127.0.0.1:0", "backend": echo.address, "psk-file": psk({"dev-1": KEY})}
    ini = settings({"daemon": {"http": f"{host}:{port}"}, "service default": place}, "two.ini")
    done = run("-c", ini)
    assert done.returncode == 2
    assert done.stderr == (
        f"{ini}: daemon.http: cannot bind {host}:{port}: Address already in use; "
        "choose another address or port\n"
    )


def test_nothing_of_it_is_denied_in_the_box(told):
    for path in ("/", "/metrics", "/status.json", "/history.json", "/sessions.json"):
        assert get(told, path).status == 200
    told.end()
    assert not told.log.find("system call denied")


# ---- what others do with it ----


def names_in(text):
    return set(re.findall(r"\b(?:dtlsgate|process)_[a-z_]+\b", text))


def test_the_dashboard_asks_for_metrics_that_exist(told):
    there = {name for name, _ in metrics(told)}
    dashboard = json.loads(DASHBOARD.read_text())
    asked = set()
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            asked |= names_in(target["expr"])
    assert len(asked) > 10 and asked <= there, asked - there


def test_the_rules_ask_for_metrics_that_exist(told):
    there = {name for name, _ in metrics(told)}
    asked = set().union(*map(names_in, re.findall(r"expr: (.*(?:\n {8,}.*)*)", RULES.read_text())))
    assert len(asked) > 5 and asked <= there, asked - there


def test_prometheus_takes_the_rules():
    status, text = promtool("check", "rules", RULES)
    assert status == 0 and "SUCCESS" in text, text


def test_the_rules_fire_when_they_should():
    status, text = promtool("test", "rules", RULES.parent / "dtlsgate.rules.test.yml")
    assert status == 0, text
