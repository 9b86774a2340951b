"""Figures of the documentation, made anew: `make docs-figures`. What a page quotes is looked for in what this writes.

All of it takes hours on two cores; `python docs/figures/make.py NAME ...` makes parts of it, `python
docs/figures/make.py --help` names them. Of some commands the output is kept as it was printed (`digests.json`: by which
command, when, at which revision and on which processor, with the digest of the records that it was read from); of other
studies, what became of each prediction and the effects that pages give.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keeping import ENDING_WIDTH, ending_of, keep, origin, printed, printed_of, run, trimmed, write
from studies import (
    ADVERSARIES,
    CARE,
    CONTROLS,
    CURES,
    DILEMMA,
    DILEMMA_TESTED,
    ENDINGS,
    ESSAYS,
    EXACT,
    FIRST_SEEDS,
    FULL,
    METHODS,
    PAIRS,
    PRINTED,
    PROCEDURES,
    REWARD_ALONE,
    STORIES,
    STUDIES_OF_RATES,
    STUDY,
    SWEEP,
    TESTED,
    THRESHOLDS,
)

from kerf.lab.metrics import collateral_metric, exit_metric
from kerf.lab.statistics.decision_rates import rates_table
from kerf.lab.statistics.text import signed
from kerf.runs.collection.summary import summarise
from kerf.runs.collection.table import summary_lines
from kerf.runs.records.tables import read_measures, read_training
from kerf.runs.report import PENALISED
from kerf.runs.report.effects import Ends, study_ends


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


def five_sets(folder: Path) -> None:
    """The main study on disjoint sets of seeds; of the first the tables and the ending too."""
    sets = {}
    for first in FIRST_SEEDS:
        out, command = folder / str(first), f"{STUDY} --set first_seed={first}"
        run(STUDY if first == 0 else command, out)
        sets[command] = outcomes(out)
    write("five-sets", sets)
    keep("turner-quick", STUDY, (folder / "0" / "table.txt").read_text(), folder / "0")
    ending_of("turner-quick-ending", STUDY, folder / "0", "out/turner-quick")


def full(folder: Path) -> None:
    """The main study at its full size."""
    run(FULL, folder)
    full_of(folder)
    after_of(folder)
    keep("revealed-turner", "kerf revealed out/turner", printed_of("revealed", folder, "--no-mlflow"), folder)


def revealed(folder: Path) -> None:
    """Revealed objectives of a study by exact gradients."""
    run("kerf run dilemma --preset quick --variant disjoint-by-two", folder)
    keep(
        "revealed",
        "kerf revealed out/dilemma-disjoint-by-two-quick",
        printed_of("revealed", folder, "--no-mlflow"),
        folder,
    )


def after_of(out: Path, name: str = "after", study: str = "out/turner", tested: Sequence[str] = TESTED) -> None:
    """Keep what became of the help in the arms `tested` of the finished study in `out`."""
    arms = " ".join(f"--arm {arm}" for arm in tested)
    printed(f"kerf after {out} --no-mlflow {arms}")
    keep(name, f"kerf after {study} {arms}", trimmed(out / "after.txt"), out)


def dilemma(folder: Path) -> None:
    """What became of the help where training is exact."""
    run(DILEMMA, folder)
    after_of(folder, "after-dilemma", "out/dilemma-disjoint-by-two", DILEMMA_TESTED)


def cures(folder: Path) -> None:
    """The tables of the study of cures."""
    run(CURES, folder)
    keep("cures", CURES, trimmed(folder / "table.txt"), folder)


def endings(folder: Path) -> None:
    """The endings of `ENDINGS`, and what became of the help where a recipe asks for it."""
    for name, (command, _) in ENDINGS.items():
        run(command, folder / name)
        ending_and_after(name, folder / name)


def ending_and_after(name: str, out: Path) -> None:
    """Keep the ending of the study of `ENDINGS` called `name`, which is in `out`, and its tests afterwards."""
    command, default = ENDINGS[name]
    ending_of(name, command, out, default)
    if (out / "after.txt").exists():
        keep(f"after-{name}", command, trimmed(out / "after.txt"), out)


def methods(folder: Path) -> None:
    """What one contrast comes to under each way of learning, and each network: the variants next to each other."""
    texts = {name: printed(made, "--no-mlflow", "--out", str(folder / name)) for name, made in METHODS.items()}
    for name, text in texts.items():
        keep(name, METHODS[name], next_to_each_other(text))


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
    """Exact answers of the studies of `EXACT`."""
    for name, (command, out) in EXACT.items():
        run(command, folder / name)
        keep(name, f"kerf exact {out}", printed_of("exact", folder / name), folder / name)


def adversaries(folder: Path) -> None:
    """Attacks of a study of adversaries, in tables."""
    run(ADVERSARIES, folder)
    keep("adversaries", ADVERSARIES, (folder / "attacks.txt").read_text(), folder)


def sweep(folder: Path) -> None:
    """The tables of a sweep."""
    run(SWEEP, folder)
    keep("sweep", SWEEP, (folder / "table.txt").read_text())


def essays(folder: Path) -> None:
    """The summary of all worlds."""
    run(ESSAYS, folder)
    keep("essays", ESSAYS, "\n".join(summary_lines(summarise(folder), Path("out/essays-quick"), ENDING_WIDTH)) + "\n")


def procedures(folder: Path) -> None:
    """What the essays say of procedure: endings of studies, certificates, and plans on learned models."""
    for name, command in PROCEDURES.items():
        run(command, folder / name)
    solved = {name: printed_of("exact", folder / name) for name in ("guarantees", "adequacy")}
    for name, command in PROCEDURES.items():
        for variant in STORIES if name == "stories" else ("",):
            ended, at = folder / name / variant, Path("out", f"{name}-quick", variant)
            ending_of(f"{name}-{variant}" if variant else name, command, ended, str(at))
    keep("guarantees-exact", "kerf exact out/guarantees-quick", solved["guarantees"], folder / "guarantees")
    for name, module in (("adequacy", "adequacy"), ("trajectory", "trajectories")):
        command = f"python -m kerf.runs.exact.{module}"
        found = printed(f"{command} {folder / name}")
        keep(f"{name}-table", f"{command} out/{name}-quick", found, folder / name, ".md")
    learned = "python -m kerf.lab.learned_model"
    keep("learned-model", learned, printed(learned), None, ".md")


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
        *(five_sets, full, thresholds, controls, reward_alone, dilemma, cures, endings, methods),
        *(exact, revealed, adversaries, sweep, essays, procedures, simulations, commands),
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
