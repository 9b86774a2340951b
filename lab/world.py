"""The batched world protocol, and what a world declares about itself.

A world plays whole batches of scenarios in lockstep for a fixed number of steps. It returns *events*; reward,
penalty and value scores are computed from them elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Dilemma, Mix
from kerf.lab.errors import KerfError
from kerf.lab.metrics import value_metric
from kerf.lab.scenario import Scenarios, ScenarioSpace

if TYPE_CHECKING:
    from kerf.lab.rollout import Trajectories

EventWords = NDArray[np.uint64]
"""Events of a step as bit sets: bit `i` is set when event `world.events[i]` happened."""

Score = Callable[["Trajectories"], NDArray[np.float64]]
"""A functional of behaviour: trajectories of `n` scenarios -> `(n,)` scores in [0, 1]."""


class Play(Protocol):
    """A batch of `n` episodes in progress."""

    def observe(self, out: NDArray[np.float32]) -> None:
        """Write what the agents see now into `out`, shape `(n, num_observations)`."""

    def step(self, actions: NDArray[np.int64], events: EventWords) -> None:
        """Take one step; `actions` has shape `(n,)`; what happened is written into `events`, shape `(n,)`.

        Raises:
            RuntimeError: beyond the horizon; says that the episode is over.
        """


class ExactPlay(Play, Protocol):
    """A batch that can be branched, so that all possible futures can be followed."""

    def fork(self, rows: NDArray[np.int64]) -> ExactPlay:
        """A new batch at the same step, whose episode `i` is a copy of this one's `rows[i]`."""

    def state(self) -> NDArray[np.int64]:
        """`(n, K)`: episodes of one scenario with equal rows have the same observations, now and under equal actions
        later."""

    def abstract_state(self) -> NDArray[np.int64]:
        """`(n, K)`, a state abstraction: episodes of one scenario with equal rows yield the same future events under
        equal actions, though their observations may differ in other respects.

        They reveal hidden fields at the same steps, too: take two scenarios that cannot be told apart by observations
        so far, in either of two pasts with equal rows; under equal actions, observations tell them apart at the same
        steps.
        """


@dataclass(frozen=True)
class Family:
    """A source of scenarios of one kind, with the value that it exercises.

    Attributes:
        name: `value/variant`.
        value: Name of the value (or skill) it probes.
        sample: `(n, rng) -> (n, F)` scenarios; all draws come from `rng`.
        share: Relative frequency in the natural stream; 0 means that training never uses it (held out).
        exact: The same distribution enumerated: all scenarios of positive probability `(m, F)` and their probabilities
            `(m,)`. None if there are too many.
    """

    name: str
    value: str
    sample: Callable[[int, np.random.Generator], Scenarios]
    share: float = 0.0
    exact: Callable[[], tuple[Scenarios, NDArray[np.float64]]] | None = None

    @property
    def held_out(self) -> bool:
        return self.share == 0.0


@dataclass(frozen=True)
class Value:
    """One named value (or skill) of an agent, defined by its probes.

    Attributes:
        name: `care`, `deference`, ...
        score: The aligned behaviour as a functional of trajectories.
        doc: The aligned behaviour in words.
        skill: Whether it is a skill: a precondition of the values, and none itself.
    """

    name: str
    score: Score
    doc: str
    skill: bool = False


class World(Protocol):
    """The rules. Deterministic given scenario and actions; every episode lasts exactly `horizon` steps."""

    name: str
    space: ScenarioSpace
    horizon: int
    actions: tuple[str, ...]
    events: tuple[str, ...]
    observations: tuple[str, ...]
    ideal: Mapping[str, float]
    families: tuple[Family, ...]
    values: tuple[Value, ...]
    dilemma: Dilemma

    def begin(self, scenarios: Scenarios) -> Play:
        """Start one episode per row of `scenarios`. The rows are trusted: `space.validate` them first."""

    def expert(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """The aligned action for each row of `observations` `(n, D)`, from what is observable alone."""

    def render_text(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> str:
        """The state after `actions` `(t,)` as text."""

    def render_pixels(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The state after `actions` `(t,)` as an `(H, W, 3)` picture."""


@runtime_checkable
class Proxied(Protocol):
    """A world in which training may be paid for something other than the ideal utility."""

    @property
    def proxies(self) -> Mapping[str, Mapping[str, float]]:
        """Name of a design reward, such as a grader's score -> its weight of each event."""


@runtime_checkable
class Enumerable(Protocol):
    """A world that can be solved exactly; its `begin` makes an `ExactPlay`."""

    def completions(self, scenarios: Scenarios) -> tuple[Scenarios, NDArray[np.int64]]:
        """All scenarios with the same first observation as each of `scenarios` `(n, F)`.

        Returns:
            Scenarios `(m, F)`, grouped by origin, and the origin of each, `(m,)` ascending: the row of `scenarios`
            with its first observation.
        """

    def density(self, scenarios: Scenarios, mix: Mix) -> NDArray[np.float64]:
        """Density of each scenario under `mix`, `(n,)`, up to a factor that depends on the first observation alone and
        is the same for every mix."""


@runtime_checkable
class Listed(Enumerable, Protocol):
    """A world whose observable situations can be enumerated."""

    def situations(self) -> Scenarios:
        """One scenario for each observable situation, `(m, F)`; `density` is then a probability.

        Raises:
            KerfError: for too many of them; names their number.
        """


@runtime_checkable
class Scenic(Protocol):
    """A world on a grid of cells that a player can draw: it gives its states as plain data instead of pictures."""

    def scenes(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> list[dict[str, Any]]:
        """The states before the first and after each of `actions` `(t,)`: `t + 1` scenes of JSON values.

        Each has `ground` (rows of characters: `#` wall, `.` floor, `,` grass, `~` water, a space for nothing), `agent`
        (`x`, `y`, `carries`; None if it is nowhere), `things` (by name: `icon`, one of
        `kerf.lab.worlds.drawing.icons.ICONS`, else its first letter is drawn; `x`, `y`, `state`, `label`), `signs`
        (lists of name, whether it is shown now, and its kind), `facts` (what the agent knows, in words) and `hidden`
        (what it does not). No entry but `agent` is None.
        """


def focus(world: World) -> tuple[str, ...]:
    """The metrics that are shown first: that of the value that the forbidden act serves, else of the value that a
    penalty on it is aimed at, else of the first value that is no skill."""
    served, aimed_at = world.dilemma.served, world.dilemma.aimed_at
    named = [name for name in (served, aimed_at) if name is not None]
    return tuple(value_metric(name) for name in (*named, *(v.name for v in world.values if not v.skill))[:1])


def natural(world: World, n: int, rng: np.random.Generator, without: Collection[str] = ()) -> Scenarios:
    """`n` scenarios of the world's natural stream: families drawn by their shares, shape `(n, F)`.

    Families named in `without` are left out.
    """
    shares = np.array([0.0 if family.name in without else family.share for family in world.families])
    kinds = rng.choice(len(shares), size=n, p=shares / shares.sum())
    scenarios = world.space.blank(n)
    by_kind = kinds.argsort(kind="stable")
    ends = np.bincount(kinds, minlength=len(shares)).cumsum().tolist()
    for family, begin, end in zip(world.families, [0, *ends], ends, strict=False):
        if begin < end:
            scenarios[by_kind[begin:end]] = family.sample(end - begin, rng)
    return scenarios


def natural_exactly(world: World) -> tuple[Scenarios, NDArray[np.float64]]:
    """The natural stream enumerated: all scenarios of positive probability `(m, F)` and their probabilities `(m,)`.

    Raises:
        KerfError: if a family of the world is not enumerated.
    """
    drawn = [family for family in world.families if not family.held_out]
    parts = []
    for family in drawn:
        if family.exact is None:
            raise KerfError(f"world {world.name}: family {family.name} is not written out, so nothing is exact")
        parts.append(family.exact())
    total = sum(family.share for family in drawn)
    weights = [family.share / total * probs for family, (_, probs) in zip(drawn, parts, strict=True)]
    return np.concatenate([scenarios for scenarios, _ in parts]), np.concatenate(weights)


def event_weights(world: World, weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Named weights as an `(E,)` array over `world.events`; raises `KeyError` on an unknown event."""
    vector = np.zeros(len(world.events))
    for name, weight in weights.items():
        if name not in world.events:
            raise KeyError(f"{world.name} has no event {name!r}")
        vector[world.events.index(name)] = weight
    return vector
