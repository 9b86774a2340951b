"""Slurm backend: an array of the aligned seeds, arrays of the cells that depend on them, and a final job for the
report.

Every task does one unit, in a private Ray on its node's loopback address that is not reachable from other nodes. With
`--nodes` above 1, one job runs the whole study on one Ray over all its nodes. All nodes must see the study's folder.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kerf.lab.errors import KerfError
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.records.gate_records import has_passed
from kerf.runs.records.provenance import digest
from kerf.runs.records.store import ALIGNED, Unit, open_records
from kerf.runs.submit.backend import STOPPED, State, Texts, exit_state
from kerf.runs.submit.job import Job
from kerf.runs.submit.local import EXIT, kerf_words
from kerf.runs.submit.logs import tail_folder
from kerf.runs.submit.render import plain, render
from kerf.runs.submit.work import Work

NOTICE = 120
"""Seconds before its time limit at which a unit is told to stop."""

PATIENCE = 60.0
"""Seconds within which cancelled jobs must end."""

SUBMIT = "submit.sh"
REPORT = "report"


class Slurm:
    """Jobs under Slurm, controlled by its command-line tools."""

    def texts(self, job: Job, work: Work) -> Texts:
        common = {
            "name": job.id,
            "cwd": job.cwd,
            "cpus": job.options.get("cpus", 1),
            "logs": job.next,
            "exit_file": job.next / EXIT,
            "directives": [
                f"--{directive}={plain(f'--{option}', str(job.options[key]))}"
                for directive, option, key in (
                    ("mem", "memory", "memory"),
                    ("time", "time", "time_limit"),
                    ("partition", "partition", "partition"),
                    ("account", "account", "account"),
                )
                if key in job.options
            ],
        }
        kerf = kerf_words(job.options.get("python"))
        command = [*kerf, *work.asked.words()]
        nodes = job.options.get("nodes", 1)
        if nodes > 1:
            script = render(
                "nodes.sbatch.j2", **common, part=REPORT, nodes=nodes, command=command, token=job.next / "token",
                bin=Path(kerf[0]).parent,
            )  # fmt: skip
            return {f"{REPORT}.sbatch": script, SUBMIT: render("submit.sh.j2", folder=job.next, parts=[REPORT])}
        texts = {}
        parts = _parts(work)
        for part, rows in parts.items():
            manifest = job.next / f"{part}.tsv"
            texts[manifest.name] = "".join(f"{folder}\t{unit.name}\n" for folder, unit in rows)
            texts[f"{part}.sbatch"] = render(
                "array.sbatch.j2", **common, part=part, rows=len(rows), manifest=manifest, kerf=kerf, notice=NOTICE,
                stopped=STOPPED, code=digest(),
            )  # fmt: skip
        texts[f"{REPORT}.sbatch"] = render("command.sbatch.j2", **common, part=REPORT, command=command)
        texts[SUBMIT] = render("submit.sh.j2", folder=job.next, parts=[*parts, REPORT])
        return texts

    def send(self, job: Job, work: Work) -> Mapping[str, str]:
        from kerf.runs.study import prepare_study

        _slurm("sinfo", "--version")
        for folder, recipe in work.studies.items():
            prepare_study(recipe, folder)
        output = _slurm("/bin/sh", str(job.next / SUBMIT))
        return dict(line.split() for line in output.splitlines())

    def state(self, job: Job) -> State:
        states = _queue(list(job.handle.values()))
        if running := [state for state in states if state not in ("PENDING", "REQUEUED", "REQUEUE_HOLD")]:
            return State("running", f"{len(running)} running, {len(states) - len(running)} waiting")
        if states:
            return State("waiting", f"{len(states)} waiting")
        exited = job.sent / EXIT
        if exited.is_file() and (code := exited.read_text().strip()):
            return exit_state(int(code))
        return (
            State("stopped")
            if job.was_stopped
            else State("failed", "a part of the job ended before the report: see its logs")
        )

    def logs(self, job: Job, follow: bool) -> Iterator[str]:
        return tail_folder(job.sent, lambda: self.state(job).ended, follow)

    def stop(self, job: Job) -> None:
        jobs = list(job.handle.values())
        _slurm("scancel", *jobs)
        deadline = time.monotonic() + PATIENCE
        while _queue(jobs):
            if time.monotonic() > deadline:
                raise KerfError(f"{job.id} is still in the queue {PATIENCE:g} s after it was cancelled")
            time.sleep(0.5)


def _parts(work: Work) -> dict[str, list[tuple[Path, Unit]]]:
    """The unfinished units, in arrays that depend only on the arrays before them."""
    parts: dict[int, list[tuple[Path, Unit]]] = {}  # by stage
    for folder, recipe in work.studies.items():
        store = open_records(folder)
        arms = recipe.resolve()
        for seed in recipe.seed_numbers:
            aligned = Unit(ALIGNED, seed)
            if not store.finished(aligned):
                parts.setdefault(0, []).append((folder, aligned))
            elif not has_passed(store, seed):
                continue
            for arm in recipe.arms:
                if not store.finished(Unit(arm, seed)):
                    parts.setdefault(_stage(arms, arm), []).append((folder, Unit(arm, seed)))
    return {f"cells-{stage}" if stage else ALIGNED: parts[stage] for stage in sorted(parts)}


def _stage(arms: Mapping[str, ResolvedArm], arm: str) -> int:
    """Number of the array of cells that an arm belongs to: 1, or the one after those of the arms that it needs."""
    earlier = (arms[arm].yoked_to, arms[arm].after)
    return 1 + max((_stage(arms, name) for name in earlier if name is not None), default=0)


def _queue(jobs: Sequence[str]) -> list[str]:
    """States of those of the jobs, including the tasks of job arrays, that are still in Slurm's queue."""
    try:
        output = _slurm("squeue", "--noheader", "--array", "--format=%T", f"--jobs={','.join(jobs)}")
    except KerfError as error:
        if "Invalid job id" in str(error):  # all of them have ended and are no longer known
            return []
        raise
    return output.split()


def _slurm(*words: str) -> str:
    """Output of one of Slurm's commands. Raises `KerfError` if Slurm is not installed here, or the command fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise KerfError(
            f"there is no Slurm here ({words[0]} is not found): submit from a machine that has it"
        ) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise KerfError(f"Slurm refuses ({Path(words[0]).name}): {lines[0]}")
    return done.stdout
