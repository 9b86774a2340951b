"""Compilation of the kernels of training ahead of the first study: once per installation, in two processes at a time.

Without it every worker would compile them for itself, and the command would show nothing meanwhile. `make install` runs
this module as a program; commands that start workers on this machine call `compile_ahead`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from kerf.lab.compiled import LAB, kernel_folder, sources_digest
from kerf.runs.records.provenance import processor

AGENTS = LAB.parent / "agents"

NOTICE = "compiling kernels, once per installation (about 30 s) ..."
"""Message before the kernels are compiled."""


def _episodes() -> None:
    """Measure the expert on a few probes of `station`: compiles its kernels, with those of rollouts; and evaluate it
    exactly, as the page's replays do."""
    from kerf.lab.battery import Battery
    from kerf.lab.exact.evaluation import evaluate
    from kerf.lab.scripted import ExpertPolicy
    from kerf.lab.worlds import get_world

    world = get_world("station")
    Battery(world, 4, 0).measure(ExpertPolicy(world))
    evaluate(ExpertPolicy(world), world, world.space.blank(2))


def _training() -> None:
    """Train a network for an iteration in `dilemma`, which has no kernels: compiles acting, the gradient and Adam."""
    from kerf.agents.config import KerfConfig
    from kerf.agents.settings import NetworkSettings, TrainingSettings
    from kerf.generators.base import GeneratorSettings
    from kerf.generators.registry import make_generator
    from kerf.lab.worlds import get_world

    config = KerfConfig().kerf(
        world="dilemma",
        source=make_generator(get_world("dilemma"), GeneratorSettings(kind="natural")),
        seed=0,
        network=NetworkSettings(),
        training=TrainingSettings(num_scenarios=64, minibatch_size=64, num_epochs=1, advantage_scaling="batch"),
    )
    algorithm = config.debugging(log_level="ERROR").build_algo()
    algorithm.train()
    algorithm.stop()


PARTS: Mapping[str, Callable[[], None]] = MappingProxyType({"episodes": _episodes, "training": _training})
"""Functions that compile what training uses, by name; each runs in a process of its own."""


def is_compiled() -> bool:
    """Whether the kernels were compiled ahead, from these sources, for this processor."""
    mark = _mark()
    return mark is not None and mark.is_file()


def compile_ahead(say: Callable[[str], None]) -> None:
    """Compile the kernels of training, unless that was done before or compiled kernels cannot be kept.

    Args:
        say: Callback for messages: `NOTICE` before anything is compiled, and why it failed. Workers then compile for
            themselves.
    """
    mark = _mark()
    if mark is None or mark.is_file() or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return
    say(NOTICE)
    command = [sys.executable, "-P", "-m", "kerf.runs.execution.compile_ahead"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONWARNINGS": "ignore"}
    processes: list[subprocess.Popen[str]] = []
    try:
        for part in PARTS:
            processes.append(
                subprocess.Popen(
                    [*command, part],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        outputs = [process.communicate()[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    failed = [output for process, output in zip(processes, outputs, strict=True) if process.returncode]
    if failed:
        why = (failed[0].strip().splitlines() or ["no output"])[-1]
        say(f"warning: kernels could not be compiled ahead, so each worker compiles its own: {why}")
        return
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _mark() -> Path | None:
    """File that exists if the kernels were compiled ahead; None if compiled kernels cannot be kept."""
    folder = kernel_folder(sources_digest(AGENTS))
    if folder is None:
        return None
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith("NUMBA_CPU"))
    return folder / f"ahead-{hashlib.sha256(repr((processor(), settings)).encode()).hexdigest()[:16]}"


def main(names: list[str]) -> None:
    """Compile the parts with these names in this process; without names, all of them as `compile_ahead` does."""
    if not names:
        compile_ahead(lambda line: print(line[0].upper() + line[1:], flush=True))
    for name in names:
        PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
