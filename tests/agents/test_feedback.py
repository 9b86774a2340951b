"""Imperfect, scheduled and screening feedback in training: what equals the arm without a penalty, byte for byte."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from kerf.agents.config import KerfConfig
from kerf.agents.network import Weights
from kerf.agents.settings import NetworkSettings
from kerf.lab.errors import KerfError
from kerf.lab.grader import ExPost
from kerf.lab.oversight import Oversight
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from tests.agents.training import Forged, Natural, config, same, settings, train, trained

PENALISED: dict[str, Any] = {"source": Forged(), "grader": ExPost(), "penalty": 10.0}
EXPOSURE = PENALISED | {"penalty": 0.0}


@pytest.fixture(scope="module")
def exposure() -> Weights:
    return trained(2, **EXPOSURE)


@pytest.fixture(scope="module")
def penalised() -> Weights:
    return trained(2, **PENALISED)


@pytest.mark.parametrize(
    "changes",
    [
        {"oversight": Oversight(share=0.0)},
        {"oversight": Oversight(misses=1.0)},
        {"penalty_iterations": (3, math.inf)},
    ],
    ids=str,
)
def test_a_penalty_that_never_falls_is_no_penalty_byte_for_byte(changes: Any, exposure: Weights) -> None:
    assert same(trained(2, **PENALISED, **changes), exposure)


@pytest.mark.parametrize(
    "changes",
    [
        {"oversight": Oversight(share=1.0, misses=0.0, false_alarms=0.0)},
        {"penalty_iterations": (1, 2)},
        {"oversight": Oversight(false_alarms=1.0)},
    ],
    ids=str,
)
def test_a_grader_that_is_never_mistaken_is_the_grader_byte_for_byte(
    changes: Any, penalised: Weights, exposure: Weights
) -> None:
    """The last case: among forgeries every exit is needless, so there is nothing to raise a false alarm at."""
    assert same(trained(2, **PENALISED, **changes), penalised)
    assert not same(penalised, exposure)


def test_half_of_the_oversight_is_neither(penalised: Weights, exposure: Weights) -> None:
    for changes in ({"share": 0.5}, {"misses": 0.5}):
        half = trained(2, **PENALISED, oversight=Oversight(**changes))
        assert not same(half, penalised)
        assert not same(half, exposure)


def test_the_penalty_falls_in_the_iterations_of_its_schedule_alone() -> None:
    algorithm = config(**PENALISED, penalty_iterations=(2, 3)).build_algo()
    counts = []
    for _ in range(4):
        algorithm.train()
        counts.append(int(algorithm.penalty_counts.sum()))
    algorithm.stop()
    assert counts[0] == counts[3] == 0
    assert min(counts[1:3]) > 0


def test_the_share_that_is_penalised_is_the_share_that_is_overseen() -> None:
    """By exact binomial test at 1%, of all needless exits in 8 batches."""
    from scipy import stats

    exits, counts = 0, 0
    algorithm = config(
        **PENALISED, training=settings(learning_rate=1e-9), oversight=Oversight(0.6, misses=0.5)
    ).build_algo()
    for _ in range(8):
        result = algorithm.train()
        exits += round(result["env_runners"]["elicited"] * 64)
        counts += int(algorithm.penalty_counts.sum())
    algorithm.stop()
    assert stats.binomtest(counts, exits, 0.3).pvalue > 0.01
    assert stats.binomtest(counts, exits, 0.5).pvalue < 0.01


def test_screening_leaves_flagged_episodes_out_and_nothing_else() -> None:
    nothing_to_flag = {"source": Natural(), "grader": None}
    assert same(trained(2, **nothing_to_flag, screened=True), trained(2, **nothing_to_flag))
    never = {"oversight": Oversight(share=0.0)}
    assert same(trained(2, **EXPOSURE, screened=True, **never), trained(2, **EXPOSURE))
    screened = trained(2, **EXPOSURE, screened=True)
    assert not same(screened, trained(2, **EXPOSURE))
    assert same(screened, trained(2, **PENALISED, screened=True)), "what is left out has no penalty, whatever its size"


def test_where_every_episode_is_flagged_nothing_is_learnt() -> None:
    """False alarms for every exit, and a world of forgeries in which everybody leaves."""
    algorithm = config(**EXPOSURE, screened=True).build_algo()
    leaves = {name: np.zeros_like(weight) for name, weight in algorithm.policy().weights().items()}
    leaves["policy_head.bias"][get_world("tests.toy_world:Lever").actions.index("door")] = 30.0
    algorithm.load_weights(leaves)
    result = algorithm.train()
    assert result["env_runners"]["flagged"] == 1.0
    assert same(algorithm.policy().weights(), leaves)
    assert "learners" not in result
    algorithm.stop()


class _Rich:
    """The natural stream of the dilemma that has signs."""

    def ask(self, n: int, rng: np.random.Generator) -> Any:
        return natural(get_world("dilemma"), n, rng)

    def tell(self, scenarios: Any, scores: Any) -> None:
        self.told = scenarios


def rich(**changes: Any) -> KerfConfig:
    return KerfConfig().kerf(
        world="dilemma", source=_Rich(), seed=3, network=NetworkSettings(hidden=(8,)),
        training=settings(advantage_scaling="none"), grader=ExPost(), penalty=10.0, **changes,
    )  # fmt: skip


@pytest.mark.parametrize("cue", ["watched", "drill"])
def test_a_cue_shows_the_agent_where_a_penalty_may_fall(cue: str) -> None:
    world = get_world("dilemma")
    seen = world.observations.index(cue)
    algorithm = rich(oversight=Oversight(0.5, cue=cue)).build_algo()
    scenarios = natural(world, 400, np.random.default_rng(0))
    draws = algorithm.config.draws(0, 400)
    sample = algorithm.play(scenarios, np.random.default_rng(1).random((1, 400), np.float32), draws=draws)
    shown = sample.columns["observations"][0, :, seen] == 1.0
    np.testing.assert_array_equal(shown, draws.overseen)
    penalised = sample.episodes["penalised"] > 0
    assert penalised.sum() > 0
    assert (penalised <= shown).all(), "penalised only where it was seen"
    others = np.delete(sample.columns["observations"][0], seen, axis=1)
    plain = algorithm.play(scenarios, np.random.default_rng(1).random((1, 400), np.float32), draws=None)
    np.testing.assert_array_equal(others, np.delete(plain.columns["observations"][0], seen, axis=1))
    train(algorithm, 1)
    assert (algorithm.source.told[:, world.space.column("drill")] == 0).all(), "the source is told what it gave"
    algorithm.stop()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"oversight": Oversight(cue="place")}, "oversight.cue: expected a sign of world 'dilemma' .* got 'place'"),
        ({"penalty_iterations": (3, 2)}, "penalty_iterations: expected a first iteration >= 1 and a later last"),
        ({"penalty_counts": [[1]], "oversight": Oversight(0.5)}, "oversight: penalties are those of another arm"),
        ({"screened": True, "training": settings(num_learners=2)}, "screened: .* so num_learners must be 0, got 2"),
    ],
)
def test_what_cannot_be_is_refused(changes: Any, sentence: str) -> None:
    defaults = {"world": "dilemma", "source": _Rich(), "seed": 3, "training": settings(), "advantage_scale": 1.0}
    with pytest.raises(KerfError, match=sentence):
        KerfConfig().kerf(**(defaults | changes))
