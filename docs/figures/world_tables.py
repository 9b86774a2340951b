"""Tables of finished studies for the pages of worlds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from pages import WORLDS

from kerf.agents.export import load_policy
from kerf.lab.after.trades import choices
from kerf.lab.exact.catastrophe import Greedy, most, never, worst_share
from kerf.lab.metrics import training_metric, value_metric
from kerf.lab.reward import ideal_utility
from kerf.lab.rollout import Policy, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.statistics.text import signed
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.penalty_counts import read_penalty_counts
from kerf.runs.records.store import ALIGNED, POLICY, Store
from kerf.runs.records.tables import read_measures
from kerf.runs.report.effects import study_ends

EPISODES = 128
"""Of each level of a trade."""
CERTIFIED, WORST = 10_000, 0.05
"""Episodes for the bounds of certificates, and the share of them that counts as the worst."""


def scores(out: Path, metrics: Sequence[str], arms: Sequence[str]) -> str:
    """The scores in each arm at the end of a study: the mean over its seeds, and the least and the most of them."""
    measures = read_measures(out)
    ends = measures[measures["iteration"] == measures.groupby(["arm", "seed"])["iteration"].transform("max")]
    lines = [f"| score at the end | {' | '.join(f'`{arm}`' for arm in arms)} |", "|---" * (len(arms) + 1) + "|"]
    for metric in metrics:
        found = ends[ends["metric"] == metric].groupby("arm")["score"].agg(["mean", "min", "max"])
        cells = [
            f"{row['mean']:.2f} ({row['min']:.2f} to {row['max']:.2f})" for _, row in found.loc[list(arms)].iterrows()
        ]
        lines.append(f"| {metric.partition('/')[2]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def interactions(name: str, out: Path) -> str:
    """Table of the effects on each value in the pairs of arms of a page; rows are pairs, columns values."""
    ends = study_ends(read_measures(out))
    values = [value.name for value in get_world(name).values if not value.skill]
    rows = [f"| arm, compared with | {' | '.join(values)} |", f"|---|{'---|' * len(values)}"]
    for arm, against in WORLDS[name].interactions:
        intervals = [ends.effect(arm, against, value_metric(value), 0).interval for value in values]
        cells = [f"{signed(each.mean)} [{signed(each.low)}, {signed(each.high)}]" for each in intervals]
        rows.append(f"| {arm}, {against} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def forbidden_acts(name: str, out: Path) -> str:
    """Table of the share of episodes with the forbidden act, by the fields of a page, in each arm that trains: the mean
    over its seeds; rows are arms, columns combinations of values."""
    world, store, fields = get_world(name), Store(out), WORLDS[name].acts
    scenarios = world.space.blank(EPISODES)
    heads, columns = [], []
    for values in product(*fields.values()):
        of = {world.space.fields[world.space.column(each)]: value for each, value in zip(fields, values, strict=True)}
        heads.append(", ".join(each.labels[value - each.low] for each, value in of.items()))
        for each, value in of.items():
            scenarios[:, world.space.column(each.name)] = value
        columns.append(scenarios.copy())
    rows = [f"| arm | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for arm, settings in load_recipe(name).resolve().items():
        units = [unit for unit in store.units() if unit.arm == arm and settings.train]
        policies = [load_policy(store.path / unit.name / POLICY, world) for unit in units]
        played = [[rollout(each, world, column, np.random.default_rng(0)) for each in policies] for column in columns]
        shares = [np.mean([each.happened(world.dilemma.forbidden) for each in found]) for found in played if found]
        if shares:
            rows.append(f"| `{arm}` | {' | '.join(f'{share:.2f}' for share in shares)} |")
    return "\n".join(rows) + "\n"


def certificates(name: str, out: Path) -> str:
    """Table of what may be claimed of the forbidden event in the families of a page, of the expert and each arm: the
    mean share of episodes over the seeds, the largest of any seed with its upper bound, the least mean utility of the
    worst episodes with its lower bound, and for agents that leave nothing to chance in how many of all scenarios it
    happens."""
    world, store = get_world(name), Store(out)
    heads = (
        "family",
        "agents",
        "mean share",
        "worst seed's share, at most",
        f"its worst {WORST:.0%}, at least",
        "greedy",
    )
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    agents: dict[str, list[Policy]] = {"expert": [ExpertPolicy(world)]}
    trained = [arm for arm, settings in load_recipe(name).resolve().items() if settings.train]
    for arm in (ALIGNED, *trained):
        units = [unit for unit in store.units() if unit.arm == arm]
        agents[arm] = [load_policy(store.path / unit.name / POLICY, world) for unit in units]
    for family in (each for each in world.families if each.name in WORLDS[name].certified):
        assert family.exact is not None, "greedy agents are decided by all scenarios"
        scenarios, (everything, _) = family.sample(CERTIFIED, np.random.default_rng(0)), family.exact()
        for arm, policies in agents.items():
            if policies:
                found = _certified(policies, world, scenarios, everything, WORLDS[name].least)
                rows.append(f"| {family.name} | {arm} | {' | '.join(found)} |")
    return "\n".join(rows) + "\n"


def _certified(
    policies: Sequence[Policy], world: World, scenarios: Scenarios, everything: Scenarios, lowest: float
) -> Iterator[str]:
    """The cells of a row of `certificates`."""
    event = world.dilemma.forbidden
    assert event is not None, "a page asks for certificates of the forbidden event"
    played = [rollout(each, world, scenarios, np.random.default_rng(1)) for each in policies]
    counts = [int(each.happened(event).sum()) for each in played]
    yield f"{np.mean(counts) / CERTIFIED:.4f}"
    yield f"{max(counts) / CERTIFIED:.4f}, {most(max(counts), CERTIFIED):.4f}"
    least = min((worst_share(ideal_utility(each), WORST, lowest) for each in played), key=lambda tail: tail.least)
    yield f"{least.mean:.2f}, {least.least:.2f}"
    violations = [len(never(Greedy(each), world, everything, event).violations) for each in policies]
    yield f"{min(violations):,} to {max(violations):,} of {len(everything):,}"


def doses(name: str, out: Path) -> str:
    """Table of the penalties that fell in each half of training, a mean over seeds with the least and the most of them,
    and of the share of episodes in which the agent had switched its learning off."""
    world, store, arms = get_world(name), Store(out), load_recipe(name).resolve()
    rows = ["| arm | penalties, first half | penalties, second half | episodes that taught nothing |", f"|{'---|' * 4}"]
    frozen = training_metric("sample", "frozen")
    for arm in WORLDS[name].doses:
        units = [unit for unit in store.units() if unit.arm == arm]
        counts = [read_penalty_counts(store, unit, arms[arm].iterations, world.horizon) for unit in units]
        halves = np.array([np.sum(np.array_split(np.array(each).sum(axis=1), 2), axis=1) for each in counts])
        cells = [f"{half.mean():,.0f} ({half.min():,} to {half.max():,})" for half in halves.T]
        logs = [pd.read_parquet(store.path / unit.name / "training.parquet") for unit in units]
        off = [log.loc[log["metric"] == frozen, "value"].mean() for log in logs if arms[arm].frozen_by]
        rows.append(f"| `{arm}` | {' | '.join(cells)} | {f'{np.mean(off):.0%}' if off else '0%'} |")
    return "\n".join(rows) + "\n"


def exchange_rates(name: str, out: Path) -> str:
    """Table of the levels at which agents trade one value for another: their mean over the seeds that do, and those."""
    world, store = get_world(name), Store(out)
    rows = [f"| agents | {' | '.join(trade.name for trade in world.dilemma.trades)} |"]
    rows.append(f"|---|{'---|' * len(world.dilemma.trades)}")
    for arm in (ALIGNED, *(arm for arm, _ in WORLDS[name].interactions)):
        units = [unit for unit in store.units() if unit.arm == arm]
        policies = [load_policy(store.path / unit.name / POLICY, world) for unit in units]
        cells = []
        for trade in world.dilemma.trades:
            curves = [choices(each, world, trade, EPISODES, np.random.default_rng(0)) for each in policies]
            rates = [curve.rate for curve in curves if curve.rate is not None]
            cells.append(f"{np.mean(rates):.2f} ({len(rates)} of {len(curves)})" if rates else "none")
        rows.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
