"""Cells of a trial, named by a hash of their settings: equal settings share one cell across trials."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kerf.generators.registry import make_generator
from kerf.lab.errors import KerfError
from kerf.lab.reward_spec import Design
from kerf.lab.worlds import get_world
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import Store
from kerf.runs.sweep.over import PENALTY, STRENGTH
from kerf.runs.sweep.spec import SweepSpec, with_settings

DIGITS = 10
"""Hexadecimal digits of the hash in a cell's name. Two of a thousand cells collide once in two million sweeps, and are
then refused."""

FOLDER = "arms"
"""Folder of a sweep that records the settings behind each cell name."""


@dataclass(frozen=True)
class SweptArm:
    """An arm at given settings.

    Attributes:
        name: `<arm>-<hash>`, the name of its cells' folder.
        arm: Its arm in the base recipe.
        settings: Changes to the base recipe: path -> value.
        facts: Everything that determines its cells besides seed and base recipe, as plain JSON values; the hash is over
            this.
    """

    name: str
    arm: str
    settings: Mapping[str, float]
    facts: Mapping[str, Any]


def swept_arm(recipe: Recipe, arm: str, settings: Mapping[str, float]) -> SweptArm:
    """Build `arm` of `recipe` with `settings`.

    Raises:
        KerfError: if the recipe does not accept them.
    """
    changed = with_settings(recipe, settings)
    resolved = changed.resolve()[arm]
    facts = {
        "arm": resolved.model_dump(mode="json", exclude={"name"}),
        "iterations": changed.iterations,
        "measure_every": changed.measure_every,
        "design": _plain(changed.design),
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:DIGITS]
    return SweptArm(f"{arm}-{digest}", arm, dict(settings), facts)


def _plain(design: Design | None) -> str | dict[str, float] | None:
    return dict(sorted(design.items())) if isinstance(design, Mapping) else design


class TrialArms:
    """The arms of a sweep's trials.

    A control that never sees a forgery and is never penalised does not depend on strength or penalty: it is one cell
    per seed for the whole sweep.

    Args:
        recipe: The base recipe.
        spec: The sweep.
    """

    def __init__(self, recipe: Recipe, spec: SweepSpec) -> None:
        self._recipe, self._spec = recipe, spec
        resolved = recipe.resolve()[spec.control]
        mix = make_generator(get_world(recipe.world), resolved.generator, resolved.adversarial_share).mix()
        blind = mix is not None and mix.natural == 1.0 and not resolved.signed_penalty
        self._no_matter = {STRENGTH, PENALTY} if blind else set()
        # Settings of the swept arm alone cannot affect the control; leaving them out saves validating the recipe again.
        self._no_matter |= {axis.path for axis in spec.over if axis.path.startswith(f"arms.{spec.arm}.")}
        self._known: dict[tuple[str, frozenset[tuple[str, float]]], SweptArm] = {}

    def of(self, settings: Mapping[str, float]) -> tuple[SweptArm, SweptArm]:
        """The swept arm and its control in the trial of `settings`."""
        relevant = {path: value for path, value in settings.items() if path not in self._no_matter}
        return self._arm(self._spec.arm, settings), self._arm(self._spec.control, relevant)

    def _arm(self, arm: str, settings: Mapping[str, float]) -> SweptArm:
        key = arm, frozenset(settings.items())
        if key not in self._known:
            self._known[key] = swept_arm(self._recipe, arm, settings)
        return self._known[key]


def record(store: Store, arm: SweptArm) -> None:
    """Record the settings behind the name of `arm`, unless they are recorded already.

    Raises:
        KerfError: if the name is recorded with other settings.
    """
    path = store.path / FOLDER / f"{arm.name}.json"
    plain = {"arm": arm.arm, "settings": dict(arm.settings), "facts": arm.facts}
    if path.exists():
        if json.loads(path.read_bytes())["facts"] != arm.facts:
            raise KerfError(f"{path} holds other settings than those of this sweep; give --out another folder")
        return
    store.write_json(f"{FOLDER}/{arm.name}", plain)


def cell_recipe(recipe: Recipe, store: Store, name: str) -> Recipe:
    """The base recipe with the single arm `name`, as `record` wrote it."""
    plain = json.loads(store.read_bytes(f"{FOLDER}/{name}.json"))
    changed = with_settings(recipe, plain["settings"])
    arm = changed.arms[plain["arm"]]
    kind = arm.kind or plain["arm"]
    return changed.model_copy(update={"arms": {name: arm.model_copy(update={"kind": kind})}})
