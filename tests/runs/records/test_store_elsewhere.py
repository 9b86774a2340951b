"""A store whose study is kept at an address, too, fetches and sends by itself, with as few calls as that takes."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from kerf.lab.errors import KerfError
from kerf.runs.records.folder import publish_whole
from kerf.runs.records.store import ALIGNED, Store, Unit, open_records, open_study
from tests.runs.records.test_store import CELL, MANIFEST, write_cell

AGENT = Unit(ALIGNED, 0)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Where the study is kept, too."""
    return tmp_path / "there"


def machine(there: Path, name: str) -> Path:
    """The study's folder on a machine of that name."""
    return Store.kept_at(there.with_name(name), f"file://{there}").path


@pytest.fixture
def calls() -> Iterator[Counter[str]]:
    """How often each kind of call reached the place; calls within calls are not counted."""
    counted, within = Counter[str](), list[str]()

    def counting(name: str) -> None:
        inner = getattr(LocalFileSystem, name)

        def call(*args: object, **kwargs: object) -> object:
            counted[name] += not within
            within.append(name)
            try:
                return inner(*args, **kwargs)
            finally:
                within.pop()

        patch.setattr(LocalFileSystem, name, call)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("find", "cat_file", "pipe_file", "exists", "info", "ls", "rm", "rm_file"):
            counting(name)
        yield counted


def test_what_one_machine_writes_another_one_reads(there):
    first = machine(there, "first")
    with open_study(first, MANIFEST) as store, store.session({"study": "toy"}):
        assert (there / "study.json").exists(), "that it can be sent is known before anything expensive"
        store.write_text("table.txt", "a table\n")
        assert (there / "table.txt").read_text() == "a table\n"
        write_cell(store, AGENT)
        assert (there / AGENT.name / "done.json").exists()
        store.write_json("arms/penalised-1", {"penalty": 1})
        (first / "trials.journal").write_text("of another's making")
        store.wrote("trials.journal")
        store.wrote("none.journal")
        assert (there / "trials.journal").exists()
        assert not (there / "timing.jsonl").exists()
    assert (there / "timing.jsonl").read_bytes() == (first / "timing.jsonl").read_bytes()
    assert Store(first).timing()[-1].keys() == {"study", "started", "seconds"}

    records = open_records(machine(there, "second"), units=False)
    assert (records.manifest(), records.units()) == (MANIFEST, [])
    records.fetch([AGENT, CELL])
    assert records.units(verify=True) == [AGENT]
    whole = open_records(machine(there, "third"))
    assert whole.units(verify=True) == [AGENT]
    assert whole.digest(AGENT) == Store(first).digest(AGENT)
    fresh = Store(machine(there, "fourth"))
    assert fresh.read_bytes("arms/penalised-1.json") == (first / "arms" / "penalised-1.json").read_bytes()


def test_a_study_that_is_opened_on_another_machine_goes_on_there(there):
    with open_study(machine(there, "first"), MANIFEST) as store:
        write_cell(store, AGENT)
    with open_study(machine(there, "second"), MANIFEST) as store:
        assert store.units(verify=True) == [AGENT]
        write_cell(store, CELL)
    assert open_records(machine(there, "first")).units(verify=True) == [AGENT, CELL]


def test_what_its_process_could_not_send_is_sent_by_the_next(there):
    here = machine(there, "here")
    opened(here)
    for unit, again in ((AGENT, lambda: Store(here).delivered(AGENT)), (CELL, lambda: opened(here))):
        with publish_whole(here / unit.name, unit.name) as folder:
            folder.write_text("a.txt", "")
        assert not (there / unit.name).exists()
        again()
        assert (there / unit.name / "done.json").exists()
    assert not Store(here).delivered(Unit("continued", 0))


def opened(root: Path) -> None:
    with open_study(root, MANIFEST):
        pass


def test_nothing_is_written_over_another_study(there):
    opened(machine(there, "first"))
    before = (there / "study.json").read_bytes()
    other = machine(there, "second")
    (other / "study.json").write_bytes(before.replace(b'"recipe_hash": "a', b'"recipe_hash": "c'))
    with pytest.raises(KerfError, match=r"mirrors file://.*, which holds another study.*give --out another address"):
        Store(other).write_text("table.txt", "of another study")
    with pytest.raises(KerfError, match=r"mirrors file://.*, which holds another study.*remove it"):
        open_records(other)
    with (
        pytest.raises(KerfError, match="holds another study: battery_hash is"),
        open_study(machine(there, "third"), {**MANIFEST, "battery_hash": "c" * 64}),
    ):
        pass
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {"study.json": before}


def test_each_thing_is_sent_once_and_each_unit_listed_once(there, calls):
    def taken() -> dict[str, int]:
        now = {name: number for name, number in calls.items() if number}
        calls.clear()
        return now

    with open_study(machine(there, "first"), MANIFEST) as store:
        assert taken() == {"find": 1, "pipe_file": 1}
        with store.session():
            write_cell(store, CELL)
            assert taken() == {"find": 1, "pipe_file": 4}, "it is looked whether it is there; then its files"
            store.write_text("table.txt", "")
            assert taken() == {"pipe_file": 1}
            assert store.units(verify=True) == [CELL]
            assert store.read_bytes("table.txt") == b""
            assert taken() == {}, "what is here is read here"
        assert taken() == {"find": 1, "cat_file": 1, "pipe_file": 1}, "its version of the cell, and the timing"
    records = open_records(machine(there, "second"), units=False)
    assert taken() == {"find": 1, "cat_file": 3}
    records.fetch([CELL])
    assert taken() == {"find": 1, "cat_file": 5}, "done.json first, to see that it is whole"
    records.fetch([CELL])
    assert taken() == {}
    Store(records.path).write_text("exact.txt", "")
    assert taken() == {"cat_file": 1, "pipe_file": 1}, "which study is there"


def test_a_study_that_is_kept_here_alone_does_not_load_fsspec(tmp_path):
    code = (
        "import sys; from tests.runs.records.test_store import CELL, MANIFEST, write_cell\n"
        "from kerf.runs.records.store import open_records, open_study\n"
        "with open_study(sys.argv[1], MANIFEST) as store, store.session():\n"
        "    write_cell(store, CELL); store.write_text('table.txt', '')\n"
        "    assert store.delivered(CELL); store.fetch([CELL]); store.read_bytes('table.txt')\n"
        "assert open_records(sys.argv[1]).units() == [CELL] and store.address is None\n"
        "assert 'fsspec' not in sys.modules\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code, tmp_path / "here"], check=True, cwd=root)
