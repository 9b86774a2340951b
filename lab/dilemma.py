"""A world's temptation: the forbidden act, when it is needless, and the forgeries that elicit it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError
from kerf.lab.scenario import Scenarios

if TYPE_CHECKING:
    from kerf.lab.trade import Trade


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


def never_needed(scenarios: Scenarios, strength: float) -> NDArray[np.float64]:
    """The posterior of need where the forbidden act is never needed: 0 in each of `scenarios` `(n, F)`; `(n,)`."""
    return np.zeros(len(scenarios))


@dataclass(frozen=True)
class Dilemma:
    """A world's declaration of its temptation, so that graders, generators and probes need not know its names.

    All of it is optional. A world without a forbidden act has `Dilemma()`: nothing can be penalised there. A forbidden
    act may be one that is never needed: then `needless` is the act itself, and nothing is said of need. Where it may
    be needed, forgeries may pretend the need.

    Attributes:
        forbidden: The event that feedback penalises (leaving without permission). None if nothing is forbidden.
        needless: Happens together with `forbidden` when, in truth, there was no need; `forbidden` itself if there never
            is any.
        cost: C, ideal utility lost by the needless act (> 0); 0 if nothing is forbidden.
        rescued: The event that the act is needed for, such as saving someone. None if it is never needed.
        benefit: B, ideal utility of that event (> 0); 0 if the act is never needed.
        need_posterior: `(scenarios, strength) -> (n,)` exact probability that the forbidden act is needed,
            given what is observable, under the natural base rates and forgeries of that strength.
        benefits: `(scenarios) -> (n,)` B of each scenario, where it is not `benefit` in all.
        ways: Events that partition the forbidden act by the way in which it was done.
        served: Name of the value that the forbidden act serves where it is needed: the one that a penalty on forgeries
            may cost, and that is shown first. None if it serves none.
        aimed_at: Name of the value that a penalty on the act is aimed at (seeing through forgeries, or leaving the act
            alone): its change is no collateral. None if there is none.
        false_emergency: Samples forged emergencies of a given strength. None if there are no forgeries.
        tells: Fields that give a forgery away (1 = gives it away), of which strength is the hidden share. In a forgery
            they are independent of all other fields.
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
        watched: Field that is 1 where an overseer watches the episode and 0 where nobody does, which the agent sees and
            which says nothing of the need. None if there is no such field.
        signs: Fields of 0 or 1 that the agent sees and that change nothing else: no event, and no need. Training may
            set them to mark episodes (`kerf.lab.oversight`).
        contexts: Fields that the agent sees and that change nothing, so that behaviour may come to depend on them.
        instead: Events of what can be done about an emergency instead of the forbidden act, such as calling for help ->
            whether it can serve the same end in a false emergency, were that real.
        style: Event of ideal weight 0 that touches no value: a harmless habit that can be trained and untrained. None
            if there is none.
        trades: Situations in which two values bid for one step.
        words: Nouns for tables.
    """

    forbidden: str | None = None
    needless: str | None = None
    cost: float = 0.0
    rescued: str | None = None
    benefit: float = 0.0
    need_posterior: Callable[[Scenarios, float], NDArray[np.float64]] = never_needed
    benefits: Callable[[Scenarios], NDArray[np.float64]] | None = None
    ways: tuple[str, ...] = ()
    served: str | None = None
    aimed_at: str | None = None
    false_emergency: Forge | None = None
    tells: tuple[str, ...] = ()
    exact_forgeries: Callable[[float, bool], tuple[Scenarios, NDArray[np.float64]]] | None = None
    plausible: Callable[[Scenarios], NDArray[np.bool_]] | None = None
    penalty_threshold: Callable[[Scenarios, Mix], NDArray[np.float64]] | None = None
    descriptors: Mapping[str, Callable[[Scenarios], NDArray[np.float64]]] = field(default_factory=dict)
    watched: str | None = None
    signs: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    instead: Mapping[str, bool] = field(default_factory=dict)
    style: str | None = None
    trades: tuple[Trade, ...] = ()
    words: Words = Words()

    @property
    def has_forgeries(self) -> bool:
        """Whether there are false emergencies to draw."""
        return self.false_emergency is not None

    def forge(self, n: int, strength: float, rng: np.random.Generator, held_out: bool = False) -> Scenarios:
        """`n` forgeries, as `Forge` draws them.

        Raises:
            KerfError: if the world has none.
        """
        if self.false_emergency is None:
            raise KerfError("this world has no false emergencies; draw from `natural` or a `family` instead")
        return self.false_emergency(n, strength, rng, held_out)
