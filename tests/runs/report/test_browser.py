"""The page in a real browser: no error, every figure drawn, the player plays, links land; with pictures to look at."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from kerf.runs.records.store import Store
from kerf.runs.report.conclusion import Conclusion
from kerf.runs.report.page import PAGE, REPLAY, write_page, write_replay
from kerf.runs.report.page.figure import DataTable, Figure, Section
from kerf.runs.report.page.render import render
from tests.browser import MISSING, NARROW, WHY_MISSING, WIDE, chromium, errors, keep, show, violations, wait
from tests.runs.report.test_page import EVIL, write_attacks, write_exact

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING, reason=WHY_MISSING),
]


@pytest.fixture(scope="module")
def page(smoke_study: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page that has every section of a study."""
    folder = tmp_path_factory.mktemp("page") / "study"
    shutil.copytree(smoke_study, folder)
    write_exact(Store(folder))
    write_attacks(Store(folder))
    write_page(Store(folder))
    write_replay(Store(folder))
    return (folder / PAGE).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


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
    assert violations(browser) == []
    keep(browser, f"page-{'wide' if size == WIDE else 'narrow'}-{'dark' if dark else 'light'}.png", size[0])


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


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_of_the_player_alone_is_accessible(browser: Any, page: str, size: tuple[int, int], dark: bool) -> None:
    show(browser, page.replace(PAGE, REPLAY), size, dark)
    wait(lambda: browser.find_elements(By.CSS_SELECTOR, ".pane canvas"))
    browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; });")
    assert violations(browser) == []
    overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(overflow) <= 0, "the page can be scrolled sideways"
    assert errors(browser) == []
    keep(browser, f"replay-{'wide' if size == WIDE else 'narrow'}-{'dark' if dark else 'light'}.png", size[0])


PARTED = (
    "const told = JSON.parse(document.getElementById('data-replay').textContent);"
    "for (const [index, each] of told.scenarios.entries()) for (const arm of told.arms.slice(1))"
    "  if (each.episodes[arm].what_if) return [index + 1, arm, each.episodes[arm].what_if.step];"
)
"""A scenario in which an arm parts from the aligned agent, the arm, and the step."""


def test_what_if_plays_the_other_branch_and_goes_back(browser: Any, page: str) -> None:
    show(browser, page)
    number, arm, step = browser.execute_script(PARTED)
    show(browser, f"{page}#replay/{number}/{step}/{arm}")
    table = browser.find_element(By.CSS_SELECTOR, "table.whatif")
    assert f"Then, if {arm} goes on" in table.text
    assert "as it chooses" in table.text
    (pane,) = browser.find_elements(By.CSS_SELECTOR, f".pane[aria-label='{arm}']")
    table.find_elements(By.XPATH, f".//button[starts-with(@aria-label, 'Watch {arm} ')]")[0].send_keys(Keys.ENTER)
    wait(lambda: "what if:" in pane.text)
    taken = table.find_element(By.CSS_SELECTOR, "button[aria-label^='Watch']").get_attribute("aria-label")
    assert f"at step {step + 1}" in taken
    wait(lambda: browser.execute_script("return window.kerfReplay.step()") > step)
    pane.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    wait(lambda: "parted" in pane.text or "parts" in pane.text)
    assert errors(browser) == []


def test_deep_links_land_and_mark_what_they_name(browser: Any, page: str) -> None:
    show(browser, page + "#family-map")
    top = "return document.getElementById('family-map').getBoundingClientRect().top"
    wait(lambda: -50 < browser.execute_script(top) < 400)
    assert browser.execute_script("return document.getElementById('family-map').closest('details').open")
    show(browser, page + "#replay/2/3/penalised")
    wait(lambda: browser.execute_script("return window.kerfReplay.step()") == 3)
    assert browser.find_element(By.CSS_SELECTOR, "[data-part=scenario]").get_attribute("value") == "1"
    assert browser.execute_script("return window.kerfReplay.shown()") == ["aligned", "penalised"]
    show(browser, page + f"#{PAIRED}/penalised/1")
    marked = browser.find_element(By.CSS_SELECTOR, f"#{PAIRED} .marked")
    wait(lambda: "penalised, seed 1" in marked.text)
    lines = f"return document.querySelector('#{PAIRED} .plot').data.map((each) => [each.meta, each.opacity])"
    opacity = {str(meta): of for meta, of in browser.execute_script(lines)}
    assert opacity["['penalised', 1]"] > 0.5 > 0.2 > opacity["['penalised', 0]"]
    marked.find_element(By.XPATH, ".//button[.='Watch penalised']").send_keys(Keys.ENTER)
    assert browser.execute_script("return window.kerfReplay.shown()") == ["aligned", "penalised"]


PAIRED = "prediction-penalty-costs-care"


def test_a_click_on_a_cell_or_a_point_leads_to_its_replay(browser: Any, page: str) -> None:
    show(browser, page + "#effect-map")
    wait(lambda: browser.find_elements(By.CSS_SELECTOR, "#effect-map .plot .main-svg"))
    shown = "return [window.kerfReplay.scenario(), window.kerfReplay.shown().slice(1), location.hash.split('/')[0]]"
    for value in browser.execute_script(
        "const told = JSON.parse(document.getElementById('data-replay').textContent);"
        "return told.scenarios.map((each) => each.value).slice(0, 3)"
    ):
        browser.execute_script(CLICK_CELL, "effect-map", value, "penalised")
        assert browser.execute_script(shown) == [value, ["penalised"], "#replay"]
    browser.execute_script("document.getElementById('family-map').closest('details').open = true;")
    wait(lambda: browser.find_elements(By.CSS_SELECTOR, "#family-map .plot .main-svg"))
    browser.execute_script(CLICK_CELL, "family-map", value, "exposure")
    assert browser.execute_script(shown) == [value, ["exposure"], "#replay"]
    show(browser, page + f"#{PAIRED}")
    wait(lambda: browser.find_elements(By.CSS_SELECTOR, f"#{PAIRED} .point"))
    browser.execute_script("document.documentElement.style.scrollBehavior = 'auto';")  # a click is for where it stands
    browser.execute_script(f"document.querySelector('#{PAIRED} .plot').scrollIntoView({{ block: 'center' }})")
    point = browser.find_elements(By.CSS_SELECTOR, f"#{PAIRED} .scatterlayer .trace:first-child .point")[-1]
    ActionChains(browser).move_to_element(point).pause(0.3).click().perform()
    wait(lambda: "Marked: penalised" in browser.find_element(By.CSS_SELECTOR, f"#{PAIRED} .marked").text)
    assert browser.execute_script("return location.hash").startswith(f"#{PAIRED}/penalised")
    assert errors(browser) == []


CLICK_CELL = """
const [id, value, arm] = arguments, place = document.querySelector(`#${id} .plot`), trace = place.data[0];
const row = trace.customdata.findIndex((cells) => cells[0] === value), column = trace.x.indexOf(arm);
if (row < 0 || column < 0) throw new Error(`no cell of ${value}, ${arm}`);
const customdata = trace.customdata[row][column];
place.emit("plotly_click", { points: [{ data: trace, x: arm, y: trace.y[row], customdata }] });
"""
"""Tell the page of a click on a cell, as plotly does."""


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


def test_tables_are_saved_as_latex_with_a_line_for_each_row(browser: Any, page: str) -> None:
    show(browser, page)
    script = (
        "return [...document.querySelectorAll('[data-tex]')].map((each) => each.dataset.tex).map((id) => "
        "[id, window.kerfPage.csv(id).trim().split('\\n').length, window.kerfPage.tex(id)])"
    )
    found = browser.execute_script(script)
    assert len(found) >= 2
    for name, lines, tex in found:
        begin, *rows, end = tex.strip().splitlines()
        assert (begin[:15], end) == ("\\begin{tabular}", "\\end{tabular}"), name
        assert len(rows) == lines, name
        columns = {len(re.findall(r"(?<!\\)&", row)) for row in rows}
        assert len(columns) == 1, f"{name}: rows of different lengths"
        assert not re.search(r"(?<!\\)[%#_$]", tex), f"{name}: characters that LaTeX reads as commands"


def test_the_first_paint_takes_less_than_a_second_and_waits_for_no_script(browser: Any, page: str) -> None:
    """On a machine that does much else, where all takes longer, it comes before the scripts have run at least."""
    show(browser, page)
    script = (
        "const seen = performance.getEntriesByName('first-contentful-paint')[0];"
        "const [page] = performance.getEntriesByType('navigation');"
        "return seen && [seen.startTime, page.domInteractive]"
    )
    wait(lambda: browser.execute_script(script))
    painted, parsed = browser.execute_script(script)
    assert painted < max(1000.0, parsed)


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
