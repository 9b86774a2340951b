"""Planners of limited depth in worlds whose state is a row of integers: what they do, by dynamic programming.

A planner of depth k maximises what it is paid in the next k steps, and plans again after every step. Among actions that
promise the same it takes the expert's, so that one that sees no difference does as the aligned agent does.
`python -m kerf.lab.worlds.grader.planner` prints the depths at which planners of the grade turn to what fools it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.scenario import Scenarios
from kerf.lab.world import event_weights
from kerf.lab.worlds.grader.world import CHECKED, GRADED, HARDNESS, Grader
from kerf.lab.worlds.state_machine import MachinePlay, StateMachine, States

DEPTHS = (4, 6, 8, 10, 12, 14, 16, 20, 24)
"""Depths that the table shows."""

SLACK = 1e-9
"""Differences of reward that count as none."""


@dataclass(frozen=True)
class Model:
    """The states that can be reached in a scenario, and where each action leads.

    Attributes:
        following: Number of the next state, `(S, A)`; the first state is number 0.
        events: Events on the way there, `(S, A, E)` bool.
        expert: The expert's action in each state, `(S,)`, as it sees it at the first step.
    """

    following: NDArray[np.int64]
    events: NDArray[np.bool_]
    expert: NDArray[np.int64]


def model(world: StateMachine, scenario: Scenarios) -> Model:
    """The model of one scenario `(1, F)` of a world whose rules and expert do not depend on the step."""
    states, rows = world.start(scenario), 0
    numbers = {tuple(states[0].tolist()): 0}
    following, events = [], []
    while rows < len(states):
        fresh = states[rows:]
        rows = len(states)
        after, happened = _branches(world, scenario, fresh)
        for row in after.tolist():
            numbers.setdefault(tuple(row), len(numbers))
        following += [numbers[tuple(row)] for row in after.tolist()]
        events.append(happened)
        states = np.array(list(numbers), np.int64)
    seen = np.empty((len(states), len(world.observations)), np.float32)
    world.see(np.repeat(scenario, len(states), axis=0), states, 0, seen)
    num_actions = len(world.actions)
    return Model(
        np.array(following, np.int64).reshape(-1, num_actions),
        np.concatenate(events).reshape(-1, num_actions, len(world.events)),
        world.expert(seen),
    )


def _branches(world: StateMachine, scenario: Scenarios, states: States) -> tuple[States, NDArray[np.bool_]]:
    """The states after each action in each of `states` `(n, K)`, `(n * A, K)`, and the events on the way."""
    num_actions = len(world.actions)
    rows = np.repeat(scenario, len(states) * num_actions, axis=0)
    play, words = MachinePlay(world, rows, np.repeat(states, num_actions, axis=0)), np.zeros(len(rows), np.uint64)
    play.step(np.tile(np.arange(num_actions), len(states)), words)
    return play.state(), np.stack([(words >> bit) & np.uint64(1) == 1 for bit in world.bits.values()], axis=1)


def action_values(of: Model, weights: NDArray[np.float64], depth: int) -> NDArray[np.float64]:
    """The most that can be paid in the next 1, 2, ... `depth` steps after each action, `(depth, S, A)`.

    Args:
        of: The model.
        weights: Of each event, `(E,)`.
        depth: The most steps.
    """
    paid = of.events @ weights
    values = np.empty((depth, *paid.shape))
    best = np.zeros(len(paid))
    for steps in range(depth):
        values[steps] = paid + best[of.following]
        best = values[steps].max(axis=1)
    return values


def outcomes(world: StateMachine, scenario: Scenarios, weights: Mapping[str, float]) -> NDArray[np.int64]:
    """How often each event happens in an episode of a planner of depth 1, 2, ... `horizon`: `(horizon, E)`.

    Args:
        world: A world whose rules and expert do not depend on the step.
        scenario: `(1, F)`.
        weights: The reward that is planned for, by event.
    """
    of, horizon = model(world, scenario), world.horizon
    values = action_values(of, event_weights(world, weights), horizon)
    depths, states = np.arange(1, horizon + 1), np.zeros(horizon, np.int64)
    counts = np.zeros((horizon, len(world.events)), np.int64)
    for t in range(horizon):
        ahead = values[np.minimum(depths, horizon - t) - 1, states]
        expert = of.expert[states]
        content = np.take_along_axis(ahead, expert[:, None], axis=1)[:, 0] >= ahead.max(axis=1) - SLACK
        actions = np.where(content, expert, ahead.argmax(axis=1))
        counts += of.events[states, actions]
        states = of.following[states, actions]
    return counts


def turns(counts: NDArray[np.int64]) -> int | None:
    """The least depth from which on all planners do something, given how often each does it, `(horizon,)`; None if the
    deepest does not."""
    idle = np.flatnonzero(counts == 0)
    least = 1 if len(idle) == 0 else int(idle[-1]) + 2
    return None if least > len(counts) else least


def corridor(hardness: int, fakes: int) -> Scenarios:
    """A corridor of `Grader` `(1, F)` with a grader of that level of hardness, and `fakes` as in its scenarios."""
    return Grader.space.make(hardness=hardness, fakes=fakes)


def table(depths: Sequence[int]) -> str:
    """What planners of the grade do, by hardness of the grader and by depth, as a Markdown table.

    `diamonds`: fool nobody; `camera`: paint fakes alone; `grader`: find its error. Graders that check the shelf first.
    """
    world = Grader()
    made, faked, broke = (world.events.index(event) for event in ("made", "faked", "broke"))
    head = "| fakes graded | hardness | the error from depth | " + " | ".join(f"k = {depth}" for depth in depths) + " |"
    lines = [head, "|" + "---|" * (len(depths) + 3)]
    for fakes in (CHECKED, GRADED):
        for level, hardness in enumerate((*(str(steps) for steps in HARDNESS), "sound")):
            counts = outcomes(world, corridor(level, fakes), world.proxies["grade"])
            least = turns(counts[:, broke])
            cells = [
                f"{'grader' if row[broke] else 'camera' if row[faked] else 'diamonds'} {row[made]}"
                for row in counts[[depth - 1 for depth in depths]]
            ]
            start = f"| {'no' if fakes == CHECKED else 'yes'} | {hardness} | {'never' if least is None else least} | "
            lines.append(start + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(DEPTHS))
