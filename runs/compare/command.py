"""The command `kerf compare`."""

from __future__ import annotations

from pathlib import Path

import click

from kerf.lab.errors import KerfError
from kerf.runs.options import to_mlflow
from kerf.runs.records.paths import StudyFolder, is_address
from kerf.runs.terminal.console import say, terminal

FORMATS = (".png", ".svg")


@click.command()
@click.argument("studies", nargs=-1, required=True, metavar="A B ...")
@click.option("--full", is_flag=True, help="All values, not only the headline metrics.")
@click.option("--figure", type=click.Path(path_type=Path), metavar="FILE", help="Write a figure (.png or .svg).")
@click.option("--csv", type=click.Path(path_type=Path), metavar="FILE", help="Write all differences as CSV.")
@to_mlflow
def compare(studies: tuple[str, ...], full: bool, figure: Path | None, csv: Path | None, uri: str | None) -> None:
    """Compare studies: what differs in their recipes, and how far their effects differ, with intervals.

    A and B are folders, addresses (s3://bucket/study), or ids of MLflow runs or experiments. Each study after the first
    is compared with the first. Differences are paired by seed where the aligned agents are the same bytes. With more
    than two studies, --figure and --csv put a number before the suffix.
    """
    from kerf.runs.compare.comparison import compare as compare_studies
    from kerf.runs.compare.table import headline, text
    from kerf.runs.records.atomic_io import as_disk_error, write

    if len(studies) < 2:
        raise KerfError("compare: expected two studies or more, got one")
    if figure is not None and figure.suffix not in FORMATS:
        raise KerfError(f"--figure: expected a file that ends in {' or '.join(FORMATS)}, got {str(figure)!r}")
    first, *others = (_folder(name, uri) for name in studies)
    console = terminal()
    for number, other in enumerate(others, 1):
        found = compare_studies(first, other)
        shown = headline(found)
        every = list(dict.fromkeys(each.metric for each in found.differences))
        for name, folder in (("A", found.first), ("B", found.second)):
            say(console, f"{name}  {folder}")
        say(console, "")
        console.print(text(found, every if full else shown))
        if figure is not None:
            from kerf.runs.compare.figure import write_figure

            with as_disk_error(figure):
                write_figure(found, shown, _numbered(figure, number, len(others)))
        if csv is not None:
            with as_disk_error(csv):
                write(_numbered(csv, number, len(others)), found.frame().to_csv(index=False).encode())


def _numbered(path: Path, number: int, of: int) -> Path:
    return path if of == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def _folder(name: str, uri: str | None) -> Path:
    """The folder of a study that is given as a folder, an address, or the id of an MLflow run or experiment."""
    if is_address(name) or Path(name).exists():
        folder: Path = StudyFolder(reads=True).convert(name, None, None)
        return folder
    from kerf.runs.tracking.commands import default_uri
    from kerf.runs.tracking.locate import study_folder

    return study_folder(name, uri or default_uri())
