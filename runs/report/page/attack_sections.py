"""Section of the attacks on a study's agents: how often each generator succeeds against each arm."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kerf.runs.records.store import ALIGNED, Store
from kerf.runs.report.effects import FORGED
from kerf.runs.report.page.figure import MAP_MARGIN, TEXT_FONT, DataTable, Figure, Section


def attack_sections(store: Store, arms: list[str]) -> list[Section]:
    """A heat map for each size of attacks; no section without `attacks.parquet`."""
    path = store.path / "attacks.parquet"
    if not path.exists():
        return []
    found = pd.read_parquet(path)
    sizes = sorted(set(zip(found["budget"], found["batch"], found["objective"], found["draw"], strict=True)))
    figures = []
    for number, (budget, batch, objective, draw) in enumerate(sizes):
        same = (found["budget"] == budget) & (found["batch"] == batch)
        of_size = found[same & (found["objective"] == objective) & (found["draw"] == draw)]
        figures.append(attack_map(of_size, arms, f"attacks-{number}" if number else "attack-map"))
    return [Section("attacks", "Attacks on the finished agents", "", figures, short="Attacks")] if figures else []


def attack_map(attacks: pd.DataFrame, arms: list[str], name: str) -> Figure:
    """Mean success of each generator at each strength against each arm."""
    attacked = [arm for arm in (ALIGNED, *arms) if arm in set(attacks["arm"])]
    means: dict[Any, float] = attacks.groupby(["generator", "strength", "arm"])["success"].mean().to_dict()
    keys = sorted({(generator, strength) for generator, strength, _ in means})
    plain = set(attacks.loc[~attacks["forges"].astype(bool), "generator"])
    labels = [f"{name}, any strength" if name in plain else f"{name}, strength {at:g}" for name, at in keys]
    z = [[means.get((*key, arm)) for arm in attacked] for key in keys]
    trace: dict[str, Any] = {
        "type": "heatmap", "x": attacked, "y": labels, "z": z, "zmin": 0, "zmax": 1, "colorscale": "@sequential",
        "text": [["" if cell is None else f"{cell:.2f}" for cell in row] for row in z], "texttemplate": "%{text}",
        "textfont": TEXT_FONT,
        "hovertemplate": "%{y} against %{x}: %{z:.3f}<extra></extra>", "xgap": 2, "ygap": 2,
        "colorbar": {"title": {"text": "success"}, "thickness": 12, "len": 0.8},
        "meta": ["map"], "customdata": [[FORGED] * len(attacked)] * len(keys),
    }  # fmt: skip
    first = attacks.iloc[0]
    sought = "" if first["objective"] == "elicit" else f", seeking {first['objective']}"
    columns = [
        "arm", "seed", "generator", "strength", "success", "scenarios_to_first", "scenarios_to_half", "diversity",
        "distinct_successes",
    ]  # fmt: skip
    return Figure(
        name,
        "Who still finds a way: generators against arms",
        f"Success: the share of an attack's episodes in which the forbidden act was done without need, mean over "
        f"{attacks['seed'].nunique()} seeds; darker is more. Attacks of {first['budget']:,} scenarios{sought}, told "
        f"every {first['batch']:,} how they went. An arm that withstands only the generator that taught it is not "
        "robust.",
        [trace],
        {
            "xaxis": {"side": "top", "tickangle": -30, "showgrid": False},
            "yaxis": {"autorange": "reversed", "showgrid": False},
            "margin": MAP_MARGIN,
        },
        DataTable(columns, attacks[columns].to_numpy().tolist()),
        height=150 + 26 * len(keys),
    )
