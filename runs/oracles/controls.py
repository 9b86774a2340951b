"""Controls without an expected effect: sham, yoked and ex-ante feedback."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator

import numpy as np
from numpy.typing import NDArray

from kerf.agents.config import KerfConfig
from kerf.agents.env_runner import Sample, Sampler
from kerf.agents.exact import ExactTrainer
from kerf.agents.network import TorchPolicy
from kerf.agents.settings import ExactSettings, TrainingSettings
from kerf.agents.shaping import random_potential, shaping
from kerf.agents.tabular import LOGITS, Situations, TablePolicy
from kerf.agents.yoking import deal
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.dilemma import Mix
from kerf.lab.exact.decompose import Deployment, Design, Trained, decompose
from kerf.lab.exact.evaluation import action_probs
from kerf.lab.grader import ExAnte, ExPost
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.worlds import get_world
from kerf.lab.worlds.dilemma import LEAVE
from kerf.runs.oracles.closed_form import bayes
from kerf.runs.oracles.oracle import Oracle, Row, drawn, exact
from kerf.runs.oracles.worlds import FAKES, TANH, fresh_network, varied

SEED = 10
GAMMA, SHAPING, PENALTY = 0.9, 5.0, 10.0
NUM_EPISODES, NUM_DRAWN = 64, 20_000
DOSE = 0.3
"""Share of episodes that are penalised independently of the actions."""


def _measure() -> Iterator[Row]:
    yield from _sham()
    yield _offset()
    yield from _yoked()
    yield from _dealt()
    yield from _ex_ante()


# ---- sham


def _sham() -> Iterator[Row]:
    """Over whole episodes the shaping sums to -Phi of the first observation, so it favours no policy."""
    name = "station"
    world = get_world(name)
    source = make_generator(world, GeneratorSettings(kind="natural"))
    training = TrainingSettings(gamma=GAMMA, gae_lambda=1.0, reward_scale=1.0)
    plain, shaped = (
        KerfConfig().kerf(
            world=name, source=source, seed=SEED, network=TANH, training=training, shaping=size, advantage_scale=1.0
        )
        for size in (0.0, SHAPING)
    )
    potential = shaped.potential()
    assert potential is not None
    rng = np.random.default_rng(SEED)
    scenarios, uniforms = source.ask(NUM_EPISODES, rng), rng.random((world.horizon, NUM_EPISODES), np.float32)
    network = fresh_network(world, TANH, SEED)
    before, after = (Sampler(world, config).sample(network, scenarios, uniforms) for config in (plain, shaped))
    added = (after.advantages() - before.advantages())[0]
    predicted = -potential(before.columns["observations"][0])
    most = int(np.abs(predicted).argmax())
    why = "advantages are rounded to float32"
    yield Row("sham: what it adds to an episode, -Phi(x_0)", float(predicted[most]), float(added[most]), 1e-4, why)
    what = f"sham: largest error, {NUM_EPISODES} episodes of {world.horizon} steps"
    yield Row(what, 0.0, float(np.abs(added - predicted).max()), 1e-4, why)


def _offset() -> Row:
    """With a single decision, shaping is a reward that does not depend on it."""
    world = varied()
    start = fresh_network(world, TANH, SEED)
    potential = random_potential(world, SHAPING, np.random.default_rng(SEED))
    offset = shaping(potential(Situations(world).observations)[None], GAMMA)[0]
    objective = RewardSpec(grader=ExPost(), penalty=PENALTY)
    plain, shaped = (
        ExactTrainer(world, start, FAKES, objective, ExactSettings(), offset=added).gradient()
        for added in (None, offset)
    )
    change = max(float(np.abs(shaped[name] - plain[name]).max()) for name in plain)
    return exact("sham: largest change of the exact gradient", 0.0, change)


# ---- yoked


def _yoked() -> Iterator[Row]:
    world = varied()
    table = TablePolicy.copy_of(TorchPolicy(fresh_network(world, TANH, SEED)), world)
    settings = ExactSettings()
    penalised, exposed = (
        ExactTrainer(world, table, FAKES, RewardSpec(grader=ExPost(), penalty=penalty), settings)
        for penalty in (PENALTY, 0.0)
    )
    of_penalty, of_dealt = (penalised.gradient(dose)[LOGITS] - exposed.gradient()[LOGITS] for dose in (None, DOSE))
    rows, most = penalised.payoffs.rows, int(penalised.payoffs.mass.argmax())
    leaves = action_probs(table, table.situations.observations)[rows[most], LEAVE]
    shown = bayes(world, table.situations.scenarios[rows], FAKES).false[most]
    by_hand = settings.reward_scale * PENALTY * shown * leaves * (1.0 - leaves)
    yield exact("penalised: exact gradient of the penalty, one logit", by_hand, of_penalty[most, LEAVE])
    yield exact("yoked: largest part of that gradient", 0.0, np.abs(of_dealt).max())


def _dealt() -> Iterator[Row]:
    """From episodes: the mean of penalty times score; the score function is that of a bias on leaving."""
    name = "dilemma_overlap"
    world = get_world(name)
    source = make_generator(world, GeneratorSettings(kind="scripted", strength=1.0))
    config = KerfConfig().kerf(
        world=name,
        source=source,
        seed=SEED,
        network=TANH,
        training=TrainingSettings(reward_scale=1.0),
        grader=ExPost(),
        penalty=PENALTY,
        advantage_scale=1.0,
    )
    network = fresh_network(world, TANH, SEED)
    sampler, policy = Sampler(world, config), TorchPolicy(network)

    def played(stream: int, dealt: NDArray[np.bool_] | None = None) -> Sample:
        rng = np.random.default_rng((SEED, stream))
        scenarios = source.ask(NUM_DRAWN, rng)
        return sampler.sample(network, scenarios, rng.random((1, NUM_DRAWN), np.float32), dealt)

    partner = played(0)
    yoked = played(1, deal(partner.penalty_counts.tolist(), NUM_DRAWN, np.random.default_rng((SEED, 2))))
    for label, sample in (("penalised", partner), ("yoked", yoked)):
        chances = action_probs(policy, sample.columns["observations"][0])[:, LEAVE]
        scores = (sample.columns["actions"][0] == LEAVE) - chances
        products = sample.columns["advantage_penalty"][0] * scores
        predicted = PENALTY * (chances * (1.0 - chances)).mean() if sample is partner else 0.0
        what = f"{label}: mean of penalty x score, {NUM_DRAWN:,} episodes"
        yield drawn(what, predicted, products.mean(), float(products.std()) / math.sqrt(NUM_DRAWN))


# ---- ex ante


def _ex_ante() -> Iterator[Row]:
    """An ex-ante penalty costs nothing to the policy that is optimal given the observable information."""
    world = varied()
    settings = world.settings
    deployment = Deployment.listed(world)
    seen = bayes(world, deployment.situations, Mix())
    harm = (seen.false + seen.none) * settings.cost
    best = np.maximum(0.0, seen.genuine * settings.benefits[0] - harm).sum()
    ex_ante, ex_post = (RewardSpec(grader=grader, penalty=PENALTY) for grader in (ExAnte(0.0), ExPost()))
    fakes = Mix(0.0, 0.0)
    designs = {
        "ex_ante, fakes only: forced": Design(ex_ante, fakes),
        "ex_ante, mixed: forced": Design(ex_ante, Mix(0.5, 0.0)),
        "ex_post, fakes only: forced, all of max U": Design(ex_post, fakes),
    }
    expert = ExpertPolicy(world)
    trained: dict[Hashable, Trained] = {name: Trained(name, "expert", expert) for name in designs}
    parts = decompose(deployment, designs, {"expert": expert}, trained)
    for name, predicted in zip(designs, (0.0, 0.0, best), strict=True):
        yield exact(name, predicted, parts[name].forced)


CONTROLS = Oracle(
    10,
    "Controls give no incentive",
    "sham: sum_t gamma^t F_t = -Phi(x_0); yoked: E[penalty x score] = 0; ex_ante: U(pi_0) = U(pi_min)",
    _measure,
)
