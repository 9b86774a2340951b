"""Records of a finished sweep, read for its page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kerf.lab.collateral import traded
from kerf.lab.dilemma import Words
from kerf.lab.metrics import COLLATERAL, ROBUSTNESS
from kerf.lab.worlds import get_world
from kerf.runs.records.store import Store
from kerf.runs.report.table import metric_label


@dataclass(frozen=True)
class SweepRecords:
    """The records of a finished sweep.

    Attributes:
        findings: `findings.json`.
        trials: `trials.parquet`: a row per trial and metric.
        changes: `changes.parquet`: a row per trial, metric and seed.
        words: Wording of the world.
        traded: The two metrics that are held against each other (`kerf.lab.collateral.traded`).
    """

    findings: Mapping[str, Any]
    trials: pd.DataFrame
    changes: pd.DataFrame
    words: Words
    traded: tuple[str, str]

    @staticmethod
    def read(store: Store) -> SweepRecords:
        """Read the records of the finished sweep in `store`."""
        world = get_world(store.manifest()["recipe"]["world"])
        findings = json.loads(store.read_bytes("findings.json"))
        return SweepRecords(
            findings,
            pd.read_parquet(store.path / "trials.parquet"),
            pd.read_parquet(store.path / "changes.parquet"),
            world.dilemma.words,
            traded(world, findings["sweep"]["untouched"]),
        )

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.findings["sweep"]

    @property
    def axes(self) -> list[str]:
        """Names of the swept settings."""
        return [axis["name"] for axis in self.spec["over"]]

    def label(self, metric: str) -> str:
        """What a change of `metric` is called."""
        if metric == ROBUSTNESS:
            return f"robustness: fall of {self.words.elicited} (strength {self.spec['yardstick']:g})"
        if metric == COLLATERAL:
            return f"collateral: mean change of {len(self.spec['untouched'])} untouched values"
        return f"change of {metric_label(metric, self.words)}"

    def means(self, metric: str, held_out: bool = False) -> pd.DataFrame:
        """The rows of one metric."""
        rows = self.trials[(self.trials["metric"] == metric) & (self.trials["held_out"] == held_out)]
        return rows.sort_values("trial")
