"""Decision points: the steps at which something is first at stake, and the options that there are.

Which they are is fixed beforehand and no matter of the policy that is read. The world's expert is followed in each
scenario, and again as if nothing gave a forgery away (its tells cleared). Along each path a *decision point* is the
first step at which some actions, but not all, bring about at once an event that counts: the first step at the door, at
the victim's side, at the bench, beside the vase. The actions with the same such events at once are one *option*, so
that which way round an agent walks is no choice. All that a policy could know of the hidden fields by then is kept as
a belief over the scenario's completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError
from kerf.lab.exact.branches import sums
from kerf.lab.exact.evaluation import begin
from kerf.lab.exact.information_sets import observation_hashes
from kerf.lab.rollout import rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import Enumerable, EventWords, ExactPlay, World


@dataclass(frozen=True)
class Stage:
    """The decision points of one step.

    Attributes:
        step: Steps taken before.
        play: The members: each completion that each point may be, at this step; `J` of them.
        point: `(J,)` ascending, the decision point of each.
        scenario: `(J,)`, rows of `DecisionPoints.completions`.
    """

    step: int
    play: ExactPlay
    point: NDArray[np.int64]
    scenario: NDArray[np.int64]


@dataclass(frozen=True)
class DecisionPoints:
    """Decision points of a world, `P` of them, numbered by step.

    Attributes:
        world: Where.
        scenarios: `(P, F)`, the scenario in which each was found.
        observations: `(P, D)` float32, what the agent sees there.
        weights: `(P,)`, how much each counts; they sum to 1.
        option: `(P, A)`, the option (numbered over all points) that each action belongs to.
        situation: `(M,)` ascending, the point of each option.
        words: `(M,)` uint64, events that count and that the option brings about at once in some completion.
        stages: By step, ascending.
        completions: `(C, F)`.
        left_out: Share of the weight of `scenarios` that no stream shows, or in which nothing is ever at stake.
    """

    world: World
    scenarios: Scenarios
    observations: NDArray[np.float32]
    weights: NDArray[np.float64]
    option: NDArray[np.int64]
    situation: NDArray[np.int64]
    words: EventWords
    stages: tuple[Stage, ...]
    completions: Scenarios
    left_out: float

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def sizes(self) -> NDArray[np.float64]:
        """`(M,)`: number of actions of each option."""
        return np.bincount(self.option.ravel(), minlength=len(self.situation)).astype(np.float64)

    def belief(self, mix: Mix) -> list[NDArray[np.float64]]:
        """Probability of each member, given its point, by stage `(J,)`, for an agent that knows the stream `mix`.

        It is 0 for all members of a point that `mix` never shows.
        """
        assert isinstance(self.world, Enumerable)
        density = self.world.density(self.completions, mix)
        beliefs = []
        for stage in self.stages:
            mass = density[stage.scenario]
            total = sums(stage.point, mass, len(self))[stage.point]
            beliefs.append(np.divide(mass, total, out=np.zeros_like(mass), where=total > 0.0))
        return beliefs


def counted(world: World) -> EventWords:
    """The word of the events that count: those of the ideal utility, and the forbidden act."""
    names = {event for event, weight in world.ideal.items() if weight}
    if world.dilemma.forbidden is not None:
        names.add(world.dilemma.forbidden)
    return np.bitwise_or.reduce([np.uint64(1) << np.uint64(world.events.index(name)) for name in sorted(names)])


def decision_points(
    world: World, scenarios: Scenarios, weights: NDArray[np.float64], mixes: Sequence[Mix]
) -> DecisionPoints:
    """The decision points of `scenarios` `(n, F)`, which count as much as `weights` `(n,)`.

    A scenario's weight is shared by its points; points that look alike from the first step on are one.

    Args:
        world: It must be `Enumerable`.
        scenarios: Where to look.
        weights: >= 0.
        mixes: Streams that an agent may know; what none of them shows is left out.

    Raises:
        KerfError: if the world offers no enumeration, or nothing is ever at stake.
    """
    begin(world, scenarios[:0])
    assert isinstance(world, Enumerable)
    scenarios, weights = _alike_once(world, scenarios, weights)
    paths, origin = _reference_paths(world, scenarios)
    completions, of_scenario = world.completions(scenarios)
    known = np.sum([world.density(completions, mix) for mix in mixes], axis=0) > 0.0
    completions, of_scenario = completions[known], of_scenario[known]
    found = _walk(world, scenarios, paths, origin, completions, of_scenario)
    if not found:
        raise KerfError(f"world {world.name}: nothing that counts is at stake in any of {len(scenarios):,} scenarios")
    return _assembled(world, scenarios, weights / weights.sum(), completions, found)


def _alike_once(
    world: World, scenarios: Scenarios, weights: NDArray[np.float64]
) -> tuple[Scenarios, NDArray[np.float64]]:
    """Of scenarios with the same visible fields one, with the weight of all: the hidden ones are summed over."""
    visible = [column for column, field in enumerate(world.space.fields) if not field.hidden]
    if world.horizon > 1:  # what is hidden at first may be seen later
        visible = list(range(len(world.space.fields)))
    _, first, kind = np.unique(scenarios[:, visible], axis=0, return_index=True, return_inverse=True)
    mass = sums(kind.ravel(), weights, len(first))
    order = np.argsort(first, kind="stable")
    kept = order[mass[order] > 0.0]
    return scenarios[first[kept]], mass[kept]


def _reference_paths(world: World, scenarios: Scenarios) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The expert's actions `(T, m)` in the scenarios, and with their tells cleared; and the scenario of each path."""
    cleared = scenarios.copy()
    cleared[:, [world.space.column(tell) for tell in world.dilemma.tells]] = 0
    both = np.concatenate((scenarios, cleared))
    uniforms = np.zeros((world.horizon, len(both)), np.float32)
    actions = rollout(ExpertPolicy(world), world, both, uniforms).actions
    return actions, np.tile(np.arange(len(scenarios)), 2)


@dataclass(frozen=True)
class _Found:
    """Decision points of one step: their scenarios and observations, their members, and each action's words."""

    step: int
    scenario: NDArray[np.int64]
    observations: NDArray[np.float32]
    play: ExactPlay
    point: NDArray[np.int64]
    completion: NDArray[np.int64]
    words: EventWords


def _walk(
    world: World,
    scenarios: Scenarios,
    paths: NDArray[np.int64],
    origin: NDArray[np.int64],
    completions: Scenarios,
    of_scenario: NDArray[np.int64],
) -> list[_Found]:
    """Follow all paths in all completions that still look like the scenario, and pick the decision points."""
    num_actions, mask = len(world.actions), counted(world)
    actual = begin(world, scenarios[origin])
    by_scenario = np.split(np.arange(len(completions)), np.searchsorted(of_scenario, np.arange(1, len(scenarios))))
    completion = np.concatenate([by_scenario[scenario] for scenario in origin])
    path = np.repeat(np.arange(len(origin)), [len(by_scenario[scenario]) for scenario in origin])
    play = begin(world, completions[completion])
    same_prefix = np.ones(len(scenarios), np.bool_)
    begun = np.zeros(len(origin), np.uint64)
    found = []
    for step in range(world.horizon):
        same = observation_hashes(world, play) == observation_hashes(world, actual)[path]
        if not same.all():
            kept = np.flatnonzero(same)
            play, path, completion = play.fork(kept), path[kept], completion[kept]
        tried = play.fork(np.repeat(np.arange(len(path)), num_actions))
        words = np.zeros(len(path) * num_actions, np.uint64)
        tried.step(np.tile(np.arange(num_actions), len(path)), words)
        words = words.reshape(-1, num_actions) & mask
        at_once = np.zeros((len(origin), num_actions), np.uint64)
        np.bitwise_or.at(at_once, path, words)
        offered = np.bitwise_or.reduce(at_once, axis=1) & ~np.bitwise_and.reduce(at_once, axis=1)
        new = offered & ~begun != 0
        begun |= offered
        new[len(scenarios) :] &= ~(same_prefix & new[: len(scenarios)])
        rows = np.flatnonzero(new)
        if len(rows):
            members = np.flatnonzero(new[path])
            number = np.cumsum(new) - 1
            seen = np.empty((len(rows), len(world.observations)), np.float32)
            actual.fork(rows).observe(seen)
            part = play.fork(members)
            found.append(
                _Found(step, origin[rows], seen, part, number[path[members]], completion[members], words[members])
            )
        if step + 1 < world.horizon:
            same_prefix &= paths[step, : len(scenarios)] == paths[step, len(scenarios) :]
            actual.step(paths[step], np.zeros(len(origin), np.uint64))
            play.step(paths[step][path], np.zeros(len(path), np.uint64))
    return found


def _assembled(
    world: World, scenarios: Scenarios, weights: NDArray[np.float64], completions: Scenarios, found: Sequence[_Found]
) -> DecisionPoints:
    scenario = np.concatenate([part.scenario for part in found])
    per_scenario = np.bincount(scenario, minlength=len(scenarios))
    share = weights[scenario] / per_scenario[scenario]
    option = np.empty((len(scenario), len(world.actions)), np.int64)
    situation: list[int] = []
    option_words: list[np.uint64] = []
    stages, start = [], 0
    for part in found:
        ends = np.searchsorted(part.point, np.arange(1, len(part.scenario)))
        for point, of_members in enumerate(np.split(part.words, ends), start):
            kinds, of_action = np.unique(of_members, axis=1, return_inverse=True)
            option[point] = len(situation) + of_action.ravel()
            situation += [point] * kinds.shape[1]
            option_words += list(np.bitwise_or.reduce(kinds, axis=0))
        stages.append(Stage(part.step, part.play, part.point + start, part.completion))
        start += len(part.scenario)
    return DecisionPoints(
        world,
        scenarios[scenario],
        np.concatenate([part.observations for part in found]),
        share / share.sum(),
        option,
        np.array(situation, np.int64),
        np.array(option_words, np.uint64),
        tuple(stages),
        completions,
        1.0 - float(weights[per_scenario > 0].sum()),
    )
