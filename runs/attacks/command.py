"""Command `kerf attack`: attacks on an exported policy, or on the agents of a finished study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from kerf.agents.export import load_policy, read_card
from kerf.generators.registry import check_generator
from kerf.lab.attack_objective import make_objective
from kerf.lab.errors import KerfError
from kerf.lab.rollout import Policy, unplayed
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.runs.attacks.run_attack import attack_file
from kerf.runs.attacks.run_attacks import attack_all
from kerf.runs.attacks.show import show_attack
from kerf.runs.attacks.summary import MOST_IN_FULL, print_summary, read_rows
from kerf.runs.attacks.table import write_attack_report
from kerf.runs.attacks.target import asked_arms, policy_stem, study_of
from kerf.runs.execution.local_ray import local_ray
from kerf.runs.execution.scheduler import DONE, FAILED
from kerf.runs.recipe.attack_plan import (
    BATCH,
    BUDGET,
    GRID_BUDGET,
    RECORD,
    AttackSettings,
    AttackUnit,
    attacks_of,
    targets,
    whole_grid,
)
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.atomic_io import file_lock, write
from kerf.runs.records.gate_records import finished_seeds
from kerf.runs.records.store import Store, Unit
from kerf.runs.report.page import write_page
from kerf.runs.terminal.console import shell
from kerf.runs.terminal.pace import Pace


@dataclass(frozen=True)
class AttackRequest:
    """Arguments of the command line; None or empty: not given.

    Attributes:
        target: An exported policy (its stem, either of its files, or their folder), or the folder of a study.
        generators: Kinds of generator.
        strengths: Strengths of forgeries, in [0, 1].
        sets: Settings of the generators, as `field=value`.
        objective: The attack objective that the generators maximise.
        budget: Scenarios per attack.
        batch: Scenarios after which the generator is told their scores.
        seed: Random seed.
        everything: Whether to attack with every generator at every strength of a grid.
        arms: Arms to attack besides the aligned agents and the control.
        world: Name of the policy's world, if it differs from the one on its card.
        reference: The aligned policy, for an exported policy and objectives that compare with it.
        out: Folder for the records of attacks on an exported policy.
        workers: Number of parallel attacks.
        pictures: Whether to draw the top episodes.
        json_file: Further file for the records.
        tracking: MLflow tracking URI, or None.
    """

    target: Path
    generators: Sequence[str] = ()
    strengths: Sequence[float] = ()
    sets: Sequence[str] = ()
    objective: str = "elicit"
    budget: int | None = None
    batch: int = BATCH
    seed: int = 0
    everything: bool = False
    arms: Sequence[str] = ()
    world: str | None = None
    reference: Path | None = None
    out: Path | None = None
    workers: int | None = None
    pictures: bool | None = None
    json_file: Path | None = None
    tracking: str | None = None

    def attacks(
        self, generators: Sequence[dict[str, Any]], strengths: Sequence[float], budget: int
    ) -> list[AttackSettings]:
        """The requested attacks, with defaults for arguments that were not given."""
        settings = _settings(self.sets)
        named = [{"kind": kind} for kind in dict.fromkeys(self.generators)] or generators
        return attacks_of(
            [{**generator, **settings} for generator in named],
            list(dict.fromkeys(self.strengths)) or strengths,
            self.objective,
            self.budget or budget,
            self.batch,
            self.seed,
        )


USUAL: list[dict[str, Any]] = [{"kind": "illuminate"}]
"""Default generators."""


def attack_command(asked: AttackRequest, console: Console) -> int:
    """Attack, print the results and write the records; returns the exit code.

    Raises:
        KerfError: for a target that is neither a policy nor a finished study, and for invalid arguments.
    """
    if asked.everything and (asked.generators or asked.sets):
        raise KerfError("--all attacks with every generator at its default settings: leave out --generator and --set")
    study, units = study_of(asked.target)
    if study is not None:
        return _attack_study(asked, study, units, console)
    if asked.everything or asked.arms:
        raise KerfError(
            f"{asked.target} is one policy: --all and --arm need the folder of a study, which holds study.json"
        )
    return _attack_policy(asked, policy_stem(asked.target), console)


def _attack_study(asked: AttackRequest, store: Store, units: Sequence[Unit], console: Console) -> int:
    recipe = load_recipe(str(store.path / "recipe.yaml"))
    for name, value in (("--out", asked.out), ("--world", asked.world), ("--reference", asked.reference)):
        if value is not None:
            raise KerfError(f"{name} applies to a policy outside of a study; the study in {store.path} records its own")
    if units and asked.arms:
        raise KerfError(f"--arm applies to a whole study, and {asked.target} is one agent")
    seeds = [units[0].seed] if units else finished_seeds(store, recipe.seed_numbers, recipe.arms)
    agents = list(units) or targets(asked_arms(asked.arms, recipe, store), seeds)
    if asked.everything:
        generators, strengths = whole_grid(recipe.resolve())
        attacks = asked.attacks(generators, strengths, GRID_BUDGET)
    else:
        attacks = asked.attacks(USUAL, [1.0], BUDGET if units else GRID_BUDGET)
    for attack in attacks:
        check_generator(get_world(recipe.world), attack.generator)  # reports invalid settings before any attack
    pictures = asked.pictures if asked.pictures is not None else bool(units)
    with file_lock(store.path / ".attacks.lock", f"attacks on {store.path}"), store.session():
        complete = attack_all(recipe, store, attacks, agents, asked.workers, console, pictures=pictures)
        report = None if units else write_attack_report(store, recipe, seeds)
        if report is not None:
            write_page(store)
    if not complete:
        return FAILED
    folders = [store.path / AttackUnit(agent, attack).name for agent in agents for attack in attacks]
    in_full = f"In full: {shell('kerf', 'show', store.path, '--full')}"
    if len(attacks) > MOST_IN_FULL:
        print_summary(read_rows(folders), list(recipe.arms), "" if report is None else in_full, console)
        console.print(f"\nrecords   {store.path / 'attacks'}", soft_wrap=True)
    elif report is None:
        for folder in folders:
            show_attack(folder, console)
    else:
        console.print(report.of(attacks))
        console.print(
            f"\nrecords   {store.path / 'attacks'} (of each attack: {RECORD}.json, telling.txt)", soft_wrap=True
        )
    _write_json(asked.json_file, folders)
    if asked.tracking is not None:
        from kerf.runs.tracking.commands import ui_command
        from kerf.runs.tracking.studies import sync

        sync(store.path, asked.tracking)
        console.print(f"mlflow    {ui_command(asked.tracking, store.path)}", soft_wrap=True)
    return DONE


def _refuse(stem: Path, world: World, reference: Policy | None, attacks: Sequence[AttackSettings]) -> None:
    """Raise `KerfError` if the policy is none of `world`, or an objective compares with a reference and there is none:
    each is tried on no episodes."""
    load_policy(stem, world)
    for settings in attacks if reference is None else ():
        make_objective(settings.objective)(unplayed(world, world.space.blank(0)), None)


def _attack_policy(asked: AttackRequest, stem: Path, console: Console) -> int:
    card = read_card(stem)
    world = get_world(asked.world or card["world"])
    reference, against = None, ""
    if asked.reference is not None:
        beside = policy_stem(asked.reference)
        reference, against = load_policy(beside, world), read_card(beside)["sha256"]
    out = asked.out or Path("out") / f"attack-{stem.name}-{card['sha256'][:8]}"
    pictures = asked.pictures is not False
    folders, attacks = list[Path](), asked.attacks(USUAL, [1.0], BUDGET)
    _refuse(stem, world, reference, attacks)
    with local_ray(1) if any(settings.generator.ask_workers for settings in attacks) else nullcontext():
        for settings in attacks:
            with Pace(console, len(attacks), begun=len(folders)) as pace:
                pace.begin(
                    f"{settings.label} at strength {settings.generator.strength:g}, {settings.budget:,} scenarios"
                )
                folders.append(
                    attack_file(stem, world, reference, settings, Store(out), pictures, against, pace.reached)
                )
            show_attack(folders[-1], console)
    _write_json(asked.json_file, folders)
    if asked.tracking is not None:
        from kerf.runs.tracking.commands import ui_command
        from kerf.runs.tracking.studies import sync_policy

        sync_policy(out, {"policy": stem.name, "sha256": card["sha256"], "world": world.name}, folders, asked.tracking)
        console.print(f"mlflow    {ui_command(asked.tracking)}", soft_wrap=True)
    return DONE


def _write_json(file: Path | None, folders: Sequence[Path]) -> None:
    if file is None:
        return
    records = [json.loads((folder / f"{RECORD}.json").read_bytes()) for folder in folders]
    try:
        write(file, json.dumps(records, indent=2, sort_keys=True).encode() + b"\n")
    except OSError as error:
        raise KerfError(f"--json: {file} cannot be written: {error.strerror}") from error


def _settings(sets: Sequence[str]) -> dict[str, Any]:
    settings = {}
    for text in sets:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise KerfError(f"--set expects field=value, e.g. cells=4, got {text!r}")
        if name in ("kind", "strength"):
            raise KerfError(f"--set {name}: use --{'generator' if name == 'kind' else name}")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise KerfError(f"--set {name}: expected a value as in YAML, got {value!r}") from error
    return settings
