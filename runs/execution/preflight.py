"""Checks of the output folder before anything expensive starts. Writes nothing that stays."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from kerf.lab.errors import KerfError
from kerf.runs.recipe.model import Recipe, recipe_hash
from kerf.runs.records.store import Store, refuse_other_study

ROOM = 200 * 2**20
"""Bytes that must be free: a full study of the motivating story takes less than half of it."""


def check_out(out: Path, recipe: Recipe) -> None:
    """Refuse an output folder that cannot take the study.

    Raises:
        KerfError: as `check_room`, and if it holds a study of another recipe or other files.
    """
    check_room(out)
    refuse_other_study(Store(out), {"name": recipe.name, "recipe_hash": recipe_hash(recipe)})


def check_room(out: Path) -> None:
    """Refuse an output folder that nothing can be written to.

    Raises:
        KerfError: if the folder cannot be made or written, or its disk lacks room.
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
    """Refuse a recipe whose learners want a GPU that this machine lacks.

    Raises:
        KerfError: if torch sees none.
    """
    if max(training.num_gpus_per_learner for training in recipe.trainings) > 0:
        import torch  # here: most recipes want none, and this takes a second

        if not torch.cuda.is_available():
            raise KerfError("num_gpus_per_learner: expected a GPU here, and torch sees none; set it to 0")


def nearest(out: Path) -> Path:
    """`out`, or the first folder above it that exists."""
    absolute = out.absolute()
    try:
        return next(path for path in (absolute, *absolute.parents) if path.exists())
    except OSError as error:  # no permission to look, or a name that is too long
        raise KerfError(f"{out} cannot be written: {error.strerror}; give --out another folder") from error
