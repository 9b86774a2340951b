"""Who is timed against whom in `kerf bench train`: on `station`, and on CartPole against those who cannot play that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from agents.config import KerfConfig
from agents.settings import NetworkSettings, TrainingSettings
from agents.stock import stock_ppo
from generators.base import GeneratorSettings
from generators.registry import make_generator
from lab.world import World, natural
from lab.worlds import get_world
from runs.bench.limit import BareTorch
from runs.bench.peer_environment import peer_python
from runs.bench.peers import CARTPOLE, PADDED, Peer, PeerSizes, our_config, rejax_peer, sb3_peer
from runs.bench.timing import Contender, Stopwatch

SAMPLING, LEARNING = "sampling", "learning"


@dataclass(frozen=True)
class Sizes:
    """What is timed, and how often.

    Attributes:
        world: Name of a registered world.
        num_scenarios: Episodes a batch. The world and our path play them all side by side.
        num_envs: Episodes that stock RLlib and Stable-Baselines3 play side by side; their wide variants play all of
            them on our native batch, which is the fastest that they get.
        minibatch_size: Steps a minibatch.
        num_epochs: Passes over a batch.
        hidden: Widths of the shared trunk's tanh layers.
        repetitions: Times that each is measured, in turn.
        kernel_batches: Batches that the world plays in one repetition.
        iterations: Iterations of our path, and of the peers', in one repetition; stock RLlib does one.
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
    """Contenders that do the same.

    Attributes:
        title: What they do.
        contenders: By name; the first is ours, and the others are compared with it.
        versions: Of what the peers among them run on, by distribution.
    """

    title: str
    contenders: Mapping[str, Contender]
    versions: Mapping[str, str]


@contextmanager
def groups(sizes: Sizes, peers: Path | None, say: Callable[[str], None]) -> Iterator[dict[str, Group]]:
    """All groups by name, ready to run. Ray must have been initialised, and torch be on one thread.

    Args:
        sizes: Their sizes.
        peers: Where the peers' environment is or is to be made; None leaves them out.
        say: Told what takes long.

    Raises:
        KerfError: if the peers cannot be had.
    """
    world = get_world(sizes.world)
    num_steps = sizes.num_scenarios * world.horizon
    with ExitStack() as stack:

        def built(config: Any) -> Any:
            algorithm = config.debugging(log_level="ERROR").build_algo()  # it sets the level of all of RLlib
            stack.callback(algorithm.stop)
            return algorithm

        def kerf(label: str, config: KerfConfig) -> Contender:
            algorithm = built(config)
            stopwatch = Stopwatch().watch(SAMPLING, algorithm, "play")
            stopwatch.watch(LEARNING, algorithm.learner_group, "update")
            steps = config.settings.num_scenarios * get_world(config.world).horizon * sizes.iterations
            return Contender(label, steps, lambda: _repeat(algorithm.train, sizes.iterations), stopwatch)

        def station(
            gradient: Literal["written_out", "autograd"], num_threads: int = 1, num_gpus: int = 0
        ) -> KerfConfig:
            changes = {"gradient": gradient, "num_gpus_per_learner": num_gpus}
            return KerfConfig().kerf(
                world=sizes.world,
                source=make_generator(world, GeneratorSettings(kind="natural")),
                seed=0,
                network=sizes.network,
                training=sizes.training.model_copy(update=changes),
                num_threads=num_threads,
            )

        def stock(num_envs: int) -> Contender:
            algorithm = built(stock_ppo(sizes.world, sizes.network, sizes.training, num_envs))
            stopwatch = Stopwatch().watch(SAMPLING, algorithm.env_runner, "sample")
            stopwatch.watch(LEARNING, algorithm.learner_group, "update")
            return Contender(f"stock RLlib PPO, {num_envs:,} side by side", num_steps, algorithm.train, stopwatch)

        widths = (len(world.observations), *sizes.hidden, len(world.actions) + 1)
        bare = BareTorch(num_steps, sizes.minibatch_size, sizes.num_epochs, widths)
        on_station = {
            "kerf": kerf("our training path", station("written_out")),
            "eager": kerf("the same by autograd", station("autograd")),
            "limit": Contender(
                "bare torch: products, activations", num_steps, bare.products_and_activations, Stopwatch()
            ),
            "products": Contender("bare torch: products alone", num_steps, bare.products, Stopwatch()),
            "stock": stock(sizes.num_envs),
            "stock_wide": stock(sizes.num_scenarios),
            "kernel": Contender(
                "the world alone", num_steps * sizes.kernel_batches, _kernel(world, sizes), Stopwatch()
            ),
        }
        cores = os.cpu_count() or 1
        if cores > 1:
            on_station["threads"] = kerf("our training path on two threads", station("written_out", num_threads=2))
        if torch.cuda.is_available():
            on_station["gpu"] = kerf("our training path, learner on the GPU", station("autograd", num_gpus=1))
        found = {"station": Group(f"Training in {sizes.world}", on_station, {})}
        if peers is not None:
            python = peer_python(peers, say)

            def peer(made: Peer) -> Contender:
                stack.enter_context(made)
                versions.update(made.versions)
                return made.contender()

            versions: dict[str, str] = {}
            one = replace(sizes.peers, iterations=1)
            on_station["sb3"] = peer(sb3_peer(python, sizes.num_envs, sizes.world, 1, one))
            on_station["sb3_wide"] = peer(sb3_peer(python, sizes.num_scenarios, sizes.world, 1, sizes.peers))
            found["station"] = Group(found["station"].title, on_station, dict(versions))
            for name, plays in (("cartpole", CARTPOLE), ("padded", PADDED)):
                inputs = len(get_world(plays).observations)
                versions = {}
                contenders = {"kerf": kerf("our training path", our_config(plays, sizes.peers))}
                for count in sorted({1, cores}):
                    contenders[f"rejax_{count}"] = peer(rejax_peer(python, plays, count, sizes.peers))
                found[name] = Group(f"Training on CartPole with {inputs} inputs, separate trunks", contenders, versions)
        yield found


def _kernel(world: World, sizes: Sizes) -> Callable[[], None]:
    """Plays batches of natural scenarios with actions drawn beforehand: steps and observations, nothing else."""
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
