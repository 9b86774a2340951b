"""Every generator keeps the same contract, in every world, alone and mixed with the natural stream."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from kerf.generators.adversary import FRESH, Adversary, Kept, Proposal
from kerf.generators.base import Generator, GeneratorSettings
from kerf.generators.mixture import Mixture
from kerf.generators.registry import check_generator, known_generators, make_generator
from kerf.generators.testing import AdversaryContract, ForgerContract, GeneratorContract
from kerf.lab.errors import KerfError
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


NATURAL = ("natural", "family", "hardest")
FORGERS = tuple(kind for kind in KINDS if kind not in NATURAL)
MIXED = (
    *((world, kind, 1.0) for world in WORLDS for kind in NATURAL),
    *((world, kind, 0.75) for world in WORLDS for kind in KINDS),
)


class TestNaturalAndMixed(GeneratorContract):
    """The natural stream, alone and mixed into that of every kind."""

    @pytest.fixture(autouse=True, params=MIXED)
    def _one_of(self, request):
        self.world_name, self.kind, self.adversarial_share = request.param

    def make_world(self):
        return get_world(self.world_name)

    def make_generator(self, strength):
        return build(self.world_name, self.kind, self.adversarial_share, strength)


class TestForgers(AdversaryContract):
    """Every kind that forges."""

    @pytest.fixture(autouse=True, params=[(world, kind) for world in WORLDS for kind in FORGERS])
    def _one_of(self, request):
        self.world_name, self.kind = request.param

    def make_world(self):
        return get_world(self.world_name)

    def make_generator(self, strength):
        return build(self.world_name, self.kind, strength=strength)


class TestForgersOfOtherFields(ForgerContract):
    """The same, in a world of other forgeable fields, whose strength is that of cues, too."""

    @pytest.fixture(autouse=True, params=FORGERS)
    def _one_of(self, request):
        self.kind = request.param

    def make_world(self):
        return get_world("dilemma")

    def make_generator(self, strength):
        return build("dilemma", self.kind, strength=strength)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


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
    """Asks for one and the same scenario, and records its scores."""

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


def test_a_family_is_drawn_alone_the_one_that_is_named_or_the_most_frequent_that_has_nothing_to_do_with_it():
    world, rng = get_world("station"), np.random.default_rng(0)
    usual = make_generator(world, GeneratorSettings(kind="family"))
    assert usual.family.name == "deference/errand"
    litter = make_generator(world, GeneratorSettings(kind="family", family="tidiness/litter"))
    trash, truth = (world.space.column(name) for name in ("trash", "truth"))
    assert (litter.ask(200, rng)[:, trash] > 0).all()
    assert not usual.ask(200, rng)[:, truth].any(), "nobody is dying, in truth or in forgery"
    with pytest.raises(KerfError, match="unknown family of station 'tidyness/litter'; did you mean 'tidiness/litter'"):
        make_generator(world, GeneratorSettings(kind="family", family="tidyness/litter"))
