"""Numbers in the documentation: each is kept as its command printed it, or is held by a test or a line of the code.

`docs/figures/claims.yaml` lists what README and docs say in numbers, by page, with what holds it. A number that is a
result by its form (a decimal, a percentage, a count of a whole, a size with its unit) and stands in no listed text, no
output that is kept in `docs/figures`, and no listed convention fails here.
"""

from __future__ import annotations

import json
import math
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from kerf.generators.registry import BUILT_IN
from kerf.lab.after.verdict import ALPHA, SIGNS
from kerf.lab.collateral import TOLD_APART, target_values
from kerf.lab.errors import KerfError
from kerf.lab.grader import GRADERS
from kerf.lab.statistics import dose, pareto
from kerf.lab.statistics.intervals import clopper_pearson
from kerf.lab.statistics.tests import smallest_p
from kerf.lab.world import Listed
from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import load_recipe, load_recipes
from kerf.runs.recipe.theory import theory_of

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if FIGURES not in path.parents)]
REGISTRY = yaml.safe_load((FIGURES / "claims.yaml").read_text())
KEPT = json.loads((FIGURES / "digests.json").read_text())

UNITS = r"(?:s|ms|seconds?|minutes?|hours?|times|[kMG]i?B|GFLOP/s|points?|thousand)\b"
RESULT = re.compile(
    r"(?<![\w.,/-])[-+]?"
    rf"(?:\d+\.\d+|\d{{1,3}}(?:,\d{{3}})+|\d+(?=%)|\d+(?= of (?:the )?\d)|\d+(?= {UNITS}))"
)
"""A number that reads as a result; plain counts, as in `3 seeds`, do not."""


def flat(text: str) -> str:
    """Text on one line, without code in it, addresses of links, and code blocks in a language."""
    text = re.sub(r"^ *```\w.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = " ".join(re.sub(r"\]\([^)\s]*\)", "]", text.replace("```", "")).split())
    return re.sub(r"`[^`]*`", "`", text)


def row(line: str) -> str:
    """A line of a table without the blanks and bars by which columns are set."""
    return " ".join(line.replace("|", " ").split())


def kept_rows() -> set[str]:
    """All lines of all outputs that are kept."""
    files = chain(FIGURES.glob("*.txt"), FIGURES.glob("*.md"))
    return {row(line) for path in files for line in path.read_text().splitlines()}


def claims(page: str) -> list[dict[str, Any]]:
    return list(REGISTRY["claims"].get(page, []))


def unsupported(text: str, listed: list[str], kept: set[str]) -> list[str]:
    """Results in a page, each with what stands around it, that neither `listed` texts nor `kept` lines hold."""
    shown = flat("\n".join(line for line in text.splitlines() if row(line) not in kept))
    held = [match.span() for one in listed for match in re.finditer(re.escape(flat(one)), shown)]
    return [
        f"{match.group()} in: ... {shown[max(0, match.start() - 60) : match.end() + 60]} ..."
        for match in RESULT.finditer(shown)
        if not any(start <= match.start() and match.end() <= end for start, end in held)
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_number_of_a_page_is_held_by_something(path: Path) -> None:
    listed = [claim["text"] for claim in claims(str(path.relative_to(ROOT)))]
    missing = unsupported(path.read_text(), [*listed, *REGISTRY["conventions"]], kept_rows())
    assert not missing, "list in docs/figures/claims.yaml, with what holds it:\n" + "\n".join(missing)


def test_a_number_that_nothing_holds_is_noticed() -> None:
    page = "Care fell by 0.3 [0.2, 0.4].\n\n| care | 0.7 |\n\n```\nkept 1.5\n```\n"
    assert len(unsupported(page, [], {"kept 1.5"})) == 4
    assert unsupported(page, ["Care fell by 0.3 [0.2, 0.4]"], {"kept 1.5", "care 0.7"}) == []
    for result in ("12% of seeds", "took 80 s", "3 of 8 seeds", "in 14,800 draws", "twice 1.5"):
        assert unsupported(f"It {result}.", [], set()), result
    assert unsupported("With `--limit care=-0.1` 8 seeds, see [there](a/1.5.md).", [], set()) == []


@pytest.mark.parametrize("page", REGISTRY["claims"])
def test_every_listed_claim_stands_on_its_page_and_something_holds_it(page: str) -> None:
    shown = flat((ROOT / page).read_text())
    for claim in claims(page):
        assert flat(claim["text"]) in shown, claim["text"]
        assert RESULT.search(flat(claim["text"])), f"no number in it: {claim['text']}"
        assert ("test" in claim) != ("code" in claim), claim["text"]
        if "test" in claim:
            file, _, name = claim["test"].partition("::")
            assert re.search(rf"^ *def {name}\(", (ROOT / file).read_text(), re.MULTILINE), claim["test"]
        else:
            assert claim["says"] in (ROOT / claim["code"]).read_text(), claim["text"]


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_output_says_what_made_it_and_a_page_that_quotes_it_names_the_command(name: str) -> None:
    made = KEPT[name]
    assert set(made) >= {"command", "file", "made", "processor", "revision"}
    file = FIGURES / made["file"]
    printed = {row(line) for line in file.read_text().splitlines() if RESULT.search(line)}
    assert printed
    others = [other["file"] for other in KEPT.values() if other != made]
    own = printed - {row(line) for other in others for line in (FIGURES / other).read_text().splitlines()}
    command = made["command"].split(" --set ")[0]
    rows = {path: {row(line) for line in path.read_text().splitlines()} for path in PAGES}
    numbers = {row(line) for line in file.read_text().splitlines() if re.search(r"\d", line)}
    assert any(numbers & of for of in rows.values()), "nothing quotes it: delete it"
    for path in (path for path, of in rows.items() if own & of):
        assert command in " ".join(path.read_text().split()), f"{path.name} quotes {file.name} without {command!r}"


def test_all_kept_outputs_say_what_made_them() -> None:
    kept = {made["file"] for made in KEPT.values()}
    assert {path.name for path in FIGURES.iterdir() if path.suffix in (".txt", ".md")} <= kept


def test_bounds_on_what_was_not_seen_are_those_of_clopper_and_pearson() -> None:
    page = flat((ROOT / "docs" / "concepts" / "statistics.md").read_text())
    unseen = {num: 1 - 0.05 ** (1 / num) for num in (8, 16, 59)}
    assert (
        f"up to {unseen[8]:.0%} of all seeds that would (16 seeds: {unseen[16]:.0%}, 59 seeds: {unseen[59]:.0%}" in page
    )
    assert f"of 5 seeds all collapse in {0.8**5:.0%} of studies if 80% of seeds do" in page
    assert f"standard error at most {100 * math.sqrt(0.25 / 2000):.1f} points" in page
    page = flat((ROOT / "docs" / "concepts" / "certificates.md").read_text())
    assert f"20 of 20 seeds within epsilon show a share of {0.05 ** (1 / 20):.3f}" in page
    assert 0.95**59 < 0.05 < 0.95**58, "59 of 59"


def test_the_dilemma_has_as_many_situations_as_is_said() -> None:
    world = get_world("dilemma")
    assert isinstance(world, Listed)
    page = (ROOT / "docs" / "concepts" / "dilemma.md").read_text()
    assert f"{len(world.situations()):,} situations" in page


def test_care_is_a_target_from_the_strength_that_is_said() -> None:
    world = get_world("station")
    assert "care" not in target_values(world, 0.82)
    assert {"care", "sacrifice"} <= set(target_values(world, 0.87))
    assert "care" not in target_values(world, 0.75)
    assert TOLD_APART == 0.75
    assert round(1 - 0.75**4, 2) == 0.68, "two of three forgeries show one of four tells"


def test_what_theory_says_in_the_findings_is_its_closed_form() -> None:
    page = flat((ROOT / "docs" / "findings.md").read_text())
    found = theory_of(load_recipe("turner", "quick"))
    assert f"stops helping at any penalty above {found['penalised'].threshold:.1f}" in page
    assert f"goes on helping up to a penalty of {found['penalised-tells'].threshold:.0f}" in page
    # Gain of one who leaves for what looks real over one who never does, a scenario: (1 - a) (8/29) B - a C.
    gains = [(1 - share) * 8 / 29 * 10 - share * 5 for share in (0.1, 0.2, 0.3)]
    assert "gains {:.1f}, {:.1f} and {:.1f} units a scenario".format(*gains) in page
    assert load_recipes("threshold", variant="share-10")["share-10"].iterations == 4 * load_recipe("turner").iterations
    assert load_recipes("dilemma", variant="reward-alone")["reward-alone"].seeds == 40
    assert "ten seeds of forty" in page


def test_what_the_findings_take_from_kept_tables_is_there() -> None:
    page = flat((ROOT / "docs" / "findings.md").read_text())
    table = {row(line) for line in (FIGURES / "turner-quick.txt").read_text().splitlines()}
    assert "exposure 25% 1 0 3.28 helps 95%" in table
    assert "left 95% of the help in the first set" in page
    assert "penalised-2 25% 1 2 3.28 helps 86%" in table
    assert "86% of it is left in the first set" in page
    exact = (FIGURES / "exact.txt").read_text()
    for arm in ("exposure-0", "penalised-0"):
        assert re.search(rf"^{arm} +\+1\.69 \[.*1\.69 +-2\.94 to 4\.73", exact, re.MULTILINE), "lost, and spillover"
    assert re.search(r"^penalised-0-table +0\.00 \[0\.00, 0\.00\]", exact, re.MULTILINE)


def test_what_is_said_of_the_exact_answers_of_the_main_study_is_in_their_table() -> None:
    kept = (FIGURES / "exact-turner.txt").read_text()
    numbers = r" +([-+]?\d\.\d\d)"
    lines = re.finditer(rf"^(\S+){numbers} \[[^]]*\]{numbers * 6} .* (\S+) +\S+$", kept, re.MULTILINE)
    rows = {found[1]: tuple(map(float, found.groups()[1:])) for found in lines}
    assert len(rows) == 7
    for lost, forced, shift, penalty, excess, under, spillover, _ in rows.values():
        assert max(abs(lost - forced - excess), abs(forced - shift - penalty), abs(excess - under)) < 0.0101
        assert spillover == 0.0
    assert "The best policy has 6.05 per scenario" in kept
    assert rows["penalised"][3] == rows["penalised-6"][3] == 2.36
    assert (rows["penalised-6"][0], rows["penalised"][0]) == (0.71, 1.42)
    assert rows["penalised-tells"][3] == 0.33
    aligned, penalised = (re.findall(rf"^{arm} .*", kept, re.MULTILINE) for arm in ("aligned", "penalised"))
    for strength in range(5):  # of each: P, AUC, d_a, c
        (_, area, _, c), (_, new_area, _, new_c) = (_detection(lines, strength) for lines in (aligned, penalised))
        assert new_area <= area
        assert new_c > c + 2.0


def _detection(lines: list[str], strength: int) -> list[float]:
    """P, AUC, d_a and c at that strength, of five, in the two tables that `kerf exact` splits them into."""
    (first,) = (line for line in lines if "0.00 1.00   inf" in line)
    (second,) = (line for line in lines if len(line.split()) == 9)
    shown = [*first.split()[3:], *second.split()[1:]]
    return [float(each) for each in shown[4 * strength : 4 * strength + 4]]


def test_what_is_said_of_attacks_is_in_their_tables() -> None:
    lines = (FIGURES / "adversaries.txt").read_text().splitlines()
    (gap,) = [line.split()[2:5] for line in lines if line.startswith("scripted     scripted ")]
    assert gap == ["0.75", "0.38", "0.51"]
    assert min(float(found.group(1)) for line in lines if (found := re.search(r"   = (\d\.\d{3})$", line))) == 0.25
    (costs,) = [re.findall(r"(\d+) / -", line) for line in lines if re.match(r"aligned +\d+ / -", line)]
    assert sorted(map(int, costs))[-2:] == [4, 376], "376: natural scenarios, which forge nothing"


def test_what_is_said_of_searches_is_in_their_table() -> None:
    rows = [line.strip("| ").split(" | ") for line in (FIGURES / "search-costs.md").read_text().splitlines()]
    kinds = [cell.strip("`") for cell in rows[0][1:]]
    slope = dict(zip(kinds[2:], (int(cell.replace(",", "")) for cell in rows[3][-5:]), strict=True))
    assert slope["uniform"] == 11_700
    assert {kind for kind, cost in slope.items() if cost < slope["uniform"] / 2} == {"mutation", "search", "learned"}


def test_the_coverage_of_thresholds_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "sweeps.md").read_text()
    for kind, limits in dose.COVERAGE.items():
        for limit, shares in limits.items():
            cells = (", ".join(f"{share:.3f}" for share in shares[number]) for number in dose.COVERAGE_DOSES)
            assert f"| {kind} | {limit} | {' | '.join(cells)} |" in page


def test_the_tutorial_quotes_refusals_as_they_are_printed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text()
    (text,) = re.findall(r'```yaml title="mine.yaml"\n(.*?)```', page, re.DOTALL)
    quoted = re.findall(r"^kerf: mine\.yaml: (.*)$", page, re.MULTILINE)
    assert len(quoted) == 2
    mistaken = (
        text.replace("penalty: 20}", "penlaty: 20}"),
        re.sub(r"^  continued: .*\n", "", text, flags=re.MULTILINE),
    )
    for mistake, sentence in zip(mistaken, quoted, strict=True):
        assert mistake != text
        (tmp_path / "mine.yaml").write_text(mistake)
        with pytest.raises(KerfError) as refused:
            load_recipe(str(tmp_path / "mine.yaml"))
        assert str(refused.value).removeprefix(f"{tmp_path}/mine.yaml: ") == sentence


def test_the_graders_on_the_page_are_those_that_there_are_and_one_more() -> None:
    page = (ROOT / "docs" / "how-to" / "grader.md").read_text()
    (shown,) = re.findall(r"^GRADERS = \{\n(.*?)^\}$", page, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r'"(\w+)":', shown)) == {*GRADERS, "watched"}


def test_the_guide_names_every_generator() -> None:
    page = " ".join((ROOT / "docs" / "guides" / "recipes.md").read_text().split())
    (named,) = re.findall(r"`kind` is one of (.*?), with settings of its own", page)
    assert set(re.findall(r"`(\w+)`", named)) == set(BUILT_IN)


def test_what_is_said_of_after_tests_is_in_their_table() -> None:
    text = (FIGURES / "after.txt").read_text()
    rows = {line.split()[0]: line for line in text.splitlines() if re.match(r"[a-z_0-9-]+ {2,}[-+ ]", line)}
    calls = {line.split()[1]: line.split()[2] for line in text.splitlines() if re.match(r"[.v?=>x] ", line)}
    first = [line for line in text.splitlines() if line.startswith("penalised ")]
    watched = [line for line in text.splitlines() if line.startswith("penalised-watched ")]
    assert [row.split()[1] for row in first[:1]] == ["-0.82"]
    for said in ("+0.38*", "+0.44*", "+0.17*"):
        assert said in first[0]
    assert "-0.53" in watched[0]
    assert "+0.30*" in watched[0]
    assert "+0.28*" in watched[1]
    assert calls["penalised"] == calls["penalised-alone"] == "suppressed"
    assert calls["penalised-watched"] == "concealed"
    assert {calls[arm] for arm in ("ex_ante", "anchor", "relearn")} == {"kept"}
    assert {"penalised", "penalised-alone"} <= set(rows)


def test_what_is_said_of_calls_is_what_decides_them() -> None:
    assert {sign.margin for sign in SIGNS.values()} == {0.1}
    assert len(SIGNS) * smallest_p(8) < ALPHA <= len(SIGNS) * smallest_p(7)
    assert round(clopper_pearson(0, 50, 0.05)[1], 2) == 0.06


def test_what_is_said_of_revealed_objectives_is_in_their_table() -> None:
    lines = (FIGURES / "revealed-turner.txt").read_text().splitlines()
    aligned, *_, penalised = re.findall(r"\d+%", next(line for line in lines if line.startswith("choices explained")))
    assert (aligned, penalised) == ("95%", "85%")
    saving = next(line for line in lines if line.startswith("rescued "))
    assert "2.41 [2.30, 2.53]" in saving
    assert "1.24 [0.99, 1.55]*" in saving
    under = [line for line in lines if re.match(r"  (aligned|penalised) .*%", line)]
    assert any("9.70 [9.10, 10.28]" in line for line in under)
    assert any("90%" in line and "5.30 [4.57, 6.28]*" in line for line in under)


def test_what_is_said_of_fronts_is_what_decides_them() -> None:
    assert (pareto.RESAMPLES, pareto.DECIDED) == (2000, 0.95)
