"""MLflow mirror of a study's records. The records on disk are authoritative; MLflow may be down or be filled later.

A recipe is an MLflow experiment. A study is a run in it, with a child run for each unit of work (`aligned/seed-0`,
`penalised/seed-0`) and one for the effects of each arm (`penalised/summary`). `kerf.runs.tracking.metrics` defines
their parameters and metrics; attacks on an agent add metrics to its run (`kerf.runs.tracking.attacks`). Everything is
read from the records, so a mirror written during the run equals one written afterwards.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kerf.lab.errors import KerfError
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.tracking.attacks import attack_folders, attack_numbers
from kerf.runs.tracking.commands import sync_command
from kerf.runs.tracking.experiments import experiment, explained
from kerf.runs.tracking.metrics import Number, parameters, summary_numbers, unit_numbers

ATTACKS = "attacks"
"""Name of the experiment for attacks on policies that belong to no study."""

ATTACHED = ("study.json", "recipe.yaml", "effects.parquet", "matched.parquet", "primaries.json", "table.txt")
"""Records attached to the study's run as artifacts when they exist. `table.txt` is written last."""

_BATCH = 1000  # maximum number of metrics in a request to MLflow
_SHORT = 8  # digits of a digest, enough to distinguish the attacks on an agent
_LONGEST_TAG = 5000  # maximum number of characters of a tag in MLflow
_ATTACKS = "kerf.attacks"  # name, or start of the names, of the tags with the digests of a run's attacks
_DIGEST = 36  # maximum number of characters of a dataset's digest in MLflow

# One quick retry instead of minutes of retries: an unreachable MLflow is given up at once and filled later. Silent.


def sync(root: str | Path, uri: str, running: bool = False) -> int:
    """Bring MLflow up to date with the records in `root`. Idempotent: a second call writes nothing.

    Incomplete runs, left by a process that was killed, are replaced. The study's run is `FINISHED` if `table.txt`
    exists, else `RUNNING` if `running`, else `KILLED`.

    Args:
        root: The folder of a study.
        uri: An MLflow tracking URI.
        running: Whether the study is still being run.

    Returns:
        The number of runs written.

    Raises:
        KerfError: if `root` holds no study, its records are damaged, or MLflow cannot be written.
    """
    store = Store(root)
    manifest = store.manifest()
    with (
        disk.file_lock(store.path / ".mirror.lock", f"mirroring {store.path}", patience=60.0),
        explained(store.path, uri),
    ):
        writer = _Writer(store, manifest, uri)
        written = writer.write_study(running)
        for unit in store.units():
            written += writer.write_unit(unit)
        return written + writer.write_summaries()


def sync_policy(root: Path, policy: Mapping[str, str], folders: Sequence[Path], uri: str) -> None:
    """Write the attacks in `folders` on a policy that belongs to no study to a run of the experiment `attacks`.

    An existing run of the policy is completed.

    Args:
        root: Folder of the records.
        policy: Parameters of the run; `sha256` identifies the policy.
        folders: Folders of the attacks.
        uri: An MLflow tracking URI.

    Raises:
        KerfError: if MLflow cannot be written.
    """
    with explained(root, uri):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        ours = experiment(client, ATTACKS, uri)
        found = client.search_runs([ours], f"params.sha256 = '{policy['sha256']}'")
        if found:
            run = found[0].info.run_id
        else:
            tags = {"mlflow.runName": f"{policy['policy']}-{policy['sha256'][:8]}"}
            run = client.create_run(ours, tags=tags).info.run_id
            for name, value in policy.items():
                client.log_param(run, name, value)
        _log_attacks(client, run, folders)
        client.set_terminated(run, "FINISHED")


class Mirror:
    """Updates MLflow during a run, in a thread of its own that cannot stop the run or delay its end.

    At the first failure it calls `warn` and stops; `sync` adds what is missing later. Start it after the heavy imports:
    its thread imports mlflow and creates the database, if needed, while the first seed is being aligned.

    Args:
        root: The folder of the study.
        uri: An MLflow tracking URI.
        warn: Callback for a warning, a sentence; called at most once, from the thread or from `close`.
    """

    def __init__(self, root: str | Path, uri: str, warn: Callable[[str], None]) -> None:
        self._root, self._uri, self._warn = Path(root), uri, warn
        self._news = threading.Event()  # one flag is enough: a sync writes everything that is new
        self._news.set()
        self._closing = threading.Event()
        self._once = threading.Lock()
        self._complete = False
        self._thread = threading.Thread(target=self._run, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def unit_finished(self) -> None:
        """Report new records. Returns at once."""
        self._news.set()

    def close(self, timeout: float = 30.0) -> bool:
        """Wait at most `timeout` seconds for the last update; return whether MLflow has all records now."""
        self._closing.set()
        self._news.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            command = sync_command(self._root, self._uri)
            self._warn_once(f"MLflow is not up to date after {timeout:g} s; `{command}` completes it")
        return self._complete

    def _run(self) -> None:
        try:
            while not self._complete:
                self._news.wait()
                self._news.clear()
                closing = self._closing.is_set()
                sync(self._root, self._uri, running=not closing)
                self._complete = closing
        except KerfError as error:
            self._warn_once(str(error))
        except Exception as error:  # no error of a tracking library may stop the run; it is reported
            self._warn_once(f"MLflow is no longer updated ({type(error).__name__}: {error})")

    def _warn_once(self, sentence: str) -> None:
        if self._once.acquire(blocking=False):
            self._warn(sentence)


class _Writer:
    """Writes the runs of a study to MLflow. A run is complete if it has the tag `kerf.digest`, which is set last."""

    def __init__(self, store: Store, manifest: Mapping[str, Any], uri: str) -> None:
        from mlflow import MlflowClient

        self.store, self.manifest = store, manifest
        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = experiment(self.client, manifest["name"], uri)
        self.study = hashlib.sha256((store.path / "study.json").read_bytes()).hexdigest()[:16]
        self.spans = {e["unit"]: (e["started"], e["started"] + e["seconds"]) for e in store.timing() if "unit" in e}
        self.parent = ""
        self.runs: dict[str, list[Any]] = {}
        token = None
        while token != "":
            page = self.client.search_runs([self.experiment], f"tags.`kerf.study` = '{self.study}'", page_token=token)
            token = page.token or ""
            for run in page:
                self.runs.setdefault(run.data.tags["kerf.unit"], []).append(run)

    def write_study(self, running: bool) -> int:
        """Create or complete the study's run, the parent of all others; return 1 if anything was written, else 0."""
        paths = [path for path in (self.store.path / name for name in ATTACHED) if path.exists()]
        digest = _hash([(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths])
        finished = paths[-1].name == ATTACHED[-1]
        status = "FINISHED" if finished else "RUNNING" if running else "KILLED"
        found = self.runs.get("study", [])
        if found:
            self.parent = found[0].info.run_id
            if found[0].data.tags.get("kerf.digest") == digest and found[0].info.status == status:
                return 0
        else:
            name = f"{self.manifest['name']}@{self.manifest['recipe_hash'][:8]}"
            begun = (self.store.path / "study.json").stat().st_mtime
            self.parent = self._begin("study", name, _milliseconds(begun), {})
        self._fill(self.parent, parameters(self.manifest, "study"), [], 0)
        for path in paths:
            self.client.log_artifact(self.parent, str(path))
        if status == "RUNNING":
            self.client.update_run(self.parent, status)
        else:
            self.client.set_terminated(self.parent, status, _milliseconds(paths[-1].stat().st_mtime))
        self.client.set_tag(self.parent, "kerf.digest", digest)
        return 1

    def write_unit(self, unit: Unit) -> int:
        """Write the run of a finished unit; return 1 if anything was written, else 0."""
        digest, attacks = self.store.digest(unit), attack_folders(self.store.path, unit.name)
        standing = self._standing(unit.name, digest)
        if standing is not None:
            return self._write_attacks(standing.info.run_id, attacks, standing.data.tags)
        self.store.finished(unit, verify=True)
        done = (self.store.path / unit.name / "done.json").stat().st_mtime
        params = parameters(self.manifest, "align" if unit.arm == ALIGNED else "arm", unit.arm, unit.seed)
        numbers = unit_numbers(self.store.path / unit.name)
        span = self.spans.get(unit.name, (done, done))
        run = self._write(unit.name, unit.name.removeprefix("cells/"), digest, params, numbers, span)
        self._write_attacks(run, attacks, {})
        return 1

    def write_summaries(self) -> int:
        """Write a run for each arm in the table of effects; return the number of runs written."""
        path = self.store.path / "effects.parquet"
        written = 0
        for arm, numbers in sorted(summary_numbers(path).items()) if path.exists() else ():
            digest = _hash([arm, numbers])
            if self._standing(f"summary/{arm}", digest) is None:
                done = path.stat().st_mtime
                params = parameters(self.manifest, "summary", arm)
                self._write(f"summary/{arm}", f"{arm}/summary", digest, params, numbers, (done, done))
                written += 1
        return written

    def _write_attacks(self, run: str, folders: Sequence[Path], tags: Mapping[str, str]) -> int:
        """Add the metrics of attacks on a unit to its `run`, which has `tags`; return 1 if it was changed, else 0."""
        digests = {
            hashlib.sha256((folder / "done.json").read_bytes()).hexdigest()[:_SHORT]: folder for folder in folders
        }
        there = {digest for tag, value in tags.items() if tag.startswith(_ATTACKS) for digest in value.split()}
        if set(digests) <= there:
            return 0
        _log_attacks(self.client, run, [folder for digest, folder in digests.items() if digest not in there])
        mirrored = sorted(there | set(digests))
        whole = _LONGEST_TAG // (_SHORT + 1)
        for i, first in enumerate(range(0, len(mirrored), whole)):
            self.client.set_tag(run, f"{_ATTACKS}.{i}" if i else _ATTACKS, " ".join(mirrored[first : first + whole]))
        return 1

    def _standing(self, unit: str, digest: str) -> Any | None:
        """Return the complete run of a unit, if any; deletes runs that are incomplete or of other records."""
        stands = None
        for run in self.runs.get(unit, []):
            tags = run.data.tags
            if stands is None and tags.get("kerf.digest") == digest and tags.get("mlflow.parentRunId") == self.parent:
                stands = run
            else:
                self.client.delete_run(run.info.run_id)
        return stands

    def _write(
        self,
        unit: str,
        name: str,
        digest: str,
        params: Mapping[str, str],
        numbers: list[Number],
        span: tuple[float, float],
    ) -> str:
        start, end = map(_milliseconds, span)
        run = self._begin(unit, name, start, {"mlflow.parentRunId": self.parent})
        self._fill(run, params, numbers, end)
        self.client.set_terminated(run, "FINISHED", end)
        self.client.set_tag(run, "kerf.digest", digest)
        return run

    def _begin(self, unit: str, name: str, start: int, tags: Mapping[str, str]) -> str:
        tags = {"kerf.study": self.study, "kerf.unit": unit, **tags}
        run_id: str = self.client.create_run(self.experiment, start, tags, name).info.run_id
        return run_id

    def _fill(self, run: str, params: Mapping[str, str], numbers: list[Number], timestamp: int) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        self.client.log_batch(run, params=[Param(key, value) for key, value in params.items()])
        metrics = [Metric(n.name, n.value, timestamp, n.step) for n in numbers]
        for start in range(0, len(metrics), _BATCH):
            self.client.log_batch(run, metrics=metrics[start : start + _BATCH])
        source = json.dumps({"uri": str((self.store.path / "battery.parquet").absolute())})
        battery = Dataset("battery", self.manifest["battery_hash"][:_DIGEST], "local", source)
        self.client.log_inputs(run, [DatasetInput(battery, [InputTag("mlflow.data.context", "evaluation")])])


def _log_attacks(client: Any, run: str, folders: Sequence[Path]) -> None:
    """Log the metrics of attacks, and their telling scenarios and pictures as artifacts.

    The timestamp is that of the record, so that a metric that is logged twice is a single point.
    """
    from mlflow.entities import Metric

    metrics = [
        Metric(n.name, n.value, _milliseconds((folder / "done.json").stat().st_mtime), n.step)
        for folder in folders
        for n in attack_numbers(folder)
    ]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run, metrics=metrics[start : start + _BATCH])
    for folder in folders:
        place = f"attacks/{folder.parent.name}/{folder.name}"
        for path in sorted(folder.glob("telling*")):
            client.log_artifact(run, str(path), place)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
