"""browser: a Chromium without a screen, driven by its own driver in plain WebDriver over HTTP."""

import base64
import json
import re
import urllib.request

from lib.programs import Program

OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]


class Browser:
    """One browser with one window. What its console says is kept, and requests are listed."""

    def __init__(self, folder):
        self._driver = Program("chromedriver", "--port=0", cwd=folder)
        line = self._driver.out.wait(r"started successfully on port \d+")
        port = re.search(r"port (\d+)", line).group(1)
        self._base = f"http://127.0.0.1:{port}/session"
        options = {"args": [*OPTIONS, f"--user-data-dir={folder}/profile"]}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = self._call("", {"capabilities": {"alwaysMatch": wanted}})
        self._base += f"/{made['sessionId']}"

    def _call(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._base + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        self._call("/url", {"url": url})

    def run(self, script, *args):
        """The value of a script's `return`."""
        return self._call("/execute/sync", {"script": script, "args": list(args)})

    def command(self, name, **params):
        return self._call("/goog/cdp/execute", {"cmd": name, "params": params})

    def show(self, width, height, is_dark=False):
        """As on a screen of that size; a narrow one is a phone's."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self._call("/screenshot")))

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def complaints(self):
        """What the console has said since the last time: errors, violations, warnings."""
        return [e["message"] for e in self._call("/se/log", {"type": "browser"})]

    def requests(self):
        """The addresses that it has asked for since the last time."""
        entries = self._call("/se/log", {"type": "performance"})
        messages = [json.loads(e["message"])["message"] for e in entries]
        sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    def close(self):
        try:
            self._call("", method="DELETE")
        finally:
            self._driver.stop()
