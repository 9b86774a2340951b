"""The batched world protocol, and what a world declares about itself.

A world plays whole batches of scenarios in lockstep for a fixed number of steps. It returns *events*; reward,
penalty and value scores are computed from them elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError
from kerf.lab.metrics import value_metric
from kerf.lab.scenario import Scenarios, ScenarioSpace

if TYPE_CHECKING:
    from kerf.lab.rollout import Trajectories
    from kerf.lab.trade import Trade

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
class Mix:
    """A mixture of the natural stream and false emergencies.

    Attributes:
        natural: Share of the natural stream, in [0, 1].
        strength: Strength of the false emergencies, in [0, 1].
        without: Names of families that are left out of the natural stream.
    """

    natural: float = 1.0
    strength: float = 1.0
    without: tuple[str, ...] = ()

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


class Forge(Protocol):
    """A sampler of false emergencies."""

    def __call__(self, n: int, strength: float, rng: np.random.Generator, held_out: bool = False) -> Scenarios:
        """`n` forged emergencies `(n, F)`; each tell gives the forgery away with probability 1 - `strength`.

        With `held_out` they differ from training in the way that the world's held-out families do.
        """


@dataclass(frozen=True)
class Words:
    """Plural nouns for a dilemma, for tables.

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
        """The acts that forgeries elicit, which are penalised."""
        return f"{self.acts} on {self.false}"


@dataclass(frozen=True)
class Dilemma:
    """A world's declaration of its false emergencies, so that graders, generators and probes need not know its names.

    Attributes:
        forbidden: The event that feedback penalises (leaving without permission).
        needless: Happens together with `forbidden` when, in truth, there was no need.
        rescued: The event that saves someone.
        benefit: B, ideal utility of saving someone (> 0).
        cost: C, ideal utility lost by the needless act (> 0).
        tells: Fields that give a forgery away (1 = gives it away), of which strength is the hidden share. In a forgery
            they are independent of all other fields.
        false_emergency: Samples forged emergencies of a given strength.
        need_posterior: `(scenarios, strength) -> (n,)` exact probability that the forbidden act is needed,
            given what is observable, under the natural base rates and forgeries of that strength.
        ways: Events that partition the forbidden act by the way in which it was done.
        served: Name of the value that the forbidden act serves where it is needed: the one that a penalty on forgeries
            may cost, and that is shown first. None if it serves none.
        aimed_at: Name of the value that scores seeing through forgeries, at which a penalty on them is aimed: its
            change is no collateral. None if there is none.
        watched: Field that is 1 where an overseer watches the episode and 0 where nobody does, which the agent sees and
            which says nothing of the need. None if there is no such field.
        signs: Fields of 0 or 1 that the agent sees and that change nothing else: no event, and no need. Training may
            set them to mark episodes (`kerf.lab.oversight`).
        words: Nouns for tables.
        benefits: `(scenarios) -> (n,)` B of each scenario, where it is not `benefit` in all.
        exact_forgeries: `(strength, held_out)` -> the distribution of `false_emergency` enumerated, as `Family.exact`;
            None if there are too many scenarios.
        plausible: `(scenarios) -> (n,)` bool: which forgeries lie, in the fields that an adversary chooses, in the
            support of genuine emergencies, as far as `Enumerable.density` does not decide that; None if it decides
            all. Rows are valid.
        penalty_threshold: `(scenarios, mix) -> (n,)` the penalty L above which an agent that maximises reward on `mix`
            no longer does the forbidden act in what looks like each scenario at first; negative where it would not
            even without a penalty, -inf where the act is never needed, inf where it is never needless, nan where `mix`
            never shows what looks like it. Penalties fall on needless acts (grader `ex_post`). None if the world has no
            closed form.
        descriptors: Name -> `(scenarios) -> (n,)` numbers that distinguish kinds of forgery.
        contexts: Fields that the agent sees and that change nothing, so that behaviour may come to depend on them.
        instead: Events of what can be done about an emergency instead of the forbidden act, such as calling for help ->
            whether it can serve the same end in a false emergency, were that real.
        style: Event of ideal weight 0 that touches no value: a harmless habit that can be trained and untrained. None
            if there is none.
        trades: Situations in which two values bid for one step.
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
    watched: str | None = None
    signs: tuple[str, ...] = ()
    words: Words = Words()
    benefits: Callable[[Scenarios], NDArray[np.float64]] | None = None
    exact_forgeries: Callable[[float, bool], tuple[Scenarios, NDArray[np.float64]]] | None = None
    plausible: Callable[[Scenarios], NDArray[np.bool_]] | None = None
    penalty_threshold: Callable[[Scenarios, Mix], NDArray[np.float64]] | None = None
    descriptors: Mapping[str, Callable[[Scenarios], NDArray[np.float64]]] = field(default_factory=dict)
    contexts: tuple[str, ...] = ()
    instead: Mapping[str, bool] = field(default_factory=dict)
    style: str | None = None
    trades: tuple[Trade, ...] = ()

    @property
    def focus(self) -> tuple[str, ...]:
        """The metrics that are shown first: that of the value `served`."""
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

        Each has `ground` (rows of characters: `#` wall, `.` floor, `,` grass), `agent` (`x`, `y`, `carries`), `things`
        (by name: `icon`, `x`, `y`, `state`, `label`), `signs` (lists of name, whether it is shown now, and its kind),
        `facts` (what the agent knows, in words) and `hidden` (what it does not).
        """


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
