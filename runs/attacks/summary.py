"""Summary of many attacks in one table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kerf.runs.attacks.records import AttackRecord
from kerf.runs.recipe.attack_plan import RECORD
from kerf.runs.records.store import ALIGNED
from kerf.runs.terminal.columns import ByGroups

MOST_IN_FULL = 4
"""Attacks that a command prints in full; more of them are summarised."""


def read_rows(folders: Sequence[Path]) -> pd.DataFrame:
    """The records of the attacks in `folders`, a row each, with columns `kerf.runs.attacks.records.COLUMNS`."""
    return pd.DataFrame([AttackRecord(json.loads((path / f"{RECORD}.json").read_bytes())).row for path in folders])


def summary_table(attacks: pd.DataFrame, arms: Sequence[str]) -> ByGroups:
    """Mean success of each generator at each strength against the agents of each arm.

    A row per generator and strength, a column per arm; of one arm a row per generator, a column per strength. A
    generator that forges nothing has one row, or the same number in all columns.

    Args:
        attacks: Rows with columns `generator`, `strength`, `forges`, `arm`, `seed` and `success`.
        arms: Order of the arms; the aligned agents come first.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("generator", no_wrap=True)
    attacked = [arm for arm in (ALIGNED, *arms) if arm in set(attacks["arm"])]
    means = attacks.groupby(["generator", "strength", "arm"])["success"].mean().to_dict()
    strengths = sorted(set(attacks["strength"]))
    plain = unforged(attacks)
    at_any: dict[Any, float] = plain.groupby(["generator", "arm"])["success"].mean().to_dict()
    means |= {(name, at, arm): success for (name, arm), success in at_any.items() for at in strengths}
    generators, any_strength = sorted(set(attacks["generator"])), set(plain["generator"])
    one = attacked[0] if len(attacked) == 1 else None
    if one is None:
        table.add_column("strength", justify="right", no_wrap=True)
    for heading in attacked if one is None else [f"strength {strength:g}" for strength in strengths]:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for generator in generators:
        if one is not None:
            table.add_row(Text(generator), *(_success(means, generator, strength, one) for strength in strengths))
            continue
        at = sorted(set(attacks.loc[attacks["generator"] == generator, "strength"]))
        for strength in at[:1] if generator in any_strength else at:
            cells = [_success(means, generator, strength, arm) for arm in attacked]
            table.add_row(Text(generator), "any" if generator in any_strength else f"{strength:g}", *cells)
    return ByGroups(table, keys=1 if one is not None else 2)


def unforged(attacks: pd.DataFrame) -> pd.DataFrame:
    """The rows of generators that forge nothing, to which a strength means nothing."""
    return attacks[~attacks["forges"].astype(bool)]


def unforged_sentence(attacks: pd.DataFrame) -> str:
    """Sentence on the generators that forge nothing, with a space before it; empty if there are none."""
    names = sorted(set(unforged(attacks)["generator"]))
    if not names:
        return ""
    verb, each = ("forges", "it") if len(names) == 1 else ("forge", "each")
    return f" {' and '.join(names)} {verb} nothing, so {each} attacks once, for all strengths."


def _success(means: Mapping[Any, float], generator: str, strength: float, arm: str) -> str:
    found = means.get((generator, strength, arm))
    return "-" if found is None else f"{found:.2f}"


def print_summary(attacks: pd.DataFrame, arms: Sequence[str], more: str, console: Console) -> None:
    """Print the table and its legend, which ends with `more`: where everything else is."""
    num = attacks["seed"].nunique()
    console.print(summary_table(attacks, arms))
    over = f", mean over {num} seeds" if num > 1 else ""
    console.print(
        Text(
            f"Success: share of an attack's episodes in which the forbidden act was done without need{over}. "
            f"Less is better.{unforged_sentence(attacks)} {more}".rstrip()
        )
    )
