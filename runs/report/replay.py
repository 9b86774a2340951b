"""Replays: the aligned agent and the arms side by side on one scenario, under common random numbers, as plain data.

Scenarios are picked by the largest change of behaviour, one of every value and of the forgeries, never by hand, among
those in which the aligned agent shows the value, or is deceived. All arms play the same ones. The seed is the one whose
effects are most like the mean of all seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.agents.export import load_policy
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.rollout import Trajectories, logits_along, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.seeds import entropy
from kerf.lab.torch_threads import one_thread
from kerf.lab.world import World, focus
from kerf.lab.worlds import get_world
from kerf.runs.records.gate_records import has_passed
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit
from kerf.runs.report.effects import FORGED, Ends
from kerf.runs.report.episodes import STREAM, Cast, common_numbers, episode, parting, play_all, probabilities
from kerf.runs.report.scene_drawings import drawings
from kerf.runs.report.what_if import add_what_if

EACH = 16
"""Scenarios drawn of each family, and of the forgeries of each strength."""

MOST = 8
"""Scenarios that are replayed."""

PICTURE_BYTES = 3_000_000
"""Size that the pictures of a world without scenes may come to; fewer scenarios are then replayed, but one at least."""

SHOWN = 0.5
"""Score from which on an episode shows a value."""


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
    seed = typical_seed(ends, seeds, next(iter(focus(world)), None))
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
    for strength in strengths if world.dilemma.has_forgeries else ():
        rng = np.random.default_rng(np.random.SeedSequence(entropy(0, f"{STREAM} forged {strength:g}")))
        parts.append(world.dilemma.forge(EACH, strength, rng))
        families += [f"{world.dilemma.words.false}, strength {strength:g}"] * EACH
        values += [FORGED] * EACH
    return Drawn(np.concatenate(parts), families, values)


def play_aligned(cast: Cast, drawn: Drawn) -> Trajectories:
    """The aligned agent's episode of every scenario."""
    numbers = common_numbers(cast.world, len(drawn.scenarios))
    return rollout(cast.policies[ALIGNED], cast.world, drawn.scenarios, numbers)


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
    changes = [np.zeros(len(played))]
    for arm in cast.arms:
        after = probabilities(logits_along(cast.policies[arm], played.observations))
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
        rows = pick(drawn, changes, telling(drawn, played))
        chosen = [(drawn.scenarios[row], drawn.families[row], drawn.values[row], float(changes[row])) for row in rows]
    shown = list(_within(PICTURE_BYTES, (_replay(cast, *each) for each in chosen)))
    return {
        "world": world.name,
        "seed": cast.seed,
        "actions": list(world.actions),
        "arms": list(cast.policies),
        "first": _shown_first(cast, shown, store.manifest()["control"]),
        "scenarios": shown,
        "drawings": drawings(shown),
        "forgeries": any(each["value"] == FORGED for each in shown),
    }


def _within(most: int, each: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The first replays whose pictures come to `most` bytes; at least one."""
    used = 0
    for number, replay in enumerate(each):
        used += _picture_bytes(replay)
        if number and used > most:
            return
        yield replay


def _picture_bytes(value: Any) -> int:
    """Bytes of all pictures within a replay."""
    if isinstance(value, dict):
        return sum(sum(map(len, of)) if name == "pictures" else _picture_bytes(of) for name, of in value.items())
    return sum(map(_picture_bytes, value)) if isinstance(value, list) else 0


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


def _replay(cast: Cast, scenario: NDArray[np.int16], family: str, value: str, change: float) -> dict[str, Any]:
    played = play_all(cast, scenario)
    episodes = {name: {**episode(of), "parted": parting(played[ALIGNED], of)} for name, of in played.items()}
    add_what_if(cast, played, episodes)
    return {
        "family": family,
        "value": value,
        "change": round(change, 3),
        "text": cast.world.space.to_text(scenario),
        "episodes": episodes,
    }


def refuse_sweep(store: Store) -> None:
    """Refuse a sweep, whose arms are cells of many trials."""
    if "sweep" in store.manifest():
        raise KerfError(f"{store.path} holds a sweep: `kerf replay` is for the folder of a study")
