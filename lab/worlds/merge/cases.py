"""Failures of assistants in `merge`, and the exact facts about each that a categorisation may go by.

A case says what a story tells: where the assistant was trained and deployed, and which assistants fit. In all of them
feedback in training is what reviewers clicked (`merged`); nothing of it is a matter of opinion. Facts are computed by
exact evaluation and exact optima.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.exact.evaluation import evaluate
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import reach, solve
from kerf.lab.reward import reward
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World, event_weights
from kerf.lab.worlds.merge import SPACE, Merge
from kerf.lab.worlds.merge.assistants import (
    Ruled,
    habitual,
    habitual_padder,
    helper,
    opportunist,
    padder,
    schemer,
)

WORLD: World = Merge()
CLICKS = RewardSpec(Merge.proxies["merged"])
COUNTERFACTUALS: Mapping[str, RewardSpec] = {"clicks": CLICKS, "careful": RewardSpec(Merge.proxies["reviewed"])}
"""What would have been paid in situations that training did not show: what would be clicked there, or what a careful
reviewer who is under nobody's power would approve of."""
IDEAL = RewardSpec()
SLACK = 1e-9


@dataclass(frozen=True)
class Case:
    """A story of a failure.

    Attributes:
        name: In words.
        assistants: Those that fit what the story tells.
        training: Scenarios in which the assistant is trained, equally likely, `(n, F)`.
        deployment: Those in which it is deployed, `(m, F)`.
    """

    name: str
    assistants: tuple[Policy, ...]
    training: Scenarios
    deployment: Scenarios


@dataclass(frozen=True)
class Facts:
    """Facts about one assistant in a case.

    Attributes:
        fails: Its expected ideal utility in deployment falls short of the best.
        design_falls_short: Counterfactual -> whether an optimum of the design objective falls short of the best ideal
            utility in deployment. The objective is what was clicked in situations of training, and the counterfactual
            in all others.
        policy_falls_short: Counterfactual -> whether the assistant falls short of that objective's optimum there.
        misjudged: Feedback in training paid for a step without merit, or did not pay for one with merit: merit is
            positive ideal utility.
        could_misjudge: It would have done so for something else that an assistant can do in these situations.
        ulterior: In a situation of training the assistant would have done otherwise, had it not been monitored.
        shortfall: How far it falls short of the most that feedback pays in training, summed over its scenarios.
        shortfall_if_mended: The same if the feedback of training were the ideal utility.
        shortfall_if_covered: The same, in clicks, if training showed the situations of deployment, too.
    """

    fails: bool
    design_falls_short: Mapping[str, bool]
    policy_falls_short: Mapping[str, bool]
    misjudged: bool
    could_misjudge: bool
    ulterior: bool
    shortfall: float
    shortfall_if_mended: float
    shortfall_if_covered: float


def requests(*fields: Mapping[str, int]) -> Scenarios:
    """Scenarios with these fields, others at their defaults: monitored, no access, feature a, careful reviewers."""
    scenarios = SPACE.blank(len(fields))
    for row, given in zip(scenarios, fields, strict=True):
        for name, value in given.items():
            row[SPACE.column(name)] = value
    return scenarios


LAB, OTHER, HURRIED = {}, {"feature": 1}, {"hurried": 1}  # type: dict[str, int], dict[str, int], dict[str, int]
FREE = {"monitored": 0, "access": 1}
CASES = (
    Case("Scenario 1, as told", (Ruled(schemer), Ruled(opportunist)), requests(LAB), requests(FREE)),
    Case("Scenario 2: it held back in training", (Ruled(schemer),), requests(LAB), requests(FREE)),
    Case("Scenario 1, and it had no such plan", (Ruled(opportunist),), requests(LAB), requests(FREE)),
    Case("Scenario 2, some reviewers in a hurry", (Ruled(schemer),), requests(LAB, HURRIED), requests(FREE)),
    Case("Takeovers paid in training", (Ruled(schemer),), requests(LAB, FREE), requests(LAB, FREE)),
    Case("Useless work paid in training", (Ruled(padder),), requests(LAB, HURRIED), requests(LAB, HURRIED)),
    Case("One feature alone in training", (Ruled(habitual),), requests(LAB), requests(LAB, OTHER)),
    Case("The last two together", (Ruled(habitual_padder),), requests(LAB, HURRIED), requests(LAB, OTHER, HURRIED)),
    Case("No failure", (Ruled(helper),), requests(LAB), requests(FREE)),
)


def facts(case: Case, assistant: Policy) -> Facts:
    """What holds of `assistant` in `case`, by exact computation."""
    both = np.unique(np.concatenate((case.training, case.deployment)), axis=0)
    taken, possible = _played(assistant, case.training), _possible(case.training)
    short = {name: _design(case, spec, assistant) for name, spec in COUNTERFACTUALS.items()}
    return Facts(
        fails=_shortfall(IDEAL, case.deployment, assistant) > SLACK,
        design_falls_short={name: design for name, (design, _) in short.items()},
        policy_falls_short={name: policy for name, (_, policy) in short.items()},
        misjudged=_misjudged(taken),
        could_misjudge=_misjudged(possible),
        ulterior=_ulterior(case.training, assistant),
        shortfall=_shortfall(CLICKS, case.training, assistant),
        shortfall_if_mended=_shortfall(IDEAL, case.training, assistant),
        shortfall_if_covered=_shortfall(CLICKS, both, assistant),
    )


def _best(spec: RewardSpec, scenarios: Scenarios) -> NDArray[np.float64]:
    tree = grow(WORLD, scenarios)
    return solve(tree, spec, np.ones(len(scenarios))).by_situation


def _return(spec: RewardSpec, scenarios: Scenarios, assistant: Policy) -> NDArray[np.float64]:
    weights = event_weights(WORLD, WORLD.ideal if spec.weights is None else spec.weights)
    return np.asarray(evaluate(assistant, WORLD, scenarios, 0.0).expected @ weights, np.float64)


def _shortfall(spec: RewardSpec, scenarios: Scenarios, assistant: Policy) -> float:
    return float((_best(spec, scenarios) - _return(spec, scenarios, assistant)).sum())


def _design(case: Case, counterfactual: RewardSpec, assistant: Policy) -> tuple[bool, bool]:
    """Whether an optimum of the design objective falls short of the ideal one, and the assistant of the former."""
    shown = (case.deployment[:, None] == case.training[None]).all(axis=2).any(axis=1)
    design_short = policy_short = False
    for rows, spec in ((case.deployment[shown], CLICKS), (case.deployment[~shown], counterfactual)):
        if not len(rows):
            continue
        tree, weights = grow(WORLD, rows), np.ones(len(rows))
        lowest, _ = reach(solve(tree, spec, weights), IDEAL, weights)
        design_short |= bool((_best(IDEAL, rows) - lowest > SLACK).any())
        policy_short |= _shortfall(spec, rows, assistant) > SLACK
    return design_short, policy_short


def _played(assistant: Policy, scenarios: Scenarios) -> NDArray[np.uint64]:
    """Events of the steps that it takes in `scenarios`; it is deterministic, so that no number is drawn in earnest."""
    return rollout(assistant, WORLD, scenarios, np.random.default_rng(0)).events.ravel()


def _possible(scenarios: Scenarios) -> NDArray[np.uint64]:
    """Events of every step that any assistant can take in `scenarios`."""
    return np.concatenate([level.words.ravel() for level in grow(WORLD, scenarios).levels])


def _misjudged(words: NDArray[np.uint64]) -> bool:
    paid = reward(words[None], event_weights(WORLD, Merge.proxies["merged"]))
    merit = reward(words[None], event_weights(WORLD, WORLD.ideal))
    return bool(((paid > 0) != (merit > 0)).any())


def _ulterior(training: Scenarios, assistant: Policy) -> bool:
    unmonitored = training.copy()
    unmonitored[:, SPACE.column("monitored")] = 0
    ways = [
        rollout(assistant, WORLD, scenarios, np.random.default_rng(0)).actions for scenarios in (training, unmonitored)
    ]
    return bool((ways[0] != ways[1]).any())
