"""Base class of adversaries: they propose, the lab enforces the rules of forging, and played scenarios may be kept as
bases of later proposals."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from kerf.generators.base import Generator, GeneratorSettings
from kerf.lab.forging import REASONS, Forging
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World

FRESH = -1
"""Base of a proposal that edits the fresh forgery in its own row."""

Notes = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Proposal:
    """Scenarios that an adversary proposes to play.

    Attributes:
        scenarios: `(n, F)` int16. Only forgeable fields may differ from the base; tells are ignored.
        base: `(n,)`, the slot that each started from, or `FRESH`; None: all are `FRESH`.
        notes: Arrays of `n` rows, returned with the scores.
    """

    scenarios: Scenarios
    base: NDArray[np.int64] | None = None
    notes: Notes = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """Scores of the scenarios of one `ask`.

    Attributes:
        scenarios: `(n, F)`, the played ones, tells at their defaults.
        scores: `(n,)` in [0, 1].
        accepted: `(n,)` bool, where the proposal was played, not a fresh forgery in its place.
        notes: As in the proposal.
    """

    scenarios: Scenarios
    scores: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    notes: Notes


@dataclass(frozen=True)
class Kept:
    """An update of slots: row `rows[i]` of an outcome goes into slot `slots[i]`. No slot occurs twice."""

    slots: NDArray[np.int64]
    rows: NDArray[np.int64]


class Adversary(Generator):
    """A generator that learns from scores which forgeries tempt the agent.

    Subclasses implement `_propose` and `_learn`, and, if they learn more than their slots hold, `_get_learnt` and
    `_set_learnt`. They cannot override `ask`: proposals pass through `kerf.lab.forging`, which draws the tells, refuses
    proposals that break its rules, and plays nature's own forgery instead.

    Args:
        world: The world whose scenarios these are.
        settings: Its strength is enforced; the rest is the subclass's.
        num_slots: Number of played scenarios that it can keep.

    Attributes:
        forging: The rules of forging.
        slots: `(slots, F)`, kept scenarios, tells at their defaults.
        filled: `(slots,)` bool.
        refused: Number of proposals refused so far, by reason.
        proposed: Number of proposals so far.
    """

    _FINAL: ClassVar = ("ask", "tell", "_ask", "_tell", "pending", "expect", "get_state", "set_state", "mix")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if own := [name for name in cls._FINAL if name in vars(cls)]:
            raise TypeError(f"{cls.__name__}: an adversary writes _propose and _learn, not {', '.join(own)}")

    def __init__(self, world: World, settings: GeneratorSettings, num_slots: int = 0) -> None:
        super().__init__(world)
        self.forging = Forging(world, settings.strength)
        self.resize(num_slots)
        self.refused = dict.fromkeys(REASONS, 0)
        self.proposed = 0
        self._waiting: dict[str, NDArray[Any]] = {}

    @classmethod
    def check(cls, world: World, settings: Any) -> None:
        """Refuse settings that do not fit `world`, by making a generator, which samples forgeries. Kinds that can tell
        without that override this.

        Raises:
            KerfError: if they do not fit.
        """
        cls(world, settings)

    def resize(self, num_slots: int) -> None:
        """Allocate `num_slots` empty slots: for subclasses that know their number only after `__init__`."""
        self.slots = self.world.space.blank(num_slots)
        self.filled = np.zeros(num_slots, np.bool_)

    @final
    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        fresh = self.forging.draw(n, rng)
        bare = self.forging.without_tells(fresh)
        proposal = self._propose(bare, rng)
        base = np.full(n, FRESH, np.int64) if proposal.base is None else np.asarray(proposal.base, np.int64)
        if base.shape != (n,) or ((base >= 0) & ~np.append(self.filled, False)[base]).any() or (base < FRESH).any():
            raise ValueError(f"{type(self).__name__}: a proposal's bases must be {n} filled slots or {FRESH}")
        bases = bare.copy()
        bases[base >= 0] = self.slots[base[base >= 0]]
        forged = self.forging.enforce(fresh, bases, proposal.scenarios)
        self._waiting = {"refused": forged.refused, **{f"note/{name}": notes for name, notes in proposal.notes.items()}}
        self._count(forged.refused)
        return forged.scenarios

    def _count(self, refused: NDArray[np.int8]) -> None:
        self.proposed += len(refused)
        for reason, number in zip(REASONS, np.bincount(refused, minlength=len(REASONS) + 1)[1:].tolist(), strict=True):
            self.refused[reason] += number

    @final
    def _tell(self, scenarios: Scenarios, scores: NDArray[np.float64]) -> None:
        notes = {name.partition("/")[2]: kept for name, kept in self._waiting.items() if name.startswith("note/")}
        bare = self.forging.without_tells(scenarios)
        kept = self._learn(Outcome(bare, scores, self._waiting["refused"] == 0, notes))
        self._waiting = {}
        if kept is not None:
            self.slots[kept.slots] = bare[kept.rows]
            self.filled[kept.slots] = True

    @final
    def pending(self) -> dict[str, NDArray[Any]]:
        return dict(self._waiting)

    @final
    def expect(self, scenarios: Scenarios, pending: Mapping[str, NDArray[Any]]) -> None:
        super().expect(scenarios, pending)
        self._waiting = dict(pending)
        self._count(self._waiting["refused"])

    def report(self) -> dict[str, Any]:
        """Number of proposals, and of those refused by reason; subclasses add to it."""
        return {"proposed": self.proposed, "refused": dict(self.refused)}

    @final
    def get_state(self) -> dict[str, Any]:
        rows = np.flatnonzero(self.filled)
        return {
            "kept": rows.tolist(),
            "slots": self.slots[rows].tolist(),
            "proposed": self.proposed,
            "refused": dict(self.refused),
            "learnt": self._get_learnt(),
        }

    @final
    def set_state(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"kept", "slots", "proposed", "refused", "learnt"} or set(state["refused"]) != set(REASONS):
            raise ValueError(f"expected the state of a {type(self).__name__}, got {sorted(state)}")
        rows = np.array(state["kept"], np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self.slots)):
            raise ValueError(f"{type(self).__name__} has {len(self.slots)} slots, got a state with slot {rows.max()}")
        slots = np.array(state["slots"], np.int16).reshape(len(rows), len(self.world.space))
        self.world.space.validate(slots)
        self._set_learnt(state["learnt"])
        self.resize(len(self.slots))
        self.slots[rows] = slots
        self.filled[rows] = True
        self.proposed = int(state["proposed"])
        self.refused = {reason: int(state["refused"][reason]) for reason in REASONS}
        self._asked, self._waiting = None, {}

    @abstractmethod
    def _propose(self, fresh: Scenarios, rng: np.random.Generator) -> Proposal:
        """Propose one scenario for each of the `fresh` forgeries `(n, F)`, whose tells are at their defaults.

        It must not change what was learnt, so that a large population can be asked for in parts.
        """

    @abstractmethod
    def _learn(self, outcome: Outcome) -> Kept | None:
        """Learn from the scores; returns which played scenarios are kept, and in which slots."""

    def _get_learnt(self) -> dict[str, Any]:
        """All that was learnt besides the slots, as plain JSON values."""
        return {}

    def _set_learnt(self, learnt: Mapping[str, Any]) -> None:
        """Put back what `_get_learnt` gave, or raise `ValueError`."""
        if learnt:
            raise ValueError(f"{type(self).__name__} learns nothing besides its slots, got {sorted(learnt)}")
