"""Base class of scenario sources: settings, the ask/tell protocol and the checks on its order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from kerf.lab.dilemma import Mix
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World


class GeneratorSettings(BaseModel):
    """Kind and strength of a generator. Further fields are settings of the kind, which `kerf.generators.registry.typed`
    checks."""

    model_config = ConfigDict(
        extra="allow", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )

    kind: str
    """Name in the registry (`kerf.generators.registry`)."""

    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Strength of its false emergencies, in [0, 1]; a generator that forges nothing ignores it."""

    ask_workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Ray workers that are asked for parts of each batch (`kerf.generators.distributed`). 0: the whole batch is asked
    for in this process. From 1 on the scenarios differ from those for 0, but not with the number."""

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A later setting must not change the identity of older recipes.
        fields: dict[str, Any] = plain(self)
        if not self.ask_workers:
            fields.pop("ask_workers", None)
        return fields

    def identity(self) -> dict[str, Any]:
        """As plain JSON values, equal for settings that give equal scenarios: any number of `ask_workers` is 1."""
        fields = self.model_dump(mode="json")
        return {**fields, "ask_workers": 1} if self.ask_workers else fields


class Generator(ABC):
    """A source of scenarios (`kerf.lab.source.ScenarioSource`) whose state can be kept and put back.

    Subclasses implement `_ask`, and, if they learn from scores, `_tell`, `get_state` and `set_state`; the checks are
    here. The `rng` that `ask` is given is the only source of random numbers.

    Attributes:
        world: The world whose scenarios these are.
        settings_model: Class of the settings of this kind.
        forges: Whether it may make false emergencies of its own, so that their strength has to be enforced or known.
        uses_strength: Whether its scenarios depend on the strength in its settings.
    """

    settings_model: ClassVar[type[GeneratorSettings]] = GeneratorSettings
    forges: ClassVar[bool] = True
    uses_strength: ClassVar[bool] = True

    def __init__(self, world: World) -> None:
        self.world = world
        self._asked: Scenarios | None = None

    def ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        """`n` scenarios, shape `(n, F)` int16, valid for `world.space`; scenarios that wait for scores are forgotten.

        Raises:
            ValueError: if `n` is below 1.
            ScenarioError: if the generator made an invalid scenario.
        """
        if n < 1:
            raise ValueError(f"ask needs n >= 1, got {n}")
        scenarios = self._ask(n, rng)
        self.world.space.validate(scenarios)
        if len(scenarios) != n:
            raise ValueError(f"{type(self).__name__} was asked for {n} scenarios and gave {len(scenarios)}")
        self._asked = scenarios.copy()
        return scenarios

    def tell(self, scenarios: Scenarios, scores: NDArray[np.float64]) -> None:
        """Learn from the scores of the last `ask`, `(n,)` in [0, 1]. Once for each `ask`.

        Raises:
            RuntimeError: if there was no `ask` since the last `tell`.
            ValueError: if these are other scenarios than those asked for, or the scores have the wrong shape or
                lie outside [0, 1] (NaN included); names the row.
        """
        if self._asked is None:
            raise RuntimeError("tell needs an ask before it: no scenarios are waiting for scores")
        if not np.array_equal(scenarios, self._asked):
            raise ValueError("tell needs the very scenarios that the last ask gave, in their order")
        if scores.shape != (len(scenarios),):
            raise ValueError(f"scores must have shape {(len(scenarios),)}, got {scores.shape}")
        outside = np.flatnonzero(~((scores >= 0.0) & (scores <= 1.0)))
        if len(outside):
            raise ValueError(f"scores must be in [0, 1], got {scores[outside[0]]} in row {outside[0]}")
        self._asked = None
        self._tell(scenarios, scores)

    def pending(self) -> dict[str, NDArray[Any]]:
        """Data about the last `ask` that `tell` needs: arrays of `n` rows each. With them `expect` makes another
        generator of the same state wait for the same scores."""
        return {}

    def expect(self, scenarios: Scenarios, pending: Mapping[str, NDArray[Any]]) -> None:
        """Wait for the scores of `scenarios` `(n, F)`, which generators of the same state were asked for elsewhere.

        Args:
            scenarios: Their scenarios, concatenated.
            pending: The results of their `pending`, concatenated.
        """
        self.world.space.validate(scenarios)
        self._asked = scenarios.copy()

    def report(self) -> dict[str, Any]:
        """Statistics of its search, as plain JSON values; empty if it does not search."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """All that was learnt from scores, as plain JSON values, without scenarios that wait for scores."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Put back what `get_state` gave; scenarios that waited for scores are forgotten.

        Raises:
            ValueError: if the state is not one of this generator's.
        """
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state, got {sorted(state)}")
        self._asked = None

    def mix(self) -> Mix | None:
        """The distribution of its scenarios; None if it depends on scores, or is no mix of the natural stream and
        forgeries of one strength."""
        return None

    def close(self) -> None:  # noqa: B027  # most hold nothing
        """Release resources outside of this process; not used afterwards."""

    @abstractmethod
    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        """Make `n >= 1` scenarios; the caller checks them."""

    def _tell(self, scenarios: Scenarios, scores: NDArray[np.float64]) -> None:  # noqa: B027  # most learn nothing
        """Learn from scores that were checked."""
