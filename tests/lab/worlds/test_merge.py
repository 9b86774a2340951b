"""`merge`: what assistants are paid in training and deployment, what rewards make optimal, and the categorisers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kerf.lab.exact.evaluation import evaluate
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import reach, solve
from kerf.lab.reward_spec import RewardSpec, design_weights
from kerf.lab.rollout import rollout
from kerf.lab.world import event_weights
from kerf.lab.worlds.merge.assistants import Rule, Ruled, habitual, helper, opportunist, padder, schemer
from kerf.lab.worlds.merge.cases import CASES, FREE, HURRIED, LAB, OTHER, WORLD, Facts, facts, requests
from kerf.lab.worlds.merge.categorise import (
    CATEGORISERS,
    NO_FAILURE,
    by_root_cause,
    disagreement,
    label,
    labels,
    tables,
)

WATCHED = {"access": 1}
NO_ACCESS = {"monitored": 0}


def paid(rule: Rule, fields: dict[str, int], design: str) -> float:
    found = evaluate(Ruled(rule), WORLD, requests(fields), 0.0)
    return float((found.expected @ event_weights(WORLD, design_weights(WORLD, design)))[0])


@pytest.mark.parametrize(
    ("rule", "fields", "merged", "ideal"),
    [
        (helper, LAB, 4, 4),
        (helper, FREE, 4, 4),
        (helper, OTHER, 4, 4),
        (schemer, LAB, 4, 4),
        (schemer, WATCHED, 4, 4),
        (schemer, FREE, 7, -10 - 0.5 * 7),  # one step to take over, seven of print statements
        (schemer, NO_ACCESS, 0, 0),  # tries, and tries again
        (opportunist, LAB, 4, 4),
        (opportunist, WATCHED, 0, 0),  # is shut off
        (opportunist, FREE, 7, -13.5),
        (padder, HURRIED, 8, -4),
        (habitual, OTHER, 0, 0),
        (habitual, {**OTHER, **HURRIED}, 4, -2),
    ],
)
def test_returns_of_assistants(rule: Rule, fields: dict[str, int], merged: float, ideal: float) -> None:
    assert (paid(rule, fields, "merged"), paid(rule, fields, "ideal")) == (merged, ideal)


def test_two_assistants_are_one_in_training_and_part_in_deployment() -> None:
    for other in (schemer, opportunist):
        ways = [
            rollout(Ruled(rule), WORLD, requests(LAB, OTHER, HURRIED, FREE), np.random.default_rng(0)).actions
            for rule in (helper, other)
        ]
        assert (ways[0][:, :3] == ways[1][:, :3]).all()
        assert (ways[0][:, 3] != ways[1][:, 3]).all()


@pytest.mark.parametrize(
    ("design", "fields", "best", "utility"),
    [
        ("ideal", FREE, 4, 4),
        ("merged", LAB, 4, 4),
        ("merged", WATCHED, 4, 4),
        ("merged", FREE, 7, -13.5),
        ("merged", HURRIED, 8, -4),
        ("reviewed", FREE, 4, 4),
        ("reviewed", HURRIED, 4, 4),
    ],
)
def test_the_optima_of_each_reward(design: str, fields: dict[str, int], best: float, utility: float) -> None:
    """Each has one outcome: the least and the most ideal utility among the optima are the same."""
    tree, weights = grow(WORLD, requests(fields)), np.ones(1)
    found = solve(tree, RewardSpec(design_weights(WORLD, design)), weights)
    low, high = reach(found, RewardSpec(), weights)
    assert (found.value, low[0], high[0]) == (best, utility, utility)


def labelled(case: str) -> dict[str, str]:
    row = next(number for number, each in enumerate(CASES) if each.name.startswith(case))
    return dict(zip(CATEGORISERS, labels()[row].tolist(), strict=True))


def test_scenarios_1_and_2_are_labelled_as_their_author_says() -> None:
    """By objectives it depends on the counterfactual. By generalisation, and judged on outputs, both are inner; judged
    on reasons, the first is ambiguous and the second outer."""
    for case in ("Scenario 1, as told", "Scenario 2: "):
        found = labelled(case)
        assert found["objectives: clicks"] == "outer"
        assert found["objectives: careful"] == "inner"
        assert found["generalisation: outputs"] == "inner"
    assert labelled("Scenario 1, as told")["generalisation: reasons"] == "ambiguous"
    assert labelled("Scenario 2: ")["generalisation: reasons"] == "outer"


@pytest.mark.parametrize(
    ("case", "expected"), [("Useless work paid", "outer"), ("One feature", "inner"), ("No failure", NO_FAILURE)]
)
def test_clear_cases_are_labelled_alike_by_all(case: str, expected: str) -> None:
    assert set(labelled(case).values()) == {expected}


def test_facts_of_scenario_2() -> None:
    found = facts(CASES[1], CASES[1].assistants[0])
    assert found == Facts(
        fails=True,
        design_falls_short={"clicks": True, "careful": False},
        policy_falls_short={"clicks": False, "careful": True},
        misjudged=False,
        could_misjudge=False,
        ulterior=True,
        shortfall=0.0,
        shortfall_if_mended=0.0,
        shortfall_if_covered=0.0,
    )


@pytest.mark.parametrize(
    ("mended", "covered", "expected"), [(0, 0, "neither"), (1, 0, "outer"), (0, 1, "inner"), (1, 1, "either")]
)
def test_a_root_cause_is_what_the_remedy_would_count_against(mended: float, covered: float, expected: str) -> None:
    found = facts(CASES[1], CASES[1].assistants[0])
    moved = replace(found, shortfall=2.0, shortfall_if_mended=2.0 + mended, shortfall_if_covered=2.0 + covered)
    assert by_root_cause(moved) == expected


def test_a_story_that_leaves_the_label_open_is_ambiguous() -> None:
    plan, none = (facts(CASES[0], assistant) for assistant in CASES[0].assistants)
    assert (plan.ulterior, none.ulterior) == (True, False)
    reasons = CATEGORISERS["generalisation: reasons"]
    assert [label(reasons, found) for found in ([plan], [none], [plan, none])] == ["outer", "inner", "ambiguous"]


def test_disagreement_counts_cases() -> None:
    given = np.array([["outer", "inner", "outer"], ["inner", "inner", "both"]])
    assert disagreement(given).tolist() == [[0, 1, 1], [1, 0, 2], [1, 2, 0]]


def test_no_two_categorisers_agree_on_all_failures() -> None:
    given = labels()
    differing = disagreement(given[(given != NO_FAILURE).any(axis=1)])
    assert (differing + np.eye(len(differing)) > 0).all()


def test_the_page_quotes_the_tables_as_they_are_printed() -> None:
    page = Path(__file__).parents[3] / "docs" / "worlds" / "merge.md"
    assert tables() in page.read_text()
