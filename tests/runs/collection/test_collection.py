"""Collections: recognised by their form, run study by study, and summed up from the records of their studies."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from kerf.lab.errors import KerfError
from kerf.lab.statistics.effect import paired_effect
from kerf.lab.worlds import get_world
from kerf.runs.collection.page import COLUMNS, CSV
from kerf.runs.collection.summary import (
    FAILED,
    HELD,
    OPEN,
    Change,
    Predicted,
    Row,
    Summary,
    summarise,
    target_metric,
    treatment,
    verdict,
)
from kerf.runs.collection.table import ASKED_FOR, LEFT_OUT, summary_lines
from kerf.runs.recipe.collection import is_collection, load_collection
from kerf.runs.recipe.files import built_in_collections, load_recipe, merge
from kerf.runs.records.collected import Collected
from kerf.runs.records.store import Store
from kerf.runs.report import make_report
from kerf.runs.report.conclusion import SIGNS
from kerf.runs.report.ending import MOST_LINES
from kerf.runs.report.page import PAGE
from kerf.runs.study import prepare_study
from tests.runs.report.test_page import Read
from tests.runs.submit.calls import kerf, refused
from tests.tiny_study import TINY, write_tiny

QUIET = ("--no-mlflow", "--workers", "1")


def write_collection(folder: Path, *recipes: object, **fields: object) -> Path:
    path = folder / "several.yaml"
    path.write_text(yaml.safe_dump({"name": "several", "about": "What moved?", "recipes": [*recipes], **fields}))
    return path


def write_variation(path: Path, **patch: object) -> str:
    path.write_text(yaml.safe_dump(merge(TINY, {"name": path.stem, **patch}), sort_keys=False))
    return str(path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A collection of two studies that was run: the records of the first are damaged, the second is done."""
    folder = tmp_path_factory.mktemp("collection")
    out = folder / "out"
    good = write_variation(folder / "good.yaml", seeds=2)
    bad = write_variation(folder / "bad.yaml", penalty=3)
    prepare_study(load_recipe(bad), out / "bad")
    (out / "bad" / "aligned" / "seed-0").mkdir(parents=True)
    (out / "bad" / "aligned" / "seed-0" / "done.json").write_text("{}")
    path = write_collection(folder, bad, {"recipe": good})
    Store(out).write_json("collection", Collected("several", "", "", ["bad"]).plain())
    return path, out, kerf("run", path, "--out", out, *QUIET, code=1)


# ---- form


def test_a_collection_is_known_by_its_form(tmp_path: Path) -> None:
    tiny = write_tiny(tmp_path / "tiny.yaml")
    path = write_collection(tmp_path, str(tiny))
    assert is_collection(str(path))
    assert not is_collection(str(tiny))
    assert list(load_collection(str(path), seeds=3).studies) == ["tiny"]
    assert load_collection(str(path), seeds=3).studies["tiny"].seeds == 3
    assert all(is_collection(name) for name in built_in_collections())


@pytest.mark.parametrize("name", list(built_in_collections()))
def test_built_in_collections_load_at_their_quick_and_full_size(name: str) -> None:
    for preset in ("quick", "full"):
        studies = load_collection(name, preset).studies
        assert len(studies) > 5
        assert all(key == recipe.name for key, recipe in studies.items())


def test_what_is_wrong_with_a_collection_is_said_in_a_sentence(tmp_path: Path) -> None:
    tiny = str(write_tiny(tmp_path / "tiny.yaml"))
    for recipes, said in (
        ([], "recipes must have 1 or more entries"),
        ([tiny, tiny], "recipes.1: a study called 'tiny' is in this collection already"),
        (["turnr"], "recipes.0: unknown recipe 'turnr'"),
        ([{"recipe": "dilemma", "variant": "disjoint"}], "recipes.0: dilemma: unknown variant 'disjoint'"),
        ([{"recip": tiny}], "unknown field 'recip'"),
    ):
        with pytest.raises(KerfError, match=said):
            load_collection(str(write_collection(tmp_path, *recipes)))
    with pytest.raises(KerfError, match="is a collection of recipes, expected one recipe"):
        load_recipe("essays")


# ---- run


def test_the_failure_of_one_study_is_told_and_hides_no_other(ran: tuple[Path, Path, str]) -> None:
    _, out, printed = ran
    table = printed[printed.index("several: What moved?") :]
    assert "failed: bad:" in printed
    assert "not done: bad (exit code 1)" in table
    (bad,) = (line for line in table.splitlines() if line.startswith("bad "))
    assert "is damaged" in summarise(out).rows[0].instead
    assert bad.endswith("…")
    (good,) = (line for line in table.splitlines() if line.startswith("dilemma_two "))
    assert good.endswith("0/0/1")
    assert (out / "good" / PAGE).is_file()


def test_the_same_command_again_repeats_nothing(ran: tuple[Path, Path, str]) -> None:
    path, out, _ = ran
    store, page = Store(out / "good"), (out / PAGE).read_bytes()
    before = {unit: (store.path / unit.name / "done.json").stat().st_mtime_ns for unit in store.units()}
    assert len(before) == 8
    printed = kerf("run", path, "--out", out, *QUIET, code=1)
    assert "units of work" not in printed
    assert {unit: (store.path / unit.name / "done.json").stat().st_mtime_ns for unit in store.units()} == before
    assert (out / PAGE).read_bytes() == page


def test_a_folder_with_something_else_is_refused(ran: tuple[Path, Path, str], tmp_path: Path) -> None:
    path, out, _ = ran
    assert "holds files but no collection" in refused("run", path, "--out", out / "good", *QUIET)
    other = write_collection(tmp_path, str(write_tiny(tmp_path / "tiny.yaml")), name="other")
    assert "holds another collection (several)" in refused("run", other, "--out", out, *QUIET)
    assert "expected one of its studies: " in refused("sync", out)
    assert "`kerf show" in refused("status", out)
    assert "names the variant of each recipe" in refused("run", path, "--variant", "a")


# ---- summary


def test_the_summary_is_that_of_the_studies_records(ran: tuple[Path, Path, str]) -> None:
    _, out, _ = ran
    row = summarise(out).rows[1]
    report = make_report(Store(out / "good"))
    assert report.courses is not None
    first = report.judged[0].primary
    assert (row.arm, row.against, row.treatment, row.num_seeds) == (first.arm, first.against, "penalty 10", 2)
    assert row.target is not None
    assert row.target.metric == "false_exit/1.0", "what the penalty falls on: forgeries of the arm's strength"
    for change in (row.target, *row.others):
        assert change.effect == report.courses.ends.effect(first.arm, first.against, change.metric, 0)
    sizes = [abs(change.effect.interval.mean) for change in row.others]
    assert sizes == sorted(sizes, reverse=True)
    assert {change.metric for change in row.others} == {
        metric for metric in report.courses.ends.metrics if metric.startswith(("value/", "skill/"))
    }
    assert [change.metric for change in row.others if change.asked_for] == ["value/care"], "at strength 1"


def test_show_report_and_csv_tell_the_same(ran: tuple[Path, Path, str], tmp_path: Path) -> None:
    _, out, printed = ran
    shown = kerf("show", out)
    assert shown in printed
    rows = list(csv.reader(io.StringIO((out / CSV).read_text())))
    assert tuple(rows[0]) == COLUMNS
    summary = summarise(out)
    target = summary.rows[1].target
    assert target is not None
    found = next(row for row in rows if row[COLUMNS.index("role")] == "target")
    assert float(found[COLUMNS.index("mean")]) == pytest.approx(target.effect.interval.mean, rel=1e-5)
    before = (out / PAGE).read_bytes()
    kerf("report", out)
    assert (out / PAGE).read_bytes() == before


def test_the_page_loads_nothing_and_links_to_the_pages_of_the_studies(ran: tuple[Path, Path, str]) -> None:
    _, out, _ = ran
    read = Read((out / PAGE).read_bytes())
    links = [address for address in read.addresses if not address.startswith("#")]
    assert links == [f"good/{PAGE}"]
    assert (out / links[0]).is_file()
    assert read.handlers == []
    assert "default-src 'none'" in read.policy
    assert {"data-forest", "rows-forest"} <= set(read.data)


SPIDER = {"generator": {"family": "fear/spider"}}


@pytest.mark.parametrize(
    ("world", "arm", "exits", "predicted", "target"),
    [
        ("station", {"penalty": 10.0}, "false_exit/1.0", "value/care", "false_exit/1.0"),
        ("register", {"penalty": 10.0}, None, "value/care", "value/restraint"),
        ("register", {"design": "register"}, None, "value/care", "value/restraint"),
        ("register", {}, None, "family/care/dead", "value/care"),
        ("coins", {"design": "ideal"}, None, "value/coin_over_metal", "value/coin_over_metal"),
        ("coins", {"design": "display"}, None, "value/coin_over_metal", "value/honesty"),
        ("shards", {**SPIDER, "design": "unafraid"}, None, "value/tidiness", "value/fear"),
        ("shards", {**SPIDER, "adversarial_share": 0.5}, None, "value/sacrifice", "value/sacrifice"),
        (
            "coins",
            {"generator": {"family": "wayfinding/usual"}},
            None,
            "value/coin_over_place",
            "value/coin_over_place",
        ),
        ("coins", {}, None, "skill/wayfinding", "value/honesty"),
        ("boat", {"design": "pickups"}, None, "utility/ideal", "value/racing"),
    ],
)
def test_the_target_follows_from_the_world_and_the_arms_settings(
    world: str, arm: dict[str, object], exits: str | None, predicted: str, target: str
) -> None:
    usual = {"penalty": 0.0, "penalty_sign": 1, "generator": {"kind": "natural"}, "adversarial_share": 1.0}
    assert target_metric(get_world(world), {**usual, **arm}, exits, predicted) == target


def test_a_treatment_is_told_in_words() -> None:
    arm = {
        "penalty": 2.0,
        "penalty_sign": -1,
        "generator": {"kind": "family", "family": "a/b"},
        "adversarial_share": 1.0,
    }
    assert treatment({**arm, "design": "proxy"}, None) == "penalty -2, paid by proxy, in a/b alone"
    assert treatment({**arm, "penalty": 0.0, "generator": {}}, None) == "the ideal utility"


def test_every_outcome_is_one_of_three_verdicts() -> None:
    found = {key: verdict(*key) for key in SIGNS}
    assert {key for key, word in found.items() if word == OPEN} == {("undecided", False), ("undecided", True)}
    held = {("held", False), ("held", True), ("no effect", True), ("no typical effect", True)}
    assert {key for key, word in found.items() if word == HELD} == held
    assert found["no effect", False] == found["reversed", True] == FAILED


# ---- table


def crowded(number: int) -> Summary:
    """A summary with rows of long names, and of every kind."""
    return Summary(
        Collected("many", "What moved?", "kerf run many", ["w0"]), [_long_row(index) for index in range(number)]
    )


def _long_row(index: int) -> Row:
    moved = {seed: -0.9 + 0.01 * seed for seed in range(8)}

    def change(metric: str, lost: int, asked_for: bool = False) -> Change:
        effect = paired_effect(
            moved,
            dict.fromkeys(moved, 0.0),
            arm="a",
            against="b",
            metric=metric,
            rng=np.random.default_rng(0),
            lost=frozenset(range(lost)),
            bounds=(-1.0, 1.0),
        )
        return Change(metric, metric.partition("/")[2], effect, 0.01, asked_for)

    others = [change("value/a_value_with_a_long_name", 3, True), change("skill/navigation", 0)]
    row = Row(f"study-{index}", f"world_of_a_long_name_{index}", arm="a", against="b", num_seeds=8)
    if index == 1:
        return replace(row, instead="no agent passed the gate")
    lost = change("value/target", 8)
    predicted = [Predicted("p", "a falls", "-0.9", "held", HELD), Predicted("q", "a rises", "", "undecided", OPEN)]
    target = lost if index == 2 else change("value/another_long_name_of_a_value", 0)
    return replace(row, target=target, others=others[index % 2 :], predicted=predicted)


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_table_of_many_worlds_fits_and_cuts_no_number(width: int) -> None:
    lines = summary_lines(crowded(17), Path("out"), width)
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines[:-2])) <= max(80, min(110, width))
    assert sum(len(re.findall(r" -0\.8\d \[-0\.\d\d,-0\.\d\d\]", line)) for line in lines) == 31
    text = "\n".join(lines)
    assert "skill lost" in text
    assert "no agent passed the gate" in text
    assert f"{ASKED_FOR}{LEFT_OUT}" in text, "marks stay where a name is cut"
    assert text.count("1/0/1") == 16
