"""Commands that submit jobs and query them. Imports only click until one of them runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from kerf.lab.errors import KerfError
from kerf.runs.options import asks_for_a_recipe
from kerf.runs.records.paths import StudyFolder

OPTIONS: dict[str, tuple[str, ...]] = {
    "address": ("ray",),
    "python": ("local", "ray", "slurm"),
    "cpus": ("slurm", "kuberay"),
    "memory": ("slurm", "kuberay"),
    "nodes": ("slurm", "kuberay"),
    "time_limit": ("slurm", "kuberay"),
    "partition": ("slurm",),
    "account": ("slurm",),
    "image": ("kuberay",),
    "namespace": ("kuberay",),
    "claim": ("kuberay",),
    "secret": ("kuberay",),
}
"""Backends that each option applies to; other backends refuse it."""


@click.command()
@asks_for_a_recipe
@click.option("--to", required=True, metavar="BACKEND", help="local, ray, kuberay or slurm.")
@click.option("--dry-run", is_flag=True, help="Print exactly what would be submitted, and submit nothing.")
@click.option("--mlflow", "uri", metavar="URI", help="Tracking URI, as for kerf run.")
@click.option("--no-mlflow", is_flag=True, help="Keep records on disk only.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Cells trained in parallel.")
@click.option("--address", metavar="URL", help="ray: the head's http address; default: that of `kerf cluster up`.")
@click.option("--python", metavar="PATH", help="local, ray, slurm: Python with Kerf there; default: this one.")
@click.option("--cpus", type=click.IntRange(min=1), metavar="N", help="slurm: CPUs of a unit; kuberay: of a node.")
@click.option("--memory", metavar="SIZE", help="slurm, kuberay: memory of a unit or node, e.g. 4G or 4Gi.")
@click.option("--nodes", type=click.IntRange(min=1), metavar="N", help="slurm, kuberay: nodes of one Ray cluster.")
@click.option("--time", "time_limit", metavar="TIME", help="slurm: limit of a unit, e.g. 2:00:00; kuberay: seconds.")
@click.option("--partition", metavar="NAME", help="slurm: the partition.")
@click.option("--account", metavar="NAME", help="slurm: the account.")
@click.option("--image", metavar="NAME", help="kuberay: the image, built from the Dockerfile.")
@click.option("--namespace", metavar="NAME", help="kuberay: the namespace.")
@click.option("--claim", metavar="NAME", help="kuberay: the volume claim that keeps the records.")
@click.option("--secret", metavar="NAME", help="kuberay: a secret whose entries become environment variables.")
def submit(
    recipe: str,
    preset: str | None,
    variant: str | None,
    seeds: int | None,
    sets: tuple[str, ...],
    out: Path | None,
    to: str,
    dry_run: bool,
    uri: str | None,
    no_mlflow: bool,
    workers: int | None,
    **given: Any,
) -> None:
    """Submit the study of RECIPE, or the sweep of a sweep file, to a scheduler or another machine.

    Folder and records are those of kerf run. The job's id depends only on what is submitted.
    """
    from kerf.runs.records.store import Store
    from kerf.runs.submit.backend import backend
    from kerf.runs.submit.submissions import Submissions
    from kerf.runs.submit.work import Asked, is_sweep

    if uri is not None and no_mlflow:
        raise KerfError("--mlflow and --no-mlflow exclude each other")
    there = backend(to)
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if to not in OPTIONS[name]:
            shown = "--time" if name == "time_limit" else f"--{name}"
            raise KerfError(f"{shown} concerns {' and '.join(OPTIONS[name])} only, got --to {to}: leave it out")
    asked = Asked(
        what=recipe,
        sweep=is_sweep(recipe),
        preset=preset,
        variant=variant,
        seeds=seeds,
        sets=sets,
        out=None if out is None else Store(out).address or str(out.absolute()),
        workers=workers,
        mlflow=None if no_mlflow else uri or "",
    )
    submissions = Submissions()
    job, work = submissions.prepare(asked, to, options)
    if dry_run:
        for name, text in there.texts(job, work).items():
            click.echo(f"# ---- {name}")
            click.echo(text, nl=not text.endswith("\n"))
        return
    job = submissions.submit(job, work)
    click.echo(f"{job.id} submitted to {to}; its state: kerf status {job.id}; its output: kerf logs -f {job.id}")


@click.command()
def jobs() -> None:
    """List the submitted jobs and their states."""
    from rich.table import Table

    from kerf.runs.submit.submissions import Submissions
    from kerf.runs.terminal.columns import ByGroups
    from kerf.runs.terminal.console import terminal

    submissions = Submissions()
    table = Table("job", "to", "state", "submitted", "folder", box=None, pad_edge=False)
    found = submissions.jobs.ids()
    if not found:
        click.echo(f"no jobs in {submissions.jobs.root}")
        return
    for job_id in found:
        job = submissions.jobs.read(job_id)
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.attempts[-1].at))
        table.add_row(job.id, job.to, submissions.state(job).word, when, ", ".join(submissions.places(job)))
    terminal().print(ByGroups(table))


@click.command()
@click.argument("job_id", metavar="JOB")
def status(job_id: str) -> None:
    """Print the state of JOB and the progress of its study."""
    from kerf.runs.records.collected import holds_records
    from kerf.runs.submit.submissions import Submissions
    from kerf.runs.terminal.console import shell

    if holds_records(Path(job_id)):
        raise KerfError(
            f"{job_id} is a folder of records, expected a job's id: `{shell('kerf', 'show', job_id)}` reads it"
        )
    submissions = Submissions()
    job = submissions.jobs.read(job_id)
    state = submissions.state(job)
    click.echo(f"{job.id}  {job.to}  {state.word}{f' ({state.detail})' if state.detail else ''}")
    for name, value in job.handle.items():
        click.echo(f"  {name:<15}{value}")
    for line in submissions.progress(job):
        click.echo(f"  {line}")


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("-f", "--follow", is_flag=True, help="Follow the output until the job has ended.")
def logs(job_id: str, follow: bool) -> None:
    """Print the output of JOB."""
    from kerf.runs.submit.backend import backend
    from kerf.runs.submit.submissions import Submissions

    job = Submissions().jobs.read(job_id)
    for chunk in backend(job.to).logs(job, follow):
        click.echo(chunk, nl=False)


@click.command()
@click.argument("job_id", metavar="JOB")
def stop(job_id: str) -> None:
    """Stop JOB and all its processes. Its records are kept; kerf resume continues it."""
    from kerf.runs.submit.submissions import Submissions

    before = Submissions().stop(job_id)
    click.echo(f"{job_id} had ended already: {before.word}" if before.ended else f"{job_id} stopped")


@click.command()
@click.argument("job_id", metavar="JOB")
def resume(job_id: str) -> None:
    """Submit JOB again; it continues where it stopped."""
    from kerf.runs.submit.submissions import Submissions

    job = Submissions().resume(job_id)
    click.echo(f"{job.id} submitted to {job.to} again (attempt {len(job.attempts)})")


@click.command()
@click.argument("out", type=StudyFolder())
@click.argument("unit_name", metavar="UNIT")
@click.option("--cpus", type=click.IntRange(min=1), default=1, show_default=True, help="CPUs that the unit may use.")
@click.option("--code", metavar="DIGEST", help="Run only with this digest of Kerf (kerf doctor); default: the study's.")
def unit(out: Path, unit_name: str, cpus: int, code: str | None) -> None:
    """Run one UNIT of the study in OUT: aligned/seed-0, or cells/<arm>/seed-0. For schedulers.

    Several units of a study may run at the same time. SIGUSR1 makes it write a checkpoint and end with exit code 75;
    run it again to continue.
    """
    from kerf.runs.submit.unit import do_unit

    raise SystemExit(do_unit(out, unit_name, cpus, click.echo, code))


COMMANDS = [submit, jobs, status, logs, stop, resume, unit]
