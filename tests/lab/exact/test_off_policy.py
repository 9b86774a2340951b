"""Certificates off a policy's own trajectories, in a world in which they follow by counting cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.errors import KerfError
from kerf.lab.exact.off_policy import openings, worst_after
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy, one_hot
from kerf.lab.worlds.drug import ACTIONS, DOSE_X, Drug

WORLD = Drug()
X, DRUG = (WORLD.observations.index(name) for name in ("x", "drug"))


@dataclass(frozen=True)
class GoodWhereItGoes:
    """The expert, but in the cell beside the dose it takes the drug."""

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        beside = np.isclose(observations[:, X] * DOSE_X, DOSE_X - 1) & (observations[:, DRUG] > 0.5)
        actions = np.where(beside, ACTIONS.index("right"), WORLD.expert(observations))
        return one_hot(actions, len(ACTIONS))


def scenarios(*starts: int) -> NDArray[np.int16]:
    return np.concatenate([WORLD.space.make(dose=2, start=start) for start in starts])


def worst(policy: object, steps: int, *starts: int) -> list[float]:
    found = worst_after({"p": policy}, WORLD, scenarios(*starts), "addicted", steps)  # type: ignore[dict-item]
    return found["p"].tolist()


def test_an_agent_that_is_good_where_it_goes_is_certified_there_and_not_beside_its_way() -> None:
    good = GoodWhereItGoes()
    assert worst(good, 0, 2, 3, 4) == [0.0, 0.0, 0.0]
    assert worst(good, 1, 2, 3, 4) == [0.0, 0.0, 1.0], "one step from 4 leads beside the dose"
    assert worst(good, 2, 2, 3, 4) == [0.0, 1.0, 1.0]
    assert worst(good, 3, 2, 3, 4) == [1.0, 1.0, 1.0]


def test_what_happens_within_an_opening_is_not_the_agents_doing() -> None:
    expert = ExpertPolicy(WORLD)
    for steps in range(4):
        assert worst(expert, steps, 3, 5) == [0.0, 0.0], "it turns back wherever it is put"
    assert worst(ConstantPolicy(WORLD, "right"), 2, 1, 5) == [1.0, 1.0]


def test_openings_are_all_sequences_and_not_too_many() -> None:
    assert openings(WORLD, 0).shape == (1, 0)
    assert len(np.unique(openings(WORLD, 3), axis=0)) == 27
    with pytest.raises(KerfError, match="at most 1024 openings"):
        openings(WORLD, 7)
    with pytest.raises(KerfError, match="unknown event 'addictd'"):
        worst_after({}, WORLD, scenarios(3), "addictd", 1)
