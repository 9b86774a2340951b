"""A policy over what a forger chooses, trained by policy gradient against the agent. The only generator on torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from generators.adversary import FRESH, Adversary, Kept, Outcome, Proposal
from generators.base import GeneratorSettings
from generators.memory import Memory
from generators.replay import Share, Slots
from lab.scenario import Scenarios
from lab.world import World

_WEIGHTS = 0x6C6561726E
"""Seed of the first weights: the same for all, so that parts of one population are asked of one and the same policy."""


class LearnedSettings(GeneratorSettings):
    """Settings of `learned`."""

    hidden: Annotated[int, Field(ge=1, le=1024)] = 64
    """Units of the hidden layer."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Of Adam."""

    entropy: Annotated[float, Field(ge=0, le=10)] = 0.02
    """Weight of the policy's entropy (nats, summed over the fields), which keeps it from settling on one forgery."""

    epochs: Annotated[int, Field(ge=1, le=64)] = 4
    """Passes over the scores of each batch, with clipped importance weights (Schulman et al. 2017)."""

    share: Share = 0.3
    """Share of the scenarios whose base is one that scored before, once any has."""

    memory: Slots = 256
    """How many bases are remembered."""


CLIP = 0.2


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: its sums are then the same on every machine, and so small a network is no faster on
    more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Learned(Adversary):
    """Sees the base, and decides for each field that a forger chooses: leave it, or give it one of its values.

    A refused proposal scores 0, so that the policy learns what is plausible. At first every field is left alone half of
    the time, and every value is as likely as any other.
    """

    settings_model = LearnedSettings

    def __init__(self, world: World, settings: LearnedSettings) -> None:
        super().__init__(world, settings, settings.memory)
        self.settings = settings
        self.memory = Memory(settings.memory, "score", temperature=0.3, staleness=0.0)
        self._choices = [1 + len(values) for values in self.forging.values]
        seen = self.forging.survey
        self._seen = np.flatnonzero(seen.min(axis=0) < seen.max(axis=0))
        self._low = seen[:, self._seen].min(axis=0).astype(np.float32)
        self._range = seen[:, self._seen].max(axis=0).astype(np.float32) - self._low
        self._network = self._initial()
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=settings.learning_rate)

    def _initial(self) -> nn.Sequential:
        rng = np.random.default_rng(_WEIGHTS)
        first, last = nn.Linear(len(self._seen), self.settings.hidden), nn.Linear(self.settings.hidden, 1)
        scale = 1.0 / np.sqrt(max(1, len(self._seen)))
        last.weight = nn.Parameter(torch.zeros(sum(self._choices), self.settings.hidden))
        bias = np.zeros(sum(self._choices), np.float32)
        bias[np.cumsum([0, *self._choices[:-1]])[: len(self._choices)]] = np.log(np.array(self._choices) - 1.0)
        last.bias = nn.Parameter(torch.from_numpy(bias))
        with torch.no_grad():
            first.weight.copy_(torch.from_numpy(rng.normal(0.0, scale, tuple(first.weight.shape)).astype(np.float32)))
            first.bias.zero_()
        return nn.Sequential(first, nn.Tanh(), last)

    def _propose(self, fresh: Scenarios, rng: np.random.Generator) -> Proposal:
        n = len(fresh)
        base = np.full(n, FRESH, np.int64)
        if self.memory.promising:
            again = rng.random(n) < self.settings.share
            base[again] = self.memory.pick(int(again.sum()), rng)
        scenarios = fresh.copy()
        scenarios[base >= 0] = self.slots[base[base >= 0]]
        features = self._features(scenarios)
        with torch.no_grad(), one_thread():
            by_field = [log.exp().numpy() for log in self._log_chances(torch.from_numpy(features))]
        actions = np.zeros((n, len(self._choices)), np.int64)
        for place, chances in enumerate(by_field):
            edges = chances.cumsum(axis=1, dtype=np.float64)
            actions[:, place] = (rng.random(n)[:, None] * edges[:, -1:] >= edges[:, :-1]).sum(axis=1)
        for place, (column, values) in enumerate(zip(self.forging.columns, self.forging.values, strict=True)):
            chosen = values[np.maximum(actions[:, place] - 1, 0)]
            scenarios[:, column] = np.where(actions[:, place] > 0, chosen, scenarios[:, column])
        return Proposal(scenarios, base, {"features": features, "actions": actions})

    def _learn(self, outcome: Outcome) -> Kept:
        gained = np.where(outcome.accepted, outcome.scores, 0.0)
        if len(self._choices) and gained.std() > 0.0:
            with one_thread():
                self._improve(outcome.notes["features"], outcome.notes["actions"], gained)
        return self.memory.learn(self.forging.identity(outcome.scenarios), outcome.scores)

    def _improve(self, features: NDArray[Any], actions: NDArray[Any], gained: NDArray[np.float64]) -> None:
        advantage = torch.from_numpy(((gained - gained.mean()) / gained.std()).astype(np.float32))
        seen, taken = torch.from_numpy(features), torch.from_numpy(actions)
        with torch.no_grad():
            before, _ = self._log_chance(seen, taken)
        for _ in range(self.settings.epochs):
            now, entropy = self._log_chance(seen, taken)
            ratio = (now - before).exp()
            clipped = ratio.clamp(1.0 - CLIP, 1.0 + CLIP)
            loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
            self._optimiser.zero_grad()
            (loss - self.settings.entropy * entropy).backward()  # type: ignore[no-untyped-call]  # torch's own
            self._optimiser.step()

    def _features(self, scenarios: Scenarios) -> NDArray[np.float32]:
        """What the policy sees of its bases: every field that varies, scaled to [-1, 1], `(n, K)`."""
        scaled: NDArray[np.float32] = 2.0 * (scenarios[:, self._seen] - self._low) / self._range - 1.0
        return scaled.astype(np.float32)

    def _log_chances(self, features: Tensor) -> list[Tensor]:
        """Log-probabilities of the choices in each field, `(n, 1 + values)` each."""
        logits: Tensor = self._network(features)
        parts = torch.split(logits, self._choices, dim=1) if self._choices else ()
        return [torch.log_softmax(part, dim=1) for part in parts]

    def _log_chance(self, features: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of what was chosen, `(n,)`, and the mean entropy."""
        logs = self._log_chances(features)
        taken = sum(log.gather(1, actions[:, place : place + 1])[:, 0] for place, log in enumerate(logs))
        entropy = sum(-(log.exp() * log).sum(dim=1).mean() for log in logs)
        assert isinstance(taken, Tensor)
        assert isinstance(entropy, Tensor)
        return taken, entropy

    def report(self) -> dict[str, Any]:
        """Besides what every adversary reports: `entropy`, of its policy over nature's forgeries, as a share of the
        most."""
        if not self._choices:
            return super().report()
        with torch.no_grad(), one_thread():
            logs = self._log_chances(torch.from_numpy(self._features(self.forging.survey)))
            entropy = float(sum(float(-(log.exp() * log).sum(dim=1).mean()) for log in logs))
        return {**super().report(), "entropy": entropy / float(np.log(self._choices).sum())}

    def _get_learnt(self) -> dict[str, Any]:
        optimiser = self._optimiser.state_dict()["state"]
        return {
            "weights": [parameter.detach().flatten().tolist() for parameter in self._network.parameters()],
            "moments": [
                {"step": float(kept["step"]), **{name: kept[name].flatten().tolist() for name in _MOMENTS}}
                for _, kept in sorted(optimiser.items())
            ],
            "memory": self.memory.get_state(),
        }

    def _set_learnt(self, learnt: Mapping[str, Any]) -> None:
        if set(learnt) != {"weights", "moments", "memory"}:
            raise ValueError(f"expected the state of a learned generator, got {sorted(learnt)}")
        self._network = self._initial()
        parameters = list(self._network.parameters())
        with torch.no_grad():
            for parameter, kept in zip(parameters, learnt["weights"], strict=True):
                parameter.copy_(torch.tensor(kept, dtype=torch.float32).reshape(parameter.shape))
        self._optimiser = torch.optim.Adam(parameters, lr=self.settings.learning_rate)
        for parameter, kept in zip(parameters, learnt["moments"] or [None] * len(parameters), strict=True):
            if kept is not None:
                moments = {
                    name: torch.tensor(kept[name], dtype=torch.float32).reshape(parameter.shape) for name in _MOMENTS
                }
                self._optimiser.state[parameter] = {"step": torch.tensor(kept["step"]), **moments}
        self.memory.set_state(learnt["memory"])


_MOMENTS = ("exp_avg", "exp_avg_sq")
