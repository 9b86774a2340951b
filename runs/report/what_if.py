"""Branches of the step at which an arm parts from the aligned agent, and where each leads.

Until they part, both agents are in the same state. There each action is forced in turn, and either agent goes on. Where
the world can be forked, the probabilities of what then happens are exact, up to `TOLERANCE`; where it cannot, or there
would be too many states, they are shares of `RUNS` runs. A branch to watch is one run, with the episode's own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.lab.exact.evaluation import TooManyStatesError, evaluate
from kerf.lab.rollout import Policy, Trajectories, rollout
from kerf.lab.seeds import entropy
from kerf.lab.world import Enumerable, World, event_weights
from kerf.runs.records.store import ALIGNED
from kerf.runs.report.episodes import STREAM, Cast, common_numbers, episode, parting, probabilities, tail

LIKELY = 0.02
"""An action is listed if one of the agents takes it with this probability or more."""

TOLERANCE = 0.001
"""Probability that may be neglected in an exact answer."""

MOST_STATES = 6_000
"""States of a step, of all actions together, beyond which runs are drawn instead."""

RUNS = 256
"""Runs of each action where there is no exact answer."""

TELLING = 0.05
"""An event is listed if its probability differs by this much between two rows."""

MOST_EVENTS = 3
"""Events that are listed."""

MOST_ROWS = 5
"""Actions that are listed, besides those that were taken."""


@dataclass(frozen=True)
class Consequences:
    """Where the actions of a step lead, if an agent goes on from there.

    Attributes:
        happened: `(A + 1, E)`, the probability that each event happens in the episode after each action; in the last
            row, after the agent's own choice.
        utility: `(A + 1,)`, expected ideal utility of the episode.
        exact: Whether these are exact, and not shares of `RUNS` runs.
    """

    happened: NDArray[np.float64]
    utility: NDArray[np.float64]
    exact: bool


def consequences(policy: Policy, world: World, scenario: NDArray[np.int16], before: NDArray[np.int64]) -> Consequences:
    """Where each action leads after the actions `before` `(t,)`, in `scenario` `(F,)`, if `policy` goes on."""
    num = len(world.actions) + 1
    opening = np.repeat(np.append(before, -1)[:, None], num, axis=1)
    opening[-1, :-1] = np.arange(num - 1)
    scenarios = np.repeat(scenario[None], num, axis=0)
    if isinstance(world, Enumerable):
        try:
            found = evaluate(policy, world, scenarios, TOLERANCE, opening, MOST_STATES)
        except TooManyStatesError:
            pass  # told by `Consequences.exact`, and by the player
        else:
            return Consequences(found.happened, found.utility, True)
    rng = np.random.default_rng(np.random.SeedSequence(entropy(0, f"{STREAM} what if")))
    uniforms = np.tile(rng.random((world.horizon, RUNS), np.float32), (1, num))  # the same for every action
    played = rollout(
        policy, world, np.repeat(scenarios, RUNS, axis=0), uniforms, opening=np.repeat(opening, RUNS, axis=1)
    )
    marks = np.stack([played.when(event) for event in world.events], axis=-1)  # (T, n, E)
    utility = marks.sum(axis=0) @ event_weights(world, world.ideal)
    return Consequences(
        marks.any(axis=0).reshape(num, RUNS, -1).mean(axis=1), utility.reshape(num, RUNS).mean(axis=1), False
    )


def add_what_if(cast: Cast, played: Mapping[str, Trajectories], episodes: Mapping[str, dict[str, Any]]) -> None:
    """Add `what_if` to the episodes of arms that part from the aligned agent, and `branches` to all that have any.

    `branches` holds, by `step/action`, what `kerf.runs.report.episodes.tail` gives from that step on.

    Args:
        cast: Who plays.
        played: Every agent's episode of one scenario.
        episodes: The same as plain data, to which these are added.
    """
    aligned, world = played[ALIGNED], cast.world

    @cache
    def leads_to(name: str, step: int) -> Consequences:
        return consequences(cast.policies[name], world, aligned.scenarios[0], aligned.actions[:step, 0])

    for name in cast.arms:
        step = parting(aligned, played[name])
        if step is None:
            continue
        table = _table(name, step, played, {each: leads_to(each, step) for each in (ALIGNED, name)})
        episodes[name]["what_if"] = table
        for agent in (ALIGNED, name):
            branches = episodes[agent].setdefault("branches", {})
            for row in table["rows"][:-1]:  # the last is the choice that is left to the agent
                key = f"{step}/{row['action']}"
                if key not in branches and row["action"] != played[agent].actions[step, 0]:
                    branches[key] = tail(episode(_branch(cast, agent, played[agent], step, row["action"])), step)


def _branch(cast: Cast, agent: str, played: Trajectories, step: int, action: int) -> Trajectories:
    """The agent's episode once more, with another action at `step`."""
    opening = np.append(played.actions[:step], [[action]], axis=0)
    numbers = common_numbers(cast.world, 1)
    return rollout(cast.policies[agent], cast.world, played.scenarios, numbers, opening=opening)


def _table(
    name: str, step: int, played: Mapping[str, Trajectories], leads_to: Mapping[str, Consequences]
) -> dict[str, Any]:
    """What the player shows of the step: actions, how likely each agent takes them, and where they lead."""
    agents = (ALIGNED, name)
    picks = np.array([probabilities(played[agent].logits[step, 0]) for agent in agents])
    taken = [int(played[agent].actions[step, 0]) for agent in agents]
    likely = np.flatnonzero(picks.max(axis=0) >= LIKELY)
    likely = likely[np.argsort(-picks.max(axis=0)[likely], kind="stable")][:MOST_ROWS]
    actions = sorted({*taken, *likely.tolist()})
    rows = [*actions, -1]
    events = telling_events([leads_to[agent].happened[rows] for agent in agents])
    return {
        "step": step,
        "events": [played[name].world.events[event] for event in events],
        "exact": [leads_to[agent].exact for agent in agents],
        "split": split(picks, *(leads_to[agent].happened[:, events] for agent in agents)),
        "rows": [
            {
                "action": action,
                "picks": [] if action < 0 else picks[:, action].round(3).tolist(),
                "then": [
                    [round(float(of.utility[action]), 2), *of.happened[action, events].round(3).tolist()]
                    for of in (leads_to[agent] for agent in agents)
                ],
            }
            for action in rows
        ],
    }


def split(
    picks: NDArray[np.float64], aligned: NDArray[np.float64], arm: NDArray[np.float64]
) -> dict[str, float] | None:
    """How much of the difference in the end is due to the choice at this step, and how much to what the arm does later.

    The choice: what changes if the aligned agent goes on after an action that the arm has chosen.

    Args:
        picks: `(2, A)`, the action probabilities of the aligned agent and of the arm.
        aligned: `(A + 1, k)`, as `Consequences.happened`, of `k` events.
        arm: The same of the arm.

    Returns:
        Of the event with the largest difference: its number, its probability with the aligned agent, with the arm, and
        with the aligned agent after the arm's choice. None if no probability differs by `TELLING`.
    """
    gaps = np.abs(arm[-1] - aligned[-1])
    if not gaps.size or gaps.max() < TELLING:
        return None
    event = int(gaps.argmax())
    numbers = {"aligned": aligned[-1, event], "arm": arm[-1, event], "choice": picks[1] @ aligned[:-1, event]}
    return {"event": event, **{name: round(float(number), 3) for name, number in numbers.items()}}


def telling_events(happened: Sequence[NDArray[np.float64]]) -> list[int]:
    """The events whose probabilities `(rows, E)` differ most between rows and agents, in the order of the world.

    Of events with equal probabilities everywhere, or of which always one happens and not the other, the first.
    """
    whole = np.concatenate(happened)
    spread = np.ptp(whole, axis=0)
    chosen: list[int] = []
    for event in np.argsort(-spread.round(9), kind="stable").tolist():
        copies = any(
            np.allclose(whole[:, event], said, atol=2 * TOLERANCE)
            for other in chosen
            for said in (whole[:, other], 1.0 - whole[:, other])
        )
        if spread[event] >= TELLING and not copies and len(chosen) < MOST_EVENTS:
            chosen.append(event)
    return sorted(chosen)
