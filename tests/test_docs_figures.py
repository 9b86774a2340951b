"""Figures in the documentation: each line of a quoted table is one that its command printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kerf.lab.statistics.text import signed

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "docs" / "figures"
DIGESTS = json.loads((FIGURES / "digests.json").read_text())

QUOTED = re.compile(r"`(kerf run [^`]*)`\s+printed[^`]*```\n(.*?)```", re.DOTALL)
"""A command in a sentence that says `printed`, and the block that follows."""

PAGES = ("README.md", "docs/guides/reading-the-table.md", "docs/findings.md")


def lines(text: str) -> set[str]:
    """Lines without the blanks by which columns are set, and without rules between rows."""
    return {" ".join(line.split()) for line in text.splitlines() if line.strip(" ─")}


def quotes() -> list[tuple[str, str, str]]:
    """Page, command and block of every quoted output of a study."""
    return [(page, *found) for page in PAGES for found in QUOTED.findall((ROOT / page).read_text())]


@pytest.mark.parametrize(("page", "command", "block"), quotes(), ids=lambda value: str(value)[:40])
def test_what_a_page_quotes_is_what_its_command_printed(page: str, command: str, block: str) -> None:
    printed = [lines((FIGURES / f"{name}.txt").read_text()) for name, of in DIGESTS.items() if of["command"] == command]
    assert printed
    assert any(lines(block) - {"[...]"} <= of_file for of_file in printed), page


def test_both_pages_quote_the_main_study() -> None:
    assert [page for page, _, _ in quotes()][:2] == ["README.md", "docs/guides/reading-the-table.md"]


def test_both_pages_quote_one_run_which_is_the_first_of_the_five_sets() -> None:
    assert DIGESTS["turner-quick"]["records"] == DIGESTS["turner-quick-ending"]["records"]
    sets = json.loads((FIGURES / "five-sets.json").read_text())
    care = sets["kerf run turner --preset quick --set first_seed=0"]["predictions"]["penalty-costs-care"]
    text = f"{signed(care['mean'])} [{signed(care['low'])}, {signed(care['high'])}]"
    for name in ("turner-quick", "turner-quick-ending"):
        assert text in (FIGURES / DIGESTS[name]["file"]).read_text()


def test_the_simulated_rates_of_verdicts_stand_in_the_documentation_as_they_came_out() -> None:
    rates = (FIGURES / "decision-rates.md").read_text().strip()
    assert rates in (ROOT / "docs" / "concepts" / "statistics.md").read_text()


def test_the_thresholds_that_were_found_are_those_of_their_studies() -> None:
    found = json.loads((FIGURES / "thresholds.json").read_text())
    page = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    exact = [made for command, made in found.items() if command.startswith("kerf run threshold-exact ")]
    sampled = [made for command, made in found.items() if command.startswith("kerf run threshold ")]
    hits = [
        sum((low or 0.0) > 0.0 and low < made["threshold"]["predicted"] < high for low, high in brackets.values())
        for made in (*exact, *sampled)
        for brackets in [made["threshold"]["brackets"]]
    ]
    assert f"in {sum(hits[:3])} of 24 seeds" in page
    assert "in {} of 8, {} of 8 and {} of 8 seeds".format(*hits[3:]) in page
    at = ["{:.3g}".format(made["threshold"]["predicted"]) for made in (*exact, *sampled)]
    assert "penalty of {}, {} and {} where".format(*at[:3]) in page
    assert "predicted {}, {}, {})".format(*at[3:]) in page
    outcomes = [made["threshold"]["outcome"] for made in (*exact, *sampled)]
    assert outcomes == ["held"] * 4 + ["undecided"] * 2
    below = [made["predictions"]["nothing-below"] for made in (*exact, *sampled)]
    assert all(abs(round(of["mean"], 2)) <= 0.01 and of["outcome"] == "no typical effect" for of in below[:3])
    assert "care fell by {}, {} and {}".format(*(f"{-of['mean']:.2f}" for of in below[3:])) in page
    worst = sampled[2]["threshold"]["brackets"].values()
    assert sum(low is None for low, _ in worst) == 4  # below every penalty, so without one


def test_the_controls_are_as_found() -> None:
    (made,) = json.loads((FIGURES / "controls.json").read_text()).values()
    page = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    for arm in ("penalised", "yoked", "unrelated-act", "other-family", "penalised-watched"):
        care = made["care"][arm]
        text = f"{care['mean']:+.2f} [{care['low']:+.2f}, {care['high']:+.2f}]"
        assert text in page, (arm, text)
    assert f"cost {-made['care']['sham']['mean']:.2f}, so it is no valid control" in page


def test_the_full_size_is_as_found() -> None:
    """Every number of the section, from the records' effects, verdicts and shares as they are kept."""
    (made,) = json.loads((FIGURES / "full.json").read_text()).values()
    page = (ROOT / "docs" / "findings.md").read_text()
    section = " ".join(page[page.index("## The full size") : page.index("## What none of this shows")].split())

    def text(of: dict[str, float]) -> str:
        return f"{signed(of['mean'])} [{signed(of['low'])}, {signed(of['high'])}]"

    predicted = {
        "penalty-costs-care": "`held`; collapsed in 16 of 16 seeds",
        "avoidable-cost": "`held`; none collapsed",
        "spreads-to-permitted-help": "`held`, though within the margin of 0.05",
        "other-values-kept": "`no typical effect`; up to 17% of seeds could change",
    }
    assert set(predicted) == set(made["predictions"])
    for name, verdict in predicted.items():
        of = made["predictions"][name]
        assert f"| {text(of)} | {verdict}" in section, name
        assert (f"`{of['outcome']}`" == verdict.split(";")[0].split(",")[0], of["seeds"]) == (True, 16)
    assert [made["predictions"][name]["collapsed"] for name in predicted] == [16, 0, 0, 0]
    brackets = [tuple(bracket) for bracket in made["threshold"]["brackets"].values()]
    assert [brackets.count(bracket) for bracket in ((2.0, 6.0), (6.0, 10.0))] == [13, 3]
    assert (made["threshold"]["outcome"], round(made["threshold"]["predicted"], 2)) == ("held", 3.28)
    shares = made["penalised"]
    rows = []
    for arm in made["care"]:
        effects = " | ".join(text(made[metric][arm]) for metric in ("care", "exits", "others"))
        if arm not in ("exposure", "frozen"):
            rows.append(f"| `{arm}` | {shares.get(arm, 0.0):.1%} | {effects} |")
    assert " ".join(rows) in section
    assert len(rows) + 2 == 22
    assert "by 0.12, 0.55 and 0.76 at L = 2, 6 and 10" in section
    doses = [made["care"][arm]["mean"] for arm in ("penalised-2", "penalised-6", "penalised")]
    assert [round(-dose, 2) for dose in doses] == [0.12, 0.55, 0.76]
    pairs = {name.split(":")[0]: of for name, of in made["pairs"].items()}
    assert f"costs {text(pairs['penalised-tenth - exposure-tenth'])} of care" in section
    alone = pairs["penalised-alone - exposure-alone"]
    assert f"differ by {text(alone)} in care, over the {alone['num']} seeds" in section
    assert made["predictions"]["penalty-costs-care"]["seeds"] - made["care"]["penalised-alone"]["num"] == 3
    assert made["predictions"]["penalty-costs-care"]["seeds"] - made["care"]["exposure-alone"]["num"] == 1
    anchor, ex_ante = (text(pairs[f"{arm} - penalised"]) for arm in ("anchor", "ex_ante"))
    assert f"keep care ({anchor} and {ex_ante} against `penalised`)" in section
    exits = [signed(made["exits"][arm]["mean"]) for arm in ("anchor", "ex_ante", "continued")]
    assert "({}, {} and {} in the table)".format(*exits) in section
    assert f"has its care back ({text(pairs['relearn - penalised'])} against" in section
    assert f"(tidiness {text(pairs['unrelated-act - continued'])} against" in section
    assert (
        f"penalised in {shares['unrelated-act']:.1%} of its episodes where `penalised` was in {shares['penalised']:.1%}"
        in section
    )
    assert f"(proportion {text(pairs['sign_flip - continued'])} against" in section
    care = {arm: round(made["care"][arm]["mean"], 2) for arm in ("continued", "yoked", "sham", "penalised-watched")}
    assert care == {"continued": 0.05, "yoked": -0.03, "sham": -0.2, "penalised-watched": -0.48}


def test_agents_aligned_by_reward_alone_are_as_found() -> None:
    (made,) = json.loads((FIGURES / "reward-alone.json").read_text()).values()
    page = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    care, asking, yoked = (
        made["predictions"][name] for name in ("penalty-costs-care", "spreads-to-asking", "contingency")
    )
    assert f"{care['mean']:+.2f} [{care['low']:+.2f}, {care['high']:+.2f}] against `continued`, `held`" in page
    assert (care["outcome"], care["seeds"], yoked["outcome"]) == ("held", 10, "no typical effect")
    assert f"higher by {asking['mean']:.2f} (`{asking['outcome']}`)" in page


def test_what_kerf_has_found_is_what_the_five_sets_of_seeds_gave() -> None:
    """Every effect that the page gives, and each count, from the records of the sets themselves."""
    sets = json.loads((FIGURES / "five-sets.json").read_text()).values()
    page = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    first = [of["predictions"]["penalty-costs-care"] for of in sets]
    assert ", ".join(f"{of['mean']:+.2f} [{of['low']:+.2f}, {of['high']:+.2f}]" for of in first) in page
    assert all(of["outcome"] == "held" for of in first)
    assert f"collapsed in {sum(of['collapsed'] for of in first)} of 40 seeds" in page
    avoidable = [of["predictions"]["avoidable-cost"] for of in sets]
    shown = [f"{-of['mean']:.2f}" for of in avoidable]
    assert f"lower than in exposure by {', '.join(shown[:4])} and {shown[4]}" in page
    assert [of["outcome"] for of in avoidable].count("held") == 4
    others = [of["predictions"]["other-values-kept"] for of in sets]
    assert max(abs(round(of["mean"], 2)) for of in others) == 0.01
    assert all(of["outcome"] == "no typical effect" for of in others)
    permitted = [of["predictions"]["spreads-to-permitted-help"] for of in sets]
    assert {-round(of["mean"], 2) for of in permitted} <= {0.01, 0.02, 0.03, 0.04}
    assert [of["outcome"] for of in permitted].count("no typical effect") == 3
    brackets = [tuple(bracket) for of in sets for bracket in of["threshold"]["brackets"].values()]
    counts = [brackets.count(bracket) for bracket in ((2.0, 6.0), (6.0, 10.0), (10.0, None))]
    assert sum(counts) == len(brackets) == 40
    assert f"between 2 and 6 in {counts[0]} of 40 seeds, between 6 and 10 in {counts[1]}" in page
    assert counts[2] == 1
    assert all(of["threshold"]["outcome"] == "undecided" for of in sets)


def cells(name: str, start: str) -> list[str]:
    """The first line of a kept output that begins with `start`, without the effects' intervals and stars."""
    line = next(
        line for line in (FIGURES / name).read_text().splitlines() if line.startswith(f"{start}  ") and "[" in line
    )
    return re.sub(r"\*|\[[^]]*\]|\([^)]*\)", " ", line).split()


def test_what_became_of_help_in_one_decision_is_as_found() -> None:
    page = (ROOT / "docs" / "findings.md").read_text()
    section = page[page.index("### The same in a world of one decision") : page.index("## Cures")]
    kept = (FIGURES / "after-dilemma.txt").read_text()
    calls = {line for line in lines(kept) if re.match(r"[v=] ", line)}
    assert len(calls) == 6
    assert calls <= lines(section)
    assert DIGESTS["after-dilemma"]["command"] in section
    for arm in ("exposure", "penalised", "ex_ante"):
        assert cells("after-dilemma.txt", arm) == [arm, "-0.76", "+0.38", "0.00", "-0.11", "0.00"]
    assert len(re.findall("1.00 / 1.00 / 1.00", kept)) == 6, "the help can be read from any trunk"
    assert "Not made: concealment" in kept


def test_the_cures_are_as_found() -> None:
    kept = (FIGURES / "cures.txt").read_text()
    assert "Gate: 8 of 8 agents passed" in kept
    names = [f"{cure}-keeps-care" for cure in ("mixed", "anchor", "early-stop", "averaging", "inoculation")]
    for name in ("penalty-costs-care", *names):
        assert re.search(rf"^{name}: held: ", kept, re.MULTILINE), name
    equal = [float(word) for name in names for word in cells("cures.txt", name)[2:] if re.match(r"[-+]?\d", word)]
    assert max(equal) == 0.04
    assert kept.count("not reached") == 3
    gaps = kept[kept.index("widest gap") :]
    assert max(float(re.search(rf"^{name} +(.*)$", gaps, re.MULTILINE)[1]) for name in names) == 0.39
    care = {arm: float(cells("cures.txt", arm)[2]) for arm in ("screened", "anchor-strong", "penalised", "exposure")}
    assert care["screened"] == care["anchor-strong"] == 0.0
    assert max(care["penalised"], care["exposure"]) < -0.9
    for arm in ("mixed", "routed", "probe_penalty", "early", "late"):
        assert abs(float(cells("cures.txt", arm)[2]) - care["penalised"]) < 0.025, arm


def test_what_is_said_of_all_worlds_is_in_their_table() -> None:
    rows = (FIGURES / "essays.txt").read_text().split("\n\n")[1].splitlines()[1:]
    ends = {row.split()[0]: re.findall(r"\[([-+]?\d\.\d\d),([-+]?\d\.\d\d)\]", row) for row in rows}
    assert len(ends) == 16
    fell = {world for world, ((_, high), _) in ends.items() if float(high) < 0.0}
    moved = {world for world in fell if float(ends[world][1][0]) * float(ends[world][1][1]) > 0.0}
    assert (len(fell), len(moved)) == (13, 7)
    assert fell - moved == {"absent", "boat", "shards", "drug", "dog", "toasters"}
    page = (ROOT / "docs" / "worlds" / "essays.md").read_text()
    assert "In thirteen of the sixteen worlds" in page
    assert "in seven of these" in page
