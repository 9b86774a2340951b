"""Learned adversary: a policy over a forger's choices, trained by policy gradient against the agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.generators.adversary import FRESH, Adversary, Kept, Outcome, Proposal
from kerf.generators.base import GeneratorSettings
from kerf.generators.learned_settings import LearnedSettings
from kerf.generators.memory import Memory
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World


class Learned(Adversary):
    """Observes the base, and for each field that a forger chooses either keeps it or sets it to one of its values.

    A refused proposal scores 0, so that the policy learns what is plausible. The initial policy keeps a field with
    probability 1/2, and is uniform over its values otherwise.
    """

    settings_model = LearnedSettings

    def __init__(self, world: World, settings: LearnedSettings) -> None:
        from kerf.generators.learned_policy import ChoicePolicy  # here: reading a recipe needs no torch

        super().__init__(world, settings, settings.memory)
        self.settings = settings
        self.memory = Memory(settings.memory, "score", temperature=0.3, staleness=0.0)
        self._choices = [1 + len(values) for values in self.forging.values]
        seen = self.forging.survey
        self._seen = np.flatnonzero(seen.min(axis=0) < seen.max(axis=0))
        self._low = seen[:, self._seen].min(axis=0).astype(np.float32)
        self._range = seen[:, self._seen].max(axis=0).astype(np.float32) - self._low
        self._policy = ChoicePolicy(len(self._seen), self._choices, settings)

    @classmethod
    def check(cls, world: World, settings: GeneratorSettings) -> None:
        """Nothing to check: its settings fit every world."""

    def _propose(self, fresh: Scenarios, rng: np.random.Generator) -> Proposal:
        n = len(fresh)
        base = np.full(n, FRESH, np.int64)
        if self.memory.promising:
            again = rng.random(n) < self.settings.share
            base[again] = self.memory.pick(int(again.sum()), rng)
        scenarios = fresh.copy()
        scenarios[base >= 0] = self.slots[base[base >= 0]]
        features = self._features(scenarios)
        actions = np.zeros((n, len(self._choices)), np.int64)
        for place, probs in enumerate(self._policy.probs(features)):
            edges = probs.cumsum(axis=1, dtype=np.float64)
            actions[:, place] = (rng.random(n)[:, None] * edges[:, -1:] >= edges[:, :-1]).sum(axis=1)
        for place, (column, values) in enumerate(zip(self.forging.columns, self.forging.values, strict=True)):
            chosen = values[np.maximum(actions[:, place] - 1, 0)]
            scenarios[:, column] = np.where(actions[:, place] > 0, chosen, scenarios[:, column])
        return Proposal(scenarios, base, {"features": features, "actions": actions})

    def _learn(self, outcome: Outcome) -> Kept:
        gained = np.where(outcome.accepted, outcome.scores, 0.0)
        if len(self._choices) and gained.std() > 0.0:
            self._policy.improve(outcome.notes["features"], outcome.notes["actions"], gained)
        return self.memory.learn(self.forging.identity(outcome.scenarios), outcome.scores)

    def _features(self, scenarios: Scenarios) -> NDArray[np.float32]:
        """The policy's input: every field of the bases that varies, scaled to [-1, 1], `(n, K)`."""
        scaled: NDArray[np.float32] = 2.0 * (scenarios[:, self._seen] - self._low) / self._range - 1.0
        return scaled.astype(np.float32)

    def report(self) -> dict[str, Any]:
        """The report of every adversary, with `entropy`: that of its policy over nature's forgeries, as a share of the
        maximum."""
        if not self._choices:
            return super().report()
        entropy = self._policy.entropy(self._features(self.forging.survey))
        return {**super().report(), "entropy": entropy / float(np.log(self._choices).sum())}

    def _get_learnt(self) -> dict[str, Any]:
        return {**self._policy.get_state(), "memory": self.memory.get_state()}

    def _set_learnt(self, learnt: Mapping[str, Any]) -> None:
        if set(learnt) != {"weights", "moments", "memory"}:
            raise ValueError(f"expected the state of a learned generator, got {sorted(learnt)}")
        self._policy.set_state(learnt)
        self.memory.set_state(learnt["memory"])
