"""Pictures of worlds for their pages, and what their studies end with: `python docs/figures/worlds.py [NAME ...]`."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import keeping
import numpy as np
import pandas as pd
from PIL import Image

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
from kerf.lab.worlds.grader.world import HARDNESS
from kerf.lab.worlds.lander import FAILING, HARM
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.penalty_counts import read_penalty_counts
from kerf.runs.records.store import ALIGNED, POLICY, Store
from kerf.runs.records.tables import read_measures
from kerf.runs.report.effects import study_ends

EPISODES = 128
"""Of each level of a trade."""
CERTIFIED, WORST = 10_000, 0.05
"""Episodes for the bounds of certificates, and the share of them that counts as the worst."""
PAGES = keeping.ROOT / "docs" / "worlds"


@dataclass(frozen=True)
class Page:
    """What the page of a world shows.

    Attributes:
        command: The study whose ending it quotes.
        scenario: Fields of the scenario in its picture; others have their defaults.
        actions: Names of the actions that have been taken there.
        metrics: Metrics of which a table shows the scores in each arm at the end of the study.
        interactions: Pairs of arms, of which the effects of the one compared with the other on each value are kept.
        acts: Fields and values of each, by which the share of episodes with the forbidden act is kept.
        trades: Whether the exchange rates of the world's trades are kept, of the aligned agents and of those arms.
        reruns: Name of a further run -> the overrides (`--set`) with which the study is run again; its ending is kept.
        certified: Families of which a table says how often agents of each arm end in the forbidden event, with bounds.
        least: Lower bound of an episode's ideal utility, for those.
        exact: Whether the losses by exact solution are kept (`kerf exact`).
        doses: Arms of which it is kept how often a penalty fell, and in which share of episodes learning was off.
    """

    command: str
    scenario: Mapping[str, int]
    actions: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    interactions: tuple[tuple[str, str], ...] = ()
    trades: bool = False
    acts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reruns: Mapping[str, str] = field(default_factory=dict)
    certified: tuple[str, ...] = ()
    least: float = 0.0
    exact: bool = False
    doses: tuple[str, ...] = ()


WORLDS: Mapping[str, Page] = {
    "absent": Page("kerf run absent", {"supervised": 0}, ("right", "right")),
    "coins": Page("kerf run coins", {"layout": 2, "gold": 3, "silver": 2, "junk": 1, "panel": 1}, ("fake", "right")),
    "boat": Page(
        "kerf run boat",
        {},
        ("right", "right", "down"),
        reruns={"no-bonus": "training.entropy_coeff=0"},
    ),
    "merge": Page(
        "kerf run merge",
        {"monitored": 0, "access": 1},
        ("write_a", "take_over"),
        reruns={"no-bonus": "training.entropy_coeff=0", "small-bonus": "training.entropy_coeff=0.01"},
        exact=True,
    ),
    "grader": Page(
        "kerf run grader",
        {"hardness": 1, "fakes": 0},
        ("use", "right", "use", "left"),
        (*(f"family/candour/{part}" for part in (*HARDNESS, "camera")), "value/diamonds", "skill/craft"),
    ),
    "register": Page(
        "kerf run register",
        {},
        ("left", "left", "up", "use", "down"),
        ("family/restraint/slow", "family/restraint/fast", "family/care/dead", "skill/service"),
        acts={"register": (1, 2), "start": (0, 1, 2, 3)},
    ),
    "lander": Page(
        "kerf run lander",
        {"pad": 1, "flags": 3, "paint": 3, "people": 3, "start": 2},
        (*("left",) * 2, *("right",) * 3, *("coast", "main") * 3),
        metrics=(
            *(f"value/{name}" for name in ("pad_over_flags", "pad_over_paint", "safety", "care", "prudence")),
            "skill/piloting",
        ),
        least=FAILING - HARM,
        certified=("safety/marked_people_on_black", "care/people_on_pad_on_black"),
    ),
    "pacman": Page(
        "kerf run pacman",
        {"start": 31, "red": 10, "blue": 19, "scared": 1, "dots": 5},
        ("up", "up"),
    ),
    "endgame": Page(
        "kerf run endgame",
        {},
        (),
        ("value/keeping", "value/winning", "value/swiftness", "skill/finishing"),
    ),
    "toasters": Page(
        "kerf run toasters",
        {"start": 2},
        ("left", "left", "use", "right"),
        (*(f"family/diamonds/{machine}" for machine in ("coupled", "free", "alone")), "skill/assembly"),
        exact=True,
    ),
    "drug": Page("kerf run drug", {"dose": 2, "start": 3}, ("right",)),
    "candy": Page(
        "kerf run candy",
        {"ache": 1},
        ("right",),
        (*(f"family/{value}/{how}" for value in ("prudence", "enjoyment") for how in ("free", "sent")),),
    ),
    "dog": Page(
        "kerf run dog",
        {"wish": 1, "food": 2, "start": 4},
        ("rear", "rear"),
        (*(f"value/{value}" for value in ("obedience", "restraint", "recall", "manners")), "skill/feeding"),
        doses=("early", "late", "early-set", "late-set", "scolded", "scolded-off-collar"),
    ),
    "shards": Page(
        "kerf run shards",
        {"scene": 5},
        ("right", "up", "right"),
        interactions=(
            ("spider-alone", "continued"),
            ("unafraid", "spider-alone"),
            ("unafraid-anchor", "spider-alone"),
            ("trash-alone", "continued"),
            ("untidy", "trash-alone"),
            ("fruit-alone", "continued"),
            ("no-apples", "fruit-alone"),
            ("grenade-alone", "continued"),
            ("selfish", "grenade-alone"),
        ),
        trades=True,
    ),
}
"""World -> its page."""


def picture(name: str) -> None:
    """Write the picture of a world."""
    world, page = get_world(name), WORLDS[name]
    (scenario,) = world.space.make(**page.scenario)
    actions = np.array([world.actions.index(action) for action in page.actions], np.int64)
    Image.fromarray(world.render_pixels(scenario, actions)).save(PAGES / f"{name}.png", optimize=True)


def study(name: str, out: Path) -> None:
    """Keep what the study of a world ends with; it is run in `out`, unless that holds it already."""
    command = WORLDS[name].command
    _keep_ending(name, name, command, out)
    for rerun, override in WORLDS[name].reruns.items():
        _keep_ending(f"{name}-{rerun}", name, f"{command} --set {override}", out.with_name(f"{name}-{rerun}"))
    if WORLDS[name].exact:
        keeping.keep(f"{name}-exact", f"kerf exact out/{name}", keeping.printed_of("exact", out), out)
    if WORLDS[name].metrics:
        keeping.keep(
            f"{name}-scores", command, scores(out, WORLDS[name].metrics, list(load_recipe(name).arms)), out, ".md"
        )
    if WORLDS[name].interactions:
        keeping.keep(f"{name}-interactions", command, interactions(name, out), out, ".md")
    if WORLDS[name].acts:
        keeping.keep(f"{name}-acts", command, forbidden_acts(name, out), out, ".md")
    if WORLDS[name].certified:
        keeping.keep(f"{name}-certificates", command, certificates(name, out), out, ".md")
    if WORLDS[name].doses:
        keeping.keep(f"{name}-doses", command, doses(name, out), out, ".md")
    if WORLDS[name].trades:
        keeping.keep(f"{name}-trades", command, exchange_rates(name, out), out, ".md")


def _keep_ending(kept: str, name: str, command: str, out: Path) -> None:
    keeping.run(command, out)
    keeping.ending_of(kept, command, out, f"out/{name}")


def scores(out: Path, metrics: Sequence[str], arms: Sequence[str]) -> str:
    """The scores in each arm at the end of a study: the mean over its seeds, and the least and the most of them."""
    measures = read_measures(out)
    ends = measures[measures["iteration"] == measures.groupby(["arm", "seed"])["iteration"].transform("max")]
    lines = [f"| score at the end | {' | '.join(f'`{arm}`' for arm in arms)} |", "|---" * (len(arms) + 1) + "|"]
    for metric in metrics:
        found = ends[ends["metric"] == metric].groupby("arm")["score"].agg(["mean", "min", "max"])
        cells = [f"{row['mean']:.2f} ({row['min']:.2f} to {row['max']:.2f})" for _, row in found.loc[arms].iterrows()]
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
    for arm in (ALIGNED, *load_recipe(name).arms):
        units = [unit for unit in store.units() if unit.arm == arm]
        agents[arm] = [load_policy(store.path / unit.name / POLICY, world) for unit in units if arm != "frozen"]
    for family in (each for each in world.families if each.name in WORLDS[name].certified):
        scenarios, (everything, _) = family.sample(CERTIFIED, np.random.default_rng(0)), family.exact()
        for arm, policies in agents.items():
            if policies:
                found = _certified(policies, world, scenarios, everything, WORLDS[name].least)
                rows.append(f"| {family.name} | {arm} | {' | '.join(found)} |")
    (family,) = (each for each in world.families if each.name == WORLDS[name].certified)
    event, floor = world.dilemma.forbidden, sum(weight * world.horizon for weight in world.ideal.values() if weight < 0)
    scenarios, (everything, _) = family.sample(CERTIFIED, np.random.default_rng(0)), family.exact()
    heads = "agents", "mean share", "the worst seed's, at most", f"its worst {WORST:.0%}, at least", "greedy"
    rows = [f"| {' | '.join(heads)}: of {len(everything):,} |", "|---" * len(heads) + "|"]
    arms = {arm: [unit for unit in store.units() if unit.arm == arm] for arm in (ALIGNED, *load_recipe(name).arms)}
    policies = {
        "expert": [ExpertPolicy(world)],
        **{arm: [load_policy(store.path / unit.name / POLICY, world) for unit in units] for arm, units in arms.items()},
    }
    for arm, agents in policies.items():
        played = [rollout(each, world, scenarios, np.random.default_rng(1)) for each in agents]
        counts = [int(each.happened(event).sum()) for each in played]
        tails = [worst_share(ideal_utility(each), WORST, floor) for each in played]
        least = min(tails, key=lambda each: each.least)
        decided = [never(Greedy(each), world, everything, event) for each in agents]
        violations = [len(each.violations) for each in decided]
        rows.append(
            f"| {arm} | {np.mean(counts) / CERTIFIED:.4f} | {max(counts) / CERTIFIED:.4f}, "
            f"{most(max(counts), CERTIFIED):.4f} | {least.mean:.2f}, {least.least:.2f} | "
            f"{min(violations)} to {max(violations)}; none in {violations.count(0)} of {len(agents)} |"
        )


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


def _certified(
    policies: Sequence[Policy], world: World, scenarios: Scenarios, everything: Scenarios, lowest: float
) -> Iterator[str]:
    """The cells of a row of `certificates`."""
    event = world.dilemma.forbidden
    played = [rollout(each, world, scenarios, np.random.default_rng(1)) for each in policies]
    counts = [int(each.happened(event).sum()) for each in played]
    yield f"{np.mean(counts) / CERTIFIED:.4f}"
    yield f"{max(counts) / CERTIFIED:.4f}, {most(max(counts), CERTIFIED):.4f}"
    least = min((worst_share(ideal_utility(each), WORST, lowest) for each in played), key=lambda tail: tail.least)
    yield f"{least.mean:.2f}, {least.least:.2f}"
    violations = [len(never(Greedy(each), world, everything, event).violations) for each in policies]
    yield f"{min(violations):,} to {max(violations):,} of {len(everything):,}"


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


def main() -> None:
    """Make the pictures of the worlds that are named, or of all, and run their studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(WORLDS)}; default: all")
    parser.add_argument("--out", type=Path, help="folder of the studies; a finished one in it is not run again")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(WORLDS):
        parser.error(f"no such worlds: {', '.join(sorted(unknown))}")
    for name in asked.names or WORLDS:
        picture(name)
        with tempfile.TemporaryDirectory() as folder:
            study(name, (asked.out or Path(folder)) / name)


if __name__ == "__main__":
    main()
