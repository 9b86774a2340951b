"""Records on disk: units appear whole or not at all, tables are reproducible bytes, mistakes are one sentence."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kerf.lab.errors import KerfError
from kerf.runs.records import atomic_io
from kerf.runs.records.store import FORMAT, Store, Unit, open_study
from kerf.runs.records.tables import read_measures, read_together, read_training

MANIFEST = {
    "records_format": FORMAT,
    "name": "toy",
    "recipe_hash": "a" * 64,
    "battery_hash": "b" * 64,
    "seeds": [0, 1],
    "arms": {"continued": {"penalty": 0.0}, "penalised": {"penalty": 10.0}},
    "revision": "one",
}
CELL = Unit("penalised", 0)


def measures(unit, scores=(0.9, 0.5)):
    n = len(scores)
    return {
        "arm": [unit.arm] * n,
        "seed": [unit.seed] * n,
        "iteration": np.arange(n),
        "env_steps": np.arange(n) * 100,
        "metric": ["value/care"] * n,
        "score": np.array(scores),
        "num_scenarios": [64] * n,
    }


def write_cell(store, unit, scores=(0.9, 0.5)):
    with store.unit(unit) as folder:
        folder.write_table("measures", measures(unit, scores))
        folder.write_bytes("policy.safetensors", b"\x00weights")
        folder.write_json("policy", {"hidden": [4]})


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def in_another_process(code, *args):
    script = "import sys\nfrom pathlib import Path\n" + textwrap.dedent(code)
    return [sys.executable, "-c", script, *map(str, args)]


class TestUnits:
    def test_a_finished_unit_lists_its_files(self, tmp_path):
        store = Store(tmp_path)
        assert not store.finished(CELL)
        write_cell(store, CELL)
        assert store.finished(CELL, verify=True)
        done = json.loads((tmp_path / "cells/penalised/seed-0/done.json").read_text())
        assert done["unit"] == "cells/penalised/seed-0"
        assert set(done["files"]) == {"measures.parquet", "policy.safetensors", "policy.json"}
        assert done["files"]["policy.safetensors"]["bytes"] == 8

    def test_raising_inside_leaves_nothing(self, tmp_path):
        store = Store(tmp_path)
        with pytest.raises(RuntimeError, match="in the middle"), store.unit(CELL) as folder:  # noqa: PT012 the block is under test
            folder.write_json("gate", {"passed": True})
            raise RuntimeError("in the middle")
        assert not store.finished(CELL)
        assert files(tmp_path) == {}

    def test_a_finished_unit_is_never_overwritten(self, tmp_path):
        store = Store(tmp_path)
        write_cell(store, CELL)
        before = files(tmp_path)
        with pytest.raises(KerfError, match="never overwritten"):
            write_cell(store, CELL, scores=(0.1, 0.2))
        assert files(tmp_path) == before

    def test_the_second_of_two_writers_is_refused(self, tmp_path):
        store = Store(tmp_path)
        with pytest.raises(KerfError, match="another process finished it"), store.unit(CELL) as folder:  # noqa: PT012 the block is under test
            folder.write_json("gate", {})
            elsewhere = tmp_path / "cells/penalised/seed-0"
            elsewhere.mkdir()
            (elsewhere / "done.json").write_text('{"files": {}}')
        assert files(tmp_path) == {"cells/penalised/seed-0/done.json": b'{"files": {}}'}

    @pytest.mark.parametrize("moment", ["before any file", "between files", "before done.json"])
    def test_a_kill_leaves_no_unit_and_the_next_try_is_clean(self, tmp_path, moment):
        code = """
            import os, signal
            from kerf.runs.records.store import Store, Unit
            with Store(sys.argv[1]).unit(Unit("penalised", 0)) as folder:
                for name in ("policy", "gate"):
                    if sys.argv[2] == "before any file" or (sys.argv[2] == "between files" and name == "gate"):
                        os.kill(os.getpid(), signal.SIGKILL)
                    folder.write_json(name, {})
                os.kill(os.getpid(), signal.SIGKILL)
        """
        killed = subprocess.run(in_another_process(code, tmp_path, moment), check=False)
        assert killed.returncode == -signal.SIGKILL
        store = Store(tmp_path)
        assert not store.finished(CELL)
        assert store.units() == []
        assert len(list(tmp_path.glob("cells/penalised/*"))) == 1  # what the kill left
        write_cell(store, CELL)
        assert [path.name for path in tmp_path.glob("cells/penalised/*")] == ["seed-0"]

    @pytest.mark.parametrize("verify", [False, True])
    def test_damage_is_told(self, tmp_path, verify):
        store = Store(tmp_path)
        write_cell(store, CELL)
        path = tmp_path / CELL.name / "policy.safetensors"
        path.write_bytes(b"\x01weights")  # same size
        if verify:
            with pytest.raises(KerfError, match=r"policy\.safetensors is not the one in done\.json"):
                store.finished(CELL, verify=True)
        else:
            assert store.finished(CELL)
        path.write_bytes(b"")
        with pytest.raises(KerfError, match=r"policy\.safetensors has 0 bytes, expected 8"):
            store.finished(CELL, verify=verify)
        path.unlink()
        with pytest.raises(KerfError, match=r"policy\.safetensors is missing"):
            store.finished(CELL, verify=verify)
        (tmp_path / CELL.name / "done.json").write_text("{")
        with pytest.raises(KerfError, match=r"done\.json cannot be read"):
            store.units()

    def test_units_are_listed_by_arm_and_number(self, tmp_path):
        store = Store(tmp_path)
        units = [
            Unit("aligned", 2),
            Unit("aligned", 10),
            Unit("continued", 2),
            Unit("penalised", 2),
            Unit("penalised", 10),
        ]
        for unit in reversed(units):
            write_cell(store, unit)
        assert store.units() == units
        assert [unit.name for unit in units[:3]] == ["aligned/seed-2", "aligned/seed-10", "cells/continued/seed-2"]

    @pytest.mark.parametrize("arm", ["", "a/b", "../x", "Arm", "a b", ".hidden"])
    def test_a_unit_stays_in_its_folder(self, arm):
        with pytest.raises(ValueError, match="no unit"):
            Unit(arm, 0)

    def test_a_file_stays_in_its_folder(self, tmp_path):
        with pytest.raises(ValueError, match="file names"):
            Store(tmp_path).write_bytes("../x", b"")


class TestTables:
    def test_equal_tables_are_equal_bytes(self, tmp_path):
        rng = np.random.default_rng(0)
        scores = rng.random(2000)
        roots = [tmp_path / "a", tmp_path / "b"]
        for root in roots:
            write_cell(Store(root), CELL, scores)
        first, second = ({k: v for k, v in files(root).items() if k != "timing.jsonl"} for root in roots)
        assert first == second
        scores[7] = np.nextafter(scores[7], 1)
        write_cell(Store(tmp_path / "c"), CELL, scores)
        assert (
            files(tmp_path / "c")["cells/penalised/seed-0/measures.parquet"]
            != first["cells/penalised/seed-0/measures.parquet"]
        )

    def test_equal_tables_are_equal_bytes_in_another_process(self, tmp_path):
        code = """
            from tests.runs.records.test_store import CELL, write_cell
            from kerf.runs.records.store import Store
            write_cell(Store(sys.argv[1]), CELL)
        """
        write_cell(Store(tmp_path / "a"), CELL)
        environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[3])}
        subprocess.run(in_another_process(code, tmp_path / "b"), check=True, env=environment)
        first, second = (files(tmp_path / name) for name in "ab")
        assert {k: v for k, v in first.items() if k != "timing.jsonl"} == {
            k: v for k, v in second.items() if k != "timing.jsonl"
        }

    def test_a_frame_and_columns_are_the_same(self, tmp_path):
        store = Store(tmp_path)
        frame = pd.DataFrame(measures(CELL)).set_index(pd.Index([5, 3]))
        store.write_table("measures", frame)
        from_frame = (tmp_path / "measures.parquet").read_bytes()
        store.write_table("measures", measures(CELL))
        assert (tmp_path / "measures.parquet").read_bytes() == from_frame

    def test_a_table_of_any_columns_comes_back(self, tmp_path):
        columns = {"arm": ["x", "y"], "mean": [0.5, np.nan], "n": np.array([1, 2], np.int16), "ok": [True, False]}
        Store(tmp_path).write_table("effects", columns)
        back = pq.read_table(tmp_path / "effects.parquet")
        assert back.column("arm").to_pylist() == ["x", "y"]
        assert np.isnan(back.column("mean").to_pylist()[1])
        assert str(back.schema.field("n").type) == "int16"
        assert back.column("ok").to_pylist() == [True, False]

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_score_that_is_no_number_is_refused(self, tmp_path, bad):
        with pytest.raises(KerfError, match=r"arm penalised, seed 0, iteration 1, metric value/care"):
            write_cell(Store(tmp_path), CELL, scores=(0.5, bad))
        assert files(tmp_path) == {}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"score": None}, "columns"),
            ({"extra": [1, 2]}, "columns"),
            ({"metric": ["value/care", None]}, "missing entries"),
            ({"iteration": [0.5, 1.5]}, "truncated"),
        ],
    )
    def test_other_columns_than_the_schemas_are_refused(self, tmp_path, change, message):
        columns = {key: column for key, column in {**measures(CELL), **change}.items() if column is not None}
        with pytest.raises(ValueError, match=message):
            Store(tmp_path).write_table("measures", columns)

    def test_a_table_may_be_empty(self, tmp_path):
        empty = {key: [] for key in ("arm", "seed", "iteration", "env_steps", "metric", "value")}
        store = Store(tmp_path)
        with open_study(tmp_path, MANIFEST), store.unit(CELL) as folder:
            folder.write_table("training", empty)
        assert read_training(tmp_path).shape == (0, 6)

    def test_json_is_sorted_and_refuses_nan(self, tmp_path):
        store = Store(tmp_path)
        store.write_json("gate", {"b": 1, "a": "é"})
        assert (tmp_path / "gate.json").read_text() == '{\n  "a": "é",\n  "b": 1\n}\n'
        with pytest.raises(ValueError, match="JSON compliant"):
            store.write_json("gate", {"score": float("nan")})


class TestReading:
    def test_measures_come_sorted_whatever_the_order_of_writing(self, tmp_path):
        frames = []
        units = [Unit("penalised", 1), Unit("continued", 0), Unit("aligned", 0), Unit("penalised", 0)]
        for name, order in (("a", units), ("b", units[::-1])):
            with open_study(tmp_path / name, MANIFEST) as store:
                for unit in order:
                    write_cell(store, unit, scores=(0.9, 0.1 * unit.seed))
            frames.append(read_measures(tmp_path / name))
        pd.testing.assert_frame_equal(*frames)
        assert list(zip(frames[0]["arm"], frames[0]["seed"], frames[0]["iteration"], strict=True)) == [
            ("continued", 0, 0),
            ("continued", 0, 1),
            ("penalised", 0, 0),
            ("penalised", 0, 1),
            ("penalised", 1, 0),
            ("penalised", 1, 1),
        ]
        assert set(read_measures(tmp_path / "a", aligned=True)["arm"]) == {"aligned", "continued", "penalised"}

    def test_a_tampered_file_is_not_read(self, tmp_path):
        with open_study(tmp_path, MANIFEST) as store:
            write_cell(store, CELL)
        write_cell(Store(tmp_path / "other"), CELL, scores=(0.9, 0.6))
        forged = (tmp_path / "other" / CELL.name / "measures.parquet").read_bytes()
        (tmp_path / CELL.name / "measures.parquet").write_bytes(forged)
        with pytest.raises(KerfError, match="damaged"):
            read_measures(tmp_path)

    def test_no_study(self, tmp_path):
        with pytest.raises(KerfError, match="holds no study"):
            read_measures(tmp_path / "nowhere")

    def test_studies_with_one_battery_are_read_together(self, tmp_path):
        for name in "ab":
            with open_study(tmp_path / name, MANIFEST) as store:
                write_cell(store, CELL)
        frame = read_together([tmp_path / "a", tmp_path / "b"])
        assert list(frame["study"]) == [str(tmp_path / "a")] * 2 + [str(tmp_path / "b")] * 2

    def test_two_batteries_are_never_read_together(self, tmp_path):
        for name, battery in (("a", "b" * 64), ("b", "c" * 64)):
            with open_study(tmp_path / name, {**MANIFEST, "battery_hash": battery}):
                pass
        with pytest.raises(KerfError, match=r"different batteries.*bbb.*ccc"):
            read_together([tmp_path / "a", tmp_path / "b"])


class TestOpening:
    def test_the_manifest_is_written_once(self, tmp_path):
        root = tmp_path / "deep" / "study"
        with open_study(root, MANIFEST) as store:
            assert store.manifest() == MANIFEST
        before = (root / "study.json").read_bytes()
        with open_study(root, {**MANIFEST, "revision": "two"}) as store:
            assert store.manifest()["revision"] == "one"
            assert [entry["continued_with"] for entry in store.timing()] == [{"revision": "two"}]
        assert (root / "study.json").read_bytes() == before
        assert set(files(root)) == {"study.json", "timing.jsonl", ".lock"}
        assert files(root)[".lock"] == b""

    @pytest.mark.parametrize("key", ["recipe_hash", "battery_hash"])
    def test_another_study_is_refused(self, tmp_path, key):
        with open_study(tmp_path, MANIFEST) as store:
            write_cell(store, CELL)
        before = files(tmp_path)
        with (
            pytest.raises(KerfError, match=f"{key} is {MANIFEST[key]} there .* and {'f' * 64}"),
            open_study(tmp_path, {**MANIFEST, key: "f" * 64}),
        ):
            pass
        assert files(tmp_path) == before

    def test_a_folder_of_something_else_is_refused(self, tmp_path):
        (tmp_path / "thesis.tex").write_text("")
        with pytest.raises(KerfError, match=r"holds files but no study \(thesis\.tex"), open_study(tmp_path, MANIFEST):
            pass
        assert set(files(tmp_path)) == {"thesis.tex"}

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}'])
    def test_a_damaged_manifest_is_refused(self, tmp_path, text):
        (tmp_path / "study.json").write_text(text)
        with pytest.raises(KerfError, match=r"study\.json is damaged"), open_study(tmp_path, MANIFEST):
            pass

    def test_records_of_another_format_are_refused(self, tmp_path):
        older = {key: value for key, value in MANIFEST.items() if key != "records_format"}
        (tmp_path / "study.json").write_text(json.dumps(older))
        said = rf"expected records of format {FORMAT}, got 1, .* \(one\), or run the study again"
        with pytest.raises(KerfError, match=said):
            Store(tmp_path).manifest()
        with pytest.raises(KerfError, match="got 1, whose names have other meanings"), open_study(tmp_path, MANIFEST):
            pass

    @pytest.mark.parametrize("arm", ["aligned", "Bad Name"])
    def test_arms_that_cannot_be_recorded_are_refused(self, tmp_path, arm):
        with (
            pytest.raises(KerfError, match="an arm's name"),
            open_study(tmp_path / "x", {**MANIFEST, "arms": {arm: {}}}),
        ):
            pass
        assert not (tmp_path / "x").exists()

    def test_two_runs_at_once_are_refused_and_a_killed_one_lets_go(self, tmp_path):
        code = """
            import json, time
            from kerf.runs.records.store import open_study
            with open_study(sys.argv[1], json.loads(sys.argv[2])):
                print("held", flush=True)
                time.sleep(60)
        """
        first = subprocess.Popen(
            in_another_process(code, tmp_path, json.dumps(MANIFEST)), stdout=subprocess.PIPE, text=True
        )
        try:
            assert first.stdout.readline() == "held\n"
            with (
                pytest.raises(KerfError, match=f"another process is at work .*process {first.pid} on "),
                open_study(tmp_path, MANIFEST),
            ):
                pass
        finally:
            first.kill()
            first.wait()
            first.stdout.close()
        with open_study(tmp_path, MANIFEST) as store:
            write_cell(store, CELL)
        assert Store(tmp_path).units() == [CELL]


class TestTiming:
    def test_units_leave_their_wall_times(self, tmp_path):
        store = Store(tmp_path)
        write_cell(store, CELL)
        store.append_timing({"machine": "a"})
        first, second = store.timing()
        assert first["unit"] == CELL.name
        assert first["started"] > 1.6e9
        assert 0 < first["seconds"] < 60
        assert second == {"machine": "a"}

    def test_a_torn_line_costs_only_itself(self, tmp_path):
        store = Store(tmp_path)
        store.append_timing({"a": 1})
        with (tmp_path / "timing.jsonl").open("ab") as file:
            file.write(b'{"b": ')
        store.append_timing({"c": 3})
        assert store.timing() == [{"a": 1}, {"c": 3}]

    def test_lines_of_many_processes_stay_whole(self, tmp_path):
        code = """
            from kerf.runs.records.store import Store
            for i in range(50):
                Store(sys.argv[1]).append_timing({"process": sys.argv[2], "i": i, "padding": "x" * 500})
        """
        writers = [subprocess.Popen(in_another_process(code, tmp_path, name)) for name in "ab"]
        assert [writer.wait() for writer in writers] == [0, 0]
        entries = Store(tmp_path).timing()
        for name in "ab":
            assert [entry["i"] for entry in entries if entry["process"] == name] == list(range(50))


class TestDisk:
    """The kernel's own full disk (`/dev/full`), real permissions, and paths that cannot be folders."""

    def test_no_room_for_a_record(self, tmp_path):
        store = Store(tmp_path)
        write_cell(store, CELL)
        other = Unit("penalised", 1)
        with (  # noqa: PT012 the block is under test
            pytest.raises(KerfError, match=r"No space left on device; free some room, then give the same command"),
            store.unit(other) as folder,
        ):
            (folder.path / ".measures.parquet.partial").symlink_to("/dev/full")
            folder.write_table("measures", measures(other))
        assert store.units(verify=True) == [CELL]
        write_cell(store, other)
        assert store.units(verify=True) == [CELL, other]

    def test_no_room_for_a_wall_time(self, tmp_path):
        (tmp_path / "timing.jsonl").symlink_to("/dev/full")
        with pytest.raises(KerfError, match="free some room"):
            Store(tmp_path).append_timing({"a": 1})

    def test_no_room_where_others_write_into_the_unit(self, tmp_path):
        with pytest.raises(KerfError, match="free some room"), Store(tmp_path).unit(CELL) as folder:  # noqa: PT012 the block is under test
            (folder.path / "policy.safetensors").symlink_to("/dev/full")
            (folder.path / "policy.safetensors").write_bytes(b"weights")
        assert files(tmp_path) == {}

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
    def test_no_permission(self, tmp_path):
        tmp_path.chmod(0o500)
        with (
            pytest.raises(KerfError, match=r"Permission denied; get permission"),
            open_study(tmp_path / "out", MANIFEST),
        ):
            pass

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs the superuser to become somebody else")
    def test_no_permission_as_somebody_else(self, tmp_path):
        code = """
            import json, os
            from kerf.lab.errors import KerfError
            from kerf.runs.records.store import open_study
            os.chdir(sys.argv[1])  # before giving up the right to go there
            os.setuid(65534)
            try:
                with open_study("out", json.loads(sys.argv[2])):
                    pass
            except KerfError as error:
                print(error)
        """
        tmp_path.chmod(0o755)
        said = subprocess.run(
            in_another_process(code, tmp_path, json.dumps(MANIFEST)), capture_output=True, text=True, check=True
        )
        assert "Permission denied; get permission to write there" in said.stdout
        assert files(tmp_path) == {}

    def test_an_out_that_is_a_file(self, tmp_path):
        (tmp_path / "out").write_text("")
        for root in (tmp_path / "out", tmp_path / "out" / "deeper"):
            with pytest.raises(KerfError, match="give --out a folder, not a file"), open_study(root, MANIFEST):
                pass

    def test_an_error_of_the_body_is_not_blamed_on_the_disk(self, tmp_path):
        with pytest.raises(ConnectionError), Store(tmp_path).unit(CELL):
            raise ConnectionError("not ours")


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    """As /dev/null must stay what it is, by whomever `--json /dev/null` is asked for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        atomic_io.write(pipe, b"figures")
        assert os.read(reader, 100) == b"figures"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
