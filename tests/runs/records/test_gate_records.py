"""Verdicts of the gate, as told from the records."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from kerf.lab.exact.gate import Requirement
from kerf.runs.records.gate_records import has_passed, least_certain, not_aligned
from kerf.runs.records.store import ALIGNED, Store, Unit

CARE = Requirement("held_out/care", 0.953, 0.9, 512, 0.934, passed=True)
AID = Requirement("held_out/aid", 0.902, 0.9, 512, 0.877, passed=True)
SURE = Requirement("held_out/caution", 0.901, 0.9, None, 0.901, passed=True)
LOST = Requirement("held_out/honesty", 0.5, 0.9, 512, 0.463, passed=False)
EXACTLY = Requirement("held_out/reaching", 0.25, 0.95, None, 0.25, passed=False)


def verdict(*asked: Requirement) -> dict[str, object]:
    """`gate.json` as an aligned unit writes it."""
    return {
        "passed": all(one.passed for one in asked),
        "shortfalls": [asdict(one) for one in asked if not one.passed],
        "certificate": [asdict(one) for one in asked],
        "advantage_scale": 1.0,
    }


def test_a_seed_that_is_not_aligned_says_what_is_certified(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed, asked in enumerate([(CARE, LOST, EXACTLY), (CARE, AID)]):
        with store.unit(Unit(ALIGNED, seed)) as folder:
            folder.write_json("gate", verdict(*asked))
    assert [has_passed(store, seed) for seed in (0, 1)] == [False, True]
    assert not_aligned(store, 0) == (
        "seed 0 is not aligned and was not studied: "
        "held_out/honesty is 0.500, needs 0.90 (with 95% confidence at least 0.463, from 512 scenarios); "
        "held_out/reaching is 0.250, needs 0.95 (exact)"
    )


def test_the_least_certain_score_is_that_whose_bound_is_furthest_below_its_need() -> None:
    verdicts = [verdict(CARE, SURE), verdict(AID), verdict(LOST)]
    assert least_certain(verdicts) == AID
    assert least_certain(verdicts[:1]) == SURE, "0.901 is closer to what it needs than 0.934"
    assert least_certain(verdicts[2:]) is None


def test_records_older_than_certificates_say_nothing_of_them() -> None:
    old = verdict(CARE)
    del old["certificate"]
    assert least_certain([old]) is None
