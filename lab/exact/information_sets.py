"""Information sets: the game as the agent can know it, and what each action leads to.

An information set holds all that is possible given the observations and actions so far: some of the completions of a
situation, each in a state. These are its *members*. An action moves every member on; the next observation splits them.
Sets with the same members, up to state abstraction (`kerf.lab.world.ExactPlay.abstract_state`), are merged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.compiled import compiled
from kerf.lab.distinct import distinct, row_hash
from kerf.lab.errors import KerfError
from kerf.lab.exact.evaluation import ROWS, begin
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Enumerable, EventWords, ExactPlay, World

MOST_BRANCHES = 24_000_000
"""The most members of the information sets of one step, times actions: about 3 GiB."""

_SALTS = (0, 1)


@dataclass(frozen=True)
class Level:
    """The information sets of one step: `N` sets of `M` members in all.

    Attributes:
        set_of: `(M,)` ascending, the set of each member.
        completion: `(M,)`, the completion of each member.
        words: `(M, A)` uint64, the events of each action in each member.
        branch: `(G,)`, `set * A + action` of each branch; an action has a branch for each next observation.
        leads_to: `(G,)`, the set of the next step that each branch leads to; empty at the last step.
        names: `(N, 2)` uint64, sorted: sets of a step with the same members have the same name, and no others.
    """

    set_of: NDArray[np.int64]
    completion: NDArray[np.int64]
    words: EventWords
    branch: NDArray[np.int64]
    leads_to: NDArray[np.int64]
    names: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.names)

    def find(self, names: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The sets called `names` `(m, 2)`, `(m,)`. Raises `KeyError` if there is no such set."""
        at = np.minimum(np.searchsorted(self.names[:, 0], names[:, 0]), len(self) - 1)
        if not (self.names[at] == names).all():
            raise KeyError("no such information set")
        return at


@dataclass(frozen=True)
class Tree:
    """All information sets of some situations.

    Attributes:
        world: Where.
        situations: `(n, F)`, of which only the first observation counts.
        completions: `(C, F)`, all scenarios with these first observations.
        origin: `(C,)`, the situation of each completion.
        roots: `(n,)`, the set of the first step that each situation is.
        levels: One for each step.
    """

    world: World
    situations: Scenarios
    completions: Scenarios
    origin: NDArray[np.int64]
    roots: NDArray[np.int64]
    levels: tuple[Level, ...]

    def __len__(self) -> int:
        return sum(len(level) for level in self.levels)


@dataclass(frozen=True)
class Sets:
    """The information sets of a step in progress.

    Attributes:
        play: `M` members, in the order of their sets.
        set_of: `(M,)` ascending.
        completion: `(M,)`.
        names: `(N, 2)`, sorted.
    """

    play: ExactPlay
    set_of: NDArray[np.int64]
    completion: NDArray[np.int64]
    names: NDArray[np.uint64]


def grow(world: World, situations: Scenarios) -> Tree:
    """The tree of information sets of `situations` `(n, F)`.

    Raises:
        KerfError: if the world offers no enumeration, or has too many information sets; names their estimated number.
        ValueError: if a completion does not look like its situation.
    """
    completions, origin, sets = first_sets(world, situations)
    roots = np.empty(len(situations), np.int64)
    roots[origin[sets.completion]] = sets.set_of
    levels: list[Level] = []
    for step in range(world.horizon):
        _refuse_many(world, situations, levels, len(sets.set_of))
        last = step == world.horizon - 1
        words, identities, seen = _branches(world, sets, look=not last)
        branch = leads_to = np.empty(0, np.int64)
        set_of, completion, names = sets.set_of, sets.completion, sets.names
        if not last:
            num_actions = len(world.actions)
            branches = (set_of[:, None] * num_actions + np.arange(num_actions)).ravel()
            branch, group = split(branches, seen)
            rows, new_set_of, new_names, leads_to = gather(group, identities)
            play = sets.play.fork(rows // num_actions)
            play.step(rows % num_actions, np.zeros(len(rows), np.uint64))
            sets = Sets(play, new_set_of, completion[rows // num_actions], new_names)
        levels.append(Level(set_of, completion, words, branch, leads_to, names))
    return Tree(world, situations, completions, origin, roots, tuple(levels))


def first_sets(world: World, situations: Scenarios) -> tuple[Scenarios, NDArray[np.int64], Sets]:
    """The completions of `situations`, the situation of each, and the sets of the first step: one a situation."""
    begin(world, situations[:0])
    assert isinstance(world, Enumerable)
    completions, origin = world.completions(situations)
    if not np.array_equal(np.unique(origin), np.arange(len(situations))):
        raise ValueError(f"world {world.name}: a situation without a completion")
    play = begin(world, completions)
    looks = observation_hashes(world, play)
    first = np.searchsorted(origin, origin)
    if (looks != looks[first]).any():
        row = int(np.flatnonzero(looks != looks[first])[0])
        raise ValueError(f"does not look like its situation: {world.space.to_text(completions[row])}")
    completion = np.arange(len(completions))
    rows, set_of, names, _ = gather(origin, identity(completion, play.abstract_state()))
    return completions, origin, Sets(play.fork(rows), set_of, completion[rows], names)


def identity(completion: NDArray[np.int64], state: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Two 64-bit hashes `(m, 2)` of members: their completion `(m,)` and their state `(m, K)`."""
    words = np.column_stack((completion, state)).view(np.uint32)
    return np.column_stack([row_hash(words, salt) for salt in _SALTS])


def observation_hashes(world: World, play: ExactPlay) -> NDArray[np.uint64]:
    """A hash of the observation of each episode of `play`, `(m,)`."""
    seen = np.empty((len(play.state()), len(world.observations)), np.float32)
    play.observe(seen)
    seen += np.float32(0.0)  # so that -0.0 equals 0.0
    return row_hash(seen.view(np.uint32), _SALTS[0])


def split(branches: NDArray[np.int64], seen: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Members grouped by branch `(m,)` and observation hash `(m,)`: the branch of each group, the group of each
    member."""
    first, group = distinct(np.column_stack((branches, seen.view(np.int64))))
    return branches[first], group


def gather(
    group: NDArray[np.int64], identities: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """Merge groups with equal members.

    A set's name is the sum of its members' 128-bit hashes, so it does not depend on their order. Two
    of n different sets get the same name with a probability of about n^2 / 2^129.

    Args:
        group: `(m,)`, group of each member, every group from 0 on being there.
        identities: `(m, 2)` uint64, hashes of the members.

    Returns:
        Representatives of the members, in the order of their sets `(M,)`; their sets `(M,)`; the names of the sets
        `(N, 2)`, sorted; and the set of each group `(G,)`.
    """
    names = np.zeros((int(group.max()) + 1, 2), np.uint64)
    _add_up(group, identities, names)
    first, kind = distinct(names)
    by_name = np.lexsort((names[first, 1], names[first, 0]))
    set_of_kind = np.empty(len(first), np.int64)
    set_of_kind[by_name] = np.arange(len(first))
    stands = np.zeros(len(names), np.bool_)
    stands[first] = True
    rows = np.flatnonzero(stands[group])
    set_of = set_of_kind[kind[group[rows]]]
    in_order = np.argsort(set_of, kind="stable")
    return rows[in_order], set_of[in_order], names[first[by_name]], set_of_kind[kind]


@compiled
def _add_up(group, identities, names):  # type: ignore[no-untyped-def]  # compiled
    """Add the hashes `(m, 2)` of members to the name `(G, 2)` of their `group` `(m,)`, modulo 2^64."""
    for i in range(len(group)):
        names[group[i], 0] += identities[i, 0]
        names[group[i], 1] += identities[i, 1]


def _branches(world: World, sets: Sets, look: bool) -> tuple[EventWords, NDArray[np.uint64], NDArray[np.uint64]]:
    """Every action in every member: events `(M, A)`, and identities `(M A, 2)` and observation hashes `(M A,)` after
    it.

    Without `look` the last two are left empty. Members that are alone in their set are not observed.
    """
    num_actions = len(world.actions)
    num_members = len(sets.set_of)
    words = np.zeros(num_members * num_actions, np.uint64)
    identities = np.empty((len(words) if look else 0, 2), np.uint64)
    seen = np.zeros(len(words) if look else 0, np.uint64)
    alone = np.bincount(sets.set_of)[sets.set_of] == 1
    for start in range(0, num_members, ROWS):
        members = np.arange(start, min(start + ROWS, num_members))
        part = slice(start * num_actions, (members[-1] + 1) * num_actions)
        after = sets.play.fork(np.repeat(members, num_actions))
        after.step(np.tile(np.arange(num_actions), len(members)), words[part])
        if not look:
            continue
        identities[part] = identity(np.repeat(sets.completion[members], num_actions), after.abstract_state())
        split_up = np.flatnonzero(np.repeat(~alone[members], num_actions))
        if len(split_up):
            seen[part.start + split_up] = observation_hashes(world, after.fork(split_up))
    return words.reshape(num_members, num_actions), identities, seen


def _refuse_many(world: World, situations: Scenarios, levels: list[Level], num_members: int) -> None:
    if num_members * len(world.actions) <= MOST_BRANCHES:
        return
    so_far = sum(len(level.set_of) for level in levels) + num_members
    growth = max(1.0, num_members / max(1, len(levels[-1].set_of))) if levels else 1.0
    left = world.horizon - len(levels) - 1
    estimate = so_far + sum(num_members * growth**step for step in range(1, left + 1))
    raise KerfError(
        f"world {world.name}: too large to be solved: about {estimate:.1e} states in {len(situations)} "
        f"situation{'s' * (len(situations) != 1)} ({num_members:,} at step {len(levels)} of {world.horizon}, "
        f"at most {MOST_BRANCHES // len(world.actions):,} are kept)"
    )
