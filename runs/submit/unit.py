"""Single unit of a study, for schedulers that distribute work one piece at a time over many machines.

Any number of processes may each do a unit of one study, in a shared folder or at a shared address; only `kerf run`
needs exclusive access to the study. The records are those of `kerf run`. In a folder, a lock keeps two processes from
doing the same unit; at an address both would produce the same records, and the first upload is kept.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, cast

from threadpoolctl import threadpool_limits

from kerf.lab.errors import KerfError, unknown_name
from kerf.runs.execution.local_ray import ray_for
from kerf.runs.execution.preflight import check_gpus
from kerf.runs.execution.study_units import cpus_needed, needs_ray
from kerf.runs.recipe.arms import needs
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe, recipe_hash
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.gate_records import has_passed
from kerf.runs.records.provenance import digest, this_code
from kerf.runs.records.store import ALIGNED, Store, Unit, open_records
from kerf.runs.submit.backend import STOPPED

DONE = 0
"""Exit code: the unit is finished."""

LOCKS = ".locks"
"""Folder within the study's for the locks that keep two processes from doing the same unit."""

_DIGEST = re.compile("[0-9a-f]{8,64}")

_NAME = re.compile(r"(?:cells/)?([^/]+)/seed-(\d{1,9})")


def do_unit(root: Path, name: str, num_cpus: int, say: Callable[[str], None], code: str | None = None) -> int:
    """Do the unit called `name` of the study in `root`, unless it is finished.

    SIGUSR1 stops it after the current iteration, with a checkpoint to resume from.

    Args:
        root: The study's folder, made by `kerf.runs.study.prepare_study` or `kerf run`.
        name: `aligned/seed-0`, or `penalised/seed-0` with or without `cells/` before it.
        num_cpus: CPUs that this process may use.
        say: Callback for progress, one line per call.
        code: Digest of the code to work by, or its beginning; None: any code that a driver of the study had.

    Returns:
        `DONE` or `STOPPED`. A cell whose agent did not pass the gate is done: it is left out.

    Raises:
        KerfError: if there is no such unit, a unit that it needs is missing, or another process is doing it or is
            running the study, or this process imports other code.
    """
    store = open_records(root, units=False)
    found = store.manifest()
    recipe = load_recipe(str(store.path / "recipe.yaml"))
    if recipe_hash(recipe) != found["recipe_hash"]:
        raise KerfError(f"{store.path / 'recipe.yaml'} is not the recipe of {store.path / 'study.json'}: restore it")
    unit = _unit(recipe, name)
    _refuse_other_code(store, found, code)
    check_gpus(recipe)
    store.fetch((unit, *needs(recipe.resolve(), unit)))
    locks = store.path / LOCKS
    with disk.as_disk_error(store.path):
        locks.mkdir(exist_ok=True)
    with (
        disk.file_lock(store.path / ".lock", f"the study in {store.path}", shared=True),
        disk.file_lock(locks / unit.name.replace("/", "-"), f"{unit.name} in {store.path}"),
    ):
        if store.delivered(unit, verify=True):
            say(f"{unit.name} is done already")
            return DONE
        if unit.arm != ALIGNED and store.finished(Unit(ALIGNED, unit.seed)) and not has_passed(store, unit.seed):
            say(f"{unit.name} is left out: the agent of seed {unit.seed} is not aligned")
            return DONE
        return _do(recipe, unit, store, num_cpus, say)


def _refuse_other_code(store: Store, manifest: Mapping[str, Any], code: str | None) -> None:
    """Check the code that this process imports against `code`, or against that of the drivers of the study."""
    if code is not None:
        if not _DIGEST.fullmatch(code):
            raise KerfError(f"--code: expected a digest of 8 to 64 of 0-9 and a-f, as kerf doctor shows, got {code!r}")
        if not digest().startswith(code):
            raise KerfError(f"{this_code()['text']} is not the Kerf of digest {code} (--code): install that one here")
        return
    drivers = [manifest, *(entry["continued_with"] for entry in store.timing() if "continued_with" in entry)]
    known = [each["digest"] for each in drivers if each.get("digest") is not None]
    if known and digest() not in known:
        raise KerfError(
            f"{this_code()['text']} is not the Kerf of {store.path / 'study.json'} (revision "
            f"{manifest.get('revision') or 'unknown'}, digest {known[0][:12]}): install that one here, or give --code "
            f"{digest()[:12]} if this one is meant"
        )


def _do(recipe: Recipe, unit: Unit, store: Store, num_cpus: int, say: Callable[[str], None]) -> int:
    from kerf.runs.execution.trainers import trainer_of
    from kerf.runs.execution.training_log import Progress
    from kerf.runs.execution.unit import run_unit

    for needed in needs(recipe.resolve(), unit):
        if not store.finished(needed):
            raise KerfError(f"{unit.name} needs {needed.name}, which is missing: run that first")
    stop_requested = kept = False
    resumable = trainer_of(recipe).keeps_checkpoints  # otherwise there is no checkpoint to wait for

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stop_requested
        stop_requested = True

    def stopping() -> bool:
        nonlocal kept
        kept = stop_requested
        return stop_requested

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with ray_for(needs_ray(recipe), max(num_cpus, cpus_needed(recipe, 1))), threadpool_limits(1):
            progress = cast("Generator[Progress]", run_unit(recipe, unit, store, min(2, num_cpus), stopping=stopping))
            last = None
            for last in progress:
                if (kept or (stop_requested and not resumable)) and last.iteration < last.iterations:
                    progress.close()
                    say(f"{unit.name} stopped after iteration {last.iteration} of {last.iterations}")
                    return STOPPED
    finally:
        signal.signal(signal.SIGUSR1, before)
    say(f"{unit.name} done" + (f": {last.env_steps:,} steps in {last.seconds:.0f} s" if last else ""))
    return DONE


def _unit(recipe: Recipe, name: str) -> Unit:
    matched = _NAME.fullmatch(name)
    if matched is None:
        raise KerfError(f"expected a unit like aligned/seed-0 or cells/<arm>/seed-0, got {name!r}")
    arm, seed = matched[1], int(matched[2])
    if arm not in (ALIGNED, *recipe.arms):
        raise unknown_name("arm", arm, (ALIGNED, *recipe.arms))
    if seed not in recipe.seed_numbers:
        seeds = recipe.seed_numbers
        raise KerfError(f"{name}: the study's seeds are {min(seeds)} to {max(seeds)}")
    return Unit(arm, seed)
