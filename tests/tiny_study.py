"""The smallest study: one decision, exact gradients, two iterations a phase; it is done in a second."""

from __future__ import annotations

from pathlib import Path

import yaml

TINY = {
    "name": "tiny",
    "world": "dilemma_two",
    "seeds": 1,
    "exact": {"imitation": {"iterations": 2}, "policy": {"iterations": 2}},
    "battery": {"exact": True},
    "gate": {"value": 0, "competence": 0, "fooled": 0},
    "iterations": 2,
    "measure_every": 1,
    "penalty": 10,
    "arms": {"continued": {}, "exposure": {}, "penalised": {}},
    "primaries": [
        {
            "name": "p1",
            "arm": "penalised",
            "against": "exposure",
            "metric": "value/care",
            "direction": "decrease",
            "falsified_by": "care stays where it is",
        }
    ],
}


def write_tiny(path: Path) -> Path:
    """Write its recipe; returns the path."""
    path.write_text(yaml.safe_dump(TINY, sort_keys=False))
    return path
