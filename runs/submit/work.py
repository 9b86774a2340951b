"""Work to submit: the arguments of a `kerf` command, fully validated before anything is sent."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kerf.lab.errors import KerfError
from kerf.runs.recipe.files import built_in_recipes, load_recipes
from kerf.runs.recipe.model import Recipe
from kerf.runs.recipe.plain_yaml import MAX_BYTES, parse
from kerf.runs.records.paths import folder_of, is_address
from kerf.runs.records.redaction import refuse_password

TRACKING = "MLFLOW_TRACKING_URI"

_LONGEST_NAME = 32
"""Characters of the descriptive part of a job's id; KubeRay appends to it, and a DNS label has at most 63."""


@dataclass(frozen=True)
class Asked:
    """Request of `kerf submit` without the backend: plain values, as stored in a job's record.

    Attributes:
        what: A built-in recipe's name, or the path of a recipe or sweep file.
        sweep: Whether it is a sweep file.
        preset, variant, seeds, sets, out, workers: As in `kerf run`; None or empty where not given. `out` is an
            absolute path, or an address.
        mlflow: Tracking URI; empty: the default of `kerf run` where it runs; None: no MLflow.
    """

    what: str
    sweep: bool = False
    preset: str | None = None
    variant: str | None = None
    seeds: int | None = None
    sets: tuple[str, ...] = ()
    out: str | None = None
    workers: int | None = None
    mlflow: str | None = ""

    def words(self, what: str | None = None) -> list[str]:
        """Arguments of `kerf` that do the work; `what` replaces the file's path where it has another one."""
        words = [*(("sweep", "run") if self.sweep else ("run",)), what or self.what]
        for option, value in (
            ("--preset", self.preset),
            ("--variant", self.variant),
            ("--seeds", self.seeds),
            *(("--set", text) for text in self.sets),
            ("--out", self.out),
            ("--workers", self.workers),
            ("--mlflow", self.mlflow or None),
        ):
            if value is not None:
                words += [option, str(value)]
        return words if self.mlflow is not None else [*words, "--no-mlflow"]


@dataclass(frozen=True)
class Work:
    """Validated work.

    Attributes:
        asked: The request.
        name: The recipe's name, or the sweep file's.
        studies: The recipe of each study by its absolute local folder; empty for a sweep.
        content: Contents of the recipe or sweep file; None for a built-in recipe.
    """

    asked: Asked
    name: str
    studies: Mapping[Path, Recipe]
    content: str | None = None

    @property
    def file_name(self) -> str:
        """Name of the recipe or sweep file, without its folder."""
        return Path(self.asked.what).name

    def places(self, cwd: Path) -> dict[Path, str]:
        """Location of each study by its local folder: the same folder, or an address. `cwd` is the folder of the
        request."""
        out = self.asked.out
        if out is None or not is_address(out):
            return {folder: str(folder) for folder in self.studies}
        below = {folder: folder.relative_to(folder_of(out, cwd)).as_posix() for folder in self.studies}
        return {folder: out.rstrip("/") + f"/{name}".removesuffix("/.") for folder, name in below.items()}

    def job_id(self, to: str) -> str:
        """Id of its job on the backend `to`: equal for equal arguments, file and backend, different otherwise."""
        asked = {**asdict(self.asked), "what": self.file_name}
        identity = repr((to, sorted(asked.items()), sorted(map(str, self.studies)), self.content)).encode()
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:_LONGEST_NAME].strip("-") or "job"
        return f"{slug}-{hashlib.sha256(identity).hexdigest()[:8]}"


def work_of(asked: Asked, cwd: Path) -> Work:
    """Read and validate a request made from the folder `cwd`. Writes nothing.

    Raises:
        KerfError: if it is invalid, with the message of `kerf run`.
    """
    if asked.mlflow:
        refuse_password(asked.mlflow, "--mlflow")
    content = None if asked.what in built_in_recipes() else _text(asked.what)
    if asked.sweep:
        return Work(asked, Path(asked.what).stem, {}, content)
    from kerf.runs.execution.preflight import check_out
    from kerf.runs.recipe.folders import study_folders

    loaded = load_recipes(asked.what, asked.preset, asked.sets, asked.seeds, asked.variant)
    out = None if asked.out is None else folder_of(asked.out, cwd) if is_address(asked.out) else Path(asked.out)
    folders = study_folders(loaded, asked.preset, asked.sets, asked.seeds, out)
    studies = {cwd / folders[name]: recipe for name, recipe in loaded.items()}
    for folder, recipe in studies.items():
        check_out(folder, recipe)
    (first, *others) = loaded.items()
    name = first[1].name.removesuffix(f"-{first[0]}") if others else first[1].name
    return Work(asked, name, studies, content)


def is_sweep(what: str) -> bool:
    """Whether `what` is a file with a top-level key `sweep`. Missing and oversized files count as recipes, and
    are refused later."""
    if what in built_in_recipes() or not Path(what).is_file() or Path(what).stat().st_size > MAX_BYTES:
        return False
    plain = parse(_text(what), what)
    return isinstance(plain, dict) and "sweep" in plain


def _text(what: str) -> str:
    """Contents of the file `what`; empty if there is no such file, in which case `load_recipes` reports the error."""
    if not Path(what).is_file():
        return ""
    try:
        return Path(what).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KerfError(f"{what} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise KerfError(f"{what} cannot be read: {error.strerror}") from error


def forwarded_tracking(asked: str | None) -> str | None:
    """The tracking URI for jobs that do not inherit the environment: the requested one, else `$MLFLOW_TRACKING_URI`.

    Raises:
        KerfError: if the variable contains a password, which would be part of the files sent.
    """
    if asked != "" or not os.environ.get(TRACKING):
        return asked
    refuse_password(os.environ[TRACKING], f"${TRACKING}")
    return os.environ[TRACKING]
