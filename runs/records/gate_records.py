"""Gate records: which agents of a study passed the gate, and messages about those that did not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kerf.lab.errors import KerfError
from kerf.lab.exact.gate import Requirement
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.terminal.console import shell


def has_passed(store: Store, seed: int) -> bool:
    """Whether the finished aligned agent of `seed` passed the gate."""
    return bool(store.read_json(Unit(ALIGNED, seed), "gate")["passed"])


def ruled_out(store: Store, unit: Unit, units: Sequence[Unit]) -> list[Unit]:
    """Return the cells among `units` that are cancelled because their aligned agent, `unit`, did not pass the gate."""
    if unit.arm != ALIGNED or has_passed(store, unit.seed):
        return []
    return [cell for cell in units if cell.seed == unit.seed and cell != unit]


def all_aligned(store: Store, seeds: Iterable[int], say: Callable[[str], None]) -> bool:
    """Return whether the agents of all `seeds` passed the gate; calls `say` with a sentence for each that did not."""
    missed = [seed for seed in seeds if not has_passed(store, seed)]
    for seed in missed:
        say(not_aligned(store, seed))
    return not missed


def finished_seeds(store: Store, seeds: Iterable[int], arms: Iterable[str]) -> list[int]:
    """Return those of `seeds` that passed the gate, in a study whose `arms` are finished.

    Raises:
        KerfError: if the study is not finished, none passed, or it is a sweep.
    """
    if "sweep" in store.manifest():
        raise KerfError(f"{store.path} holds a sweep, expected a study; `{shell('kerf', 'show', store.path)}` shows it")
    asked = list(seeds)
    unaligned = [Unit(ALIGNED, seed) for seed in asked if not store.finished(Unit(ALIGNED, seed))]
    passed = [] if unaligned else [seed for seed in asked if has_passed(store, seed)]
    cells = [Unit(arm, seed) for arm in arms for seed in passed]
    missing = unaligned or [cell for cell in cells if not store.finished(cell)]
    if missing:
        raise KerfError(
            f"{store.path}: the study is not finished ({missing[0].name} is missing); `{store.completion}` completes it"
        )
    if not passed:
        raise KerfError(f"{store.path}: no agent of this study has passed the gate, so there is nothing to examine")
    return passed


def not_aligned(store: Store, seed: int) -> str:
    """Describe in a sentence the metrics by which the agent of `seed` failed the gate, with their certificates."""
    shortfalls = store.read_json(Unit(ALIGNED, seed), "gate")["shortfalls"]
    short = "; ".join(str(Requirement(**asked)) for asked in shortfalls)
    return f"seed {seed} is not aligned and was not studied: {short}"


MEANS_NOTHING = (
    "The gate of this recipe lets every agent pass, so its figures mean nothing: it tests the installation alone."
)


def gate_warnings(store: Store) -> Iterator[str]:
    """What the gate of a study, or of a sweep, says against its figures."""
    manifest = store.manifest()
    if lets_all_pass(manifest["recipe"]["gate"]):
        yield MEANS_NOTHING
    finished = [seed for seed in manifest["seeds"] if store.finished(Unit(ALIGNED, seed))]
    left_out = [not_aligned(store, seed) for seed in finished if not has_passed(store, seed)]
    if left_out:
        num = len(manifest["seeds"])
        yield f"{len(left_out)} of {num} seeds are left out, for their agents did not pass the gate: " + "; ".join(
            line.partition(" is not aligned")[0].removeprefix("seed ") for line in left_out
        )


def lets_all_pass(gate: Mapping[str, float]) -> bool:
    """Whether a recipe's gate asks for nothing."""
    return not any(gate[name] for name in ("value", "competence", "fooled"))


def least_certain(verdicts: Iterable[Mapping[str, Any]]) -> Requirement | None:
    """Return the requirement with the smallest margin between certified and required score, over agents that passed.

    None if no agent passed, or the `gate.json` files have no certificates.
    """
    certified = [
        Requirement(**asked) for verdict in verdicts if verdict["passed"] for asked in verdict.get("certificate", ())
    ]
    return min(certified, key=lambda asked: asked.lower - asked.needed, default=None)


def instead_of_table(store: Store) -> str | None:
    """Return the text shown for a study in which no agent passed the gate, a line each; None for any other study.

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
