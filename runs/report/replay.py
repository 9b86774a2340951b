"""Replays: the aligned agent and the arms side by side on one scenario, under common random numbers, as plain data.

Scenarios are picked by the largest change of behaviour, one of every value and of the forgeries, never by hand, among
those in which the aligned agent shows the value, or is deceived. All arms play the same ones. The seed is the one whose
effects are most like the mean of all seeds.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kerf.agents.export import load_policy
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.rollout import Policy, Trajectories, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.seeds import entropy
from kerf.lab.torch_threads import one_thread
from kerf.lab.world import Scenic, World
from kerf.lab.worlds import get_world
from kerf.runs.records.gate_records import has_passed
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit
from kerf.runs.report.effects import Ends

STREAM = "replays"
"""Name of the random stream of the scenarios and of the numbers that pick actions."""

EACH = 16
"""Scenarios drawn of each family, and of the forgeries of each strength."""

MOST = 8
"""Scenarios that are replayed."""

PICTURE_BYTES = 3_000_000
"""Size that the pictures of a world without scenes may come to, about; fewer scenarios are then replayed."""

SHOWN = 0.5
"""Score from which on an episode shows a value."""

FORGED = "forged"
"""The value under which forgeries are listed, which exercise none."""


@dataclass(frozen=True)
class Cast:
    """Who plays.

    Attributes:
        world: The world.
        seed: The seed whose agents play.
        policies: Aligned agent and arms, by name.
    """

    world: World
    seed: int
    policies: Mapping[str, Policy]

    @property
    def arms(self) -> list[str]:
        """All but the aligned agent."""
        return [name for name in self.policies if name != ALIGNED]


@dataclass(frozen=True)
class Drawn:
    """Scenarios to choose from.

    Attributes:
        scenarios: `(n, F)`.
        families: Family, or strength of forgery, of each.
        values: Value that each exercises; `FORGED` for forgeries.
    """

    scenarios: Scenarios
    families: Sequence[str]
    values: Sequence[str]


def make_cast(store: Store, ends: Ends, asked: Sequence[str] = ()) -> Cast:
    """Load the aligned agent and the arms of a typical seed.

    Args:
        store: Store of a finished study.
        ends: Its scores, from which the seed is chosen.
        asked: Arms to show; empty: all that were trained.

    Raises:
        KerfError: for an unknown arm.
    """
    manifest = store.manifest()
    world = get_world(manifest["recipe"]["world"])
    for arm in asked:
        if arm not in manifest["arm_order"]:
            raise unknown_name(f"arm of {store.path}", arm, manifest["arm_order"])
    trained = [arm for arm in manifest["arm_order"] if manifest["arms"][arm]["train"]]
    seeds = [seed for seed in manifest["seeds"] if has_passed(store, seed)]
    focus = world.dilemma.focus[0] if world.dilemma.focus else None
    seed = typical_seed(ends, seeds, focus)
    names = [ALIGNED, *(asked or trained)]
    policies = {name: load_policy(store.path / Unit(name, seed).name / POLICY, world) for name in names}
    return Cast(world, seed, policies)


def typical_seed(ends: Ends, seeds: Sequence[int], focus: str | None) -> int:
    """The seed whose changes of `focus` are closest to their means over seeds, over all arms; ties: the first."""
    if focus is None:
        return seeds[0]
    changes = np.array([[ends.change(arm, focus)[seed] for arm in ends.arms] for seed in seeds])
    distances = np.abs(changes - changes.mean(axis=0)).sum(axis=1)
    return seeds[int(distances.round(12).argmin())]


def draw_scenarios(world: World, strengths: Sequence[float]) -> Drawn:
    """Draw `EACH` scenarios of every family, and forgeries of every strength; always the same ones."""
    parts, families, values = [], [], []
    for family in world.families:
        rng = np.random.default_rng(np.random.SeedSequence(entropy(0, f"{STREAM} {family.name}")))
        parts.append(family.sample(EACH, rng))
        families += [family.name + (" (held out)" if family.held_out else "")] * EACH
        values += [family.value] * EACH
    for strength in strengths:
        rng = np.random.default_rng(np.random.SeedSequence(entropy(0, f"{STREAM} forged {strength:g}")))
        parts.append(world.dilemma.false_emergency(EACH, strength, rng))
        families += [f"{world.dilemma.words.false}, strength {strength:g}"] * EACH
        values += [FORGED] * EACH
    return Drawn(np.concatenate(parts), families, values)


def play_aligned(cast: Cast, drawn: Drawn) -> Trajectories:
    """The aligned agent's episode of every scenario."""
    return rollout(cast.policies[ALIGNED], cast.world, drawn.scenarios, _uniforms(cast.world, len(drawn.scenarios)))


def telling(drawn: Drawn, played: Trajectories) -> NDArray[np.bool_]:
    """In which scenarios the aligned agent shows the value that they exercise, or is deceived by the forgery, `(n,)`:
    there is something that an arm can lose or learn."""
    world, values = played.world, np.array(drawn.values)
    told = played.happened(world.dilemma.forbidden) & (values == FORGED)
    for value in world.values:
        told |= (value.score(played) >= SHOWN) & (values == value.name)
    return told


def behaviour_change(cast: Cast, played: Trajectories) -> NDArray[np.float64]:
    """How much behaviour changed in each of the aligned agent's episodes, `(n,)`.

    The total variation distance between the action probabilities of the aligned agent and of an arm, on what the
    aligned agent observed, mean over steps; the largest of any arm.
    """
    before = probabilities(played.logits)
    flat = played.observations.reshape(-1, played.observations.shape[-1])
    changes = [np.zeros(len(played))]
    for arm in cast.arms:
        after = probabilities(cast.policies[arm].logits(flat).reshape(before.shape))
        changes.append(0.5 * np.abs(after - before).sum(axis=-1).mean(axis=0))
    return np.max(changes, axis=0)


def pick(
    drawn: Drawn, changes: NDArray[np.float64], told: NDArray[np.bool_] | None = None, most: int = MOST
) -> list[int]:
    """Of every value the scenario in which behaviour changed most; of these the `most` largest, in that order.

    Args:
        drawn: `n` scenarios.
        changes: How much behaviour changed in each, `(n,)`.
        told: Scenarios that come before others of their value, `(n,)`; None: none do.
        most: Maximum number of scenarios.
    """
    first = np.zeros(len(changes), np.bool_) if told is None else told
    best: dict[str, int] = {}
    for row in np.lexsort((-changes, ~first)).tolist():
        best.setdefault(drawn.values[row], row)
    return sorted(best.values(), key=lambda row: -changes[row])[:most]


def replays(store: Store, ends: Ends, scenario: str | None = None, asked: Sequence[str] = ()) -> dict[str, Any]:
    """Replays of a finished study as JSON values, for the player.

    Args:
        store: Store of the study.
        ends: Its scores.
        scenario: The scenario's text form; None: those that `pick` picks.
        asked: Arms to show; empty: all that were trained.

    Raises:
        KerfError: for an unknown arm, or a text that is no scenario of the world.
    """
    with one_thread():
        return _replays(store, make_cast(store, ends, asked), scenario)


def _replays(store: Store, cast: Cast, scenario: str | None) -> dict[str, Any]:
    world = cast.world
    if scenario is not None:
        row = world.space.from_text(scenario)
        world.space.validate(row[None])
        chosen = [(row, "as asked", "", 0.0)]
    else:
        drawn = draw_scenarios(world, store.manifest()["recipe"]["battery"]["strengths"])
        played = play_aligned(cast, drawn)
        changes = behaviour_change(cast, played).round(9)
        rows = pick(drawn, changes, telling(drawn, played), _how_many(cast, drawn.scenarios[0]))
        chosen = [(drawn.scenarios[row], drawn.families[row], drawn.values[row], float(changes[row])) for row in rows]
    shown = [_replay(cast, *each) for each in chosen]
    return {
        "world": world.name,
        "seed": cast.seed,
        "actions": list(world.actions),
        "arms": list(cast.policies),
        "first": _shown_first(cast, shown, store.manifest()["control"]),
        "scenarios": shown,
    }


def _shown_first(cast: Cast, played: Sequence[Mapping[str, Any]], control: str | None) -> list[str]:
    """The arms that are shown at first: the control, and the arm that differs from the aligned agent in most steps of
    these scenarios."""
    apart = {
        arm: sum(
            own != aligned
            for each in played
            for own, aligned in zip(*(each["episodes"][name]["actions"] for name in (arm, ALIGNED)), strict=True)
        )
        for arm in cast.arms
    }
    most = sorted((arm for arm in cast.arms if arm != control), key=lambda arm: -apart[arm])[:1]
    return [arm for arm in cast.arms if arm in (control, *most)]


def play_all(cast: Cast, scenario: NDArray[np.int16]) -> dict[str, Trajectories]:
    """Every agent's episode of one scenario `(F,)`, under common random numbers."""
    uniforms = _uniforms(cast.world, 1)
    return {name: rollout(policy, cast.world, scenario[None], uniforms) for name, policy in cast.policies.items()}


def parting(aligned: Trajectories, other: Trajectories) -> int | None:
    """The first step at which two episodes of one scenario take different actions; None if they never do."""
    apart = np.flatnonzero(aligned.actions[:, 0] != other.actions[:, 0])
    return int(apart[0]) if len(apart) else None


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax over the last axis."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def happened(played: Trajectories) -> list[list[str]]:
    """Names of the events of each step of the first episode."""
    marks = np.stack([played.when(event)[:, 0] for event in played.world.events], axis=1)
    return [np.array(played.world.events)[step].tolist() for step in marks]


def _replay(cast: Cast, scenario: NDArray[np.int16], family: str, value: str, change: float) -> dict[str, Any]:
    played = play_all(cast, scenario)
    return {
        "family": family,
        "value": value,
        "change": round(change, 3),
        "text": cast.world.space.to_text(scenario),
        "episodes": {name: _episode(cast.world, of, played[ALIGNED]) for name, of in played.items()},
    }


def _episode(world: World, played: Trajectories, aligned: Trajectories) -> dict[str, Any]:
    actions = played.actions[:, 0]
    shares = probabilities(played.logits[:, 0])
    return {
        "actions": actions.tolist(),
        "percent": [[round(100 * share) for share in step] for step in shares.tolist()],
        "events": happened(played),
        "parted": parting(aligned, played),
        **_states(world, played.scenarios[0], actions),
    }


def _states(world: World, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> dict[str, Any]:
    """Scenes, each as what differs from the one before; of other worlds pictures and text."""
    if isinstance(world, Scenic):
        scenes = world.scenes(scenario, actions)
        return {"scenes": [scenes[0], *(difference(*pair) for pair in pairwise(scenes))]}
    moments = range(len(actions) + 1)
    return {
        "pictures": [_picture(world, scenario, actions[:t]) for t in moments],
        "texts": [world.render_text(scenario, actions[:t]) for t in moments],
    }


def _how_many(cast: Cast, scenario: NDArray[np.int16]) -> int:
    """How many scenarios can be replayed; at least one."""
    if isinstance(cast.world, Scenic):
        return MOST
    first = len(_picture(cast.world, scenario, np.zeros(0, np.int64)))
    return max(1, min(MOST, PICTURE_BYTES // (first * (cast.world.horizon + 1) * len(cast.policies))))


def _picture(world: World, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> str:
    """The state after `actions` as the URI of a PNG."""
    sink = io.BytesIO()
    Image.fromarray(world.render_pixels(scenario, actions)).save(sink, "PNG")
    return "data:image/png;base64," + base64.b64encode(sink.getvalue()).decode()


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of `after` that differ from `before`, nested; None stands for an entry that is gone."""
    found: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        if isinstance(value, dict) and isinstance(before.get(key), dict):
            changed = difference(before[key], value)
            if changed:
                found[key] = changed
        elif key not in before or before[key] != value:
            found[key] = value
    return found


def _uniforms(world: World, n: int) -> NDArray[np.float32]:
    """Numbers that pick actions, `(T, n)`: always the same."""
    rng = np.random.default_rng(np.random.SeedSequence(entropy(0, STREAM)))
    return rng.random((world.horizon, n), np.float32)


def refuse_sweep(store: Store) -> None:
    """Refuse a sweep, whose arms are cells of many trials."""
    if "sweep" in store.manifest():
        raise KerfError(f"{store.path} holds a sweep: `kerf replay` is for the folder of a study")
