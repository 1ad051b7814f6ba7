"""The report of eval in a real browser: headless Chromium, driven over WebDriver (w3.org/TR/webdriver2)."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geseg.data.images import write_probability
from geseg.steps.evaluate import EvalConfig, run
from geseg.steps.truths import open_truths

FLAGS = ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1200,900")
HOSTILE = (
    'a<script>document.title = "broken"</script>',
    '"><img src=x onerror="document.title = 1">',
    "$title ${lead} &lt;b&gt;",
    "plain",
)
"""Names of photographs; with a slash they are of a file in a folder."""


class Browser:
    """A browser with one window."""

    def __init__(self, chromium: str, driver: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._process = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._base = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with contextlib.suppress(OSError):
                if self._call("GET", "/status")["ready"]:
                    break
            time.sleep(0.1)
        options = {
            "goog:chromeOptions": {"binary": chromium, "args": FLAGS},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self._base += f"/session/{answer['sessionId']}"

    def _call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever JSON holds
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()[:500]}") from error

    def open(self, page: Path) -> None:
        self._call("POST", "/url", {"url": page.resolve().as_uri()})

    def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401
        """What a script returns that runs in the page."""
        return self._call("POST", "/execute/sync", {"script": script, "args": arguments})

    def wait_for(self, script: str) -> None:
        """Until it returns true: a closing dialog tells so after the key that closed it."""
        for _ in range(100):
            if self.run(script):
                return
            time.sleep(0.1)
        raise AssertionError(f"not within 10 s: {script}")

    def click(self, selector: str) -> None:
        """As with the mouse, so that what is hidden or covered cannot be clicked."""
        (found,) = self._call("POST", "/element", {"using": "css selector", "value": selector}).values()
        self._call("POST", f"/element/{found}/click")

    def press(self, key: str) -> None:
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": keys}]})

    @contextlib.contextmanager
    def narrowed(self, width: int) -> Iterator[None]:
        """Be so many pixels wide for the block."""
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", metrics)
        try:
            yield
        finally:
            self.command("Emulation.clearDeviceMetricsOverride", {})

    def command(self, name: str, values: dict[str, object]) -> Any:  # noqa: ANN401
        """Ask what only Chromium can (chromedevtools.github.io/devtools-protocol)."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": name, "params": values})

    def log(self, kind: str) -> list[str]:
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": kind})]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._call("DELETE", "")
        self._process.terminate()
        self._process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no Chromium with chromedriver: install chromium and chromium-driver (Debian)")
    browser = Browser(chromium, driver)
    yield browser
    browser.close()


@pytest.fixture
def page(make_drive: Callable[..., Path], tmp_path: Path) -> Path:
    """A report on four photographs, three of which have names that want to be code."""
    eyes = make_drive(train=4) / "training"
    rows = ["image,label"]
    for number, name in enumerate(HOSTILE):
        image, label = Path(f"photos/{name}.tif"), Path(f"labels/{number}.gif")
        for path, source in (
            (image, f"images/{21 + number}_training.tif"),
            (label, f"1st_manual/{21 + number}_manual1.gif"),
        ):
            (tmp_path / "eyes" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(eyes / source, tmp_path / "eyes" / path)
        quoted = str(image).replace('"', '""')
        rows.append(f'"{quoted}",{label}')
    (tmp_path / "eyes" / "samples.csv").write_text("\n".join(rows))
    for step, photograph in zip((2, 0, 3, 1), open_truths(tmp_path / "eyes").photographs, strict=True):
        drawn = photograph.read().label
        assert drawn is not None
        noise = np.random.default_rng(step).random(drawn.shape)
        shifted = np.roll(drawn, 3 - step, axis=1)  # clDice forgives what Dice does not
        write_probability(
            tmp_path / "maps" / f"{photograph.stem}.png", np.where(shifted, 0.9, 0.2) * noise ** (0.2 * step + 0.1)
        )
    return run(EvalConfig(model=tmp_path / "maps", truths=tmp_path / "eyes", report=tmp_path / "report")).report  # type: ignore[return-value]


NAMES = "return [...document.querySelectorAll('.card')].map(card => card.dataset.name)"
VALUES = "return [...document.querySelectorAll('.card')].map(card => Number(card.dataset[arguments[0]]))"


def test_it_loads_without_errors_and_asks_nothing_of_the_network(browser: Browser, page: Path) -> None:
    browser.log("performance"), browser.log("browser")
    browser.open(page)
    assert browser.log("browser") == []
    events = [json.loads(message)["message"] for message in browser.log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:image/")} == {page.resolve().as_uri()}
    assert any(url.startswith("data:image/") for url in asked), "requests are seen"
    widths = browser.run("return [...document.images].map(image => image.naturalWidth)")
    assert widths == [68] * 16
    assert all(browser.run("return [...document.images].map(image => image.alt)"))


def test_hostile_names_are_shown_and_do_nothing(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.run("return document.title") == "4 training images of eyes · geseg"
    shown = browser.run("return [...document.querySelectorAll('h3')].map(head => head.textContent)")
    assert sorted(shown) == sorted(f"eyes/photos/{name}" for name in HOSTILE) == sorted(browser.run(NAMES))
    assert browser.run("return document.scripts.length") == 1
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title = 1\">')")
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s)"
    )
    assert browser.run("return document.title") == "4 training images of eyes · geseg", (
        "not even what gets through runs"
    )
    refused = [message for message in browser.log("browser") if "Content Security Policy" in message]
    assert len(refused) >= 2


def test_sorting(browser: Browser, page: Path) -> None:
    browser.open(page)
    dice = browser.run(VALUES, "dice")
    assert dice == sorted(dice)
    by_dice = browser.run(NAMES)
    browser.click("[data-by=dice]")
    assert browser.run(NAMES) == by_dice[::-1]
    browser.click("[data-by=cldice]")
    cldice = browser.run(VALUES, "cldice")
    assert cldice == sorted(cldice)
    assert browser.run(NAMES) != by_dice, "or this shows nothing"
    browser.click("[data-by=name]")
    names = browser.run(NAMES)
    assert names.index(f"eyes/photos/{HOSTILE[0]}") < names.index("eyes/photos/plain")
    assert browser.run("return document.querySelector('[data-by=name]').ariaPressed") == "true"
    assert browser.run("return document.querySelector('.order').textContent") == "from A to Z"


def test_zoom(browser: Browser, page: Path) -> None:
    state = "const d = document.querySelector('dialog'), i = d.querySelector('img');"
    state += "return d.open ? [d.querySelector('h2').textContent, i.alt.split(' ')[0], i.offsetWidth] : null"
    browser.open(page)
    first, second, *_ = browser.run(NAMES)
    assert browser.run(state) is None
    browser.click(".card:first-child [data-kind=label]")
    name, kind, width = browser.run(state)
    assert (name, kind) == (first, "label")
    assert width > 500, "it fills the window"
    browser.click("dialog img")
    assert browser.run(state)[2] == 3 * 68
    browser.click("[data-do=larger]")
    assert browser.run(state)[2] == 4 * 68
    browser.click("dialog img")
    browser.press("\ue014")  # arrow to the right
    assert browser.run(state)[0] == second
    browser.press("4")
    assert browser.run(state)[1] == "hits,"
    browser.press("\ue00c")  # escape
    assert browser.run(state) is None
    browser.wait_for("return document.activeElement.dataset.kind === 'overlay'")
    browser.press("\ue007")  # enter
    assert browser.run(state)[:2] == [second, "hits,"]
    browser.click("[data-do=close]")
    assert browser.run(state) is None
    assert browser.log("browser") == []


def test_keys_go_on_after_a_picture_was_chosen(browser: Browser, page: Path) -> None:
    """By its button, which the page replaces while it has the focus."""
    chosen = "return document.querySelector('dialog img').alt.split(' ')[0]"
    browser.open(page)
    browser.click(".card:first-child [data-kind=photograph]")
    browser.click("dialog .sort button:nth-child(2)")  # the label
    for key, word in (("3", "probability"), ("1", "photograph"), ("4", "hits,")):
        browser.press(key)
        assert browser.run(chosen) == word
    assert browser.run("return document.activeElement.textContent") == "overlay"


def test_arrows_move_a_magnified_picture(browser: Browser, page: Path) -> None:
    """Also when it was magnified by a button, which then has the focus."""
    browser.open(page)
    with browser.narrowed(320):
        browser.click(".card:first-child [data-kind=label]")
        for _ in range(6):
            browser.click("[data-do=larger]")
        state = "return [document.querySelector('dialog h2').textContent, document.querySelector('.stage').scrollLeft]"
        name, left = browser.run(state)
        browser.press("\ue014")  # arrow to the right
        browser.wait_for(f"return document.querySelector('.stage').scrollLeft > {left}")
        browser.press("-")
        assert browser.run("return document.querySelector('dialog output').textContent") == "6×"
        assert browser.run(state)[0] == name, "the photograph stays"


def test_rows_of_the_chart_lead_to_their_photographs(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run(
        "document.querySelector('.wide a').dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))"
    )
    target = browser.run("return document.querySelector(':target').dataset.name")
    assert target == browser.run(NAMES)[0]


def test_headings_are_printed_with_what_they_head(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.command("Emulation.setEmulatedMedia", {"media": "print"})
    breaks = browser.run("return [...document.querySelectorAll('main h2')].map(h => getComputedStyle(h).breakAfter)")
    browser.command("Emulation.setEmulatedMedia", {"media": ""})
    assert set(breaks) == {"avoid"}


@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_is_wider_than_the_window(browser: Browser, page: Path, width: int) -> None:
    browser.open(page)
    with browser.narrowed(width):
        assert browser.run("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
