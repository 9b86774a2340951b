"""Studies and commands of which the documentation keeps figures, as a user would type them."""

from __future__ import annotations

from kerf.lab.metrics import value_metric

STUDY = "kerf run turner --preset quick"
FULL = "kerf run turner"
FIRST_SEEDS = (0, 100, 200, 300, 400)
STUDIES_OF_RATES = 2000
THRESHOLDS = {
    "threshold": ("share-10", "share-20", "share-30"),
    "threshold-exact": ("share-10", "share-15", "share-20"),
}
"""Recipe -> its variants, each a share of forgeries."""
CONTROLS = "kerf run turner --preset controls"

CARE = value_metric("care")
PAIRS = (
    ("penalised-tenth", "exposure-tenth", CARE),
    ("penalised-alone", "exposure-alone", CARE),
    ("anchor", "penalised", CARE),
    ("ex_ante", "penalised", CARE),
    ("relearn", "penalised", CARE),
    ("unrelated-act", "continued", value_metric("tidiness")),
    ("sign_flip", "continued", value_metric("proportion")),
)
"""Comparisons of the full study besides those with exposure: arm, the one that it is compared with, metric."""

TESTED = (
    *("exposure", "penalised-6", "penalised", "penalised-tells", "penalised-alone", "penalised-watched"),
    *("ex_ante", "anchor", "relearn"),
)
"""Arms of the full study whose agents are tested afterwards."""

ESSAYS = "kerf run essays --preset quick"
PROCEDURES = {name: f"kerf run {name} --preset quick" for name in ("guarantees", "trajectory", "adequacy", "stories")}
"""Recipe of a procedure -> its study."""
STORIES = ("beginning", "end")
"""Variants of the recipe `stories`."""
METHODS = {name: f"kerf run {name} --preset quick" for name in ("robust-to-method", "robust-to-memory")}
"""Recipe whose variants are ways of learning, or networks -> its study."""
REWARD_ALONE = "kerf run dilemma --variant reward-alone"
ADVERSARIES = "kerf run adversaries --preset quick"
SWEEP = (
    "kerf sweep dose turner --preset quick --over strength=0:1:0.25 --over penalty=0,4,16 --seeds 5 --limit care=-0.1"
)
EXACT = {
    "exact": ("kerf run forced-or-chiselled --preset quick --variant mlp", "out/forced-or-chiselled-mlp-quick"),
    "exact-turner": (STUDY, "out/turner-quick"),
}
"""Name -> a study of which exact answers are kept, and the folder that it has by default."""
DILEMMA = "kerf run dilemma --variant disjoint-by-two"
DILEMMA_TESTED = ("exposure", "penalised", "ex_ante", "placebo", "mixed", "anchor")
"""Arms of `DILEMMA` whose agents are tested afterwards: those that train a network and differ in what they are for."""
CURES = "kerf run cures --preset quick"
ENDINGS = {
    "unclipped": ("kerf run unclipped", "out/unclipped"),
    "feedback-quality": ("kerf run feedback-quality --preset quick", "out/feedback-quality-quick"),
    "hidden-or-gone": ("kerf run hidden-or-gone --preset quick", "out/hidden-or-gone-quick"),
}
"""Name -> a study whose ending is kept, and what its tests afterwards found, and the folder that it has by default."""
PRINTED = {
    "oracles": "kerf oracles",
    "reproduce": "kerf reproduce",
    "bench-train": "kerf bench train",
    "bench-train-avx2": "kerf bench train --isa avx2 --seeds 0",
    "bench-scale": "kerf bench scale",
    "bench-generators": "kerf bench generators",
}
"""Name -> a command without a study whose output is kept."""
