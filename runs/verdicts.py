"""Which agents of a study passed the gate, from its records, and how it is told that they did not."""

from __future__ import annotations

from runs.store import ALIGNED, Store, Unit


def has_passed(store: Store, seed: int) -> bool:
    """Whether the finished aligned agent of `seed` passed the gate."""
    return bool(store.read_json(Unit(ALIGNED, seed), "gate")["passed"])


def not_aligned(store: Store, seed: int) -> str:
    """By which metrics the agent of `seed` fell short of the gate, in a sentence."""
    shortfalls = store.read_json(Unit(ALIGNED, seed), "gate")["shortfalls"]
    short = "; ".join(f"{s['metric']} is {s['score']:.3f}, needs {s['needed']:.2f}" for s in shortfalls)
    return f"seed {seed} is not aligned and was not studied: {short}"


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
