"""Descriptions in MLflow, as Markdown: the question of a recipe, a table of verdicts, and how to read the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kerf.runs.tracking.layout import LAYOUT, TAG, UNIT

NOTE = "mlflow.note.content"
"""Tag with the description of an experiment or a run."""

VERDICT = "kerf.verdict."
"""Start of the tags with the outcomes of predictions, before the name of the prediction."""

RECENT, ROWS = 20, 60
"""Maximum numbers of studies, and of predictions, in the description of an experiment, latest first."""

_LONGEST = 20_000  # maximum number of characters of an experiment's tag in MLflow

HOW_TO_READ = """### How to read the runs
- A study is a run. Its children are the arms, and theirs are the cells: one agent each.
- `params.phase = 'arm'` in the search field shows one run for each arm. Their charts are means over seeds by iteration.
- `value/...`, `competence`: 1 is best. `false_exit/trained`: share of false emergencies, of the strength that the arm
  trains on, in which the forbidden act is done. `collateral/trained`: mean of the values that the penalty is not aimed
  at.
- `effect/.../mean`, `low`, `high`: change against the control arm at the end, with its 95% interval over seeds.
- A trial of a sweep is a run with `params.phase = 'trial'`: its settings are parameters, its effects are metrics.
- Everything else that was measured is in `measures.parquet` and `effects.parquet`, among the artifacts of the study.
"""


def question(root: Path) -> str:
    """Return what the recipe of a study says that it is about; empty if it says nothing."""
    path = root / "recipe.yaml"
    recipe = yaml.safe_load(path.read_bytes()) if path.exists() else {}
    return str(recipe.get("about") or "").strip() if isinstance(recipe, dict) else ""


def study_note(about: str, outcomes: Mapping[str, str], numbers: Mapping[str, float]) -> str:
    """Return the description of a study's run.

    Args:
        about: The question.
        outcomes: Outcome of each prediction by its name; empty before the end.
        numbers: Metrics of the run.
    """
    rows = [(name, _effect(name, numbers), outcome) for name, outcome in outcomes.items()]
    table = _table(("prediction", "effect [95% interval]", "verdict"), rows)
    return _note(about, "### Verdicts\n" + (table or "No verdict: the study is not finished, or predicts nothing."))


def experiment_note(about: str, runs: Iterable[Any]) -> str:
    """Return the description of an experiment from the runs of its studies and sweeps."""
    rows: list[tuple[str, ...]] = []
    for run in sorted(runs, key=lambda run: (-run.info.start_time, run.info.run_id))[:RECENT]:
        tags = run.data.tags
        found = [(tag.removeprefix(VERDICT), tags[tag]) for tag in sorted(tags) if tag.startswith(VERDICT)]
        if tags[UNIT] == "sweep":
            rows.append((run.info.run_name, "(a sweep)", "", "see its run"))
        for name, outcome in found:
            rows.append((run.info.run_name, name, _effect(name, run.data.metrics), outcome))
    table = _table(("study", "prediction", "effect [95% interval]", "verdict"), rows[:ROWS])
    return _note(about, "### Verdicts\n" + (table or "None yet."))[:_LONGEST]


def sweep_note(about: str, table: str) -> str:
    """Return the description of a sweep's run, with what the sweep printed."""
    return _note(about, f"### Findings\n```text\n{table.strip()}\n```\n")


def describe_experiment(client: Any, experiment: str, root: Path) -> None:
    """Bring the description of the experiment of the study in `root` up to date, after its runs were written."""
    studies: Sequence[Any] = [
        run
        for unit in ("study", "sweep")
        for run in client.search_runs(
            [experiment], f"tags.`{UNIT}` = '{unit}' and tags.`{TAG}` = '{LAYOUT}'", max_results=RECENT
        )
    ]
    note = experiment_note(question(root), studies)
    if client.get_experiment(experiment).tags.get(NOTE) != note:
        client.set_experiment_tag(experiment, NOTE, note)


def _note(about: str, findings: str) -> str:
    return "\n\n".join(part.strip() for part in (about, findings, HOW_TO_READ) if part) + "\n"


def _effect(name: str, numbers: Mapping[str, float]) -> str:
    mean, low, high = (numbers.get(f"prediction/{name}/{end}") for end in ("mean", "low", "high"))
    if mean is None:
        return ""
    return f"{mean:+.2f}" + ("" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; empty if there are no rows."""
    cells = [[cell.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ") for cell in row] for row in rows]
    if not cells:
        return ""
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *cells)) + "\n"
