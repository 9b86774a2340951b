"""One attack on one finished agent, with its records.

attack.json     the results, the generator's report on its search, and the top scenarios
telling.txt     these scenarios, with an episode of each
telling-01.gif, telling-01.png, ...   the same episodes as pictures, if asked for
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kerf.agents.export import load_policy, read_card
from kerf.generators.registry import make_generator
from kerf.lab.attack import attacking
from kerf.lab.attack_objective import make_objective
from kerf.lab.rollout import Policy
from kerf.lab.torch_threads import one_thread
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.runs.attacks.top_episodes import top_episodes
from kerf.runs.execution.training_log import Progress
from kerf.runs.recipe.attack_plan import RECORD, AttackSettings, AttackUnit
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.folder import Folder
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit


def attack_unit(
    recipe: Recipe, unit: AttackUnit, store: Store, num_threads: int = 1, pictures: bool = False
) -> Iterator[Progress]:
    """Attack a finished agent of a study and publish the results."""
    began = time.monotonic()
    world, agents = get_world(recipe.world), (unit.target, Unit(ALIGNED, unit.target.seed))
    store.fetch(agents)
    with one_thread(), store.unit(unit) as folder:
        policy, aligned = (load_policy(store.path / agent.name / POLICY, world) for agent in agents)
        facts = {"arm": unit.target.arm, "seed": unit.target.seed}
        stream, budget = unit.attack.stream(unit.target.seed), unit.attack.budget
        for done in write_attack(folder, world, policy, aligned, unit.attack, stream, facts, pictures):
            note = f"{unit.attack.label} at strength {unit.attack.generator.strength:g}"
            yield Progress(unit.target, done, budget, done * world.horizon, time.monotonic() - began, note)
    yield Progress(unit.target, budget, budget, budget * world.horizon, time.monotonic() - began)


def attack_file(
    path: Path,
    world: World,
    reference: Policy | None,
    settings: AttackSettings,
    store: Store,
    pictures: bool,
    reference_sha256: str = "",
    reached: Callable[[float], None] = lambda share: None,
) -> Path:
    """Attack the policy that was exported to `path` (without suffix); returns the folder of the records, in `store`.

    The folder's name depends on the policy, the world and the reference, so other policies have other records.
    `reached` is called with the share of the attack that is done, in [0, 1].
    """
    policy, sha256 = load_policy(path, world), read_card(path)["sha256"]
    against = f"-{reference_sha256[:8]}" if reference_sha256 else ""
    unit = _PolicyAttack(f"{world.name}-{sha256[:8]}{against}/{settings.name}")
    if not store.finished(unit, verify=True):
        with one_thread(), store.unit(unit) as folder:
            facts = {"policy": path.name, "sha256": sha256, "reference_sha256": reference_sha256}
            for done in write_attack(folder, world, policy, reference, settings, settings.stream(0), facts, pictures):
                reached(done / settings.budget)
    return store.path / unit.name


class _PolicyAttack:
    """An attack on a policy that belongs to no study."""

    def __init__(self, name: str) -> None:
        self.name = f"attacks/{name}"


def write_attack(
    folder: Folder,
    world: World,
    policy: Policy,
    reference: Policy | None,
    settings: AttackSettings,
    stream: tuple[int, ...],
    facts: dict[str, Any],
    pictures: bool,
) -> Generator[int, None, None]:
    """Attack `policy` and write the records into `folder`; yields the number of episodes played after each batch.

    Args:
        folder: Folder for the records.
        world: World of the policy.
        policy: The attacked policy.
        reference: The aligned policy, for objectives that compare with it.
        settings: The attack.
        stream: Entropy of its random numbers.
        facts: Further entries of the record, such as whose policy it is.
        pictures: Whether to draw the top episodes too.

    Raises:
        KerfError: if the objective needs a reference and there is none.
    """
    generator = make_generator(world, settings.generator)
    search, replays = np.random.default_rng(np.random.SeedSequence(stream)).spawn(2)
    found = yield from attacking(
        policy,
        world,
        generator,
        budget=settings.budget,
        batch=settings.batch,
        rng=search,
        objective=make_objective(settings.objective),
        reference=reference,
    )
    generator.close()
    episodes = top_episodes(policy, world, found.top, found.top_scores, replays)
    record = found.record(world) | {"telling": [again.record() for again in episodes]}
    mix = generator.mix()
    asked = {
        **settings.model_dump(mode="json"),
        "generator": settings.generator.identity(),
        "label": settings.label,
        "forges": generator.forges and (mix is None or mix.natural < 1.0),
        "world": world.name,
    }
    folder.write_json(RECORD, {**facts, **asked, **generator.report(), **record})
    lines = [f"{rank}. {again.text()}" for rank, again in enumerate(episodes, 1)]
    folder.write_text("telling.txt", "\n\n".join(lines or ["No scenario scored above 0."]) + "\n")
    for rank, again in enumerate(episodes if pictures else (), 1):
        folder.write_bytes(f"telling-{rank:02}.gif", again.animation())
        folder.write_bytes(f"telling-{rank:02}.png", again.strip())
