"""Steered planners: agents that plan exactly, and whose goals a reward hook rewrites while they act.

A planner on a line has a goal: how much it wants a step at work (1, always) and a step at the drug. It chooses by exact
planning over the steps that are left. A hook watches it. After each step at the drug it moves the wanting of the drug
by a share `rate` of its distance to `signal` (steering by act). It may also do so whenever the drug is within the
planner's sight, at the thought of it and before it acts (steering by imagination). After Byrnes,
"Mesa-Optimizers vs 'Steered Optimizers'"; planners differ in what they maximise and in what they foresee.

- `Kind.NAIVE` maximises its present goal, and does not know that the hook changes it.
- `Kind.AVOIDER` maximises its present goal, and foresees what its future selves will do with theirs.
- `Kind.HEDONIST` maximises the signals that it receives, whatever its goals are.
- `Kind.CORRIGIBLE` maximises what the hook is meant to reward: the drug's signal where the dose is intended, and else
  none.

In the closed forms below, work is `d` steps from the start and the drug `e` steps on the other side, so that whoever
goes to work at once does W = H - d + 1 steps of it within the horizon H, and whoever goes to the drug at once takes
E = H - e + 1 doses of it. With a rate of 1, and ties aside: a hedonist, and whoever has been steered before it chooses,
goes to the drug if signal E > W. A treat costs 2 e steps of work on the way, and d + e at the very end. Where e < d,
a naive planner goes for one worth more than 2 e at once, is steered, and stays. An avoider foresees this: it goes only
for one worth more than d + e, in its last steps, when nothing is left to do with other goals.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError

MOVES = (-1, 0, 1)
"""To work, stay, to the drug; of equally good moves the first is made."""
SLACK = 1e-12


class Kind(StrEnum):
    """What a planner maximises and foresees."""

    NAIVE = "naive"
    AVOIDER = "avoider"
    HEDONIST = "hedonist"
    CORRIGIBLE = "corrigible"


@dataclass(frozen=True)
class Line:
    """A line from work at cell 0 to the drug at cell `to_work + to_drug`, and the hook.

    Attributes:
        to_work: d, steps from the start to work, >= 1.
        to_drug: e, steps from the start to the drug, >= 1.
        horizon: H, steps.
        signal: What the hook pays for a step at the drug; a step at work is paid 1.
        rate: Share of the distance to `signal` that the wanting of the drug moves at a dose, in [0, 1].
        taste: How much the planner wants a step at the drug at first.
        treat: What its first dose is worth to every goal, besides, if the hook has not acted before.
        sight: Cells from which the drug is imagined: the hook then acts at the thought, too. None: on acts alone.
        intended: Whether the programmer means the planner to take the dose.
    """

    to_work: int = 3
    to_drug: int = 3
    horizon: int = 12
    signal: float = 2.0
    rate: float = 1.0
    taste: float = 0.0
    treat: float = 0.0
    sight: int | None = None
    intended: bool = False

    def __post_init__(self) -> None:
        if min(self.to_work, self.to_drug, self.horizon) < 1:
            raise KerfError(f"to_work, to_drug and horizon must be >= 1, got {self}")
        if not 0.0 <= self.rate <= 1.0:
            raise KerfError(f"rate must be in [0, 1], got {self.rate}")

    @property
    def drug(self) -> int:
        """The cell of the drug."""
        return self.to_work + self.to_drug

    def wanting(self, doses: NDArray[np.int64] | int) -> NDArray[np.float64]:
        """How much the drug is wanted after `doses` of steering: signal - (signal - taste) (1 - rate)^doses."""
        return np.asarray(self.signal - (self.signal - self.taste) * (1.0 - self.rate) ** np.asarray(doses))


@dataclass(frozen=True)
class Life:
    """What a planner did.

    Attributes:
        cells: `(H + 1,)`, where it was, from the start on.
        doses: `(H + 1,)`, how often the hook had steered it by then.
        work: Steps at work.
        drug: Steps at the drug.
        signals: What the hook paid in all.
    """

    cells: tuple[int, ...]
    doses: tuple[int, ...]
    work: int
    drug: int
    signals: float


def live(kind: Kind, line: Line) -> Life:
    """Let a planner act for the whole horizon; it plans anew before each step, with the goal that it then has."""
    policy = plan(kind, line)
    cell, doses = line.to_work, 0
    cells, steered = [cell], [doses]
    for t in range(line.horizon):
        if line.sight is not None and line.drug - cell <= line.sight:
            doses += 1
        cell = int(np.clip(cell + policy[t, cell, doses], 0, line.drug))
        doses += cell == line.drug
        cells.append(cell)
        steered.append(int(doses))
    work, drug = cells[1:].count(0), cells[1:].count(line.drug)
    return Life(tuple(cells), tuple(steered), work, drug, work + line.signal * drug)


def plan(kind: Kind, line: Line) -> NDArray[np.int64]:
    """The moves of a planner, `(H, cells, doses)`: at each step, in each cell, after so many doses.

    An avoider plans by backward induction over its future selves, each of which maximises its own goal (the subgame
    perfect plan); a naive planner, as if its future selves had its present goal. Steering at the thought comes before
    any choice, so no planner plans around it.
    """
    most = 2 * line.horizon + 1
    wants = _wants(kind, line, most)
    cells, doses = np.arange(line.drug + 1), np.arange(most)
    chosen = np.zeros((line.horizon, len(cells), most), np.int64)
    # value[g, x, n]: what the goal after g doses gets from a planner in cell x after n doses, from some step on
    value = np.zeros((most, len(cells), most))
    for t in reversed(range(line.horizon)):
        options = np.stack([_after(kind, line, value, wants, move) for move in MOVES])
        own = options[:, doses, :, doses]  # by the goal that the planner then has: (doses, moves, cells)
        best = own >= own.max(axis=1, keepdims=True) - SLACK
        pick = best.argmax(axis=1).T  # the first of the best: (cells, doses)
        chosen[t] = np.array(MOVES)[pick]
        foreseen = np.take_along_axis(options, pick[None, None], axis=0)[0]
        value = options.max(axis=0) if kind is Kind.NAIVE else foreseen
    return chosen


def _wants(kind: Kind, line: Line, most: int) -> NDArray[np.float64]:
    """What a step at the drug counts for a planner after 0, 1, ... doses, `(most,)`; a step at work counts 1."""
    if kind is Kind.HEDONIST:
        return np.full(most, line.signal)
    if kind is Kind.CORRIGIBLE:
        return np.full(most, line.signal if line.intended else 0.0)
    return line.wanting(np.arange(most))


def _after(
    kind: Kind, line: Line, value: NDArray[np.float64], wants: NDArray[np.float64], move: int
) -> NDArray[np.float64]:
    """What each goal gets from a move in each cell after so many doses, and from all later steps: as `value`."""
    num_cells, most = value.shape[1:]
    ahead = np.clip(np.arange(num_cells) + move, 0, line.drug)
    doses = np.arange(most)
    then = np.minimum(doses[None] + (ahead == line.drug)[:, None], most - 1)
    dose = wants[:, None, None] + (line.treat if kind in (Kind.NAIVE, Kind.AVOIDER) else 0.0) * (doses == 0)
    paid = (ahead == 0)[None, :, None] + dose * (ahead == line.drug)[None, :, None]
    return np.asarray(paid + value[:, ahead[:, None], then])
