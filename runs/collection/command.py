"""Running of a collection: its studies one after another, the failure of one told without ending the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from kerf.lab.errors import KerfError
from kerf.runs.recipe.collection import Collection, load_collection
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.atomic_io import as_disk_error
from kerf.runs.records.collected import STEM, Collected, read_collected
from kerf.runs.records.store import Store
from kerf.runs.terminal.columns import ByGroups
from kerf.runs.terminal.console import say, shell


def asked_collection(
    recipe: str, preset: str | None, variant: str | None, seeds: int | None, sets: tuple[str, ...], out: Path | None
) -> tuple[Collection, Path, Collected]:
    """Load a collection, and check that its studies can be written; writes nothing.

    Returns:
        The collection, its folder, and its record.

    Raises:
        KerfError: for any error in it, a variant, an address, or a folder that holds something else.
    """
    from kerf.runs.execution.preflight import check_out

    if variant is not None:
        raise KerfError(f"--variant: {recipe} is a collection; its file names the variant of each recipe")
    collection = load_collection(recipe, preset, sets, seeds)
    words = [collection.name, *([preset] if preset else [])]
    folder = out or Path("out") / "-".join(words)
    _refuse_other(folder, collection.name)
    for name, study in collection.studies.items():
        check_out(folder / name, study)
    options = [*(("--preset", preset) if preset else ()), *(("--seeds", str(seeds)) if seeds is not None else ())]
    options += [word for each in sets for word in ("--set", each)]
    command = shell("kerf", "run", recipe, *options, "--out", folder)
    about = " ".join(collection.about.split())
    return collection, folder, Collected(collection.name, about, command, list(collection.studies))


def _refuse_other(folder: Path, name: str) -> None:
    """Refuse a folder that is kept elsewhere, or holds something other than this collection."""
    if Store(folder).address is not None:
        raise KerfError(f"--out: a collection is kept in a folder, got the address {Store(folder).address}")
    found = read_collected(folder)
    if found is not None and found.name != name:
        raise KerfError(f"{folder} holds another collection ({found.name}); give --out another folder")
    if found is None and folder.is_dir() and (other := sorted(path.name for path in folder.iterdir())):
        raise KerfError(f"{folder} holds files but no collection ({other[0]}, ...): give --out a new folder")


def run_collection(
    collection: Collection,
    folder: Path,
    collected: Collected,
    tracking: str | None,
    workers: int | None,
    console: Console,
    checkpoint_every: float | None,
) -> int:
    """Run or continue all studies, then print the summary and write its page.

    Returns:
        The largest of the studies' exit codes (`kerf.runs.study.run_study`); that of one that could not be run is
        `FAILED`.
    """
    from kerf.runs.collection.page import write_page
    from kerf.runs.collection.summary import summarise
    from kerf.runs.collection.table import summary_lines

    with as_disk_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    Store(folder).write_json(STEM, collected.plain())
    codes = {}
    for number, (name, recipe) in enumerate(collection.studies.items(), 1):
        say(console, f"\n==== {number} of {len(collection.studies)}: {name}\n")
        codes[name] = _study(recipe, folder / name, tracking, workers, console, checkpoint_every)
    say(console, "")
    summary = summarise(folder)
    lines = summary_lines(summary, folder, console.width)
    Store(folder).write_text("table.txt", "\n".join(lines) + "\n")
    write_page(summary, folder)
    for line in lines:
        say(console, line)
    if failed := _failed(codes):
        say(console, f"not done: {failed}; the same command again goes on with them")
    return max(codes.values())


def _study(
    recipe: Recipe,
    out: Path,
    tracking: str | None,
    workers: int | None,
    console: Console,
    checkpoint_every: float | None,
) -> int:
    """Run one study; a mistake or a file that cannot be used is told, and is its failure alone."""
    from kerf.runs.execution.scheduler import FAILED
    from kerf.runs.study import run_study

    try:
        return run_study(recipe, out, tracking, workers, console, checkpoint_every)
    except (KerfError, OSError) as error:
        say(console, f"failed: {recipe.name}: {error}")
        return FAILED


def _failed(codes: Mapping[str, int]) -> str:
    """The studies with a code other than 0, with their codes."""
    return ", ".join(f"{name} (exit code {code})" for name, code in codes.items() if code)


def collection_text(collection: Collection, folder: Path) -> ByGroups:
    """Format a collection: a row per study."""
    table = Table(box=box.SIMPLE_HEAD, title=f"{collection.name}, in {folder}", title_justify="left")
    table.add_column("study", no_wrap=True)
    for heading in ("world", "seeds", "arms", "predictions", "summed up by"):
        table.add_column(heading)
    for name, recipe in collection.studies.items():
        first = recipe.primaries[0]
        sizes = (str(recipe.seeds), str(len(recipe.arms)), str(len(recipe.primaries)))
        table.add_row(name, recipe.world, *sizes, f"{first.arm} - {first.against}")
    return ByGroups(table)


def show_collection(folder: Path, console: Console) -> None:
    """Print the summary of a collection again, from the records of its studies alone."""
    from kerf.runs.collection.summary import summarise
    from kerf.runs.collection.table import summary_lines

    for line in summary_lines(summarise(folder), folder, console.width):
        say(console, line)
