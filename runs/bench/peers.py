"""Peers of `kerf bench train` from outside the project: the PPO of rejax and of Stable-Baselines3.

Each runs in its own process (`kerf.runs.bench.peer_side`) and environment (`kerf.runs.bench.peer_environment`), and
times itself, so that communication between the processes does not count. `our_config` is the configuration of ours to
compare with rejax: CartPole, at the same sizes.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from kerf.agents.config import KerfConfig
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world
from kerf.runs.bench.timing import Contender, Stopwatch

CARTPOLE, PADDED = "kerf.runs.bench.cartpole:CartPole", "kerf.runs.bench.cartpole:PaddedCartPole"
PATIENCE = 600.0
"""Time-out of a peer's answer, in seconds."""
_LAST_LINES = 5


@dataclass(frozen=True)
class PeerSizes:
    """Task of each peer in one repetition.

    Attributes:
        num_scenarios: Parallel episodes.
        minibatch_size: Steps per minibatch; a divisor of `num_scenarios * horizon`, as rejax requires.
        num_epochs: Passes over a batch.
        hidden: Widths of the hidden layers.
        activation: Activation after each hidden layer.
        iterations: Iterations of PPO.
    """

    num_scenarios: int = 1024
    minibatch_size: int = 4096
    num_epochs: int = 3
    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    iterations: int = 5

    @property
    def training(self) -> TrainingSettings:
        """Settings of our trainer; the peers adopt those that they offer."""
        return TrainingSettings(
            num_scenarios=self.num_scenarios,
            minibatch_size=self.minibatch_size,
            num_epochs=self.num_epochs,
            advantage_scaling="batch",  # as the peers do
        )

    def arguments(self, world: str, cores: int) -> dict[str, Any]:
        """Settings sent to a peer that trains on `world`, or on one of the same size, with this number of cores.

        Raises:
            KerfError: if the minibatches do not divide the batch.
        """
        plays, training = get_world(world), self.training
        if (batch := self.num_scenarios * plays.horizon) % self.minibatch_size:
            raise KerfError(f"minibatch_size: expected a divisor of a batch's {batch} steps, got {self.minibatch_size}")
        coefficients = ("learning_rate", "gamma", "gae_lambda", "clip", "value_coeff", "entropy_coeff", "max_grad_norm")
        return {
            "world": world,
            "cores": cores,
            "num_observations": len(plays.observations),
            "num_envs": self.num_scenarios,
            "num_steps": plays.horizon,
            "minibatch_size": self.minibatch_size,
            "num_epochs": self.num_epochs,
            "hidden": list(self.hidden),
            "activation": self.activation,
            "iterations": self.iterations,
            **{name: getattr(training, name) for name in coefficients},
        }


class Peer:
    """A peer process that trains on command.

    Use it as a context manager, or `close()` it.

    Args:
        label: Description for people.
        command: Starts the process, which follows the protocol of `kerf.runs.bench.peer_side`.
        patience: Time-out of an answer, in seconds.

    Attributes:
        label: As given.
        num_steps: Environment steps of one `run`.
        versions: Versions of its dependencies, by distribution.
        score: Score of its agent after the last `run`; NaN before.

    Raises:
        KerfError: if it dies, times out or gives another answer; with its last error output. Here, and from `run`.
    """

    def __init__(self, label: str, command: Sequence[str], patience: float = PATIENCE) -> None:
        self.label, self._patience = label, patience
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, bufsize=0
            )
        except OSError as error:
            self._complaints.close()
            raise KerfError(f"{label}: cannot start {command[0]}: {error.strerror}") from error
        ready = self._answer("num_steps", "versions")
        self.num_steps: int = ready["num_steps"]
        self.versions: dict[str, str] = ready["versions"]
        self.score = float("nan")

    def run(self) -> float:
        """Train on `num_steps` more steps; returns the seconds that this took, as measured by the process."""
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            raise KerfError(f"{self.label}: the peer has ended; start another")
        try:
            self._process.stdin.write(b"run\n")
        except OSError as error:  # the process has ended
            raise self._failure() from error
        answer = self._answer("seconds", "score")
        self.score = answer["score"]
        seconds: float = answer["seconds"]
        return seconds

    def contender(self) -> Contender:
        """The peer as a contender of the benchmark."""
        return _TimedInside(self.label, self.num_steps, self.run, Stopwatch())

    def close(self) -> None:
        """End the process; may be called again."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._complaints.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _answer(self, *needed: str) -> dict[str, Any]:
        """The next line of output, which must have the keys in `needed`."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(self._patience):
                raise self._failure(f"did not answer within {self._patience:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise self._failure(f"expected a line of JSON, got {line!r}") from error
        if not (isinstance(answer, dict) and set(needed) <= set(answer)):
            raise self._failure(f"expected {' and '.join(needed)}, got {line!r}")
        return answer

    def _failure(self, what: str = "") -> KerfError:
        """End the process and return the error to raise."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._complaints.seek(0)
        lines = [line for line in self._complaints.read().decode(errors="replace").splitlines() if line.strip()]
        self.close()
        last = " / ".join(lines[-_LAST_LINES:]) or "nothing"
        return KerfError(f"{self.label}: the peer {what or f'ended with exit code {code}'}; its last words: {last}")


@dataclass(frozen=True)
class _TimedInside(Contender):
    """A contender whose `run` returns the measured seconds."""

    run: Callable[[], float]

    def measure(self) -> tuple[float, dict[str, float]]:
        return self.num_steps / self.run(), {}


def rejax_peer(python: Path, world: str, cores: int = 1, sizes: PeerSizes | None = None) -> Peer:
    """rejax's PPO on gymnax's CartPole, with observations as long as those of `world`: `CARTPOLE` or `PADDED`.

    Args:
        python: Interpreter of its environment (`kerf.runs.bench.peer_environment.peer_python`).
        world: Our world that it is compared with.
        cores: Number of cores.
        sizes: Defaults to `PeerSizes()`.

    Raises:
        KerfError: if it cannot run here, or not at these sizes.
    """
    size = len(get_world(world).observations)
    return _started(f"rejax PPO, CartPole, {size} inputs", python, "kerf.runs.bench.peer_rejax", world, cores, sizes)


def sb3_peer(
    python: Path,
    num_envs: int,
    world: str = "station",
    cores: int = 1,
    sizes: PeerSizes | None = None,
    native: bool = True,
) -> Peer:
    """Stable-Baselines3's PPO on `world`, with `num_envs` parallel episodes; otherwise as `rejax_peer`.

    It learns from batches of `sizes.num_scenarios` episodes, whatever `num_envs` is. Without `native` it makes and
    steps single environments itself, as is usual for its users; with `native` it steps one batch of ours.
    """
    sizes = sizes or PeerSizes()
    if num_envs < 1 or sizes.num_scenarios % num_envs:
        raise KerfError(f"num_envs: expected a divisor of num_scenarios={sizes.num_scenarios}, got {num_envs}")
    arguments = {
        "num_envs": num_envs,
        "num_steps": sizes.num_scenarios // num_envs * get_world(world).horizon,
        "native": native,
    }
    label = f"Stable-Baselines3, {num_envs:,} {'side by side' if native else 'single'}"
    return _started(label, python, "kerf.runs.bench.peer_sb3", world, cores, sizes, **arguments)


def _started(
    label: str, python: Path, module: str, world: str, cores: int, sizes: PeerSizes | None, **changes: int
) -> Peer:
    if not hasattr(os, "sched_setaffinity"):
        raise KerfError(f"{label}: peers are kept to their cores, which only Linux can do; leave them out here")
    most = len(os.sched_getaffinity(0))
    if not 1 <= cores <= most:
        raise KerfError(f"{label}: cores must be from 1 to the {most} that this process may use, got {cores}")
    label += f", {cores} core{'s' if cores > 1 else ''}"
    arguments = json.dumps((sizes or PeerSizes()).arguments(world, cores) | changes)
    # -P: modules in the current folder must not shadow installed ones
    return Peer(label, [str(python), "-P", "-m", "kerf.runs.bench.peer_side", module, arguments])


def our_config(world: str, sizes: PeerSizes | None = None, num_threads: int = 1) -> KerfConfig:
    """Our trainer's configuration for the comparison with `rejax_peer` on `world`: separate networks for policy and
    state value."""
    sizes = sizes or PeerSizes()
    return KerfConfig().kerf(
        world=world,
        source=make_generator(get_world(world), GeneratorSettings(kind="natural")),
        seed=0,
        network=NetworkSettings(hidden=sizes.hidden, activation=sizes.activation, shared_trunk=False),
        training=sizes.training,
        num_threads=num_threads,
    )
