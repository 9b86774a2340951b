"""Every generator keeps the same contract, in every world, alone and mixed with the natural stream."""

from __future__ import annotations

import copy
import json
from functools import partial

import numpy as np
import pytest
from scipy.stats import binomtest

from kerf.generators.adversary import FRESH, Adversary, Kept, Proposal
from kerf.generators.base import Generator, GeneratorSettings
from kerf.generators.mixture import Mixture
from kerf.generators.registry import check_generator, known_generators, make_generator
from kerf.lab.errors import KerfError
from kerf.lab.forging import Forging
from kerf.lab.scenario import ScenarioError
from kerf.lab.worlds import get_world

WORLDS = ("tests.toy_world:Lever", "station")
ALPHA = 1e-3
"""Error rate of each test of a share: with the seeds fixed here, each either passes always or never."""


class Hill(Adversary):
    """A plug-in: keeps the best forgery that it has seen, and proposes it with other cues, allowed or not."""

    def __init__(self, world, settings):
        super().__init__(world, settings, num_slots=1)
        self.best = -1.0

    def _propose(self, fresh, rng):
        scenarios, base = fresh.copy(), np.full(len(fresh), FRESH)
        if self.filled[0]:
            base[::2] = 0
            scenarios[::2] = self.slots[0]
        scenarios += rng.integers(0, 2, scenarios.shape).astype(np.int16) * (rng.random(scenarios.shape) < 0.02)
        return Proposal(scenarios, base, {"half": base == 0})

    def _learn(self, outcome):
        row = int(outcome.scores.argmax())
        if outcome.scores[row] <= self.best:
            return None
        self.best = float(outcome.scores[row])
        return Kept(np.array([0]), np.array([row]))

    def _get_learnt(self):
        return {"best": self.best}

    def _set_learnt(self, learnt):
        self.best = learnt["best"]


def build(world_name, kind, adversarial_share=1.0, strength=0.5, **settings):
    world, asked = get_world(world_name), GeneratorSettings(kind=kind, strength=strength, **settings)
    if kind != "plug-in":
        return make_generator(world, asked, adversarial_share)
    natural = make_generator(world, GeneratorSettings(kind="natural"))
    if adversarial_share == 1.0:
        return Hill(world, asked)
    return Mixture((Hill(world, asked), natural), (adversarial_share, 1.0 - adversarial_share))


KINDS = (*known_generators(), "plug-in")


@pytest.fixture(params=[(world, kind, share) for world in WORLDS for kind in KINDS for share in (1.0, 0.75)])
def make(request):
    """A function that makes one more generator of the kind under test."""
    return partial(build, *request.param)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("n", [1, 2, 257])
def test_asks_give_valid_scenarios_of_the_right_shape(make, n):
    generator = make()
    scenarios = generator.ask(n, rng())
    assert scenarios.shape == (n, len(generator.world.space))
    assert scenarios.dtype == np.int16
    generator.world.space.validate(scenarios)


def test_same_seed_same_bytes_other_seed_other_bytes(make):
    first, again, other = (make().ask(64, rng(seed)).tobytes() for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_neither_reads_nor_moves_the_global_generator(make):
    kept = np.random.get_state()  # noqa: NPY002  # the very thing that must not matter
    try:
        drawn = []
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002
            state = np.random.get_state()[1].tobytes()  # noqa: NPY002
            drawn.append(make().ask(32, rng(3)))
            assert np.random.get_state()[1].tobytes() == state  # noqa: NPY002
        assert np.array_equal(*drawn)
    finally:
        np.random.set_state(kept)  # noqa: NPY002


def test_tell_before_ask_is_refused(make):
    generator = make()
    scenarios = make().ask(4, rng())
    with pytest.raises(RuntimeError, match="needs an ask"):
        generator.tell(scenarios, np.zeros(4))


def test_tell_twice_is_refused(make):
    generator = make()
    scenarios = generator.ask(4, rng())
    generator.tell(scenarios, np.zeros(4))
    with pytest.raises(RuntimeError, match="needs an ask"):
        generator.tell(scenarios, np.zeros(4))


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1), ()])
def test_scores_of_the_wrong_shape_are_refused(make, shape):
    generator = make()
    scenarios = generator.ask(4, rng())
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        generator.tell(scenarios, np.zeros(shape))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.01, 1.01])
def test_a_wrong_score_is_refused_and_its_row_named(make, wrong):
    generator = make()
    scenarios = generator.ask(4, rng())
    scores = np.zeros(4)
    scores[2] = wrong
    with pytest.raises(ValueError, match="row 2"):
        generator.tell(scenarios, scores)
    generator.tell(scenarios, np.zeros(4))  # the refusal left it as it was


def test_scores_of_other_scenarios_are_refused(make):
    generator = make()
    scenarios = generator.ask(64, rng())
    with pytest.raises(ValueError, match="in their order"):
        generator.tell(scenarios[::-1], np.zeros(64))


def test_changing_what_ask_gave_does_not_confuse_tell(make):
    generator = make()
    scenarios = generator.ask(8, rng())
    scenarios[0] = -1
    with pytest.raises(ValueError, match="in their order"):
        generator.tell(scenarios, np.zeros(8))


@pytest.mark.parametrize("n", [0, -1])
def test_asking_for_nothing_is_refused(make, n):
    with pytest.raises(ValueError, match="n >= 1"):
        make().ask(n, rng())


def go_on(generator, rounds, stream):
    """The scenarios of some rounds, scored by chance."""
    asked = []
    for _ in range(rounds):
        scenarios = generator.ask(96, stream)
        generator.tell(scenarios, np.floor(stream.random(96) * 1.2))
        asked.append(scenarios)
    return np.concatenate(asked)


def test_a_restored_generator_goes_on_as_the_original(make):
    original = make()
    go_on(original, 3, rng(0))
    scenarios = original.ask(32, rng(1))
    restored = make()
    restored.set_state(json.loads(json.dumps(original.get_state(), allow_nan=False)))
    with pytest.raises(RuntimeError, match="needs an ask"):
        restored.tell(scenarios, np.zeros(32))
    original.tell(scenarios, np.zeros(32))
    restored.set_state(json.loads(json.dumps(original.get_state())))
    assert np.array_equal(go_on(original, 3, rng(2)), go_on(restored, 3, rng(2)))
    assert json.dumps(original.get_state()) == json.dumps(restored.get_state())
    assert original.report() == restored.report()


def test_a_copy_goes_on_as_the_original_and_apart_from_it(make):
    original = make()
    go_on(original, 2, rng(0))
    twin, kept = copy.deepcopy(original), json.dumps(original.get_state())
    ahead = go_on(twin, 2, rng(1))
    assert json.dumps(original.get_state()) == kept
    assert np.array_equal(go_on(original, 2, rng(1)), ahead)


def test_asking_twice_without_telling_learns_nothing(make):
    hasty, patient = make(), make()
    for generator in (hasty, patient):
        go_on(generator, 2, rng(0))
    hasty.ask(32, rng(1))
    assert np.array_equal(hasty.ask(32, rng(2)), patient.ask(32, rng(2)))


def test_another_takes_over_what_waits_for_scores(make):
    """What a generator of the same state was asked for elsewhere can be told here."""
    here, there, alone = make(), make(), make()
    for generator in (here, there, alone):
        go_on(generator, 2, rng(0))
    scenarios = there.ask(64, rng(1))
    here.expect(scenarios, there.pending())
    assert np.array_equal(alone.ask(64, rng(1)), scenarios)
    for generator in (here, alone):
        generator.tell(scenarios, np.linspace(0, 1, 64))
    assert json.dumps(here.get_state()) == json.dumps(alone.get_state())
    assert np.array_equal(go_on(here, 1, rng(2)), go_on(alone, 1, rng(2)))


def test_a_report_is_plain(make):
    generator = make()
    go_on(generator, 3, rng(0))
    assert json.loads(json.dumps(generator.report(), allow_nan=False)) == generator.report()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "natural"])
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_no_generator_hides_more_tells_than_its_strength_allows(kind, strength):
    """Scored by whether every tell was hidden, which is what a search without a budget would keep."""
    generator, stream = build("station", kind, strength=strength), rng(0)
    world = generator.world
    columns = [world.space.column(tell) for tell in world.dilemma.tells]
    shown = []
    for _ in range(8):
        scenarios = generator.ask(512, stream)
        generator.tell(scenarios, (scenarios[:, columns] == 0).all(axis=1).astype(np.float64))
        shown.append(scenarios[:, columns])
    for tell in np.concatenate(shown).T:
        assert binomtest(int(tell.sum()), len(tell), 1.0 - strength).pvalue > ALPHA


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "natural"])
@pytest.mark.parametrize("world_name", ["station", "dilemma"])
def test_what_is_played_is_a_plausible_forgery(kind, world_name):
    generator = build(world_name, kind, strength=0.7)
    scenarios = go_on(generator, 6, rng(0))
    forging = Forging(generator.world, 0.7)
    assert (scenarios[:, generator.world.space.column("truth")] == 2).all()
    assert forging.plausible(scenarios).all()


def test_a_foreign_state_is_refused(make):
    with pytest.raises(ValueError, match="nonsense"):
        make().set_state({"nonsense": 1})


# ---- single kinds


@pytest.mark.parametrize("world_name", WORLDS)
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_each_tell_of_scripted_gives_away_with_probability_one_minus_strength(world_name, strength):
    world, n = get_world(world_name), 4000
    scenarios = make_generator(world, GeneratorSettings(kind="scripted", strength=strength)).ask(n, rng(5))
    for tell in world.dilemma.tells:
        given_away = int((scenarios[:, world.space.column(tell)] == 1).sum())
        assert binomtest(given_away, n, 1.0 - strength).pvalue > ALPHA


def test_natural_draws_families_by_their_shares():
    world, n = get_world("tests.toy_world:Lever"), 4000
    truth = make_generator(world, GeneratorSettings(kind="natural")).ask(n, rng(5))[:, world.space.column("truth")]
    for value, share in enumerate((0.5, 0.3, 0.2)):
        assert binomtest(int((truth == value).sum()), n, share).pvalue > ALPHA


@pytest.mark.parametrize("adversarial_share", [0.75, 0.1])
def test_the_rest_is_natural(adversarial_share):
    world, n = get_world("tests.toy_world:Lever"), 4000
    scenarios = make_generator(world, GeneratorSettings(kind="scripted", strength=1.0), adversarial_share).ask(
        n, rng(5)
    )
    truth, tell = (scenarios[:, world.space.column(name)] for name in ("truth", "tell"))
    forged = (truth == 2) & (tell == 0)  # which the natural stream never holds
    assert binomtest(int((~forged).sum()), n, 1.0 - adversarial_share).pvalue > ALPHA


def test_no_replay_leaves_the_stream_as_it_is():
    world, settings = get_world("station"), GeneratorSettings(kind="scripted", strength=0.5)
    bare, none = make_generator(world, settings), make_generator(world, settings, adversarial_share=1.0)
    assert np.array_equal(bare.ask(64, rng(2)), none.ask(64, rng(2)))
    assert not isinstance(none, Mixture)


class Diary(Generator):
    """Asks for one and the same scenario, and remembers what it was told."""

    def __init__(self, world, place):
        super().__init__(world)
        self.place, self.told = place, []

    def _ask(self, n, rng):
        scenarios = self.world.space.blank(n)
        scenarios[:, self.world.space.column("place")] = self.place
        return scenarios

    def _tell(self, scenarios, scores):
        self.told.extend(scores.tolist())

    def get_state(self):
        return {"told": self.told}

    def set_state(self, state):
        self.told = list(state["told"])


def test_a_mixture_tells_each_source_of_its_own_scenarios_in_their_order():
    world = get_world("tests.toy_world:Lever")
    sources = [Diary(world, place) for place in range(3)]
    mixture = Mixture(sources, (0.5, 0.5, 0.0))
    scenarios = mixture.ask(40, rng())
    scores = np.linspace(0, 1, 40)
    mixture.tell(scenarios, scores)
    place = scenarios[:, world.space.column("place")]
    for index, source in enumerate(sources):
        assert source.told == scores[place == index].tolist()
    assert len(sources[0].told) not in (0, 40)
    assert sources[2].told == []
    fresh = Mixture([Diary(world, place) for place in range(3)], (0.5, 0.5, 0.0))
    fresh.set_state(json.loads(json.dumps(mixture.get_state())))
    assert fresh.get_state() == mixture.get_state()


@pytest.mark.parametrize(
    ("num", "shares"), [(2, (0.5,)), (2, (0.5, 0.6)), (2, (1.5, -0.5)), (2, (float("nan"), 0.5)), (0, ())]
)
def test_shares_that_are_no_distribution_are_refused(num, shares):
    world = get_world("tests.toy_world:Lever")
    with pytest.raises(ValueError, match="share"):
        Mixture([Diary(world, 0)] * num, shares)


def test_sources_of_different_worlds_are_refused():
    sources = [make_generator(get_world(world), GeneratorSettings(kind="natural")) for world in WORLDS]
    with pytest.raises(ValueError, match="one world"):
        Mixture(sources, (0.5, 0.5))


# ---- what a plug-in may get wrong


class Wrong(Generator):
    def __init__(self, world, make):
        super().__init__(world)
        self.make = make

    def _ask(self, n, rng):
        return self.make(self.world, n)


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (lambda world, n: world.space.blank(n) + np.int16(99), ScenarioError),
        (lambda world, n: world.space.blank(n).astype(np.int64), ScenarioError),
        (lambda world, n: world.space.blank(n)[:, :-1], ScenarioError),
        (lambda world, n: world.space.blank(n + 1), ValueError),
    ],
)
def test_scenarios_that_the_world_does_not_hold_are_refused(made, error):
    with pytest.raises(error):
        Wrong(get_world("tests.toy_world:Lever"), made).ask(4, rng())


PLUG_IN = """
from kerf.generators.natural import Natural

def not_a_generator(world, settings):
    return object()

class Free(Natural):
    def mix(self):
        return None
"""

POINTS = """
[kerf.generators]
plugged = plug_for_kerf:Natural
odd = plug_for_kerf:not_a_generator
free = plug_for_kerf:Free
lost = plug_for_kerf:nothing_here
"""


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """An installed distribution with generators of its own."""
    (tmp_path / "plug_for_kerf.py").write_text(PLUG_IN)
    info = tmp_path / "plug_for_kerf-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-for-kerf\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_plug_in_is_found_by_its_entry_point(plug_in):
    world = get_world("tests.toy_world:Lever")
    plugged, natural = (make_generator(world, GeneratorSettings(kind=kind)) for kind in ("plugged", "natural"))
    assert np.array_equal(plugged.ask(16, rng()), natural.ask(16, rng()))


@pytest.mark.parametrize("refuse", [make_generator, check_generator])
@pytest.mark.parametrize(("kind", "sentence"), [("odd", "got object"), ("lost", "cannot load")])
def test_a_plug_in_that_is_no_generator_is_refused(plug_in, kind, sentence, refuse):
    with pytest.raises(KerfError, match=sentence):
        refuse(get_world("tests.toy_world:Lever"), GeneratorSettings(kind=kind))


@pytest.mark.parametrize("refuse", [make_generator, check_generator])
def test_a_plug_in_that_learns_without_a_budget_is_refused(plug_in, refuse):
    with pytest.raises(KerfError, match=r"must make a kerf\.generators\.adversary\.Adversary"):
        refuse(get_world("tests.toy_world:Lever"), GeneratorSettings(kind="free"))


@pytest.mark.parametrize("refuse", [make_generator, check_generator])
def test_an_unknown_kind_is_refused_with_the_nearest_spelling(refuse):
    with pytest.raises(KerfError, match="unknown generator 'scripped'; did you mean 'scripted'"):
        refuse(get_world("tests.toy_world:Lever"), GeneratorSettings(kind="scripped"))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", sorted(known_generators()))
def test_what_can_be_made_passes_the_check(world, kind):
    check_generator(get_world(world), GeneratorSettings(kind=kind, strength=0.5, ask_workers=2))
