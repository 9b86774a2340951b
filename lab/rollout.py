"""The only rollout function: training, probes and attacks use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kerf.lab.compiled import compiled
from kerf.lab.exponential import exp
from kerf.lab.scenario import Scenarios
from kerf.lab.world import EventWords, World


class Policy(Protocol):
    """A map from observations to action logits. One that remembers earlier observations is `Recurrent` as well."""

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(n, D)` observations -> `(n, A)` logits; -inf marks an action that is never taken.

        Raises:
            KerfError: if the policy has a memory (`Recurrent`), so that an observation does not decide what it does.
        """


@runtime_checkable
class Recurrent(Protocol):
    """A policy with a memory: what it does depends on what it has observed since the episode began.

    Attributes:
        memory_size: M, how many numbers it remembers. They are 0 when an episode begins.
    """

    memory_size: int

    def recall(
        self, observations: NDArray[np.float32], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`(n, D)` observations and the memory before them `(n, M)` -> `(n, A)` logits and the memory after them.

        Rows are episodes: one does not affect another, whatever else is in the batch, bit for bit.
        """


def no_memory(policy: Policy, n: int) -> NDArray[np.float32]:
    """What `policy` remembers when `n` episodes begin: `(n, M)` zeros, and `(n, 0)` for a policy without a memory."""
    return np.zeros((n, policy.memory_size if isinstance(policy, Recurrent) else 0), np.float32)


def recalled(
    policy: Policy, observations: NDArray[np.float32], memory: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One step of any policy: logits `(n, A)`, and the memory after `observations` `(n, D)` with `memory` before."""
    if isinstance(policy, Recurrent):
        return policy.recall(observations, memory)
    return policy.logits(observations), memory


def logits_along(policy: Policy, observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits `(T, n, A)` of `policy` in whole episodes that another one may have played, `(T, n, D)`."""
    horizon, n, num_seen = observations.shape
    if not isinstance(policy, Recurrent):
        return policy.logits(observations.reshape(horizon * n, num_seen)).reshape(horizon, n, -1)
    memory, steps = no_memory(policy, n), []
    for seen in observations:
        logits, memory = policy.recall(seen, memory)
        steps.append(logits)
    return np.stack(steps)


@dataclass(frozen=True)
class Trajectories:
    """`n` whole episodes of `T` steps, column by column.

    Attributes:
        world: The world that they were played in.
        scenarios: `(n, F)` int16.
        observations: `(T, n, D)` float32, before each action.
        logits: `(T, n, A)` float32, the policy's logits there.
        actions: `(T, n)` int64.
        events: `(T, n)` uint64 bit sets, the events of each step.
    """

    world: World
    scenarios: Scenarios
    observations: NDArray[np.float32]
    logits: NDArray[np.float32]
    actions: NDArray[np.int64]
    events: EventWords

    def __len__(self) -> int:
        return int(self.actions.shape[1])

    def of(self, rows: slice) -> Trajectories:
        """The episodes `rows`, without copying."""
        return Trajectories(
            self.world,
            self.scenarios[rows],
            self.observations[:, rows],
            self.logits[:, rows],
            self.actions[:, rows],
            self.events[:, rows],
        )

    def when(self, event: str | None) -> NDArray[np.bool_]:
        """Whether `event` happened at each step, shape `(T, n)`; None is an event that never happens."""
        if event is None:
            return np.zeros(self.events.shape, np.bool_)
        bit = np.uint64(1) << np.uint64(self.world.events.index(event))
        return (self.events & bit) != 0

    def happened(self, event: str | None) -> NDArray[np.bool_]:
        """Whether `event` happened in each episode, shape `(n,)`."""
        return np.asarray(self.when(event).any(axis=0))

    def field(self, name: str) -> NDArray[np.int16]:
        """A scenario field, shape `(n,)`."""
        return self.scenarios[:, self.world.space.column(name)]


def unplayed(world: World, scenarios: Scenarios) -> Trajectories:
    """Empty trajectories of `scenarios` `(n, F)`, to be filled by `rollout`."""
    shape = world.horizon, len(scenarios)
    return Trajectories(
        world,
        scenarios,
        np.empty((*shape, len(world.observations)), np.float32),
        np.empty((*shape, len(world.actions)), np.float32),
        np.empty(shape, np.int64),
        np.zeros(shape, np.uint64),
    )


def rollout(
    policy: Policy,
    world: World,
    scenarios: Scenarios,
    rng: np.random.Generator | NDArray[np.float32],
    into: Trajectories | None = None,
    opening: NDArray[np.int64] | None = None,
) -> Trajectories:
    """Play every scenario to its horizon once.

    Args:
        policy: The policy that acts.
        world: The world.
        scenarios: `(n, F)` int16, valid for `world.space`.
        rng: A generator, or the uniform numbers themselves, `(T, n)` float32 in [0, 1): number `[t, i]` picks
            the action of episode `i` at step `t`. Passing the same numbers twice compares two policies under
            common random numbers, and lets a batch be cut in parts without changing any episode.
        into: Trajectories to fill, e.g. some episodes of a larger batch; None allocates them.
        opening: `(t, n)`, the actions of the first `t` steps, whatever the policy picks; -1: what it picks. The same
            numbers and an opening that differs in its last action give two branches of one episode. None: no opening.

    Returns:
        Trajectories of exactly `n` episodes.

    Raises:
        ValueError: if the numbers or the opening have the wrong shape, or the policy returns NaN (or only -inf)
            somewhere.
    """
    n, horizon = len(scenarios), world.horizon
    uniforms = rng.random((horizon, n), np.float32) if isinstance(rng, np.random.Generator) else rng
    if uniforms.shape != (horizon, n):
        raise ValueError(f"uniforms must have shape {(horizon, n)}, got {uniforms.shape}")
    if opening is not None:
        check_opening(world, n, opening)
    played = unplayed(world, scenarios) if into is None else into
    play, memory = world.begin(scenarios), no_memory(policy, n)
    for t in range(horizon):
        play.observe(played.observations[t])
        played.logits[t], memory = recalled(policy, played.observations[t], memory)
        if not pick(played.logits[t], uniforms[t], played.actions[t]):
            raise ValueError(f"the policy returned logits that are no distribution at step {t}")
        if opening is not None and t < len(opening):
            np.copyto(played.actions[t], opening[t], where=opening[t] >= 0)
        play.step(played.actions[t], played.events[t])
    return played


def check_opening(world: World, n: int, opening: NDArray[np.int64]) -> None:
    """Raise `ValueError` unless `opening` is `(t, n)` actions of `world`, or -1, of at most its horizon."""
    num_actions = len(world.actions)
    if opening.ndim != 2 or opening.shape[1] != n or len(opening) > world.horizon:
        raise ValueError(f"the opening must have shape (t, {n}) with t <= {world.horizon}, got {opening.shape}")
    if opening.size and not (opening.min() >= -1 and opening.max() < num_actions):
        raise ValueError(f"the opening must hold actions below {num_actions}, or -1")


@compiled
def pick(logits, uniforms, actions):  # type: ignore[no-untyped-def]  # compiled
    """Inverse-CDF draw from softmax(`logits`) `(n, A)` into `actions` `(n,)`; False if a row is no distribution."""
    n, num_actions = logits.shape
    together = 128
    weights = np.empty((num_actions, together), np.float32)
    top = np.empty(together, np.float32)
    for start in range(0, n, together):
        m = min(together, n - start)
        part = logits[start : start + m]
        top[:] = -np.inf
        for a in range(num_actions):
            for i in range(m):
                weights[a, i] = part[i, a]
                top[i] = max(top[i], weights[a, i])
        for a in range(num_actions):
            for i in range(m):
                weights[a, i] = exp(weights[a, i] - top[i])
        for i in range(m):
            total = 0.0
            for a in range(num_actions):
                total += weights[a, i]
            if not total >= 1.0:  # the largest logit adds 1, unless something is NaN or all are -inf
                return False
            threshold = uniforms[start + i] * total
            chosen = -1
            running = 0.0
            for a in range(num_actions):
                if weights[a, i] > 0.0:
                    running += weights[a, i]
                    chosen = a
                    if running > threshold:
                        break
            actions[start + i] = chosen
    return True
