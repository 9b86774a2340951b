"""Figures of the documentation, made anew: `make docs-figures`. What a page quotes is looked for in what this writes.

Takes half an hour. Of the main study the table is kept as it was printed, with the digest of the records that
it was read from; of the disjoint sets of seeds, of the
studies of thresholds and of agents aligned by reward alone, what became of each prediction.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerf.lab.metrics import value_metric
from kerf.lab.statistics.decision_rates import rates_table
from kerf.runs.records.store import Store
from kerf.runs.records.tables import read_measures
from kerf.runs.report.conclusion import conclude
from kerf.runs.report.effects import study_ends
from kerf.runs.report.ending import ending

HERE = Path(__file__).parent
STUDY = "kerf run turner --preset quick"
FIRST_SEEDS = (0, 100, 200, 300, 400)
STUDIES_OF_RATES = 2000
ENDING_WIDTH = 100
THRESHOLDS = {
    "threshold": ("share-10", "share-20", "share-30"),
    "threshold-exact": ("share-10", "share-15", "share-20"),
}
"""Recipe -> its variants, each a share of forgeries."""
CONTROLS = "kerf run turner --preset controls"
CARE = value_metric("care")
REWARD_ALONE = "kerf run dilemma --variant reward-alone"


def run(command: str, out: Path) -> None:
    """Run a study; `command` is what a user would type."""
    words = command.split()[1:]
    subprocess.run([sys.executable, "-m", "kerf.runs", *words, "--no-mlflow", "--out", str(out)], check=True)


def digest(out: Path) -> str:
    """SHA-256 over the digests of all units of a study: what its table was read from."""
    store = Store(out)
    return hashlib.sha256("\n".join(store.digest(unit) for unit in store.units()).encode()).hexdigest()


def table(out: Path) -> None:
    """Keep the tables and the ending of the main study."""
    (HERE / "turner-quick.txt").write_text((out / "table.txt").read_text())
    lines = ending(conclude(Store(out)), Path("out/turner-quick"), ENDING_WIDTH)
    (HERE / "turner-quick-ending.txt").write_text("\n".join(lines) + "\n")
    made = {"command": STUDY, "records": digest(out)}
    write("digests", {"turner-quick": made, "turner-quick-ending": made})


def outcomes(out: Path) -> dict[str, Any]:
    """What became of each prediction of a study."""
    judged = json.loads((out / "primaries.json").read_text())
    found: dict[str, Any] = {
        item["primary"]["name"]: {
            **{end: item["effect"]["interval"][end] for end in ("mean", "low", "high")},
            "collapsed": round(item["collapse"]["arm"]["mean"] * item["collapse"]["arm"]["num"]),
            "outcome": item["verdict"]["outcome"],
            "seeds": item["effect"]["interval"]["num"],
        }
        for item in judged
    }
    kept = {"records": digest(out), "predictions": found}
    if (out / "threshold.json").exists():
        threshold = json.loads((out / "threshold.json").read_text())
        kept["threshold"] = {name: threshold[name] for name in ("predicted", "brackets", "outcome")}
    return kept


def thresholds(folders: Mapping[str, Path]) -> None:
    """Keep what became of the predictions of the studies of thresholds, by command."""
    write("thresholds", {command: outcomes(out) for command, out in folders.items()})


def against_exposure(out: Path) -> dict[str, Any]:
    """The effect of each arm of a study on care, against exposure."""
    ends = study_ends(read_measures(out))
    found = {}
    for arm in ends.arms:
        interval = ends.effect(arm, "exposure", CARE, 0).interval
        found[arm] = {end: getattr(interval, end) for end in ("mean", "low", "high")}
    return {"records": digest(out), "care": found}


def write(name: str, found: Mapping[str, Any]) -> None:
    """Write `<name>.json` beside this file."""
    (HERE / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def main() -> None:
    """Run every study and keep what pages quote; then simulate the verdicts."""
    with tempfile.TemporaryDirectory() as folder:
        sets = {}
        for first in FIRST_SEEDS:
            out, command = Path(folder) / str(first), f"{STUDY} --set first_seed={first}"
            run(STUDY if first == 0 else command, out)
            sets[command] = outcomes(out)
        table(Path(folder) / "0")
        write("five-sets", sets)
        folders = {}
        for recipe, variants in THRESHOLDS.items():
            for variant in variants:
                command = f"kerf run {recipe} --variant {variant}"
                folders[command] = Path(folder) / recipe / variant
                run(command, folders[command])
        thresholds(folders)
        out = Path(folder) / "controls"
        run(CONTROLS, out)
        write("controls", {CONTROLS: against_exposure(out)})
        out = Path(folder) / "reward-alone"
        run(REWARD_ALONE, out)
        write("reward-alone", {REWARD_ALONE: outcomes(out)})
    (HERE / "decision-rates.md").write_text(rates_table(STUDIES_OF_RATES) + "\n")


if __name__ == "__main__":
    main()
