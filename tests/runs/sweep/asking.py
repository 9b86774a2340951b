"""A tiny recipe by exact gradients, and sweeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from kerf.runs.recipe.files import load_recipe, merge
from kerf.runs.recipe.model import Recipe
from kerf.runs.sweep.over import parse_over
from kerf.runs.sweep.spec import SweepSpec, parse_change, resolve_spec

RECIPE: dict[str, Any] = {
    "name": "toy-sweep",
    "world": "dilemma_overlap",
    "seeds": 3,
    "network": {"hidden": [8]},
    "exact": {
        "imitation": {"iterations": 60, "training": {"learning_rate": 0.03}},
        "policy": {"iterations": 10},
        "training": {"steps_per_iteration": 3, "learning_rate": 0.01},
    },
    "gate": {"value": 0, "competence": 0, "fooled": 0},
    "iterations": 4,
    "measure_every": 4,
    "battery": {"exact": True, "strengths": [0, 0.5, 1]},
    "penalty": 10,
    "arms": {"continued": {}, "exposure": {}, "penalised": {}, "frozen": {}, "yoked": {}},
    "primaries": [
        {
            "name": "care-falls",
            "arm": "penalised",
            "against": "continued",
            "metric": "value/care",
            "direction": "decrease",
            "falsified_by": "nothing that this recipe gives, for it is far too small",
        }
    ],
}


def recipe(tmp_path: Any, patch: dict[str, Any] | None = None) -> Recipe:
    path = tmp_path / "toy-sweep.yaml"
    path.write_text(yaml.safe_dump(merge(RECIPE, patch or {}), sort_keys=False))
    return load_recipe(str(path))


def asked(
    base: Recipe,
    mode: Any,
    *overs: str,
    arm: str = "penalised",
    limit: str | None = None,
    floors: Sequence[str] = (),
    **settings: Any,
) -> SweepSpec:
    """The sweep that the command line's words ask for."""
    return resolve_spec(
        base,
        mode,
        [parse_over(text, arm) for text in overs],
        arm,
        None if limit is None else parse_change(limit, "--limit"),
        [parse_change(floor, "--floor") for floor in floors],
        **settings,
    )
