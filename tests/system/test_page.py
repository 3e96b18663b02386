"""The status page as people see it, in a real browser."""

import itertools
import os
import pathlib
import re
import signal
import socket

import pytest

from lib.browser import Browser
from lib.gate import KEY, until
from lib.http import get, http_address

TOP = pathlib.Path(__file__).parents[2]
SIZES = {"wide": (1280, 1000), "tablet": (820, 1000), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


@pytest.fixture
def g(gate, echo, client):
    names = ["dev-1", "pump-é", "<img src=x onerror=alert(1)>"]
    gate = gate(echo, daemon={"http": "127.0.0.1:0", "workers": 2}, keys={n: KEY for n in names})
    gate.clients = [client(gate, name.encode()).connect() for name in names]
    assert all(c.is_alive() for c in gate.clients)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(7):
            stranger.sendto(b"junk", gate.address())
    return gate


def identities(page):
    cells = "[...document.querySelectorAll('#sessions tbody th')]"
    return page.run(f"return {cells}.map((e) => e.innerText)")


@pytest.fixture
def page(g, browser):
    """The page, once it shows rates; at the end nothing may have been complained about."""
    browser.open("about:blank")
    browser.show(*SIZES["wide"])
    browser.requests(), browser.complaints()
    host, port = http_address(g)
    browser.open(f"http://{host}:{port}/")
    until(lambda: browser.run("return past.length > 0") and len(identities(browser)) == 3)
    yield browser
    assert browser.complaints() == []
    browser.open("about:blank")
    asked = [url for url in browser.requests() if url != "about:blank"]
    assert asked and all(url.startswith(f"http://{host}:{port}/") for url in asked), asked


def text(page, selector):
    return page.run("return document.querySelector(arguments[0]).innerText", selector)


def count(page, selector):
    return page.run("return document.querySelectorAll(arguments[0]).length", selector)


def test_it_shows_what_there_is(page, g):
    assert text(page, "#state") == "serving"
    assert text(page, "#now-sessions") == "3"
    assert f"127.0.0.1:{g.port}" in text(page, "#services")
    assert count(page, "#workers tbody tr") == 2
    assert "Open sockets\n3" in text(page, "#backend")
    assert "MB" in text(page, "#process")
    assert page.run("return document.title") == "dtlsgate: 3 sessions"
    assert "junk\n7" in text(page, "#drops")
    until(lambda: count(page, "svg.chart path.line") == 8)


def rows(page, selector):
    return page.run(
        "return [...document.querySelectorAll(arguments[0])].map((r) => "
        "[...r.children].map((c) => c.innerText.trim()))",
        selector + " tbody tr",
    )


def test_backends_and_their_states(gate, backend, client, browser, psk, settings, tmp_path):
    """One of each state, in words; and the address that a backend sees."""
    a, b, c, d = (backend() for _ in range(4))
    first = f"{a.address}, {b.address} drain, {c.address} backup, {d.address}"
    place = {"listen": "127.0.0.1:0", "psk-file": psk({"dev-1": KEY})}
    sections = {
        "daemon": {"http": "127.0.0.1:0", "workers": 1},
        "service coap": {**place, "backend": first, "backend-retry": "1h", "balance": "round-robin"},
        "service other": {**place, "backend": a.address, "backend-source": "127.64.0.0/10"},
    }
    ini = settings(sections)
    g = gate(ini=ini)
    one = client(g.address("coap")).connect()
    two = client(g.address("coap")).connect()
    assert one.is_alive() and two.is_alive()
    lost = client(g.address("coap")).connect()
    assert client(g.address("other")).connect().is_alive()
    a.close()

    def is_down():
        for each in (one, two, lost):
            each.send(b"lost")
        return "down" in str(get(g, "/status.json").json["services"][0]["backends"])

    until(is_down)
    ini.write_text(ini.read_text().replace(f", {d.address}", ""))
    assert "reloaded" in g.reload()
    host, port = http_address(g)
    browser.open(f"http://{host}:{port}/")
    until(lambda: rows(browser, "#backends") and len(identities(browser)) == 4)
    found = {r[0]: r for r in rows(browser, "#backends div:nth-of-type(1)")}
    assert found[a.address][1] == "down" and int(found[a.address][-1]) > 0
    assert found[b.address][1] == "draining"
    assert found[c.address][1] == "up backup"
    assert found[d.address][1] == "gone" and found[d.address][4] != "0"
    assert rows(browser, "#backends div:nth-of-type(2)")[0][0] == a.address
    assert browser.run("return [...document.querySelectorAll('#backends h3')].map((e) => e.innerText)") == [
        *("coap", "other"),
    ]
    assert any(r[3].startswith("127.64.0.") for r in rows(browser, "#sessions") if r[2] == "other")
    assert all(r[3] == "" for r in rows(browser, "#sessions") if r[2] == "coap")
    shoot(browser, pathlib.Path(os.environ.get("SCREENSHOTS", tmp_path)), "backends-")
    assert browser.complaints() == []
    browser.open("about:blank")


def test_what_clients_call_themselves_is_text(page):
    assert sorted(identities(page)) == ["<img src=x onerror=alert(1)>", "dev-1", r"pump-\xc3\xa9"]
    assert count(page, "table img") == 0


def test_search_and_order(page):
    page.run("document.getElementById('search').focus()")
    page.command("Input.insertText", text="PUMP")
    until(lambda: identities(page) == [r"pump-\xc3\xa9"])
    page.command("Input.insertText", text="-none")
    until(lambda: text(page, "#sessions-note") == "No session is like that.")
    page.run("document.getElementById('search').value = ''")
    page.run("document.querySelector('[value=newest]').click()")
    until(lambda: len(identities(page)) == 3)
    assert page.run("return document.querySelector('#sessions-note').innerText") == ""


def test_it_follows(page, g):
    g.clients[0].close()
    until(lambda: text(page, "#now-sessions") == "2")


def shoot(page, folder, prefix=""):
    """Whether it fits and can be read in each size and scheme; leaves pictures of it."""
    for size, scheme in itertools.product(SIZES, ["light", "dark"]):
        width, is_dark = SIZES[size][0], scheme == "dark"
        page.show(*SIZES[size], is_dark=is_dark)
        until(lambda: page.run("return innerWidth") == width)
        assert page.run("return document.documentElement.scrollWidth") <= width, size
        assert page.run(CONTRAST) == []
        page.show(width, page.run("return document.documentElement.scrollHeight"), is_dark=is_dark)
        picture = folder / f"{prefix}{size}-{scheme}.png"
        page.screenshot(picture)
        assert picture.stat().st_size > 20000


def test_it_fits_and_can_be_read(page, tmp_path):
    """SCREENSHOTS names a folder for pictures of it."""
    shoot(page, pathlib.Path(os.environ.get("SCREENSHOTS", tmp_path)))


# Each text that is seen against what is behind it, by the measure of WCAG 2.1: 4.5 at least.
CONTRAST = """
const rgb = (s) => s.match(/[\\d.]+/g).map(Number);
const over = (top, below) => {
  const a = top.length > 3 ? top[3] : 1;
  return [0, 1, 2].map((i) => top[i] * a + below[i] * (1 - a));
};
const light = (c) => {
  const [r, g, b] = c.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
function ground(e) {
  if (!e) return [255, 255, 255];
  return over(rgb(getComputedStyle(e).backgroundColor), ground(e.parentElement));
}
const bad = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !e.getClientRects().length || e.closest('.skip, .hidden, noscript')) continue;
  const style = getComputedStyle(e);
  const behind = ground(e);
  const ink = over(rgb(e.namespaceURI.endsWith('svg') ? style.fill : style.color), behind);
  const [a, b] = [light(ink), light(behind)].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(`${e.tagName} ${e.className} ${e.textContent}`);
}
return bad;
"""


UNNAMED = """
const all = [...document.querySelectorAll('a, input, svg.chart, [tabindex="0"], section')];
const isNamed = (e) => e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') ||
  e.innerText || (e.labels && e.labels.length);
return all.filter((e) => !isNamed(e)).map((e) => e.outerHTML);
"""


def test_it_can_be_used_by_keyboard_and_ear(page):
    assert page.run(UNNAMED) == []
    until(lambda: count(page, "svg.chart path.line") == 8)
    page.run("document.querySelector('svg.chart').focus()")
    before = page.run("return document.activeElement.getAttribute('aria-label')")
    page.press("ArrowLeft")
    after = page.run("return document.activeElement.getAttribute('aria-label')")
    assert before.startswith("Datagrams per second, now: from clients ") and after != before
    assert count(page, "svg.chart circle.dot") == 2
    page.press("Escape")
    assert count(page, "svg.chart circle.dot") == 0
    assert page.run("return document.documentElement.lang") == "en"
    assert count(page, "thead th") == count(page, "thead th[scope=col]") > 10


def test_every_reason_has_its_words(g):
    """Those that the page knows, and those that are counted."""
    script = (TOP / "src/daemon/page/app.js").read_text()
    known = set(re.findall(r"^  (\w+): '", script[: script.index("const CHARTS")], re.M))
    totals = get(g, "/status.json").json["totals"]
    counted = {name.split(".drop_")[1] for name in totals if ".drop_" in name}
    assert known == counted


def test_it_says_so_when_nobody_answers(g, browser):
    host, port = http_address(g)
    browser.open(f"http://{host}:{port}/")
    until(lambda: browser.run("return document.getElementById('state').innerText") == "serving")
    g.tell(signal.SIGTERM)
    until(lambda: browser.run("return document.getElementById('state').innerText") == "no answer")
    assert "does not answer" in text(browser, "#trouble")
    browser.open("about:blank")
    browser.complaints()


def test_the_policy_is_in_force(g, browser):
    """What was slipped into the page does not run, and nothing is fetched from elsewhere."""
    host, port = http_address(g)
    browser.open(f"http://{host}:{port}/")
    browser.complaints()
    browser.run("""
const script = document.createElement('script');
script.textContent = 'window.slipped = 1';
const image = document.createElement('img');
image.src = 'http://127.0.0.2:1/x.png';
document.body.append(script, image);""")
    assert browser.run("return window.slipped === undefined")
    said = []
    until(lambda: said.extend(browser.complaints()) or len(said) >= 2)
    assert all("Content Security Policy" in line for line in said), said
