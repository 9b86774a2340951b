"""Checks of the output folder and GPUs before training starts. They leave no files behind."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from kerf.lab.errors import KerfError
from kerf.runs.recipe.model import Recipe, recipe_hash
from kerf.runs.records.store import Store, refuse_other_study

ROOM = 200 * 2**20
"""Free disk space that is required, in bytes: a full study of the motivating story needs less than half of it."""


def check_out(out: Path, recipe: Recipe) -> None:
    """Check that the study can be written to the output folder.

    Raises:
        KerfError: as `check_room`; also if it contains a study of another recipe or other files.
    """
    check_room(out)
    refuse_other_study(Store(out), {"name": recipe.name, "recipe_hash": recipe_hash(recipe)})


def check_room(out: Path) -> None:
    """Check that the output folder is writable.

    Raises:
        KerfError: if the folder cannot be created or written, or its disk has too little space.
    """
    there = nearest(out)
    try:
        room = shutil.disk_usage(there).free
        with tempfile.TemporaryFile(dir=there):
            pass
    except NotADirectoryError as error:
        raise KerfError(f"{out} cannot be written: {there} is not a folder; give --out another one") from error
    except OSError as error:
        raise KerfError(f"{out} cannot be written ({there}: {error.strerror}); give --out another folder") from error
    if room < ROOM:
        raise KerfError(
            f"{out}: {room // 2**20} MiB are free on its disk, expected at least {ROOM // 2**20} MiB; "
            "free some room or give --out another folder"
        )


def check_gpus(recipe: Recipe) -> None:
    """Check that this machine has a GPU if the recipe's learners need one.

    Raises:
        KerfError: if they do and torch finds none.
    """
    if max(training.num_gpus_per_learner for training in recipe.trainings) > 0:
        import torch  # imported here: it takes a second, and most recipes need no GPU

        if not torch.cuda.is_available():
            raise KerfError("num_gpus_per_learner: expected a GPU here, and torch sees none; set it to 0")


def nearest(out: Path) -> Path:
    """Return `out` or its nearest parent that exists."""
    absolute = out.absolute()
    try:
        return next(path for path in (absolute, *absolute.parents) if path.exists())
    except OSError as error:  # no permission, or the name is too long
        raise KerfError(f"{out} cannot be written: {error.strerror}; give --out another folder") from error
