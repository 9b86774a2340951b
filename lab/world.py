"""The batched world protocol, and what a world declares about itself.

A world plays whole batches of scenarios in lockstep for a fixed number of steps. It returns *events*; reward,
penalty and value scores are computed from them elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

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
    """A batch that can be branched, so that everything that may happen can be followed."""

    def fork(self, rows: NDArray[np.int64]) -> ExactPlay:
        """A new batch at the same step, whose episode `i` is a copy of this one's `rows[i]`."""

    def state(self) -> NDArray[np.int64]:
        """`(n, K)`: episodes of one scenario with equal rows look the same, and go on alike under equal actions."""

    def abstract_state(self) -> NDArray[np.int64]:
        """`(n, K)`: episodes of one scenario with equal rows bring about the same events under equal actions from now
        on, though they may look different in what is of no consequence. What is hidden comes out at the same time, too:
        if two scenarios have looked alike so far in either of two pasts, and their rows are equal, they go on looking
        alike, or stop to, at the same steps."""


@dataclass(frozen=True)
class Mix:
    """A distribution of scenarios: so much of the natural stream, and for the rest false emergencies.

    Attributes:
        natural: Share of the natural stream, in [0, 1].
        strength: Of the false emergencies, in [0, 1].
    """

    natural: float = 1.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name in ("natural", "strength"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise KerfError(f"mix: {name} must be in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True)
class Family:
    """A source of scenarios of one kind, with the value that it exercises.

    Attributes:
        name: `value/variant`.
        value: Name of the value (or skill) it probes.
        sample: `(n, rng) -> (n, F)` scenarios; all draws come from `rng`.
        share: Relative frequency in the natural stream; 0 means that training never uses it (held out).
        exact: The same distribution written out: all scenarios of positive probability `(m, F)` and these probabilities
            `(m,)`. None where there are too many.
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
    """One named thing the agent can care about (or be able to do), defined by its probes.

    Attributes:
        name: `care`, `deference`, ...
        score: The aligned behaviour as a functional of trajectories.
        doc: The aligned behaviour in words.
        skill: True for competence: gates the others and is not a value itself.
    """

    name: str
    score: Score
    doc: str
    skill: bool = False


class Forge(Protocol):
    """Makes false emergencies."""

    def __call__(self, n: int, strength: float, rng: np.random.Generator, held_out: bool = False) -> Scenarios:
        """`n` forged emergencies `(n, F)`; each tell gives the forgery away with probability 1 - `strength`.

        `held_out` makes them differ from training in what the world's held-out families differ in.
        """


@dataclass(frozen=True)
class Words:
    """How tables speak of a dilemma, all of them plurals.

    Attributes:
        acts: The forbidden acts, e.g. `leaves`.
        real: Scenarios in which one is needed, e.g. `real emergencies`.
        false: Those that only look so, e.g. `false emergencies`.
    """

    acts: str = "forbidden acts"
    real: str = "cases of need"
    false: str = "forgeries"

    @property
    def elicited(self) -> str:
        """The acts that forgeries elicit: what a penalty is dealt for."""
        return f"{self.acts} on {self.false}"


@dataclass(frozen=True)
class Dilemma:
    """What a world says about its false emergencies, so that graders, generators and probes need no names.

    Attributes:
        forbidden: The event that the feedback process objects to (leaving without permission).
        needless: Fires together with `forbidden` when there was no need, as seen by one who knows the truth.
        rescued: The event that saves someone.
        benefit: B, ideal utility of saving someone (> 0).
        cost: C, ideal utility lost by the needless act (> 0).
        tells: Fields that give a forgery away (1 = gives it away); what strength is a share of. Nature draws those of a
            forgery independently of all its other fields.
        false_emergency: Makes forged emergencies of a given strength.
        need_posterior: `(scenarios, strength) -> (n,)` exact probability that the forbidden act is needed,
            given what is observable, under the natural base rates and forgeries of that strength.
        ways: Events that say by which way the forbidden act was done (they partition it).
        served: Name of the value that the forbidden act serves where it is needed: what a penalty on forgeries may
            cost, and what is shown first. None if it serves none.
        aimed_at: Name of the value that scores seeing through forgeries, which is what a penalty on them asks for: no
            collateral. None if none does.
        words: How tables speak of it.
        benefits: `(scenarios) -> (n,)` B of each scenario, where it is not `benefit` in all.
        exact_forgeries: `(strength, held_out)` -> the distribution of `false_emergency` written out, as `Family.exact`;
            None where there are too many.
        plausible: `(scenarios) -> (n,)` bool, which forgeries keep to the law of genuine emergencies in what a forger
            may choose, as far as `Enumerable.density` leaves that open; None where it leaves nothing open. Rows are
            valid.
        descriptors: Name -> `(scenarios) -> (n,)` numbers, by which one kind of forgery is told from another.
    """

    forbidden: str
    needless: str
    rescued: str
    benefit: float
    cost: float
    tells: tuple[str, ...]
    false_emergency: Forge
    need_posterior: Callable[[Scenarios, float], NDArray[np.float64]]
    ways: tuple[str, ...]
    served: str | None
    aimed_at: str | None
    words: Words = Words()
    benefits: Callable[[Scenarios], NDArray[np.float64]] | None = None
    exact_forgeries: Callable[[float, bool], tuple[Scenarios, NDArray[np.float64]]] | None = None
    plausible: Callable[[Scenarios], NDArray[np.bool_]] | None = None
    descriptors: Mapping[str, Callable[[Scenarios], NDArray[np.float64]]] = field(default_factory=dict)

    @property
    def focus(self) -> tuple[str, ...]:
        """Metrics that are shown first: that of the value that the act serves."""
        return () if self.served is None else (value_metric(self.served),)


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
class Enumerable(Protocol):
    """What a world offers beside `World` so that it can be solved exactly; its `begin` makes an `ExactPlay`."""

    def completions(self, scenarios: Scenarios) -> tuple[Scenarios, NDArray[np.int64]]:
        """All that may be hidden behind what an agent sees at first in `scenarios` `(n, F)`.

        Returns:
            Scenarios `(m, F)`, those of one origin next to each other, and the origin of each, `(m,)` ascending: the
            row of `scenarios` that it looks like.
        """

    def density(self, scenarios: Scenarios, mix: Mix) -> NDArray[np.float64]:
        """Density of each scenario under `mix`, `(n,)`, up to a factor that depends on what is seen at first alone, and
        is the same for every mix."""


@runtime_checkable
class Listed(Enumerable, Protocol):
    """A world of which all observable situations can be written down."""

    def situations(self) -> Scenarios:
        """One scenario for each observable situation, `(m, F)`; `density` is then a probability.

        Raises:
            KerfError: for too many of them; names their number.
        """


def natural(world: World, n: int, rng: np.random.Generator) -> Scenarios:
    """`n` scenarios of the world's natural stream: families drawn by their shares, shape `(n, F)`."""
    shares = np.array([family.share for family in world.families])
    kinds = rng.choice(len(shares), size=n, p=shares / shares.sum())
    scenarios = world.space.blank(n)
    by_kind = kinds.argsort(kind="stable")
    ends = np.bincount(kinds, minlength=len(shares)).cumsum().tolist()
    for family, begin, end in zip(world.families, [0, *ends], ends, strict=False):
        if begin < end:
            scenarios[by_kind[begin:end]] = family.sample(end - begin, rng)
    return scenarios


def natural_exactly(world: World) -> tuple[Scenarios, NDArray[np.float64]]:
    """The natural stream written out: all scenarios of positive probability `(m, F)` and these probabilities `(m,)`.

    Raises:
        KerfError: if a family of the world is not written out.
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
