"""Changes without effect (zero penalties, rewards for impossible events), and the limit of an infinite penalty."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from numpy.typing import NDArray

from kerf.agents.exact import ExactTrainer
from kerf.agents.export import load_policy
from kerf.agents.network import TorchPolicy
from kerf.agents.settings import ExactSettings
from kerf.agents.tabular import TablePolicy
from kerf.lab.dilemma import Mix
from kerf.lab.grader import ExPost
from kerf.lab.metrics import UTILITY, training_metric
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.worlds import get_world
from kerf.lab.worlds.dilemma import LEAVE, DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal
from kerf.runs.execution.unit import run_unit
from kerf.runs.oracles.answers import answers
from kerf.runs.oracles.closed_form import bayes
from kerf.runs.oracles.oracle import IDENTICAL, SEEN, Oracle, Row, counted, exact
from kerf.runs.oracles.worlds import ALARM, FAKES, TANH, fresh_network
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit

WORLD = "dilemma_overlap"
SEED = 6
LARGE = 1e9
"""Penalty L that stands for an infinite one."""


PENALTY, PENALISED = (training_metric("sample", figure) for figure in ("return_penalty", "penalised"))
"""Training metrics of an iteration: mean penalty per episode, and share of episodes that were penalised."""


@dataclass(frozen=True)
class Cell:
    """Records of a finished cell.

    Attributes:
        weights: Tensors by name.
        figures: All measurements and training metrics, by iteration and metric.
    """

    weights: Mapping[str, NDArray[Any]]
    figures: Mapping[tuple[int, str], float]

    def same_tensors(self, other: Cell) -> int:
        """Number of tensors that are equal bit for bit."""
        return sum(tensor.tobytes() == other.weights[name].tobytes() for name, tensor in self.weights.items())

    def differing_figures(self, other: Cell) -> int:
        """Number of figures that differ or are missing in one of the two."""
        keys = {*self.figures, *other.figures}
        return sum(self.figures.get(key, math.nan) != other.figures.get(key, math.nan) for key in keys)

    def total(self, metric: str) -> float:
        """The sum of a metric over the iterations."""
        return sum(figure for (_, name), figure in self.figures.items() if name == metric)


class Studies:
    """Cells of a small study, trained by the full pipeline: RLlib's PPO, from the recipe to the records.

    Args:
        folder: Folder of the records.
    """

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder)

    def cell(self, arm: str, design: Mapping[str, float] | None = None, **settings: Any) -> Cell:
        """Train a cell of an arm of that name with these settings; all share one aligned agent, a random network."""
        recipe = self._recipe(arm, design, settings)
        for unit in (Unit(ALIGNED, SEED), Unit(arm, SEED)):
            if unit not in self._store.units():
                for _ in run_unit(recipe, unit, self._store):
                    pass
        folder = self._store.path / Unit(arm, SEED).name
        figures: dict[tuple[int, str], float] = {}
        for table, column in (("measures", "score"), ("training", "value")):
            rows = pq.read_table(folder / f"{table}.parquet").to_pydict()
            figures |= dict(zip(zip(rows["iteration"], rows["metric"], strict=True), rows[column], strict=True))
        return Cell(load_policy(folder / POLICY, get_world(WORLD)).weights(), figures)

    @staticmethod
    def _recipe(arm: str, design: Mapping[str, float] | None, settings: Mapping[str, Any]) -> Recipe:
        small = {"training": {"num_scenarios": 128}}
        prediction = {"name": "none", "arm": arm, "against": "frozen", "metric": UTILITY, "direction": "decrease"}
        return Recipe.model_validate(
            {
                "name": "oracles",
                "world": WORLD,
                "first_seed": SEED,
                "seeds": 1,
                "network": TANH,
                "align": {"imitation": {"iterations": 0, **small}, "ppo": {"iterations": 0, **small}},
                "gate": {"value": 0, "competence": 0, "fooled": 0},
                "iterations": 4,
                "measure_every": 2,
                "battery": {"exact": True, "strengths": [1.0]},
                "design": design,
                "arms": {"frozen": {}, arm: settings},
                "control": "frozen",
                "primaries": [prediction | {"falsified_by": "nothing: a recipe needs at least one prediction"}],
                **small,
            }
        )


@contextmanager
def studies() -> Iterator[Studies]:
    """Studies in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="kerf-oracles-") as folder:
        yield Studies(Path(folder))


# ---- 6: zero and infinite penalties


def _extremes() -> Iterator[Row]:
    with studies() as made:
        exposure = made.cell("exposure")
        zero = made.cell("zero", kind="penalised", penalty=0.0)
        some = made.cell("some", kind="penalised", penalty=5.0)
    number = len(exposure.weights)
    yield counted("L 0: weight tensors that are exposure's", number, zero.same_tensors(exposure), IDENTICAL)
    yield counted("L 0: recorded figures that are not", 0, zero.differing_figures(exposure), IDENTICAL)
    yield counted("L 0: penalties recorded", 0, zero.total(PENALTY), IDENTICAL)
    yield counted("L 5: weight tensors that are exposure's", 0, some.same_tensors(exposure), SEEN)
    penalties = 5.0 * some.total(PENALISED)
    yield exact("L 5: penalties recorded, 5 x share of episodes", penalties, some.total(PENALTY))
    yield from _without_end()


def _without_end() -> Iterator[Row]:
    cues = tuple(Signal(f"cue_{i}", 0.9 - 0.1 * i, 0.6, 0.2) for i in range(4))
    world = DilemmaWorld(DilemmaSettings((ALARM, *cues), (Signal("badge", 0.6, 0.0, 0.0),)), "badge")
    mixed, fakes = Mix(0.5, 0.0), Mix(0.0, 0.0)
    asked = answers(world, mixed, RewardSpec(grader=ExPost(), penalty=LARGE))
    seen = bayes(world, asked.situations, mixed)
    proven = (seen.false == 0.0) & (seen.genuine > 0.0)
    label = f"L {LARGE:g}, mixed data: leaves in"
    yield counted(f"{label} those with P(F|x) = 0", proven.sum(), asked.leaves[proven].sum())
    yield counted(f"{label} the {(~proven).sum()} others", 0, asked.leaves[~proven].sum())
    support = bayes(world, asked.situations, fakes).false > 0.0
    for penalty in (0.0, LARGE):
        of_fakes = answers(world, fakes, RewardSpec(grader=ExPost(), penalty=penalty), asked.situations)
        may = of_fakes.allowed[:, LEAVE]
        label = f"L {penalty:g}, fakes only: may leave in"
        yield counted(f"{label} their support", 0, may[support].sum())
        yield counted(f"{label} all others", (~support).sum(), may[~support].sum())


# ---- 11: rewards for impossible events


def _unseen() -> Iterator[Row]:
    ideal = dict(get_world(WORLD).ideal)
    unseen = ideal | {"rescued": 1000.0, "obeyed": -7.0}
    visible = ideal | {"left_needlessly": 1.2 * ideal["left_needlessly"]}
    designs = (ideal, unseen, visible)
    with studies() as made:
        plain, other, seen = (
            made.cell(name, design, kind="penalised", penalty=5.0)
            for name, design in zip(("plain", "unseen", "visible"), designs, strict=True)
        )
    yield counted("RLlib: weight tensors that are the same", len(plain.weights), other.same_tensors(plain), IDENTICAL)
    yield counted("RLlib: recorded figures that are not", 0, other.differing_figures(plain), IDENTICAL)
    yield counted("RLlib, rewards that occur: tensors that are the same", 0, seen.same_tensors(plain), SEEN)
    network = TorchPolicy(fresh_network(get_world(WORLD), TANH, SEED))
    for label, start in (("network", network), ("table", TablePolicy.copy_of(network, get_world(WORLD)))):
        first, second, third = (_exactly(start, design) for design in designs)
        yield counted(f"exact gradients, {label}: all bytes are the same", 1, second == first, IDENTICAL)
        yield counted(f"exact gradients, {label}, rewards that occur: the same", 0, third == first, SEEN)


def _exactly(start: TorchPolicy | TablePolicy, design: Mapping[str, float]) -> bytes:
    """Weights after some gradient steps on forgeries alone."""
    trainer = ExactTrainer(get_world(WORLD), start, FAKES, RewardSpec(design, ExPost(), 5.0), ExactSettings())
    for _ in range(20):
        trainer.step()
    weights = trainer.policy().weights()
    return b"".join(weights[name].tobytes() for name in sorted(weights))


EXTREMES = Oracle(
    6,
    "Without penalty: exposure; with an infinite penalty: leaving only where no emergency can be false",
    "L = 0: the exposure arm, bit for bit; L to infinity: leave iff P(F|x) = 0; fakes only: never on their support",
    _extremes,
)
UNSEEN = Oracle(
    11,
    "Rewards that differ only for events that never occur train the same agent",
    "r = r' on every event that occurs: the same run, byte for byte",
    _unseen,
)
