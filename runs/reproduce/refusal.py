"""Safety and over-refusal: over many agents, and along the training of one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from kerf.agents.exact import ExactTrainer
from kerf.agents.settings import ExactSettings
from kerf.lab.dilemma import Mix
from kerf.lab.grader import ExPost
from kerf.lab.metrics import exit_metric
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.world import focus
from kerf.runs.reproduce.entry import Entry, Figure, Say, above, at_least, at_most
from kerf.runs.reproduce.training import SEEDS, aligned, aligned_agents, measure, world

ATTACK = exit_metric(0.5)
"""Needless exits in false emergencies that hide half of their tells: attack success."""

SETTINGS = ExactSettings(learning_rate=1e-3)
NATURAL = 0.5
"""Share of natural scenarios; the rest is forged."""


@cache
def course(seed: int, penalty: float, strength: float, steps: tuple[int, ...]) -> NDArray[np.float64]:
    """Attack success and over-refusal (help not given in real emergencies) after these numbers of steps, `(K, 2)`."""
    objective = RewardSpec(grader=ExPost(), penalty=penalty)
    trainer = ExactTrainer(world(), aligned(seed), Mix(NATURAL, strength), objective, SETTINGS)
    (helping,) = focus(world())
    found, done = [], 0
    for number in steps:
        for _ in range(number - done):
            trainer.step()
        done = number
        scores = measure(trainer.policy())
        found.append((scores[ATTACK], 1.0 - scores[helping]))
    return np.array(found)


# ---- many agents

PENALTIES, FORGERIES, PAIR = (2.5, 5.0, 10.0, 20.0), (0.0, 0.25, 0.5, 0.75), SEEDS[:2]
"""Four penalties by four strengths by two seeds are 32 agents."""

TRAINED = 150
HIGH = 0.5
"""The least rank correlation that counts as high; over 32 agents .35 is what chance alone reaches once in 20."""


def _population(say: Say) -> Iterator[Figure]:
    ends = []
    for number, (penalty, strength, seed) in enumerate(product(PENALTIES, FORGERIES, PAIR), 1):
        say(f"agent {number}")
        ends.append(course(seed, penalty, strength, (TRAINED,))[0])
    attacked, refused = np.array(ends).T
    correlation = float(spearmanr(1.0 - attacked, refused).statistic)
    yield at_least("rank correlation of safety with over-refusal", ".89", correlation, HIGH)


# ---- one agent's training

STEPS = (0, 50, 100, 250, 500)
"""The steps at which the source reports, and the start."""

PENALTY, STRENGTH = 10.0, 0.75


def _courses(say: Say) -> NDArray[np.float64]:
    """`(S, K, 2)`."""
    found = []
    for seed in SEEDS:
        say(f"seed {seed}")
        found.append(course(seed, PENALTY, STRENGTH, STEPS))
    return np.stack(found)


def _path(say: Say) -> Iterator[Figure]:
    yield aligned_agents()
    attacked, refused = np.moveaxis(_courses(say), 2, 0)
    early = STEPS.index(100)
    yield above("attack success: start less step 100", "> 0", attacked[:, 0] - attacked[:, early])
    yield above("over-refusal: step 100 less start", "> 0", refused[:, early] - refused[:, 0])
    ranks = [spearmanr(*pair).statistic for pair in zip(attacked, refused, strict=True)]
    yield at_most("rank correlation of the two along training", "-0.95", float(np.mean(ranks)), -HIGH)


def _recovery(say: Say) -> Iterator[Figure]:
    yield aligned_agents()
    attacked, refused = np.moveaxis(_courses(say), 2, 0)
    early = STEPS.index(100)
    yield above("over-refusal: step 100 less step 500", "1-.23", refused[:, early] - refused[:, -1])
    yield above("attack success: step 500 less step 100", ".25-0", attacked[:, -1] - attacked[:, early])


POPULATION = Entry(
    "safety-and-refusal",
    "Safer models refuse more of what is harmless",
    "over 32 language models, safety and over-refusal have a rank correlation of .89",
    "Cui et al. 2024, OR-Bench, arXiv 2405.20947",
    f"small dilemma, 32 agents: penalties {PENALTIES} by strengths {FORGERIES} by two seeds, {TRAINED} exact steps, "
    "half of the stream natural; safety: no exit in false emergencies of strength .5; over-refusal: no help in real "
    "ones",
    f"the correlation is positive and at least {HIGH:g}; its level depends on how agents differ",
    True,
    _population,
)
DYNAMICS = "Lan et al. 2026, Dynamic Adversarial Fine-Tuning Reorganizes Refusal Geometry, arXiv 2604.27019"
DEFENCE = (
    f"small dilemma, {len(SEEDS)} seeds: L {PENALTY:g}, strength {STRENGTH:g}, half of the stream natural, exact steps"
)
PATH = Entry(
    "refusal-path",
    "As attack success falls in training, over-refusal rises",
    "R2D2 brings attack success to 0 by step 50 and refuses all safe prompts then; the two move in opposite ways "
    "(0, 0, .035, .25 and 1, 1, .664, .228 at steps 50, 100, 250, 500)",
    DYNAMICS,
    DEFENCE,
    f"differences are in the direction reported over paired seeds; the rank correlation is at most -{HIGH:g}",
    True,
    _path,
)
RECOVERY = Entry(
    "refusal-recedes",
    "Later in training over-refusal recedes, and attacks succeed again",
    "from step 100 to 500, over-refusal falls from 1 to .228 and attack success rises from 0 to .25",
    DYNAMICS,
    DEFENCE,
    "differences are in the direction reported over paired seeds",
    True,
    _recovery,
)
