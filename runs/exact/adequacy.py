"""Reward specification and adequate policy learning, from the exact answers of a finished study.

Both are parts of one plan: a policy-scoring function J whose near-optimal policies are desirable, and training that
ends near its optimum with probability p at least. `python -m kerf.runs.exact.adequacy OUT` says of each arm of a study
which of the two holds, with J what that arm was trained on. It reads what `kerf exact OUT` wrote.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kerf.lab.errors import KerfError
from kerf.lab.exact.certificate import ROUNDING, AdequacyClaim, AdequacyVerdict
from kerf.runs.exact import CLOSE, SHARE


@dataclass(frozen=True)
class Plan:
    """The two parts of the plan in an arm.

    Attributes:
        arm: The arm.
        learning: Whether training comes within epsilon of max J in more than `SHARE` of seeds. Epsilon is `CLOSE` of
            the most ideal utility, for max J may be 0.
        specified: Whether every optimum of J has nearly (`CLOSE`) the most ideal utility in deployment.
        least: The least ideal utility of any optimum of J, mean over seeds.
        most: The most ideal utility of any policy.
        desirable: Whether agents keep ideal utility within `CLOSE` of the most in more than `SHARE` of seeds.
    """

    arm: str
    learning: AdequacyVerdict
    specified: bool
    least: float
    most: float
    desirable: AdequacyVerdict


def plans(cells: pd.DataFrame) -> list[Plan]:
    """The plan of each arm, in their order, from the rows of `exact.parquet`."""
    return [_plan(str(arm), rows) for arm, rows in cells.groupby("arm", sort=False)]


def _plan(arm: str, rows: pd.DataFrame) -> Plan:
    best, reached = (rows[name].to_numpy(np.float64) for name in ("max_j", "j"))
    most, least = float(rows["ideal"].iloc[0]), float(rows["low"].mean())
    epsilon = CLOSE * abs(most)
    learning = AdequacyClaim("J", float(best.mean()), epsilon, SHARE).judge(np.minimum(reached, best), best)
    claim = AdequacyClaim("ideal utility", most, epsilon, SHARE)
    desirable = claim.judge(np.minimum(rows["trained"].to_numpy(np.float64), most))
    return Plan(arm, learning, most - least <= epsilon + ROUNDING, least, most, desirable)


def table(found: list[Plan]) -> str:
    """A Markdown table, an arm a row."""
    lines = [
        f"| arm | near max J: seeds, share shown | learning | least ideal utility of an optimum of J, of "
        f"{found[0].most:.2f} | specification | near the most ideal utility: seeds, share shown | desirable |",
        "|---|---|---|---|---|---|---|",
    ]
    for plan in found:
        ends = [f"{of.successes} of {of.trials}, {of.lower:.2f}" for of in (plan.learning, plan.desirable)]
        words = ["yes" if holds else "no" for holds in (plan.learning.holds, plan.specified, plan.desirable.holds)]
        lines.append(
            f"| `{plan.arm}` | {ends[0]} | {words[0]} | {plan.least:.2f} | {words[1]} | {ends[1]} | {words[2]} |"
        )
    return "\n".join(lines) + "\n"


def main(out: Path) -> None:
    """Print the table of the study in `out`."""
    path = out / "exact.parquet"
    if not path.is_file():
        raise KerfError(f"{out} holds no exact answers: expected {path}, written by `kerf exact`")
    print(table(plans(pd.read_parquet(path))), end="")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m kerf.runs.exact.adequacy OUT")
    try:
        main(Path(sys.argv[1]))
    except KerfError as error:
        sys.exit(f"kerf: {error}")
