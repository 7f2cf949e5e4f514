"""Runs pytest as another repository would, with the plugin that the package installs."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATE = ROOT / "tests" / "gate"

# Other plugins take longer to start and stop than these runs do.
QUICK = ("-p", "no:hypothesispytest", "-p", "no:benchmark", "-p", "no:cacheprovider")

SEEN = """
import json
from oom_suite.pytest_plugin import OPTIONS

def test_seen(pytestconfig):
    options = pytestconfig.stash[OPTIONS]
    seen = {
        "subjects": options.subjects,
        "scenario": options.scenario.name,
        "sizes": dict(options.scenario.sizes),
        "device": options.device,
        "budget_free_bytes": options.budget and options.budget.free_bytes,
        "arch": options.arch,
        "time_limit_s": options.time_limit_s,
        "json": options.json and options.json.name,
        "lanes": options.lanes,
    }
    with open("seen.json", "w") as sink:
        json.dump(seen, sink)
"""


class _Libraries:
    """Modules that a run inside this process imported from elsewhere than its own folder."""

    def __init__(self):
        self.modules = {}

    def pytest_unconfigure(self, config):
        for name, module in sys.modules.items():
            if not str(getattr(module, "__file__", "")).startswith(str(config.rootpath)):
                self.modules[name] = module


@pytest.fixture
def _libraries():
    libraries = _Libraries()
    yield libraries
    sys.modules.update(libraries.modules)


@pytest.fixture
def pytester(_libraries, pytester, monkeypatch):
    """pytest's own, whose runs inside this process leave behind what they imported of libraries.

    Its own forgets all modules, and torch cannot be imported a second time.
    """

    def inline_run(*arguments, plugins=(), **options):
        done = original(*arguments, plugins=[*plugins, _libraries], **options)
        sys.modules.update(_libraries.modules)
        return done

    original = pytester.inline_run
    monkeypatch.setattr(pytester, "inline_run", inline_run)
    return pytester


@pytest.fixture
def oom_seen(pytester):
    """`oom_seen(*arguments, ini="")`: the options as a test of such a run sees them."""

    def seen(*arguments, ini=""):
        pytester.makeini(f"[pytest]\n{ini}\n")
        pytester.makepyfile(test_seen=SEEN)
        pytester.runpytest(*QUICK, *arguments).assert_outcomes(passed=1)
        return json.loads((pytester.path / "seen.json").read_text())

    return seen


@pytest.fixture
def oom_refusal(pytester):
    """`oom_refusal(*arguments, ini="")`: the one line with which such a run refuses to start."""

    def refusal(*arguments, ini=""):
        pytester.makeini(f"[pytest]\n{ini}\n")
        pytester.makepyfile(test_never="raise SystemExit('collected')")
        done = pytester.runpytest(*QUICK, *arguments)
        assert pytest.ExitCode.USAGE_ERROR == done.ret
        assert "collected" not in str(done.stdout)
        (line,) = [line for line in done.errlines if line]
        return line.removeprefix("ERROR: ")

    return refusal


@pytest.fixture
def oom_run(pytester, remembered_runs):
    """`oom_run(*arguments)`: a run of the test files that the test made."""

    def run(*arguments):
        return pytester.runpytest(*QUICK, *arguments)

    return run


@pytest.fixture
def oom_gate(pytester, remembered_runs):
    """`oom_gate(*arguments)`: a run of this repository's gate, and its results as JSON."""

    def gate(*arguments, subjects):
        named = [f"--oom-subject={subject}" for subject in subjects]
        small = ("--oom-scenario=small", "--oom-json=results.json")
        done = pytester.runpytest(str(GATE), *QUICK, *small, *named, *arguments)
        return done, json.loads((pytester.path / "results.json").read_text())["results"]

    return gate


FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """Chromium without a window, over chromedriver's own protocol: no further package."""

    def __init__(self, folder, phone=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._base = f"http://127.0.0.1:{port}"
        self._session = ""
        options = {"args": [*FLAGS, f"--user-data-dir={folder}", "--window-size=1280,900"]}
        if phone:
            options["mobileEmulation"] = {"deviceMetrics": phone}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self._wait_for_driver()
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def _wait_for_driver(self):
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                return urllib.request.urlopen(f"{self._base}/status", timeout=5).close()
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("chromedriver does not answer")

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self._base}{self._session}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def open(self, path):
        self._ask("POST", "/url", {"url": path.as_uri()})
        return self

    def run(self, script):
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    def wait_for(self, expression):
        until = time.monotonic() + 20
        while not self.run(f"return {expression}"):
            assert time.monotonic() < until, f"never came true: {expression}"
            time.sleep(0.05)

    def press(self, keys):
        (element,) = self._ask("GET", "/element/active").values()
        self._ask("POST", f"/element/{element}/value", {"text": keys})

    def console(self):
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def requests(self):
        """Addresses asked for, but those of the browser's own first tab."""
        entries = self._ask("POST", "/se/log", {"type": "performance"})
        sent = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            address
            for message in sent
            if message["method"] == "Network.requestWillBeSent"
            and message["params"].get("documentURL", "").startswith("file:")
            and not (address := message["params"]["request"]["url"]).startswith("data:")
        ]

    def close(self):
        try:
            self._ask("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(30)


@pytest.fixture
def browse(tmp_path_factory):
    """`browse(path, phone=None)`: the page, opened in Chromium and drawn."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} (Debian: chromium, chromium-driver)")
    opened = []

    def browse(path, phone=None):
        opened.append(Browser(tmp_path_factory.mktemp("profile"), phone))
        browser = opened[-1].open(path)
        browser.wait_for("document.querySelectorAll('#chart .scatterlayer .trace').length > 0")
        return browser

    yield browse
    for browser in opened:
        browser.close()
