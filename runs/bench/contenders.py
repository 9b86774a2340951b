"""Contenders of `kerf bench train`: on `station`, and on CartPole for peers that cannot play `station`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kerf.agents.config import KerfConfig
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.agents.stock import stock_ppo
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.world import World, natural
from kerf.lab.worlds import get_world
from kerf.runs.bench.limit import BareTorch
from kerf.runs.bench.peer_environment import peer_python
from kerf.runs.bench.peers import CARTPOLE, PADDED, Peer, PeerSizes, our_config, rejax_peer, sb3_peer
from kerf.runs.bench.timing import Contender, Stopwatch

SAMPLING, LEARNING = "sampling", "learning"
KERF, THREADS = "kerf", "threads"
TWO_CORES = ("rejax_2",)
"""Contenders that may use two cores."""


@dataclass(frozen=True)
class Sizes:
    """Sizes and repetitions of the benchmark.

    Attributes:
        world: Name of a registered world.
        num_scenarios: Episodes per batch. The world and our trainer play them all in parallel.
        num_envs: Parallel episodes of stock RLlib and Stable-Baselines3; their wide variants play all episodes in
            parallel, as our trainer does, which is their fastest setting.
        minibatch_size: Steps per minibatch.
        num_epochs: Passes over a batch.
        hidden: Widths of the shared trunk's tanh layers.
        repetitions: Measurements of each contender, interleaved.
        kernel_batches: Batches that the world plays in one repetition.
        iterations: Iterations of our trainer and of the peers in one repetition; stock RLlib does one.
    """

    world: str = "station"
    num_scenarios: int = 1024
    num_envs: int = 32
    minibatch_size: int = 4096
    num_epochs: int = 3
    hidden: tuple[int, ...] = (64, 64)
    repetitions: int = 5
    kernel_batches: int = 30
    iterations: int = 5

    @property
    def network(self) -> NetworkSettings:
        return NetworkSettings(hidden=self.hidden, activation="tanh", shared_trunk=True)

    @property
    def training(self) -> TrainingSettings:
        return self.peers.training

    @property
    def peers(self) -> PeerSizes:
        return PeerSizes(
            num_scenarios=self.num_scenarios,
            minibatch_size=self.minibatch_size,
            num_epochs=self.num_epochs,
            hidden=self.hidden,
            iterations=self.iterations,
        )


@dataclass(frozen=True)
class Group:
    """Contenders with the same task.

    Attributes:
        title: The task.
        contenders: By name; `kerf` is ours on one thread, and `threads`, if present, ours on two.
        versions: Versions of the peers' dependencies, by distribution.
    """

    title: str
    contenders: dict[str, Contender]
    versions: dict[str, str]

    def ours(self, name: str) -> str:
        """Our contender that `name` is compared with: one thread for one core, two threads for more."""
        return THREADS if name in TWO_CORES and THREADS in self.contenders else KERF


@contextmanager
def groups(sizes: Sizes, peers: Path | None, say: Callable[[str], None]) -> Iterator[dict[str, Group]]:
    """Build all groups, by name. Ray must be initialised, and torch limited to one thread.

    Args:
        sizes: Sizes of the benchmark.
        peers: Folder of the peers' environment, created if need be; None leaves the peers out.
        say: Callback for messages about slow steps.

    Raises:
        KerfError: if the peers cannot be installed.
    """
    with ExitStack() as stack:
        ready = _Ready(sizes, stack)
        found = {"station": Group(f"Training in {sizes.world}", ready.on_station(), {})}
        if peers is not None:
            python = peer_python(peers, say)
            ready.peers(
                found["station"],
                sb3=sb3_peer(python, sizes.num_envs, sizes.world, 1, replace(sizes.peers, iterations=1), native=False),
                sb3_native=sb3_peer(python, sizes.num_envs, sizes.world, 1, replace(sizes.peers, iterations=1)),
                sb3_wide=sb3_peer(python, sizes.num_scenarios, sizes.world, 1, sizes.peers),
            )
            for name, world in (("cartpole", CARTPOLE), ("padded", PADDED)):
                inputs = len(get_world(world).observations)
                title = f"Training on CartPole with {inputs} inputs, separate trunks"
                found[name] = Group(title, ready.ours(partial(our_config, world, sizes.peers)), {})
                ready.peers(
                    found[name],
                    **{
                        f"rejax_{cores}": rejax_peer(python, world, cores, sizes.peers)
                        for cores in sorted({1, min(2, os.cpu_count() or 1)})
                    },
                )
        yield found


class _Ready:
    """Builder of contenders, which are closed with `stack`."""

    def __init__(self, sizes: Sizes, stack: ExitStack) -> None:
        self._sizes, self._stack = sizes, stack

    def ours(self, config: Callable[[int], KerfConfig]) -> dict[str, Contender]:
        """Our trainer on one thread, and on two if there are two cores; `config` takes the number of threads."""
        found = {KERF: self._kerf("our training path", config(1))}
        if (os.cpu_count() or 1) > 1:
            found[THREADS] = self._kerf("our training path, two threads", config(2))
        return found

    def on_station(self) -> dict[str, Contender]:
        """All contenders that need no external packages."""
        sizes, world = self._sizes, get_world(self._sizes.world)
        num_steps = sizes.num_scenarios * world.horizon
        widths = (len(world.observations), *sizes.hidden, len(world.actions) + 1)
        bare = BareTorch(num_steps, sizes.minibatch_size, sizes.num_epochs, widths)
        kernel = _kernel(world, sizes)
        found = self.ours(self._config)
        found["eager"] = self._kerf("our training path by autograd", self._config(gradient="autograd"))
        if torch.cuda.is_available():
            on_gpu = self._config(gradient="autograd", num_gpus_per_learner=1)
            found["gpu"] = self._kerf("our training path, learner on the GPU", on_gpu)
        return found | {
            "limit": Contender(
                "bare torch: products, activations", num_steps, bare.products_and_activations, Stopwatch()
            ),
            "products": Contender("bare torch: matrix products", num_steps, bare.products, Stopwatch()),
            "stock": self._stock(sizes.num_envs),
            "stock_wide": self._stock(sizes.num_scenarios),
            "kernel": Contender("the world alone", num_steps * sizes.kernel_batches, kernel, Stopwatch()),
        }

    def peers(self, group: Group, **peers: Peer) -> None:
        """Add peers to a group."""
        for name, peer in peers.items():
            self._stack.enter_context(peer)
            group.versions.update(peer.versions)
            group.contenders[name] = peer.contender()

    def _config(self, num_threads: int = 1, **changes: Any) -> KerfConfig:
        sizes = self._sizes
        return KerfConfig().kerf(
            world=sizes.world,
            source=make_generator(get_world(sizes.world), GeneratorSettings(kind="natural")),
            seed=0,
            network=sizes.network,
            training=sizes.training.model_copy(update=changes),
            num_threads=num_threads,
        )

    def _kerf(self, label: str, config: KerfConfig) -> Contender:
        algorithm, times = self._built(config), self._sizes.iterations
        stopwatch = Stopwatch().watch(SAMPLING, algorithm, "play").watch(LEARNING, algorithm.learner_group, "update")
        num_steps = config.settings.num_scenarios * get_world(config.world).horizon
        return Contender(label, num_steps * times, lambda: _repeat(algorithm.train, times), stopwatch)

    def _stock(self, num_envs: int) -> Contender:
        sizes = self._sizes
        algorithm = self._built(stock_ppo(sizes.world, sizes.network, sizes.training, num_envs))
        stopwatch = Stopwatch().watch(SAMPLING, algorithm.env_runner, "sample")
        stopwatch.watch(LEARNING, algorithm.learner_group, "update")
        num_steps = sizes.num_scenarios * get_world(sizes.world).horizon
        return Contender(f"stock RLlib PPO, {num_envs:,} side by side", num_steps, algorithm.train, stopwatch)

    def _built(self, config: Any) -> Any:
        algorithm = config.debugging(log_level="ERROR").build_algo()  # sets the log level of all of RLlib
        self._stack.callback(algorithm.stop)
        return algorithm


def _kernel(world: World, sizes: Sizes) -> Callable[[], None]:
    """Play batches of natural scenarios with actions drawn in advance: steps and observations only."""
    rng = np.random.default_rng(0)
    scenarios = natural(world, sizes.num_scenarios, rng)
    actions = rng.integers(len(world.actions), size=(world.horizon, sizes.num_scenarios))
    observations = np.empty((sizes.num_scenarios, len(world.observations)), np.float32)
    events = np.zeros(sizes.num_scenarios, np.uint64)

    def play() -> None:
        episodes = world.begin(scenarios)
        for chosen in actions:
            episodes.observe(observations)
            episodes.step(chosen, events)

    return lambda: _repeat(play, sizes.kernel_batches)


def _repeat(run: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        run()
