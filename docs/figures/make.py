"""Figures of the documentation, made anew: `make docs-figures`. What a page quotes is looked for in what this writes.

All of it takes hours on two cores; `python docs/figures/make.py NAME ...` makes parts of it, `python
docs/figures/make.py --help` names them. Of some commands the output is kept as it was printed (`digests.json`: by which
command, when, at which revision and on which processor, with the digest of the records that it was read from); of other
studies, what became of each prediction and the effects that pages give.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kerf.lab.metrics import collateral_metric, exit_metric, value_metric
from kerf.lab.statistics.decision_rates import rates_table
from kerf.lab.statistics.text import signed
from kerf.runs.records.provenance import processor, revision
from kerf.runs.records.store import Store
from kerf.runs.records.tables import read_measures, read_training
from kerf.runs.report import PENALISED
from kerf.runs.report.conclusion import conclude
from kerf.runs.report.effects import Ends, study_ends
from kerf.runs.report.ending import ending

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
STUDY = "kerf run turner --preset quick"
FULL = "kerf run turner"
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

REWARD_ALONE = "kerf run dilemma --variant reward-alone"
ADVERSARIES = "kerf run adversaries --preset quick"
SWEEP = (
    "kerf sweep dose turner --preset quick --over strength=0:1:0.25 --over penalty=0,4,16 --seeds 5 --limit care=-0.1"
)
FORCED = "kerf run forced-or-chiselled --preset quick --variant mlp"
DILEMMA = "kerf run dilemma --variant disjoint-by-two"
DILEMMA_TESTED = ("exposure", "penalised", "ex_ante", "placebo", "mixed", "anchor")
"""Arms of `DILEMMA` whose agents are tested afterwards: those that train a network and differ in what they are for."""
RECIPES = {
    "cures": "kerf run cures --preset quick",
    "feedback-quality": "kerf run feedback-quality --preset quick",
    "hidden-or-gone": "kerf run hidden-or-gone --preset quick",
    "unclipped": "kerf run unclipped",
}
"""Name -> a study whose tables are kept."""
PRINTED = {
    "oracles": "kerf oracles",
    "reproduce": "kerf reproduce",
    "bench-train": "kerf bench train",
    "bench-train-avx2": "kerf bench train --isa avx2 --seeds 0",
    "bench-scale": "kerf bench scale",
    "bench-generators": "kerf bench generators",
}
"""Name -> a command without a study whose output is kept."""
METHODS = "kerf run robust-to-method --preset quick"
MISSES = {"kerf reproduce": 1}
"""Command -> an exit code by which it says that not all came out, with output that is kept all the same."""


def printed(command: str, *more: str) -> str:
    """Run what a user would type, and return what it prints."""
    program, *words = command.split()
    start = [sys.executable, "-m", "kerf.runs"] if program == "kerf" else [sys.executable]
    done = subprocess.run([*start, *words, *more], check=False, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, MISSES.get(command, 0)):
        done.check_returncode()
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines()) + "\n"


def run(command: str, out: Path) -> None:
    """Run a study or a sweep; `command` is what a user would type."""
    printed(command, "--no-mlflow", "--out", str(out))


def digest(out: Path) -> str:
    """SHA-256 over the digests of all units of a study: what its figures were read from."""
    store = Store(out)
    return hashlib.sha256("\n".join(store.digest(unit) for unit in store.units()).encode()).hexdigest()


def origin(out: Path | None = None) -> dict[str, str]:
    """Day, revision and processor of what is made now, or of the study in `out`, with the digest of its records."""
    today = {"made": datetime.now(UTC).date().isoformat()}
    if out is None:
        return {**today, "processor": processor(), "revision": str(revision(ROOT))}
    manifest = json.loads((out / "study.json").read_text())
    return {**today, **{key: manifest[key] for key in ("processor", "revision")}, "records": digest(out)}


def keep(name: str, command: str, text: str, out: Path | None = None, suffix: str = ".txt") -> None:
    """Keep what a command printed, and in `digests.json` what made it."""
    (HERE / f"{name}{suffix}").write_text(text)
    kept = json.loads((HERE / "digests.json").read_text())
    kept[name] = {"file": f"{name}{suffix}", "command": command, **origin(out)}
    write("digests", kept)


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
    kept = {**origin(out), "predictions": found}
    if (out / "threshold.json").exists():
        threshold = json.loads((out / "threshold.json").read_text())
        kept["threshold"] = {name: threshold[name] for name in ("predicted", "brackets", "outcome")}
    return kept


def effect_of(ends: Ends, arm: str, against: str, metric: str = CARE) -> dict[str, float]:
    """The effect of an arm on a metric, against another arm."""
    interval = ends.effect(arm, against, metric, 0).interval
    return {end: getattr(interval, end) for end in ("mean", "low", "high", "num")}


def against_exposure(out: Path) -> dict[str, Any]:
    """The effect of each arm of a study on care, against exposure."""
    ends = study_ends(read_measures(out))
    return {**origin(out), "care": {arm: effect_of(ends, arm, "exposure") for arm in ends.arms}}


def write(name: str, found: Mapping[str, Any]) -> None:
    """Write `<name>.json` beside this file."""
    (HERE / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def five_sets(folder: Path) -> None:
    """The main study on disjoint sets of seeds; of the first the tables and the ending too."""
    sets = {}
    for first in FIRST_SEEDS:
        out, command = folder / str(first), f"{STUDY} --set first_seed={first}"
        run(STUDY if first == 0 else command, out)
        sets[command] = outcomes(out)
    write("five-sets", sets)
    keep("turner-quick", STUDY, (folder / "0" / "table.txt").read_text(), folder / "0")
    lines = ending(conclude(Store(folder / "0")), Path("out/turner-quick"), ENDING_WIDTH)
    keep("turner-quick-ending", STUDY, "\n".join(lines) + "\n", folder / "0")


def full(folder: Path) -> None:
    """The main study at its full size."""
    run(FULL, folder)
    full_of(folder)
    after_of(folder)
    keep("revealed-turner", "kerf revealed out/turner", printed_of("revealed", folder), folder)


def printed_of(analysis: str, out: Path) -> str:
    """Run `kerf ANALYSIS` on the study in `out`; what it wrote to its text file."""
    printed(f"kerf {analysis} {out} --no-mlflow")
    return trimmed(out / f"{analysis}.txt")


def revealed(folder: Path) -> None:
    """Revealed objectives of a study by exact gradients."""
    run("kerf run dilemma --preset quick --variant disjoint-by-two", folder)
    keep("revealed", "kerf revealed out/dilemma-disjoint-by-two-quick", printed_of("revealed", folder), folder)


def after_of(out: Path, name: str = "after", study: str = "out/turner", tested: Sequence[str] = TESTED) -> None:
    """Keep what became of the help in the arms `tested` of the finished study in `out`."""
    arms = " ".join(f"--arm {arm}" for arm in tested)
    printed(f"kerf after {out} --no-mlflow {arms}")
    keep(name, f"kerf after {study} {arms}", trimmed(out / "after.txt"), out)


def trimmed(file: Path) -> str:
    """The text of a file, without blanks at the ends of lines."""
    return "".join(f"{line.rstrip()}\n" for line in file.read_text().splitlines())


def dilemma(folder: Path) -> None:
    """What became of the help where training is exact."""
    run(DILEMMA, folder)
    after_of(folder, "after-dilemma", "out/dilemma-disjoint-by-two", DILEMMA_TESTED)


def recipes(folder: Path) -> None:
    """The tables of `RECIPES`, and what became of the help where a recipe asks for it."""
    for name, command in RECIPES.items():
        run(command, folder / name)
        tables_of(name, folder / name)


def tables_of(name: str, out: Path) -> None:
    """Keep the tables of the study of `RECIPES` called `name`, which is in `out`."""
    keep(name, RECIPES[name], trimmed(out / "table.txt"), out)
    if (out / "after.txt").exists():
        keep(f"after-{name}", RECIPES[name], trimmed(out / "after.txt"), out)


def methods(folder: Path) -> None:
    """What one contrast comes to under each way of learning: the variants next to each other."""
    keep("robust-to-method", METHODS, next_to_each_other(printed(METHODS, "--no-mlflow", "--out", str(folder))))


def next_to_each_other(text: str) -> str:
    """The end of what a recipe with variants prints, from the comparison of its variants on."""
    start = text.index("The variants next to each other")
    return "\n".join(line.rstrip() for line in text[start:].rstrip().splitlines()) + "\n"


def full_of(out: Path) -> None:
    """Keep the predictions of the full study in `out`, and effects on care, forgeries' exits and all other values."""
    ends = study_ends(read_measures(out))
    exits, others = exit_metric(1.0), collateral_metric(1.0)
    found = {
        **outcomes(out),
        **against_exposure(out),
        "exits": {arm: effect_of(ends, arm, "exposure", exits) for arm in ends.arms},
        "others": {arm: effect_of(ends, arm, "exposure", others) for arm in ends.arms},
        "pairs": {
            f"{arm} - {against}: {metric}": effect_of(ends, arm, against, metric) for arm, against, metric in PAIRS
        },
        "penalised": penalised_shares(out),
    }
    write("full", {FULL: found})
    keep("full-arms", FULL, arms_table(found), out, ".md")


def penalised_shares(out: Path) -> dict[str, float]:
    """The share of its training episodes in which each arm was penalised, or rewarded where the sign is flipped."""
    training = read_training(out)
    shares = training[training["metric"] == PENALISED].groupby("arm")["value"].mean()
    return {str(arm): float(share) for arm, share in shares.items()}


def arms_table(found: Mapping[str, Any]) -> str:
    """A row for each arm of `full.json`: penalised episodes, and effects against exposure."""
    lines = ["| arm | penalised episodes | care | leaves on forgeries | other values |", "|---|---|---|---|---|"]
    for arm in found["care"]:
        if arm not in ("exposure", "frozen"):
            effects = " | ".join(
                f"{signed(of['mean'])} [{signed(of['low'])}, {signed(of['high'])}]"
                for of in (found[metric][arm] for metric in ("care", "exits", "others"))
            )
            lines.append(f"| `{arm}` | {found['penalised'].get(arm, 0.0):.1%} | {effects} |")
    return "\n".join(lines) + "\n"


def thresholds(folder: Path) -> None:
    """What became of the predictions of the studies of thresholds, by command."""
    found = {}
    for recipe, variants in THRESHOLDS.items():
        for variant in variants:
            command, out = f"kerf run {recipe} --variant {variant}", folder / recipe / variant
            run(command, out)
            found[command] = outcomes(out)
    write("thresholds", found)


def controls(folder: Path) -> None:
    """The main study with controls."""
    run(CONTROLS, folder)
    write("controls", {CONTROLS: against_exposure(folder)})


def reward_alone(folder: Path) -> None:
    """Agents aligned without an expert."""
    run(REWARD_ALONE, folder)
    write("reward-alone", {REWARD_ALONE: outcomes(folder)})


def exact(folder: Path) -> None:
    """Exact answers of a study by exact gradients."""
    run(FORCED, folder)
    keep("exact", "kerf exact out/forced-or-chiselled-mlp-quick", printed(f"kerf exact {folder}"), folder)


def adversaries(folder: Path) -> None:
    """Attacks of a study of adversaries, in tables."""
    run(ADVERSARIES, folder)
    keep("adversaries", ADVERSARIES, (folder / "attacks.txt").read_text(), folder)


def sweep(folder: Path) -> None:
    """The tables of a sweep."""
    run(SWEEP, folder)
    keep("sweep", SWEEP, (folder / "table.txt").read_text())


def simulations(folder: Path) -> None:
    """Simulated verdicts, and searches for planted weaknesses."""
    rates = "python -m kerf.lab.statistics.decision_rates"
    keep("decision-rates", rates, rates_table(STUDIES_OF_RATES) + "\n", None, ".md")
    costs = "python -m tests.generators.search_costs"
    keep("search-costs", costs, printed(costs), None, ".md")


def commands(folder: Path) -> None:
    """The commands of `PRINTED`."""
    for name, command in PRINTED.items():
        keep(name, command, printed(command))


PARTS: Mapping[str, Callable[[Path], None]] = {
    part.__name__.replace("_", "-"): part
    for part in (
        *(five_sets, full, thresholds, controls, reward_alone, dilemma, recipes, methods),
        *(exact, revealed, adversaries, sweep, simulations, commands),
    )
}
"""Name -> a function that makes figures, in an empty folder."""


def main() -> None:
    """Make the parts that are named, or all."""
    parser = argparse.ArgumentParser(description="Make the figures that the documentation quotes anew.")
    parser.add_argument("parts", nargs="*", metavar="NAME", help=f"of {', '.join(PARTS)}; default: all")
    asked = parser.parse_args().parts
    if unknown := set(asked) - set(PARTS):
        parser.error(f"no such parts: {', '.join(sorted(unknown))}")
    for name in asked or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder) / name)


if __name__ == "__main__":
    main()
