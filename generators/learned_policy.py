"""Policy network of `kerf.generators.learned`: a distribution over choices in every field, given a base. On torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kerf.lab.torch_threads import one_thread

if TYPE_CHECKING:
    from kerf.generators.learned_settings import LearnedSettings

_WEIGHTS = 0x6C6561726E
"""Seed of the initial weights: always the same, so that all parts of a population have the same policy."""

CLIP = 0.2
_MOMENTS = ("exp_avg", "exp_avg_sq")


class ChoicePolicy:
    """An MLP of one hidden layer, whose outputs are the log-probabilities of each field's choices.

    Args:
        num_features: K, length of its input.
        choices: Number of choices of each field. The initial policy takes the first with probability 1/2, and is
            uniform over the others.
        settings: Width, learning rate, epochs, weight of the entropy.
    """

    def __init__(self, num_features: int, choices: Sequence[int], settings: LearnedSettings) -> None:
        self._num_features, self._choices, self._settings = num_features, list(choices), settings
        self._begin()

    def _begin(self) -> None:
        self._network = self._initial()
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=self._settings.learning_rate)

    def _initial(self) -> nn.Sequential:
        rng = np.random.default_rng(_WEIGHTS)
        first, last = nn.Linear(self._num_features, self._settings.hidden), nn.Linear(self._settings.hidden, 1)
        scale = 1.0 / np.sqrt(max(1, self._num_features))
        last.weight = nn.Parameter(torch.zeros(sum(self._choices), self._settings.hidden))
        bias = np.zeros(sum(self._choices), np.float32)
        bias[np.cumsum([0, *self._choices[:-1]])[: len(self._choices)]] = np.log(np.array(self._choices) - 1.0)
        last.bias = nn.Parameter(torch.from_numpy(bias))
        with torch.no_grad():
            first.weight.copy_(torch.from_numpy(rng.normal(0.0, scale, tuple(first.weight.shape)).astype(np.float32)))
            first.bias.zero_()
        return nn.Sequential(first, nn.Tanh(), last)

    def probs(self, features: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """`(n, K)` -> the probabilities of each field's choices, `(n, choices)` each."""
        with torch.no_grad(), one_thread():
            return [log.exp().numpy() for log in self._log_probs(torch.from_numpy(features))]

    def entropy(self, features: NDArray[np.float32]) -> float:
        """Mean entropy (nats, summed over the fields) at inputs `features` `(n, K)`."""
        with torch.no_grad(), one_thread():
            logs = self._log_probs(torch.from_numpy(features))
            return float(sum(float(-(log.exp() * log).sum(dim=1).mean()) for log in logs))

    def improve(self, features: NDArray[Any], actions: NDArray[Any], gained: NDArray[np.float64]) -> None:
        """Update by PPO's clipped policy gradient.

        Args:
            features: `(n, K)`, its inputs.
            actions: `(n, fields)`, its choices.
            gained: `(n,)`, returns, not all equal.
        """
        with one_thread():
            advantage = torch.from_numpy(((gained - gained.mean()) / gained.std()).astype(np.float32))
            seen, taken = torch.from_numpy(features), torch.from_numpy(actions)
            with torch.no_grad():
                before, _ = self._log_prob(seen, taken)
            for _ in range(self._settings.epochs):
                now, entropy = self._log_prob(seen, taken)
                ratio = (now - before).exp()
                clipped = ratio.clamp(1.0 - CLIP, 1.0 + CLIP)
                loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
                self._optimiser.zero_grad()
                (loss - self._settings.entropy * entropy).backward()  # type: ignore[no-untyped-call]  # torch's own
                self._optimiser.step()

    def _log_probs(self, features: Tensor) -> list[Tensor]:
        """Log-probabilities of the choices in each field, `(n, choices)` each."""
        logits: Tensor = self._network(features)
        parts = torch.split(logits, self._choices, dim=1) if self._choices else ()
        return [torch.log_softmax(part, dim=1) for part in parts]

    def _log_prob(self, features: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of the choices, `(n,)`, and the mean entropy."""
        logs = self._log_probs(features)
        taken = sum(log.gather(1, actions[:, place : place + 1])[:, 0] for place, log in enumerate(logs))
        entropy = sum(-(log.exp() * log).sum(dim=1).mean() for log in logs)
        assert isinstance(taken, Tensor)
        assert isinstance(entropy, Tensor)
        return taken, entropy

    def get_state(self) -> dict[str, Any]:
        """Weights and Adam's moments, as plain JSON values."""
        optimiser = self._optimiser.state_dict()["state"]
        return {
            "weights": [parameter.detach().flatten().tolist() for parameter in self._network.parameters()],
            "moments": [
                {"step": float(kept["step"]), **{name: kept[name].flatten().tolist() for name in _MOMENTS}}
                for _, kept in sorted(optimiser.items())
            ],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state of `get_state`."""
        self._begin()
        parameters = list(self._network.parameters())
        with torch.no_grad():
            for parameter, kept in zip(parameters, state["weights"], strict=True):
                parameter.copy_(torch.tensor(kept, dtype=torch.float32).reshape(parameter.shape))
        for parameter, kept in zip(parameters, state["moments"] or [None] * len(parameters), strict=True):
            if kept is not None:
                moments = {
                    name: torch.tensor(kept[name], dtype=torch.float32).reshape(parameter.shape) for name in _MOMENTS
                }
                self._optimiser.state[parameter] = {"step": torch.tensor(kept["step"]), **moments}
