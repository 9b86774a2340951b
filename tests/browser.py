"""A real browser for tests of pages: Debian's Chromium by Selenium, its console, and the rules of axe-core."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = not (BROWSER and DRIVER)
WHY_MISSING = "needs Chromium and chromedriver, and there are none here"

PICTURES = Path(__file__).parents[1] / "build" / "screenshots"
"""Where screenshots of a test run are kept."""

WIDE, NARROW = (1200, 1000), (400, 860)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window, which ends with the block."""
    options = Options()
    options.binary_location = BROWSER or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def show(browser: Any, address: str, size: tuple[int, int] = WIDE, dark: bool = False, offline: bool = True) -> None:
    """Open a page, by default without a network; the console is emptied before."""
    browser.get_log("browser")
    browser.execute_cdp_cmd("Network.enable", {})
    network = {"offline": offline, "latency": 0, "downloadThroughput": 0 if offline else -1}
    network["uploadThroughput"] = network["downloadThroughput"]
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", network)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    resize(browser, size)
    browser.get("about:blank")
    browser.get(address)
    wait(lambda: browser.execute_script("return document.readyState") == "complete")


def resize(browser: Any, size: tuple[int, int]) -> None:
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def wait(holds: Callable[[], Any], patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "the browser did not come to it"
        time.sleep(0.05)


def errors(browser: Any) -> list[str]:
    """Errors and warnings of the console since the page was opened."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def keep(browser: Any, name: str, whole: int | None = None) -> Path:
    """Keep a screenshot of what is shown; `whole`: of the whole page at that width."""
    if whole is not None:
        height = browser.execute_script("return document.documentElement.scrollHeight")
        resize(browser, (whole, min(height, 12000)))
    return photograph(browser.get_screenshot_as_png, name)


def photograph(take: Callable[[], bytes], name: str, patience: float = 120.0) -> Path:
    """Keep what `take` gives; chromedriver waits 10 s for a frame, which a machine that does much else may not draw."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + patience
    while True:
        try:
            (PICTURES / name).write_bytes(take())
            return PICTURES / name
        except TimeoutException:
            if time.monotonic() > end:
                raise


def violations(browser: Any) -> list[str]:
    """What axe-core calls serious or critical on the page, a line for each element.

    Its script comes in by the protocol of the developer tools, which a content-security policy does not hold back.
    """
    script = resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": script})
    browser.set_script_timeout(120)
    found = browser.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document, { resultTypes: ['violations'] }).then((result) => done(result), (why) => done(String(why)));"
    )
    assert isinstance(found, dict), found
    assert len(found["passes"]) > 15, "rules were applied"
    return [
        f"{rule['impact']} {rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
