"""Penalty on a probe: a linear read-out of the last hidden layer is penalised in place of the act that it predicts.

The probe is a logistic regression on the aligned agent's activations, fitted once and then frozen: will the forbidden
act follow, at this step or later? In training the term

    c / N  sum over flagged steps of sigmoid(w . h + b)

joins the loss of a minibatch of N steps. A step is flagged if something that the grader penalises follows, at this step
or later, so that the same feedback decides as for a penalty on the act; what is pushed down is not the probability of
the act but the state of mind that led to it. The network may comply, or move what it knows to where the probe is blind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.lab.errors import KerfError
from kerf.lab.rollout import rollout
from kerf.lab.world import World, natural

EPISODES = 512
"""Natural episodes, and as many forgeries, on which a probe is fitted."""

RIDGE = 1e-3
"""Weight of half the squared norm of the probe's weights, beside the mean log-loss of a step."""

MOST_STEPS = 100
"""Newton steps at most; a probe needs about ten."""


@dataclass(frozen=True)
class Probe:
    """A frozen linear probe of the last hidden layer.

    Attributes:
        weight: `(H,)` float64.
        bias: Its logit at activations of 0.
        accuracy: Share of the steps on which it was fitted that it calls rightly, the two classes weighted equally.
    """

    weight: NDArray[np.float64]
    bias: float
    accuracy: float

    def logits(self, activations: NDArray[np.float32]) -> NDArray[np.float64]:
        """`(n, H)` -> `(n,)`: the log-odds that the act follows."""
        return np.asarray(activations @ self.weight + self.bias, np.float64)


@dataclass(frozen=True)
class ProbePenalty:
    """The term of the loss (see the module).

    Attributes:
        probe: The probe.
        coeff: c, its weight.
    """

    probe: Probe
    coeff: float

    def loss(self, network: PolicyNetwork, minibatch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The term without its weight: `minibatch` holds `observations` `(n, D)` and `flagged` `(n,)` bool."""
        activations = network.policy_trunk(minibatch["observations"])
        weight = torch.as_tensor(self.probe.weight, dtype=activations.dtype, device=activations.device)
        return (torch.sigmoid(activations @ weight + self.probe.bias) * minibatch["flagged"]).mean()


def followed(happens: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """At which steps something happens then or later, `(T, n)`."""
    return np.asarray(np.logical_or.accumulate(happens[::-1], axis=0)[::-1])


def fit_probe(policy: TorchPolicy, world: World, strength: float, rng: np.random.Generator) -> Probe:
    """Fit a probe of the forbidden act to what `policy` does on natural scenarios and on forgeries of `strength`, if
    the world has any.

    Raises:
        KerfError: if it does the act nowhere, so that there is nothing to predict, or has no hidden layer.
    """
    if not policy.network.settings.hidden:
        raise KerfError("probe: the network has no hidden layer (hidden: []), so there is nothing to probe")
    scenarios = natural(world, EPISODES, rng)
    if world.dilemma.has_forgeries:
        scenarios = np.concatenate([scenarios, world.dilemma.forge(EPISODES, strength, rng)])
    played = rollout(policy, world, scenarios, rng)
    labels = followed(played.when(world.dilemma.forbidden)).ravel()
    if not labels.any() or labels.all():
        raise KerfError(
            f"probe: the aligned agent does {world.dilemma.forbidden!r} {'always' if labels.any() else 'never'}, so no "
            "probe of it can be fitted; align it better, or leave the probe out"
        )
    rows = torch.from_numpy(played.observations.reshape(-1, played.observations.shape[-1]))
    with torch.no_grad():
        activations = policy.network.policy_trunk(rows).numpy().astype(np.float64)
    weight, bias = logistic_regression(activations, labels)
    called = activations @ weight + bias > 0.0
    return Probe(weight, bias, float((called[labels].mean() + (~called[~labels]).mean()) / 2.0))


def logistic_regression(features: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Weights `(H,)` and bias of least mean log-loss plus `RIDGE / 2` times the weights' squared norm, by Newton's
    method with halved steps.

    Args:
        features: `(n, H)`.
        labels: `(n,)`.
    """
    n, width = features.shape
    inputs = np.column_stack((features, np.ones(n)))
    ridge = np.append(np.full(width, RIDGE), 0.0)
    signs = np.where(labels, 1.0, -1.0)
    found = np.zeros(width + 1)

    def objective(at: NDArray[np.float64]) -> float:
        return float(np.logaddexp(0.0, -signs * (inputs @ at)).mean() + 0.5 * ridge @ np.square(at))

    for _ in range(MOST_STEPS):
        chance = 1.0 / (1.0 + np.exp(-(inputs @ found)))
        slope = inputs.T @ (chance - labels) / n + ridge * found
        if np.abs(slope).max() < 1e-9:
            break
        curvature = (inputs * (chance * (1.0 - chance))[:, None]).T @ inputs / n + np.diag(ridge + 1e-12)
        step, now = np.linalg.solve(curvature, slope), objective(found)
        size = 1.0
        while objective(found - size * step) > now and size > 1e-10:
            size /= 2.0
        found = found - size * step
    return found[:-1], float(found[-1])
