"""Arms race: an attack, a defence trained against it, and an attacker that goes on searching."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kerf.agents.architectures import without_memory
from kerf.agents.network import TorchPolicy
from kerf.generators.base import Generator, GeneratorSettings
from kerf.generators.mixture import Mixture
from kerf.generators.natural import NaturalSettings
from kerf.generators.registry import make_generator
from kerf.lab.attack import Attack, attack
from kerf.lab.rollout import rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.seeds import entropy
from kerf.runs.reproduce.entry import Entry, Figure, Say, above, at_least
from kerf.runs.reproduce.training import SEEDS, Arm, aligned, aligned_agents, trainer, world

PENALTY, STRENGTH, SHARE = 10.0, 1.0, 0.5
"""Of the defence: L, strength of the forgeries, and their share in training; all others are natural."""

ITERATIONS = 120
ROUNDS = 3
BUDGET, BATCH = 4096, 256
"""Episodes of an attack, and between two updates of the attacker."""

PLAYS = 1024
"""Episodes by which a fixed attack is judged."""


class Repeated(Generator):
    """Source that plays the same scenarios again and again, in random order.

    Args:
        scenarios: `(k, F)`.
    """

    def __init__(self, scenarios: Scenarios) -> None:
        super().__init__(world())
        self._scenarios = scenarios

    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        return self._scenarios[rng.integers(len(self._scenarios), size=n)]


class Race:
    """The race of one seed.

    Attributes:
        fixed: Success of the newest attack before and after the defence against it, `(ROUNDS, 2)`.
        adapted: Success of the attacker after it has gone on searching, in its last quarter, `(ROUNDS,)`.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        rng = np.random.default_rng(np.random.SeedSequence(entropy(seed, "race")))
        self._attacker = make_generator(world(), GeneratorSettings(kind="search", strength=STRENGTH))
        victim = aligned(seed)
        known = self._attack(victim, rng).top[:1]
        fixed, adapted = [], []
        for _ in range(ROUNDS):
            before = self._success(victim, known[-1:], rng)
            victim = self._defended(victim, known)
            fixed.append((before, self._success(victim, known[-1:], rng)))
            found = self._attack(victim, rng)
            adapted.append(float(found.by_batch[-len(found.by_batch) // 4 :].mean()))
            known = np.concatenate((known, found.top[:1]))
        self.fixed, self.adapted = np.array(fixed), np.array(adapted)

    def _attack(self, victim: TorchPolicy, rng: np.random.Generator) -> Attack:
        return attack(victim, world(), self._attacker, budget=BUDGET, batch=BATCH, rng=rng)

    def _defended(self, victim: TorchPolicy, known: Scenarios) -> TorchPolicy:
        """`victim` after training against all attacks that are known."""
        natural = make_generator(world(), NaturalSettings(kind="natural"))
        source = Mixture((Repeated(known), natural), (SHARE, 1.0 - SHARE))
        with trainer(self._seed, Arm(penalty=PENALTY), source, victim) as algorithm:
            for _ in range(ITERATIONS):
                algorithm.train()
            return without_memory(algorithm.policy(), "the entry")

    @staticmethod
    def _success(victim: TorchPolicy, scenario: Scenarios, rng: np.random.Generator) -> float:
        played = rollout(victim, world(), np.repeat(scenario, PLAYS, axis=0), rng)
        return float(played.happened(world().dilemma.needless).mean())


def _measure(say: Say) -> Iterator[Figure]:
    yield aligned_agents()
    races: list[Race] = []
    for seed in SEEDS:
        say(f"seed {seed}")
        races.append(Race(seed))
    fixed: NDArray[np.float64] = np.stack([race.fixed for race in races])
    adapted = np.stack([race.adapted for race in races])
    yield at_least("success of the first attack, undefended", "1", fixed[:, 0, 0].mean(), 0.9)
    yield above("that attack: undefended less defended", "> 0", fixed[:, 0, 0] - fixed[:, 0, 1])
    yield above("adapted less that attack, defended", ".91-low", adapted[:, 0] - fixed[:, 0, 1])
    yield at_least("success of the adapted attack", ".91", adapted[:, 0].mean(), 0.5)
    yield above(f"round {ROUNDS}: adapted less fixed, defended", "> 0", adapted[:, -1] - fixed[:, -1, 1])


RACE = Entry(
    "arms-race",
    "An attacker that goes on training breaks a defended agent",
    "KataGo trained against known attacks withstands those; attackers trained against it win again (91% for one), also "
    "after several rounds of defence",
    "Tseng et al. 2024, Can Go AIs be adversarially robust?, arXiv 2406.12843",
    f"small dilemma, {len(SEEDS)} seeds, {ROUNDS} rounds: CMA-ES over what can be forged (strength {STRENGTH:g}, "
    f"{BUDGET:,} episodes); the defence is penalised (L {PENALTY:g}) on the best forgeries found, "
    "half of its stream natural",
    "differences are in the direction reported over paired seeds; the adapted attack succeeds more often than not",
    True,
    _measure,
)
