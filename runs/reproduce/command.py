"""Command `kerf reproduce`: published figures beside those of the lab."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.errors import unknown_name
from kerf.runs.bench.timing import one_quiet_thread, refuse_unwritable, write_figures
from kerf.runs.reproduce.entry import Checked, Entry, Figure

REPRODUCED, FAILED = 0, 1
"""Exit codes."""

WIDTH = 100
"""The most characters of a line; fewer in a narrower terminal."""

INDENT = (0, 0, 0, 2)
"""Padding of what stands below a title: top, right, bottom, left."""


def reproduce(
    names: Iterable[str], json_file: Path | None, console: Console, entries: Mapping[str, Entry] | None = None
) -> int:
    """Measure the entries of these names (none: all), print each result when it is known, and a summary.

    Args:
        names: Names of entries.
        json_file: Further file for the figures.
        console: Console to print to.
        entries: Entries to choose from; None: all.

    Returns:
        The exit code: 0 if all figures are reproduced, else 1.

    Raises:
        KerfError: for an unknown name or an unwritable file; before anything is measured.
    """
    asked = chosen(names, entries)
    refuse_unwritable(json_file)
    checked: list[Checked] = []
    with one_quiet_thread():
        for number, entry in enumerate(asked, 1):
            title = f"{number} of {len(asked)}: {entry.name}"
            with console.status(title) as status:

                def say(doing: str, title: str = title) -> None:
                    status.update(f"{title}: {doing}")

                checked.append(entry.check(say))
            show(console, answer(checked[-1]))
    missed = [one for one in checked if not one.reproduced]
    show(console, summary(checked))
    write_figures(
        json_file,
        {
            "reproduced": not missed,
            "not_reproduced": [one.entry.name for one in missed],
            "entries": [one.plain() for one in checked],
        },
    )
    return FAILED if missed else REPRODUCED


def list_entries(names: Iterable[str], console: Console, entries: Mapping[str, Entry] | None = None) -> None:
    """Print name, title and source of the entries of these names (none: all)."""
    for entry in chosen(names, entries):
        title = Text(f"{entry.name}  ", "bold").append(entry.title, "not bold")
        below = Text(entry.source + ("; trains agents" if entry.trains else ""))
        show(console, Group(title, Padding(below, INDENT)))


def chosen(names: Iterable[str], entries: Mapping[str, Entry] | None = None) -> tuple[Entry, ...]:
    """The entries of these names in the order of `entries`; all if no names are given.

    Raises:
        KerfError: for an unknown name, with the nearest spelling.
    """
    known = _all() if entries is None else entries
    wanted = tuple(names)
    for name in wanted:
        if name not in known:
            raise unknown_name("result", name, known)
    return tuple(entry for name, entry in known.items() if not wanted or name in wanted)


def _all() -> Mapping[str, Entry]:
    from kerf.runs.reproduce.registry import ENTRIES  # here: it imports every entry, and tests give their own

    return ENTRIES


def show(console: Console, part: RenderableType) -> None:
    """Print `part` in lines of at most `WIDTH` characters."""
    console.print(part, width=min(console.width, WIDTH))


def answer(checked: Checked) -> RenderableType:
    """Title, claim, source and constants of an entry, and a line for each of its figures."""
    entry = checked.entry
    title = Text(f"{entry.name}: {entry.title}  ", "bold")
    title.append(_verdict(checked.reproduced))
    facts = (
        Text(f"{label}: ", "dim").append(text, "not dim")
        for label, text in (
            ("There", entry.claim),
            ("Source", entry.source),
            ("Here", entry.setting),
            ("Counts if", entry.tolerance),
        )
    )
    return Group(title, *(Padding(fact, INDENT) for fact in facts), Padding(_table(checked.figures), INDENT), Text())


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("figure", ratio=1)
    for name, width in (("there", 9), ("here", 8), ("needed", 13)):
        table.add_column(name, justify="right", width=width)
    table.add_column("", width=3)
    for figure in figures:
        row = (figure.what, figure.there, _short(figure.here), figure.needed)
        table.add_row(*map(Text, row), Text("yes") if figure.reproduced else Text("NO", "bold"))
    return table


def _short(number: float) -> str:
    """A number below 10,000 in at most eight characters: four decimals, without zeros at the end."""
    return f"{round(number, 4) + 0.0:.4f}".rstrip("0").rstrip(".")


def _verdict(reproduced: bool) -> Text:
    return Text("reproduced") if reproduced else Text("NOT REPRODUCED", "bold")


def summary(checked: Sequence[Checked]) -> Text:
    """One sentence: how many results are reproduced, and which are not."""
    seconds = sum(one.seconds for one in checked)
    missed = [one.entry.name for one in checked if not one.reproduced]
    if missed:
        return Text(f"NOT REPRODUCED: {len(missed)} of {len(checked)} results, in {seconds:.0f} s: {', '.join(missed)}")
    return Text(f"All {len(checked)} results are reproduced, in {seconds:.0f} s.")
