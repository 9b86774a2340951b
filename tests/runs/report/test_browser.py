"""The page in a real browser: no error, every figure drawn, the player plays, links land; with pictures to look at."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from kerf.runs.records.store import Store
from kerf.runs.report.conclusion import Conclusion
from kerf.runs.report.page import PAGE, write_page
from kerf.runs.report.page.figure import DataTable, Figure, Section
from kerf.runs.report.page.render import render
from tests.runs.report.test_page import EVIL, write_attacks, write_exact

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PICTURES = Path(__file__).parents[3] / "build" / "screenshots"
WIDE, NARROW = (1200, 1000), (400, 860)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Chromium and chromedriver, and there are none here"),
]


@pytest.fixture(scope="module")
def page(smoke_study: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page that has every section of a study."""
    folder = tmp_path_factory.mktemp("page") / "study"
    shutil.copytree(smoke_study, folder)
    write_exact(Store(folder))
    write_attacks(Store(folder))
    write_page(Store(folder))
    return (folder / PAGE).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = Options()
    options.binary_location = BROWSER or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def show(browser: Any, address: str, size: tuple[int, int] = WIDE, dark: bool = False) -> None:
    """Open a page without a network; the console is emptied before."""
    browser.get_log("browser")
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get("about:blank")
    browser.get(address)
    wait(lambda: browser.execute_script("return document.readyState") == "complete")


def wait(holds: Any, patience: float = 30.0) -> None:
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "the browser did not come to it"
        time.sleep(0.05)


def errors(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def draw_all(browser: Any) -> None:
    browser.execute_script(
        "document.querySelectorAll('details').forEach((each) => { each.open = true; });"
        "document.querySelectorAll('.plot').forEach((each) => window.kerfPage.draw(each));"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_figure_is_drawn_without_an_error_at_any_size(
    browser: Any, page: str, size: tuple[int, int], dark: bool
) -> None:
    show(browser, page, size, dark)
    draw_all(browser)
    count = "return [...document.querySelectorAll('.plot')].map((each) => each.querySelectorAll('{}').length)"
    marks = ".trace path, .point, .heatmaplayer image, .hm image, .js-line, .bars path"
    wait(lambda: min(browser.execute_script(count.format(marks))) > 0)
    assert len(browser.execute_script(count.format(marks))) >= 7
    overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(overflow) <= 0, "the page can be scrolled sideways"
    assert errors(browser) == []
    PICTURES.mkdir(parents=True, exist_ok=True)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    metrics = {"width": size[0], "height": min(height, 12000), "deviceScaleFactor": 1, "mobile": size[0] < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    name = f"page-{'wide' if size == WIDE else 'narrow'}-{'dark' if dark else 'light'}.png"
    assert browser.save_screenshot(str(PICTURES / name))


def test_nothing_is_asked_of_a_network(browser: Any, page: str) -> None:
    browser.get_log("performance")
    show(browser, page)
    draw_all(browser)
    sent = [
        entry["message"] for entry in browser.get_log("performance") if "Network.requestWillBeSent" in entry["message"]
    ]
    assert sent, "the log has the page itself, or the test shows nothing"
    assert [message for message in sent if '"url":"http' in message] == []


def test_the_player_steps_plays_and_stops_by_keys_and_buttons(browser: Any, page: str) -> None:
    show(browser, page + "#replay/1/0")

    def at() -> int:
        return int(browser.execute_script("return window.kerfReplay.step()"))

    wait(lambda: at() == 0)
    place = browser.find_element(By.CSS_SELECTOR, "[data-part=time]")
    place.send_keys(Keys.ARROW_RIGHT)
    place.send_keys(Keys.ARROW_RIGHT)
    assert at() == 2
    place.send_keys(Keys.ARROW_LEFT)
    assert at() == 1
    place.send_keys(Keys.END)
    assert at() == 24
    place.send_keys(Keys.HOME)
    assert at() == 0
    play = browser.find_element(By.CSS_SELECTOR, "[data-part=play]")
    play.click()
    wait(lambda: at() >= 2)
    play.click()
    stopped = at()
    time.sleep(0.8)  # longer than a frame of it takes: that it does not go on can only be waited for
    assert at() == stopped
    pixels = (
        "const canvas = document.querySelector('.pane canvas');"
        "const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "return new Set(new Uint32Array(data.buffer)).size"
    )
    assert browser.execute_script(pixels) > 20, "the room is drawn, and not one colour"
    assert errors(browser) == []


def test_deep_links_land_and_mark_what_they_name(browser: Any, page: str) -> None:
    show(browser, page + "#family-map")
    top = "return document.getElementById('family-map').getBoundingClientRect().top"
    wait(lambda: -50 < browser.execute_script(top) < 400)
    assert browser.execute_script("return document.getElementById('family-map').closest('details').open")
    show(browser, page + "#replay/2/3")
    wait(lambda: browser.execute_script("return window.kerfReplay.step()") == 3)
    assert browser.find_element(By.CSS_SELECTOR, "[data-part=scenario]").get_attribute("value") == "1"


def test_the_keyboard_reaches_every_control(browser: Any, page: str) -> None:
    show(browser, page)
    body = browser.find_element(By.TAG_NAME, "body")
    seen = set()
    for _ in range(60):
        body.send_keys(Keys.TAB)
        seen.add(
            browser.execute_script(
                "const e = document.activeElement;"
                "return e.dataset.part || e.dataset.csv || e.getAttribute('href') || e.tagName"
            )
        )
    assert {"#main", "#conclusion", "scenario", "play", "step", "time"} <= seen


def test_numbers_open_below_a_figure_and_are_those_of_its_csv(browser: Any, page: str) -> None:
    show(browser, page + "#effect-map")
    script = (
        "const details = document.querySelector('[data-rows=effect-map]'); details.open = true;"
        "details.dispatchEvent(new Event('toggle'));"
        "const lines = window.kerfPage.csv('effect-map').trim().split('\\n');"
        "return [details.querySelectorAll('tbody tr').length, lines.length]"
    )
    shown, saved = browser.execute_script(script)
    assert shown == saved - 1 > 50


def test_a_name_that_is_a_script_is_shown_and_not_run(browser: Any, tmp_path: Path) -> None:
    trace = {"type": "scatter", "name": EVIL, "x": [EVIL], "y": [1], "text": [EVIL]}
    figure = Figure("a", EVIL, EVIL, [trace], {}, DataTable([EVIL], [[EVIL]]))
    page = render(Conclusion(EVIL, EVIL, EVIL, [EVIL]), [Section("s", EVIL, EVIL, [figure])])
    (tmp_path / "evil.html").write_bytes(page)
    show(browser, (tmp_path / "evil.html").as_uri())
    draw_all(browser)
    wait(lambda: browser.find_elements(By.CSS_SELECTOR, ".plot .main-svg"))
    assert browser.find_element(By.ID, "h-s").text == EVIL
    assert errors(browser) == [], "an alert would have stopped the driver, and a blocked script would be told"
