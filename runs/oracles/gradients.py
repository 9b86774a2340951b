"""Results of gradient descent: the steps that a penalty saves, and the optimum under an anchor."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from kerf.agents.exact import ExactTrainer
from kerf.agents.network import TorchPolicy
from kerf.agents.settings import ExactSettings
from kerf.agents.tabular import LOGITS, Situations, TablePolicy
from kerf.lab.exact.evaluation import action_probs
from kerf.lab.grader import ExPost
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.worlds.dilemma import LEAVE
from kerf.runs.oracles.closed_form import bayes, worth_of_actions
from kerf.runs.oracles.oracle import Oracle, Row
from kerf.runs.oracles.worlds import FAKES, MIXED, TANH, fresh_network, varied

SEED = 7

# ---- 7: on forgeries alone, a penalty only rescales time

COST, PENALTY = 5.0, 10.0
STEPS, STEP = 12, 0.2


def _saved_time() -> Iterator[Row]:
    world = varied(cost=COST, ask_cost=0.0, call_cost=0.0)
    start = fresh_network(world, TANH, SEED)
    shown = Situations(world).observations

    def left(penalty: float, steps: int, halvings: int) -> float:
        """P(leave) in a forged emergency after `steps` steps, each divided into `2**halvings`."""
        settings = ExactSettings(optimiser="sgd", learning_rate=STEP / 2**halvings)
        trainer = ExactTrainer(world, start, FAKES, RewardSpec(grader=ExPost(), penalty=penalty), settings)
        for _ in range(steps * 2**halvings):
            trainer.step()
        chances = action_probs(trainer.policy(), shown[trainer.payoffs.rows])
        return float(trainer.payoffs.mass @ chances[:, LEAVE])

    times = round(STEPS * (COST + PENALTY) / COST)
    exposed, finer_exposed = (left(0.0, times, halvings) for halvings in (0, 1))
    penalised, finer_penalised = (left(PENALTY, STEPS, halvings) for halvings in (0, 1))
    moved = abs(penalised - finer_penalised) + abs(exposed - finer_exposed)
    what = f"P(leave|F) after {STEPS} steps under L; {times} without"
    yield Row(what, exposed, penalised, 2 * moved, "twice what halving the step changes")
    gap, finer = exposed - penalised, finer_exposed - finer_penalised
    yield Row(
        "their difference, over that at half the step",
        2.0,
        gap / finer if finer else math.nan,
        0.1,
        "second order in the step",
    )
    yield Row("their difference at step 0, extrapolated", 0.0, 2 * finer - gap, 0.05 * gap, "second order in the step")


# ---- 8: the anchored optimum

ANCHOR, SCALE = 0.5, 0.2
"""Anchor coefficient beta, and the scale of the rewards."""

ADAM_STEPS = 1000


def _anchored() -> Iterator[Row]:
    world = varied(call_saves=0.4, ask_saves=(0.3,))
    start = TorchPolicy(fresh_network(world, TANH, SEED))
    table = TablePolicy.copy_of(start, world)
    scenarios = table.situations.scenarios
    objective = RewardSpec(grader=ExPost(), penalty=5.0)
    settings = ExactSettings(learning_rate=0.05, reward_scale=SCALE, anchor_coeff=ANCHOR)
    for mix, name in ((MIXED, "mixed"), (FAKES, "fakes only")):
        trainer = ExactTrainer(world, table, mix, objective, settings, anchor=start)
        for _ in range(ADAM_STEPS):
            trainer.step()
        rows = trainer.payoffs.rows
        moved = (trainer.policy().weights()[LOGITS] - table.weights()[LOGITS])[rows]
        moved -= moved[:, :1]
        posterior = bayes(world, scenarios[rows], mix).posterior
        predicted = worth_of_actions(world, posterior, objective.penalty) * SCALE / ANCHOR
        why = f"{ADAM_STEPS:,} steps of Adam converge this far"
        for which, row in (("largest", posterior.argmax()), ("least", posterior.argmin())):
            what = f"{name}: shift of leave from stay, P(T|x) {which}"
            yield Row(what, float(predicted[row, LEAVE]), float(moved[row, LEAVE]), 1e-3, why)
        error = float(np.abs(moved - predicted).max())
        yield Row(f"{name}: largest error, {len(rows)} situations", 0.0, error, 1e-3, why)


SAVED_TIME = Oracle(
    7,
    "On forgeries alone a penalty equals more gradient steps",
    "plain gradient descent: n steps under C + L come to n (C + L) / C steps under C",
    _saved_time,
)
ANCHORED = Oracle(
    8,
    "An anchored optimum shifts each logit of the aligned policy by the action's reward",
    "max E[r] - beta KL(pi || pi_0): logit pi = logit pi_0 + (r(x, a) - r(x, stay)) / beta",
    _anchored,
)
