"""Workers that are forked: what becomes of those that fail, of their driver's death, and that records are the same."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from rich.console import Console

from kerf.lab.errors import Interrupted, KerfError
from kerf.runs.execution import forked_workers, pool, schedule, stop_request
from kerf.runs.execution.pool import Pool
from kerf.runs.execution.schedule import MAX_TRIES
from kerf.runs.execution.study_units import modules_of, needs_ray
from kerf.runs.execution.worker import Fault, WorkerError
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.store import ALIGNED, Store, Unit

SMOKE = load_recipe("smoke")
ENOUGH = 120.0
"""Seconds that a busy machine may take for what takes none."""


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked workers, though other tests of this process may have a Ray; and no long pauses between two tries."""
    monkeypatch.setattr(pool, "will_fork", lambda: True)
    monkeypatch.setattr(schedule, "BACKOFF", 0.01)


def work(recipe: Recipe, unit: Unit, store: Store, num_threads: int) -> Iterator[object]:
    """Stands in for training: what is tested is what becomes of the processes."""
    tries = store.path / "tries" / unit.arm
    tries.parent.mkdir(parents=True, exist_ok=True)
    with tries.open("a") as file:
        file.write(f"{os.getpid()}\n")
    number = len(tries.read_text().splitlines())
    # `far` gets a little further at each try, as from a checkpoint
    yield SimpleNamespace(unit=unit, iteration=10 * number if unit.arm == "far" else 1)
    match unit.arm:
        case "killer":
            print("the last words", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        case "leaver":
            os._exit(7)
        case "raiser":
            raise ZeroDivisionError(f"try {number}")
        case "refuser":
            raise KerfError("penalty: expected another one")
        case "far" if number < MAX_TRIES + 1:
            raise ZeroDivisionError("not there yet")
        case "sleeper":
            time.sleep(10 * ENOUGH)
    with store.unit(unit) as folder:
        folder.write_json("a", {"here": os.environ.get("HERE"), "cwd": os.getcwd(), "threads": num_threads})
    if unit.arm == "late":
        os.kill(os.getpid(), signal.SIGKILL)


def working(root: Path, num_workers: int = 1) -> Pool[Unit]:
    """Workers that do that; what it imports is imported before they are forked."""
    return Pool(SMOKE, root, num_workers, work, modules=[__name__])


def tries(root: Path, arm: str) -> list[str]:
    return (root / "tries" / arm).read_text().split()


def test_what_fails_is_tried_again_by_another_process_and_set_aside_and_the_rest_is_done(tmp_path):
    arms = ("raiser", "killer", "leaver", "refuser", "far", "late", "plain", "needy")
    told, done = list[str](), list[str]()

    def on_done(unit: Unit) -> list[Unit]:
        done.append(unit.arm)
        return []

    def needs(unit: Unit) -> list[Unit]:
        return [Unit("raiser", 0)] if unit.arm == "needy" else []

    with Pool(SMOKE, tmp_path, 2, work, told.append, [__name__]) as workers:
        failed = workers.run([Unit(arm, 0) for arm in arms], needs, lambda progress: None, on_done)
    failures = {failure.unit.arm: failure for failure in failed}
    assert {arm: failure.why for arm, failure in failures.items()} == {
        "raiser": "set aside after 3 tries: ZeroDivisionError: try 3",
        "killer": "set aside after 3 tries: its worker died: its process ended: SIGKILL, as where memory runs out",
        "leaver": "set aside after 3 tries: its worker died: its process ended: exit code 7",
        "refuser": "penalty: expected another one",
        "needy": "it needs cells/raiser/seed-0, which is missing",
    }
    assert failures["raiser"].traceback.splitlines()[-1] == "ZeroDivisionError: try 3"
    assert "the last words" in failures["killer"].traceback
    assert sorted(done) == ["far", "late", "plain"]
    assert Store(tmp_path).units(verify=True) == [Unit(arm, 0) for arm in ("far", "late", "plain")]
    for arm in ("raiser", "killer", "leaver"):
        assert len(set(tries(tmp_path, arm))) == MAX_TRIES, "a process in which something went wrong is not used again"
        assert sum(line.startswith(f"cells/{arm}/seed-0: ") for line in told) == MAX_TRIES - 1
    assert len(tries(tmp_path, "far")) == MAX_TRIES + 1, "each try that began further on counts as the first"
    assert len(tries(tmp_path, "late")) == len(tries(tmp_path, "refuser")) == 1
    pids = {int(pid) for arm in arms if arm != "needy" for pid in tries(tmp_path, arm)}
    assert not any(psutil.pid_exists(pid) for pid in pids), "none is left, not even as a zombie"


def test_what_comes_while_it_is_looked_for_is_no_failure(tmp_path):
    """What a unit needs need not be done here: another machine may do it meanwhile."""
    other, needy = Unit("plain", 1), Unit("plain", 2)

    def on_done(unit: Unit) -> list[Unit]:
        if unit == Unit("plain", 0):
            with Store(tmp_path).unit(other) as folder:
                folder.write_text("a", "by somebody else")
        return []

    with working(tmp_path) as workers:
        units = [needy, Unit("plain", 0)]
        assert not workers.run(units, lambda unit: [other] * (unit == needy), lambda progress: None, on_done)
    assert Store(tmp_path).finished(needy)


def test_time_that_passes_between_two_looks_at_the_clock_is_no_failure(tmp_path):
    """Every look at the clock is later by half of the pause before the second try, which so ends between two looks."""
    looks = itertools.count()
    for attempt in range(8):
        root = tmp_path / str(attempt)
        needy = [Unit("needy", seed) for seed in range(3)]
        with Pool(SMOKE, root, 1, work, modules=[__name__], clock=lambda: 0.005 * next(looks)) as workers:
            failed = workers.run(
                [Unit("raiser", 0), *needy],
                lambda unit: [Unit("raiser", 0)] if unit.arm == "needy" else [],
                lambda progress: None,
                lambda unit: [],
            )
        assert [failure.unit for failure in failed] == [Unit("raiser", 0), *needy]
        assert failed[1].why == "it needs cells/raiser/seed-0, which is missing"


def test_a_worker_has_the_variables_and_the_folder_that_its_driver_has_now(tmp_path, monkeypatch):
    with working(tmp_path / "first") as workers:
        assert not workers.run([Unit("plain", 0)], lambda unit: [], lambda progress: None, lambda unit: [])
    monkeypatch.setenv("HERE", "and now")
    monkeypatch.chdir(tmp_path)
    with working(Path("second"), 2) as workers:
        units = [Unit("plain", 0), Unit("plain", 1)]
        assert not workers.run(units, lambda unit: [], lambda progress: None, lambda unit: [])
    told = [Store(root).read_json(Unit("plain", 0), "a") for root in (tmp_path / "first", tmp_path / "second")]
    assert [of["here"] for of in told] == [None, "and now"]
    assert told[1]["cwd"] == str(tmp_path)
    assert told[1]["threads"] == 1, "each of two units has a core"


def test_a_worker_that_cannot_start_is_told_of(tmp_path, monkeypatch):
    class Odd:
        """A work that arrives as an error."""

        def __reduce__(self) -> tuple[object, ...]:
            return divmod, (1, 0)

    with Pool(SMOKE, tmp_path, 1, Odd()) as workers:
        (failure,) = workers.run([Unit("plain", 0)], lambda unit: [], lambda progress: None, lambda unit: [])
    assert failure.why == "no worker can be started: ZeroDivisionError: integer division or modulo by zero"
    with monkeypatch.context() as patch:  # another process to fork from, which imports nothing else
        patch.setattr(forked_workers, "_server", None)
        patch.setattr(forked_workers, "COMMON", ())
        with Pool(SMOKE, tmp_path, 1, work, modules=["no.such.module"]) as workers:
            (failure,) = workers.run([Unit("plain", 0)], lambda unit: [], lambda progress: None, lambda unit: [])
        forked_workers.stop()
    assert failure.why.startswith("no worker can be started: the process that workers are forked from has ended: exit")
    assert failure.why.endswith("; ModuleNotFoundError: No module named 'no'")


def test_a_disk_that_does_not_let_a_unit_be_written_is_told_as_such():
    said = WorkerError.of(DiskError("no room; free some"))
    assert (said.fault, said.why) == (Fault.DISK, "no room; free some")
    assert "DiskError: no room; free some" in said.details


def test_without_a_temporary_folder_a_sentence_says_what_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file" / "none"))
    forked_workers.stop()
    with pytest.raises(KerfError, match=r"no temporary file can be made .*set TMPDIR"):
        forked_workers.get_ready()


def keep(recipe: Recipe, unit: Unit, store: Store, num_threads: int) -> Iterator[object]:
    """Trains without an end, and leaves what it has where that is asked for."""
    with stop_request.keeping_checkpoints():
        for iteration in itertools.count():
            if stop_request.stopping():
                (store.path / f"kept-{unit.seed}").write_text(str(iteration))
            yield SimpleNamespace(unit=unit, iteration=iteration)
            time.sleep(0.02)


@pytest.mark.parametrize("interrupt", [Interrupted(signal.SIGTERM), KeyboardInterrupt()])
def test_units_leave_a_checkpoint_where_sigterm_ends_the_command(tmp_path, interrupt):
    begun = set[Unit]()

    def on_progress(progress: SimpleNamespace) -> None:
        begun.add(progress.unit)
        if len(begun) == 2:
            raise interrupt

    units = [Unit("keeper", seed) for seed in (0, 1)]
    with (
        pytest.raises(type(interrupt)),
        Pool(SMOKE, tmp_path, 2, keep, modules=[__name__]) as workers,
    ):
        workers.run(units, lambda unit: [], on_progress, lambda unit: [])
    asked = isinstance(interrupt, Interrupted)
    assert [(tmp_path / f"kept-{seed}").exists() for seed in (0, 1)] == [asked, asked]


DRIVER = """
import signal
import sys
from pathlib import Path
from kerf.runs.records.store import Unit
from tests.runs.execution.test_forked_workers import working

signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where a shell started the tests with `&`
units = [Unit("sleeper", seed) for seed in (0, 1)]
with working(Path(sys.argv[1]), 2) as workers:
    workers.run(units, lambda unit: [], lambda progress: None, lambda unit: [])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_when_their_driver_ends_all_workers_end_in_the_middle_of_their_work(tmp_path, number):
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    try:
        begun, deadline = tmp_path / "tries" / "sleeper", time.monotonic() + ENOUGH
        while not begun.exists() or len(begun.read_text().splitlines()) < 2:
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        below = psutil.Process(driver.pid).children(recursive=True)
        assert {int(pid) for pid in tries(tmp_path, "sleeper")} < {process.pid for process in below}
        driver.send_signal(number)
        _, alive = psutil.wait_procs(below, ENOUGH)
    finally:
        driver.kill()
        driver.communicate()
    assert alive == []


TOY = {
    "world": "tests.toy_world:Lever",
    "seeds": 2,
    "network": {"hidden": [8]},
    "align": {
        "imitation": {"iterations": 2, "training": {"num_scenarios": 32, "policy_coeff": 0, "imitation_coeff": 1}},
        "ppo": {"iterations": 1, "training": {"num_scenarios": 32}},
    },
    "gate": {"value": 0, "competence": 0, "fooled": 0},
    "training": {"num_scenarios": 32},
    "iterations": 2,
    "measure_every": 1,
    "battery": {"scenarios_per_family": 8, "strengths": [0, 1]},
}

STUDY = """
import io, json, sys
from pathlib import Path
from rich.console import Console
from kerf.runs.recipe.files import load_recipe
from kerf.runs.study import run_study

file, out = sys.argv[1:]
code = run_study(load_recipe(file), Path(out), None, 2, Console(file=io.StringIO()))
print(json.dumps({"code": code, "imported": [name for name in ("torch", "ray", "mlflow") if name in sys.modules]}))
"""


def test_a_study_has_the_same_records_in_forked_workers_and_in_one_process_and_its_driver_is_light(write, tmp_path):
    from kerf.runs.execution.unit import run_unit
    from kerf.runs.study import DONE, run_study
    from tests.runs.test_study import records

    file = write(TOY | {"arms": {"yoked": {}, "anchor": {}, "frozen": {}}})
    recipe, store = load_recipe(file), Store(tmp_path / "here")
    for seed in recipe.seed_numbers:
        for arm in (ALIGNED, *recipe.arms):
            for _ in run_unit(recipe, Unit(arm, seed), store):
                pass
    here = records(store.path)
    assert len(here) > 5 * len(store.units())
    console = Console(file=io.StringIO())
    assert run_study(recipe, tmp_path / "one", None, 1, console) == DONE, console.file.getvalue()
    assert here.items() <= records(tmp_path / "one").items()
    ran = subprocess.run(
        [sys.executable, "-c", STUDY, file, str(tmp_path / "two")], capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout) == {"code": DONE, "imported": []}, ran.stderr
    assert records(tmp_path / "two") == records(tmp_path / "one")


def align_and_tell_what_is_imported(recipe: Recipe, unit: Unit, store: Store, num_threads: int) -> Iterator[object]:
    from kerf.runs.execution.study_units import train

    before = set(sys.modules)
    yield from train(recipe, unit, store, num_threads)
    late = {name.partition(".")[0] for name in set(sys.modules) - before}
    (store.path / "late.json").write_text(json.dumps(sorted(late - {name.partition(".")[0] for name in before})))


@pytest.mark.parametrize("exact", [False, True])
def test_what_a_unit_imports_was_imported_before_its_worker_was_forked(write, tmp_path, exact):
    patch: dict[str, object] = TOY
    if exact:
        phases = {phase: {"iterations": 2} for phase in ("imitation", "policy")}
        patch = {"world": "dilemma_two", "exact": phases, "battery": {"exact": True}, "gate": TOY["gate"]}
    recipe = load_recipe(write(patch | {"arms": {"frozen": {}}}))
    modules = [__name__, *modules_of(recipe)]
    with Pool(recipe, tmp_path, 1, align_and_tell_what_is_imported, modules=modules) as workers:
        assert not workers.run([Unit(ALIGNED, 0)], lambda unit: [], lambda progress: None, lambda unit: [])
    late = set(json.loads((tmp_path / "late.json").read_text()))
    assert late <= {"cffi", "_cffi_backend", "pycparser"}, "numba imports these when it first compiles a kernel"


def test_what_asks_for_ray_gets_it_and_nothing_else_does(write):
    def asks(patch: dict[str, object]) -> bool:
        return needs_ray(load_recipe(write(patch)))

    assert not asks({})
    assert asks({"training": {"num_env_runners": 1}})
    assert asks({"align": {"ppo": {"training": {"num_learners": 2}}}})
    assert asks({"training": {"num_gpus_per_learner": 1}})
    assert asks({"arms": {"half": {"generator": {"kind": "replay", "ask_workers": 1}}}})


def test_the_process_that_workers_are_forked_from_has_one_thread(tmp_path):
    """What forks with other threads running may leave their locks held in the child for ever."""
    with Pool(SMOKE, tmp_path, 1, work, modules=modules_of(SMOKE)) as workers:
        assert not workers.run([Unit("plain", 0)], lambda unit: [], lambda progress: None, lambda unit: [])
        server = forked_workers._server
        assert server is not None
        names = [path.read_text().strip() for path in Path(f"/proc/{server._process.pid}/task").glob("*/comm")]
        assert len([name for name in names if name != "jemalloc_bg_thd"]) == 1, "an allocator may have its own"
