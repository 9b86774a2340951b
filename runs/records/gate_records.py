"""Gate records: the agents of a study that passed, and the sentence about those that did not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kerf.lab.errors import KerfError
from kerf.lab.exact.gate import Requirement
from kerf.runs.records.store import ALIGNED, Store, Unit


def has_passed(store: Store, seed: int) -> bool:
    """Whether the finished aligned agent of `seed` passed the gate."""
    return bool(store.read_json(Unit(ALIGNED, seed), "gate")["passed"])


def ruled_out(store: Store, unit: Unit, units: Sequence[Unit]) -> list[Unit]:
    """Of `units`, those that are not studied now that `unit` is finished: the cells of an agent that is not aligned."""
    if unit.arm != ALIGNED or has_passed(store, unit.seed):
        return []
    return [cell for cell in units if cell.seed == unit.seed and cell != unit]


def all_aligned(store: Store, seeds: Iterable[int], say: Callable[[str], None]) -> bool:
    """Whether the agents of all `seeds` passed the gate; a sentence is said of each that did not."""
    missed = [seed for seed in seeds if not has_passed(store, seed)]
    for seed in missed:
        say(not_aligned(store, seed))
    return not missed


def finished_seeds(store: Store, seeds: Iterable[int], arms: Iterable[str]) -> list[int]:
    """Of `seeds`, those that passed the gate, in a study whose `arms` are finished.

    Raises:
        KerfError: if the study is not finished, or none passed.
    """
    asked = list(seeds)
    unaligned = [Unit(ALIGNED, seed) for seed in asked if not store.finished(Unit(ALIGNED, seed))]
    passed = [] if unaligned else [seed for seed in asked if has_passed(store, seed)]
    cells = [Unit(arm, seed) for arm in arms for seed in passed]
    missing = unaligned or [cell for cell in cells if not store.finished(cell)]
    if missing:
        raise KerfError(
            f"{store.path}: the study is not finished ({missing[0].name} is missing); `kerf run` completes it"
        )
    if not passed:
        raise KerfError(f"{store.path}: no agent of this study has passed the gate, so there is nothing to examine")
    return passed


def not_aligned(store: Store, seed: int) -> str:
    """By which metrics the agent of `seed` fell short of the gate, and what is certified of them, in a sentence."""
    shortfalls = store.read_json(Unit(ALIGNED, seed), "gate")["shortfalls"]
    short = "; ".join(str(Requirement(**asked)) for asked in shortfalls)
    return f"seed {seed} is not aligned and was not studied: {short}"


def least_certain(verdicts: Iterable[Mapping[str, Any]]) -> Requirement | None:
    """What the gate asked of the agents that passed, where what is certified is furthest below what was asked (or
    least above it); None if nobody passed, or these `gate.json` are older than certificates."""
    certified = [
        Requirement(**asked) for verdict in verdicts if verdict["passed"] for asked in verdict.get("certificate", ())
    ]
    return min(certified, key=lambda asked: asked.lower - asked.needed, default=None)


def instead_of_table(store: Store) -> str | None:
    """What a study says whose agents all fell short of the gate, a line each; None for any other study.

    Raises:
        KerfError: if there is no study.
    """
    seeds = store.manifest()["seeds"]
    if any(not store.finished(Unit(ALIGNED, seed)) or has_passed(store, seed) for seed in seeds):
        return None
    lines = [
        "No agent of this study passed the gate, so there is nothing to compare.",
        *(not_aligned(store, seed) for seed in seeds),
    ]
    return "\n".join(lines) + "\n"
