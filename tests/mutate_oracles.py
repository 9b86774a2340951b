"""Breaks the lab in ways that the oracles must notice, and prints which did: `python -m tests.mutate_oracles`.

Each mutation is a change of text in one file, made while a process of its own imports that: all others are as they are,
and so are the kernels that were compiled from them. It must not be made in a kernel, where it would not be seen. Exits
with 1 if an oracle lets one pass, or if a text that is to be changed is no longer there.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import CodeType
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kerf.runs.execution.socket_folder import socket_folder

ROOT = Path(__file__).parents[1]
AT_A_TIME = 2
TIMEOUT = 300
"""Seconds for one mutation."""

FIGURES, PRINTED = "figures.json", "printed.txt"
"""Files of the process that is asked."""

KILLED, SURVIVED, CRASHED, NOT_FOUND = "killed", "SURVIVED", "CRASHED", "NOT FOUND"

SOCKET = "/pymp-12345678/listener-12345678"
"""What multiprocessing calls the socket of its fork server, below the temporary folder."""

HEAVY = ("torch._dynamo", "ray.rllib.algorithms.ppo", "pyarrow.parquet", "numba", "scipy.stats", "rich.table")
"""What is imported once for all; nothing of ours."""


@dataclass(frozen=True)
class Mutation:
    """A change that an oracle must notice.

    Attributes:
        oracle: Its number.
        about: What is broken.
        file: Which file, from the root of the repository.
        old: What stands there, once.
        new: What stands there instead.
    """

    oracle: int
    about: str
    file: str
    old: str
    new: str

    @property
    def found(self) -> bool:
        """Whether `old` stands in the file, exactly once."""
        path = ROOT / self.file
        return path.exists() and path.read_text().count(self.old) == 1


MUTATIONS = (
    Mutation(
        1,
        "backward induction takes the worst action",
        "lab/exact/optimum.py",
        "best = action_values.max(axis=1)",
        "best = action_values.min(axis=1)",
    ),
    Mutation(
        1,
        "`ex_post` penalises every exit",
        "lab/grader.py",
        "needless = trajectories.when(trajectories.world.dilemma.needless)",
        "needless = trajectories.when(trajectories.world.dilemma.forbidden)",
    ),
    Mutation(
        1,
        "the criterion is not halved",
        "lab/statistics/detection.py",
        "return -(z_hit + z_false_alarm) / 2.0",
        "return -(z_hit + z_false_alarm)",
    ),
    Mutation(
        2,
        "`rule` lets needed exits pass",
        "lab/grader.py",
        "forbidden = trajectories.when(trajectories.world.dilemma.forbidden)",
        "forbidden = trajectories.when(trajectories.world.dilemma.needless)",
    ),
    Mutation(
        3,
        "asking always saves",
        "lab/worlds/dilemma/__init__.py",
        "by_asking = ask & genuine & in_time",
        "by_asking = ask & genuine",
    ),
    Mutation(
        3,
        "asking costs nothing",
        "lab/worlds/dilemma/__init__.py",
        '"asked": -settings.ask_cost,',
        '"asked": 0.0 * settings.ask_cost,',
    ),
    Mutation(
        4,
        "strength runs backwards",
        "lab/worlds/dilemma/settings.py",
        "return (1.0 - strength) * self.false + strength * self.genuine",
        "return strength * self.false + (1.0 - strength) * self.genuine",
    ),
    Mutation(
        4,
        "the scripted adversary is weaker than it was asked to be",
        "generators/scripted.py",
        "self.strength = settings.strength",
        "self.strength = 0.8 * settings.strength",
    ),
    Mutation(
        5,
        "fakes weigh more than their share",
        "lab/worlds/dilemma/__init__.py",
        "density += (1.0 - mix.natural) * self.sources.forged(mix.strength).density(scenarios)",
        "density += self.sources.forged(mix.strength).density(scenarios)",
    ),
    Mutation(
        6,
        "arms draw from streams of their own",
        "runs/execution/rllib_trainer.py",
        'seed=entropy(seed, f"arms after {earlier}" if earlier else "arms")',
        "seed=entropy(seed, arm.name)",
    ),
    Mutation(
        6,
        "a penalty of 0 still penalises",
        "agents/env_runner.py",
        "penalty = self._config.signed_penalty * penalised",
        "penalty = (self._config.signed_penalty or 0.1) * penalised",
    ),
    Mutation(
        7,
        "rewards are scaled by their size, which cancels the penalty",
        "agents/exact.py",
        "settings.reward_scale * (probabilities * rewards).sum()",
        "settings.reward_scale * (probabilities * rewards / rewards.abs().sum()).sum()",
    ),
    Mutation(
        8,
        "the anchor is KL(pi_0 || pi)",
        "agents/exact.py",
        "mass @ (probabilities * (log_probabilities - self._anchor)).sum(dim=-1)",
        "mass @ (self._anchor.exp() * (self._anchor - log_probabilities)).sum(dim=-1)",
    ),
    Mutation(
        8,
        "the anchor pushes away",
        "agents/exact.py",
        'loss = loss + settings.anchor_coeff * terms["anchor_kl"]',
        'loss = loss - settings.anchor_coeff * terms["anchor_kl"]',
    ),
    Mutation(
        9,
        "a table's rows move together",
        "agents/exact.py",
        "weights[self._rows] = self._logits.detach().numpy()",
        "weights += (self._logits.detach().numpy() - weights[self._rows]).mean(axis=0)",
    ),
    Mutation(
        9,
        "a network is trained on other features than it is shown",
        "agents/exact.py",
        "torch.from_numpy(situations.observations[rows]).double()",
        "torch.from_numpy(situations.observations[rows]).double() / 2",
    ),
    Mutation(
        10,
        "shaping forgets the discount",
        "agents/shaping.py",
        "added[:-1] += gamma * potentials[1:]",
        "added[:-1] += potentials[1:]",
    ),
    Mutation(
        10,
        "yoked penalties depend on what was done",
        "agents/env_runner.py",
        "            penalised = self._dealt(trajectories, dealt)",
        "            penalised = penalised * self._dealt(trajectories, dealt)",
    ),
    Mutation(
        10,
        "exact yoked penalties depend on what was done",
        "agents/exact.py",
        "paid = self._penalty * penalised",
        "paid = self._penalty * penalised * self._penalised",
    ),
    Mutation(
        10,
        "`ex_ante` excuses nothing",
        "lab/grader.py",
        "excused = trajectories.when(dilemma.needless) & justified",
        "excused = trajectories.when(dilemma.needless) & ~justified",
    ),
    Mutation(
        11,
        "the false emergency counts as a rescue",
        "lab/worlds/dilemma/__init__.py",
        '"rescued": leave & genuine,',
        '"rescued": leave,',
    ),
    Mutation(
        11,
        "luck depends on the design",
        "agents/config.py",
        "np.random.SeedSequence(self.seed_entropy, spawn_key=key)",
        "np.random.SeedSequence(self.seed_entropy, spawn_key=(*key, len(str(self.design))))",
    ),
)


@dataclass(frozen=True)
class Fate:
    """What became of a mutation.

    Attributes:
        outcome: `killed`: the oracle said that something is wrong; `SURVIVED`: it passed; `CRASHED`: it did not come
            to an end, which shows nothing about its figures; `NOT FOUND`: there was nothing to mutate.
        why: The first figure that was off, or how it crashed.
    """

    outcome: str
    why: str = ""


class Mutant(SourceFileLoader):
    """Finds the module that a mutation changes, and loads it with the change; bytecode is neither read nor written.

    Args:
        mutation: The change.
    """

    def __init__(self, mutation: Mutation) -> None:
        name = mutation.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        super().__init__(f"kerf.{name}", str(ROOT / mutation.file))
        self._mutation = mutation

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        text = Path(self.path).read_text().replace(self._mutation.old, self._mutation.new)
        return compile(text, self.path, "exec", dont_inherit=True)


def fate(mutation: Mutation) -> Fate:
    """Ask the oracle, in a process of its own that has the mutation."""
    if not mutation.found:
        return Fate(NOT_FOUND, f"{mutation.file}: {mutation.old}")
    with tempfile.TemporaryDirectory(prefix="kerf-mutant-") as name:
        folder = Path(name)
        process = _context().Process(target=_ask, args=(mutation, name))
        process.start()
        process.join(TIMEOUT)
        if process.is_alive():
            process.kill()
            return Fate(CRASHED, f"not done after {TIMEOUT} s")
        figures = folder / FIGURES
        if not figures.exists():
            return Fate(CRASHED, ((folder / PRINTED).read_text().splitlines() or ["without a word"])[-1])
        rows = [row for oracle in json.loads(figures.read_text())["oracles"] for row in oracle["rows"]]
    off = [row for row in rows if not row["passed"]]
    if not off:
        return Fate(SURVIVED)
    return Fate(KILLED, f"{off[0]['what']}: {off[0]['measured']:.6g}, not {off[0]['predicted']:.6g}")


@cache
def _context() -> ForkServerContext:
    """Processes that begin with all that is heavy and nothing of ours: what is imported cannot be mutated."""
    stack = ExitStack()
    short = stack.enter_context(socket_folder(tempfile.gettempdir(), len(SOCKET)))
    if short is not None:
        atexit.register(stack.close)
        tempfile.tempdir = str(short)
    context = get_context("forkserver")
    context.set_forkserver_preload(list(HEAVY))
    return context


def _ask(mutation: Mutation, folder: str) -> None:
    """In the new process: `kerf oracles`, with the mutation."""
    os.chdir(folder)
    with open(PRINTED, "wb", buffering=0) as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    mutant = Mutant(mutation)
    sys.meta_path.insert(0, mutant)
    module = importlib.import_module(mutant.name)
    if module.__loader__ is not mutant:
        raise RuntimeError(f"{mutant.name} was imported before it could be changed")
    main: Any = importlib.import_module("kerf.runs.cli").main
    main(["oracles", str(mutation.oracle), "--json", FIGURES])


def main() -> int:
    """Print the kill table; 0 if all were killed, else 1."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        fates = list(pool.map(fate, MUTATIONS))
    table = Table(box=None, pad_edge=False)
    for heading in ("oracle", "mutation", "file", "fate", "first figure that is off"):
        table.add_column(heading, overflow="fold")
    for mutation, came in zip(MUTATIONS, fates, strict=True):
        about, why = Text(mutation.about), Text(came.why)
        table.add_row(str(mutation.oracle), about, mutation.file, Text(came.outcome), why)
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)
    killed = sum(came.outcome == KILLED for came in fates)
    print(f"{killed} of {len(MUTATIONS)} mutations were killed.")
    return 0 if killed == len(MUTATIONS) else 1


if __name__ == "__main__":
    raise SystemExit(main())
