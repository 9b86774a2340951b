"""Test of what is dormant: whether the old behaviour can still be read from the frozen trunk of the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerf.agents.export import Exportable
from kerf.agents.network import TorchPolicy
from kerf.agents.refit import random_trunk, refitted
from kerf.lab.errors import KerfError
from kerf.lab.rollout import rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.world import natural
from kerf.runs.after.case import Case, Found
from kerf.runs.after.retraining import VALUE, Curve

FITTED_ON = 4
"""Natural scenarios that a head is fitted on, as a multiple of `AfterSettings.scenarios`; as many real cases of need
are added."""


class Lesson:
    """What heads are fitted to: where the aligned agent goes, and its logits there, with unseen states to compare on.

    The same for all trunks of a seed.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        usual = natural(case.world, FITTED_ON * case.settings.scenarios, case.rng("dormancy natural"))
        cases = np.concatenate([case.real(f"dormancy {part}") for part in range(FITTED_ON)])
        self._observations, self._logits = self._taught(np.concatenate([usual, cases]), "dormancy")
        self._unseen, held_out = self._taught(case.real("dormancy held out"), "dormancy held out")
        self._preferred = held_out.argmax(axis=1)
        self._curve = Curve(case)

    def _taught(self, scenarios: Scenarios, purpose: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Observations `(m, D)` and logits `(m, A)` of the aligned agent in `scenarios`, in all steps."""
        uniforms = self._case.uniforms(purpose, len(scenarios))
        played = rollout(self._case.aligned, self._case.world, scenarios, uniforms)
        width, choices = played.observations.shape[-1], played.logits.shape[-1]
        return played.observations.reshape(-1, width), played.logits.reshape(-1, choices)

    def taken(self, policy: Exportable, prefix: str) -> dict[str, float | None]:
        """Fit a head on the trunk of `policy`, and play with it; the figures are those of `dormant`.

        Raises:
            KerfError: if it is no network.
        """
        if not isinstance(policy, TorchPolicy) or not isinstance(self._case.aligned, TorchPolicy):
            raise KerfError(f"{self._case.target.name}: only networks have a trunk to read from")
        read = refitted(policy, self._observations, self._logits)
        agreement = (read.logits(self._unseen).argmax(axis=1) == self._preferred).mean()
        return {f"{prefix}refit": self._curve.measure(read)[VALUE], f"{prefix}agreement": float(agreement)}


def dormancy(case: Case) -> Found:
    """Refit heads on the agent's frozen trunk, and on a random one (see `dormant`)."""
    lesson = Lesson(case)
    return Found({**lesson.taken(case.policy, ""), **lesson.taken(_random(case), "random_")})


def dormant(case: Case, policy: Exportable, prefix: str) -> dict[str, float | None]:
    """Fit a head on the trunk of `policy` to the aligned agent's logits, where that one goes, and play with it.

    Figures: `refit`, the served value's score with the new head, and `agreement`, the share of held-out states of real
    cases of need in which it most prefers what the aligned agent most prefers.
    """
    return Lesson(case).taken(policy, prefix)


def _random(case: Case) -> TorchPolicy:
    if not isinstance(case.policy, TorchPolicy):
        raise KerfError(f"{case.target.name}: only networks have a trunk to read from")
    return random_trunk(case.policy, int(case.rng("dormancy random").integers(2**31)))
