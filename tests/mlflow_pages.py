"""Pages of MLflow in a real browser: what they must show of a study, with screenshots.

`python -m tests.mlflow_pages OUT` (`make docs-screenshots`) takes those of the documentation.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from kerf.runs.records.store import Store
from kerf.runs.report.page import REPLAY, write_replay
from kerf.runs.tracking.studies import sync
from kerf.runs.tracking.ui import Server, pages
from tests.browser import PICTURES, chromium, errors, keep, photograph, show, wait

SIZE = (1280, 860)
DOCS = Path(__file__).parents[1] / "docs"
DRAWN = ".trace path, .point, .heatmaplayer image, .hm image, .js-line, .bars path"
"""Marks that plotly draws data with."""


IN_DIALOG = (
    "[...document.querySelectorAll('[role=dialog] .js-plotly-plot')]"
    ".map((each) => each.querySelectorAll('.scatterlayer .trace path').length)"
)
"""Numbers of marks in the charts of a dialog."""


class Visit:
    """A study in MLflow, whose server runs, and a browser.

    Args:
        root: Folder of the study.
        uri: Tracking URI to which it was written.
        address: Address of the server.
        browser: The browser.
    """

    def __init__(self, root: Path, uri: str, address: str, browser: Any) -> None:
        self.arms = list(Store(root).manifest()["arm_order"])
        self._uri, self._address, self._browser = uri, address, browser
        self._pages = pages(address, uri, root)
        show(browser, address, SIZE, offline=False)
        keys = "['mlflow.assistant.panelOpen_v1', 'false'], ['mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true']"
        browser.execute_script(f"for (const [key, value] of [{keys}]) localStorage.setItem(key, value);")

    def runs(self) -> None:
        """The runs page lists the arms by name."""
        self._open(self._pages["arms"].replace("&compareRunsMode=CHART", ""))
        wait(lambda: self._named(".ag-center-cols-container a, .ag-pinned-left-cols-container a"))
        keep(self._browser, "mlflow-runs.png")

    def charts(self, metric: str) -> None:
        """The charts page draws a curve for each arm, with its name."""
        self._open(self._pages["arms"])
        field = "input[placeholder='Search metric charts']"
        wait(lambda: self._browser.find_elements(By.CSS_SELECTOR, field))
        self._browser.find_element(By.CSS_SELECTOR, field).send_keys("^" + re.escape(metric) + "$", Keys.ENTER)
        curves = (
            "return [...document.querySelectorAll('.js-plotly-plot')].map((each) => each.data.filter((trace) => "
            "(trace.x || []).length > 1 && (trace.name || trace.metricKey)).length)"
        )
        wait(lambda: [count >= len(self.arms) for count in self._browser.execute_script(curves)] == [True])
        assert self._named("a"), "the curves' colours stand beside the arms' names"
        (larger,) = self._browser.find_elements(By.CSS_SELECTOR, "[data-component-id=fullscreen_button_chartcard]")
        self._browser.execute_script("arguments[0].click()", larger)
        wait(lambda: any(self._browser.execute_script("return " + IN_DIALOG)))
        wait(lambda: min(self._browser.execute_script("return " + IN_DIALOG)) >= len(self.arms))
        keep(self._browser, "mlflow-charts.png")

    def compare(self, one: str, other: str) -> None:
        """The compare page names the two arms and shows their curves' ends side by side."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self._uri)
        ours = self._pages["study"].split("/experiments/")[1].split("/")[0]
        runs = client.search_runs([ours], "params.phase = 'arm'")
        ids = [run.info.run_id for name in (one, other) for run in runs if run.data.params["arm"] == name]
        asked = f"runs={quote(json.dumps(ids))}&experiments={quote(json.dumps([ours]))}"
        self._open(f"{self._address}/#/compare-runs?{asked}")
        body = self._browser.find_element(By.TAG_NAME, "body")
        wait(lambda: "Comparing 2 Runs" in body.text and "Run Name" in body.text)
        wait(lambda: {one, other} <= set(body.text.split()))
        wait(
            lambda: self._browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot svg .parcoords, .js-plotly-plot .pl")
        )
        keep(self._browser, "mlflow-compare.png")

    def artifact(self) -> None:
        """The study's page works inside MLflow: in a sandboxed frame all figures are drawn, without an error of it."""
        address, _, kind = self._pages["study"].partition("?")
        self._open(f"{address}/artifacts/report.html?{kind}")
        browser = self._browser
        wait(lambda: browser.find_elements(By.TAG_NAME, "iframe"))
        frame = browser.find_element(By.TAG_NAME, "iframe")
        assert "allow-scripts" in frame.get_attribute("sandbox")
        keep(browser, "mlflow-artifact.png")
        browser.switch_to.frame(frame)
        wait(lambda: browser.execute_script("return Boolean(window.kerfPage)"))
        browser.execute_script(
            "document.querySelectorAll('details').forEach((each) => { each.open = true; });"
            "document.querySelectorAll('.plot').forEach((each) => window.kerfPage.draw(each));"
        )
        count = f"return [...document.querySelectorAll('.plot')].map((each) => each.querySelectorAll('{DRAWN}').length)"
        wait(lambda: min(browser.execute_script(count)) > 0)
        browser.execute_script("window.kerfReplay.show('care', document.querySelector('.arms input').value)")
        assert browser.find_elements(By.CSS_SELECTOR, ".pane canvas")
        browser.switch_to.default_content()
        ours = [line for line in errors(browser) if "blob:" in line or "srcdoc" in line]
        assert ours == [], "errors of MLflow itself are not ours"

    def _open(self, address: str) -> None:
        show(self._browser, address, SIZE, offline=False)

    def _named(self, selector: str) -> bool:
        """Whether elements have the names of all arms."""
        texts = "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent.trim())"
        return set(self.arms) <= set(self._browser.execute_script(texts, selector))


@contextmanager
def visiting(root: Path, folder: Path) -> Iterator[Visit]:
    """Write the study in `root` to an MLflow in `folder`, and open a browser on its server."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    sync(root, uri)
    with Server(uri) as server, chromium() as browser:
        server.wait_for_answer(lambda: False)
        yield Visit(root, uri, server.address, browser)


def main(root: Path) -> None:
    """Take the screenshots of the documentation from a finished study with the arms `exposure` and `penalised`."""
    with tempfile.TemporaryDirectory() as folder, visiting(root, Path(folder)) as visit:
        visit.charts("value/care")
        visit.compare("exposure", "penalised")
        visit.artifact()
    with chromium() as browser:
        write_replay(Store(root))
        player = (root.absolute() / REPLAY).as_uri()
        show(browser, f"{player}#replay/2/10", (1200, 990))
        browser.execute_script("document.getElementById('replay').scrollIntoView({ behavior: 'instant' })")
        keep(browser, "report-replay.png")
        show(browser, f"{player}#replay/1/0/penalised", (1200, 1800))
        part = browser.find_element(By.CSS_SELECTOR, ".what-if")
        photograph(lambda: part.screenshot_as_png, "report-what-if.png")
    guides = DOCS / "guides"
    for path in (
        *(guides / f"mlflow-{name}.png" for name in ("charts", "compare", "artifact")),
        *(DOCS / f"report-{name}.png" for name in ("replay", "what-if")),
    ):
        picture = Image.open(PICTURES / path.name).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        picture.save(path, optimize=True)
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
