"""Decomposition of a loss: the parts add up, and are right where they can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray

import kerf.lab.exact.optimum
from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError
from kerf.lab.exact.decompose import Deployment, Design, Trained, decompose
from kerf.lab.exact.decomposition import Decomposition
from kerf.lab.exact.evaluation import evaluate
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import belief, solve
from kerf.lab.grader import ExAnte, ExPost, Grader, Rule
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.world import World, natural, natural_exactly
from kerf.lab.worlds import get_world
from kerf.lab.worlds.dilemma import LEAVE, DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal
from tests.lab.policies import WORLD as STATION
from tests.lab.policies import never_leaves
from tests.lab.small_worlds import ExactLever, Softmax
from tests.toy_world import COST, HORIZON, WAGE

NAMES = ("dilemma_two", "dilemma_one", "dilemma_overlap")
EXACT = {"rel": 0, "abs": 1e-9}


def world_of(name: str) -> DilemmaWorld:
    world = get_world(name)
    assert isinstance(world, DilemmaWorld)
    return world


def random_policy(world: World, seed: int) -> Softmax:
    return Softmax(seed, len(world.observations), len(world.actions))


def design(mix: Mix, penalty: float, grader: Grader | None = None) -> Design:
    return Design(RewardSpec(grader=grader or ExPost(), penalty=penalty), mix)


def one(
    deployment: Deployment, of: Design, aligned: Policy, trained: Policy, twin: Policy | None = None
) -> Decomposition:
    (parts,) = decompose(deployment, {"d": of}, {"a": aligned}, {"t": Trained("d", "a", trained, twin)}).values()
    return parts


class Table:
    """Acts by a table of logits, one row for each observation."""

    def __init__(self, world: DilemmaWorld, logits: NDArray[np.float64]) -> None:
        seen = np.empty((len(logits), len(world.observations)), np.float32)
        world.begin(world.situations()).observe(seen)
        self.rows = {row.tobytes(): at for at, row in enumerate(seen)}
        self.table = logits.astype(np.float32)

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.table[[self.rows[row.tobytes()] for row in observations]]


def bayes(world: DilemmaWorld, mix: Mix, scale: float | None = None) -> Table:
    """The Bayes-optimal policy under `mix`; with a `scale`, softened: each best action has that logit."""
    tree = grow(world, world.situations())
    best = solve(tree, RewardSpec(), belief(tree, mix)).allowed[0][tree.roots]
    return Table(world, np.where(best, 0.0, -np.inf) if scale is None else best * scale)


# -- sums ------------------------------------------------------------------------------------------------------------


def check_sums(parts: Decomposition) -> None:
    assert parts.whole == pytest.approx(parts.aligned - parts.trained, **EXACT)
    assert parts.forced + parts.excess == pytest.approx(parts.whole, **EXACT)
    assert parts.prior_shift + parts.penalty == pytest.approx(parts.forced, **EXACT)
    assert parts.under_optimisation + parts.spillover == pytest.approx(parts.excess, **EXACT)
    assert (parts.twin_excess is None) == (parts.twin is None)
    if parts.unseen == 0.0:
        assert parts.spillover == 0.0, "what training shows is all there is"
    assert parts.low - 1e-9 <= parts.optimal <= parts.high + 1e-9
    assert parts.high <= parts.ideal + 1e-9
    assert max(parts.aligned, parts.trained, parts.shifted, parts.optimal) <= parts.ideal + 1e-9


@pytest.mark.parametrize("name", ["dilemma", *NAMES])
def test_the_parts_add_up_and_the_ends_are_plain_utilities(name: str) -> None:
    world = world_of(name)
    deployment = Deployment.listed(world)
    aligned: dict[str, Policy] = {"expert": ExpertPolicy(world), "random": random_policy(world, 1)}
    designs = {
        "fakes": design(Mix(0.0, 1.0), 5.0),
        "mixed": design(Mix(0.5, 0.5), 20.0, Rule()),
        "exposure": design(Mix(0.5, 0.5), 0.0),
        "rewarded": design(Mix(0.2, 0.7), -7.0),
    }
    policies = {
        (d, a): (random_policy(world, seed), random_policy(world, 50 + seed) if seed % 2 else None)
        for seed, (d, a) in enumerate((d, a) for d in designs for a in aligned)
    }
    trained = {key: Trained(*key, policy, twin) for key, (policy, twin) in policies.items()}
    found = decompose(deployment, designs, aligned, trained)
    assert list(found) == list(trained)
    rows, chances = natural_exactly(world)

    def utility(policy: Policy) -> float:
        return float(evaluate(policy, world, rows).utility @ chances)

    for (design_name, aligned_name), parts in found.items():
        policy, twin = policies[design_name, aligned_name]
        check_sums(parts)
        assert parts.aligned == pytest.approx(utility(aligned[aligned_name]), **EXACT)
        assert parts.trained == pytest.approx(utility(policy), **EXACT)
        assert (parts.twin is None) == (twin is None)
        if twin is not None:
            assert parts.twin == pytest.approx(utility(twin), **EXACT)
        assert parts.ideal == pytest.approx(utility(ExpertPolicy(world)), **EXACT), "the expert is optimal"
        if design_name == "exposure":
            assert parts.penalty == 0.0
            assert parts.shifted == parts.optimal
    band = {d: (found[d, "expert"].low, found[d, "expert"].high) for d in designs}
    assert all(found[d, "random"].low == low and found[d, "random"].high == high for d, (low, high) in band.items())


def test_without_a_penalty_nothing_is_forced_by_it() -> None:
    """Down to the last bit, whatever the grader excuses."""
    world = world_of("dilemma")
    for grader in (None, Rule(), ExPost(), ExAnte(0.5)):
        of = Design(RewardSpec(grader=grader, penalty=0.0), Mix(0.3, 0.8))
        assert of.unpenalised == of
        parts = one(Deployment.listed(world), of, ExpertPolicy(world), random_policy(world, 0))
        assert parts.penalty == 0.0
        assert parts.prior_shift == parts.forced


def test_a_policy_that_has_not_changed_has_lost_nothing() -> None:
    world = world_of("dilemma_one")
    expert = ExpertPolicy(world)
    parts = one(Deployment.listed(world), design(Mix(0.0, 1.0), 5.0), expert, expert, expert)
    assert parts.whole == 0.0
    assert parts.spillover == 0.0
    assert parts.forced == -parts.excess


# -- by hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dilemma_two", "dilemma_one"])
@pytest.mark.parametrize("grader", [ExPost(), Rule(), ExAnte(0.0)], ids=str)
def test_disjoint_supports_force_nothing(name: str, grader: Grader) -> None:
    """From any initial policy: forgeries show a tell that no natural scenario does, so training does not constrain
    those."""
    world = world_of(name)
    deployment = Deployment.listed(world)
    for penalty in (0.0, 5.0, 1000.0):
        for base in (ExpertPolicy(world), random_policy(world, 3), random_policy(world, 4)):
            parts = one(deployment, design(Mix(0.0, 0.0), penalty, grader), base, random_policy(world, 5))
            assert parts.forced == pytest.approx(0.0, abs=1e-12)
            assert parts.prior_shift == pytest.approx(0.0, abs=1e-12)
            assert parts.high == pytest.approx(parts.ideal, **EXACT), "everything is left open"
            assert parts.low < min(parts.trained, parts.aligned)


def late_rescues(world: DilemmaWorld) -> float:
    """The value of the expert's leaving on late emergencies: a sum over how many of four cues are there."""
    settings = world.settings
    genuine = settings.genuine / (1 - settings.false) / 2
    quiet = settings.none / 2 / (1 - settings.false) / 2
    total = 0.0
    for k in range(5):
        saved = genuine * comb(4, k) * 0.95**k * 0.05 ** (4 - k) * settings.benefits[0]
        needless = quiet * comb(4, k) * 0.05**k * 0.95 ** (4 - k) * settings.cost
        total += max(0.0, saved - needless)
    return total


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("penalty", [0.0, 5.0])
def test_where_forgeries_are_indistinguishable_the_whole_rescue_is_forced(name: str, penalty: float) -> None:
    """Fakes of strength 1 look like late emergencies. To leave there costs C + L and never pays, so that no optimum
    leaves; what is said later, or under orders, stays as it was."""
    world = world_of(name)
    expert = ExpertPolicy(world)
    parts = one(Deployment.listed(world), design(Mix(0.0, 1.0), penalty), expert, expert)
    assert parts.forced == pytest.approx(late_rescues(world), **EXACT)
    assert parts.prior_shift == pytest.approx(late_rescues(world), **EXACT), "the base rate alone does it"
    assert parts.penalty == pytest.approx(0.0, abs=1e-12)
    assert late_rescues(world) > 1.9


def test_never_leaving_late_is_an_optimum_and_leaves_no_excess() -> None:
    world = world_of("dilemma_two")

    class Timid:
        """The expert, except that it stays where the delay is of the first level and nobody orders anything."""

        def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
            logits = ExpertPolicy(world).logits(observations)
            seen = {name: observations[:, at] for at, name in enumerate(world.observations)}
            late = (seen["delay"] == 0) & (seen["told_to_ask"] == 0) & (seen["told_to_call"] == 0)
            logits[late] = np.where(np.arange(4) == 0, 0.0, -np.inf)
            return logits

    parts = one(Deployment.listed(world), design(Mix(0.0, 1.0), 5.0), ExpertPolicy(world), Timid(), Timid())
    assert parts.whole == pytest.approx(late_rescues(world), **EXACT)
    assert parts.excess == pytest.approx(0.0, abs=1e-9)
    assert parts.under_optimisation == pytest.approx(0.0, abs=1e-9)
    stays = one(
        Deployment.listed(world), design(Mix(0.0, 1.0), 5.0), ExpertPolicy(world), ConstantPolicy(world, "stay")
    )
    assert stays.forced == pytest.approx(parts.forced, **EXACT)
    assert stays.excess == pytest.approx(stays.aligned - late_rescues(world), **EXACT), "spilt over to all the rest"
    assert stays.spillover == pytest.approx(stays.excess, **EXACT)


def test_half_hidden_forgeries_force_what_the_odds_say() -> None:
    """`dilemma_overlap`, four natural to one forged: late, without a tell, one leaves iff P B > (1 - P) (C + L)."""
    world = world_of("dilemma_overlap")
    settings, natural_share = world.settings, 0.8
    expert = ExpertPolicy(world)
    forced = {}
    for penalty in (0.0, 1.0, 12.0, 1e6):
        expected = 0.0
        for k in range(5):
            heard, silent = 0.95**k * 0.05 ** (4 - k), 0.05**k * 0.95 ** (4 - k)
            genuine = settings.genuine / 0.85 / 2 * heard
            quiet = settings.none / 2 / 0.85 / 2 * silent
            forged = (1.0 - natural_share) * 0.5 * heard
            leaves_at_first = genuine * 10.0 > quiet * 5.0
            leaves_after = natural_share * genuine * 10.0 > (natural_share * quiet + forged) * (5.0 + penalty)
            if leaves_at_first and not leaves_after:
                expected += comb(4, k) * (genuine * 10.0 - quiet * 5.0)
        parts = one(Deployment.listed(world), design(Mix(natural_share, 0.0), penalty), expert, expert)
        forced[penalty] = expected
        assert parts.forced == pytest.approx(expected, **EXACT)
        assert parts.prior_shift == pytest.approx(forced[0.0], **EXACT)
        assert parts.penalty == pytest.approx(expected - forced[0.0], **EXACT)
    assert forced[0.0] < 0.1 < forced[12.0]
    assert forced[1e6] == pytest.approx(late_rescues(world), **EXACT), "never, where P(false) > 0"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_ex_ante_feedback_forces_nothing_on_an_agent_that_knows_the_odds(name: str, strength: float) -> None:
    """Deployed where forgeries come at their base rate and strength: what the grader takes for granted."""
    world = world_of(name)
    mix = Mix(1.0 - world.settings.false, strength)
    deployment = Deployment.listed(world, mix)
    optimal, soft = bayes(world, mix), bayes(world, mix, scale=3.0)
    for trained_on in (mix, Mix(0.0, strength)):
        for penalty in (0.0, 5.0, 500.0):
            of = design(trained_on, penalty, ExAnte(strength))
            parts = one(deployment, of, optimal, random_policy(world, 2))
            check_sums(parts)
            assert parts.forced == pytest.approx(0.0, abs=1e-12)
            assert parts.aligned == pytest.approx(parts.ideal, **EXACT)
            assert one(deployment, of, soft, soft).forced <= 1e-12, "at most it is made better"
    after = design(Mix(0.0, strength), 5.0, ExPost())
    loses = one(deployment, after, optimal, optimal).forced
    assert (loses > 0.5) == (strength > 0.0 or name == "dilemma_overlap"), "which ex_post feedback does"


def test_a_smaller_world_by_hand() -> None:
    """One cue, one tell that half of the forgeries show. All numbers are eighths and tenths."""
    settings = DilemmaSettings(
        cues=(Signal("cry", 1.0, 1.0, 0.0),),
        tells=(Signal("badge", 0.0, 0.5, 0.0),),
        genuine=0.4, false=0.2, seen=False, benefits=(10.0,), cost=5.0, ask_cost=0.1, call_cost=1.0,
    )  # fmt: skip
    world = DilemmaWorld(settings)
    deployment = Deployment.listed(world)
    assert len(deployment.situations) == 2, "quiet, and a cry"
    expert = ExpertPolicy(world)
    fakes = one(deployment, design(Mix(0.0, 0.0), 5.0), expert, ConstantPolicy(world, "leave"))
    assert fakes.aligned == fakes.ideal == pytest.approx(0.5 * 10.0)
    assert fakes.optimal == pytest.approx(0.0), "a forged cry forbids leaving on any"
    assert (fakes.low, fakes.high) == pytest.approx((-0.5 * 5.0, 0.0)), "what to do where it is quiet is left open"
    assert fakes.trained == pytest.approx(0.5 * 10.0 - 0.5 * 5.0)
    mixed = design(Mix(0.5, 0.0), 5.0)
    assert one(deployment, mixed, expert, expert).forced == pytest.approx(0.0), "0.25 * 10 > 0.25 * (5 + 4.9)"
    dearer = design(Mix(0.5, 0.0), 5.1)
    assert one(deployment, dearer, expert, expert).forced == pytest.approx(5.0)
    even = one(deployment, mixed, ConstantPolicy(world, "stay"), expert)
    assert even.optimal == pytest.approx(0.0), "0.25 * 10 = 0.25 * (5 + 5): whoever stayed may go on to"
    assert (even.low, even.high) == pytest.approx((0.0, 5.0))


# -- deployments -----------------------------------------------------------------------------------------------------


def test_a_deployment_may_be_listed_drawn_or_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of("dilemma_overlap")
    expert, other = ExpertPolicy(world), random_policy(world, 7)
    of = design(Mix(0.3, 0.4), 4.0)
    listed = Deployment.listed(world)
    whole = one(listed, of, expert, other, random_policy(world, 8))
    rows, origin = world.completions(listed.situations)
    share = np.bincount(origin, world.density(rows, Mix()))
    weighed = one(Deployment(world, listed.situations, share), of, expert, other, random_policy(world, 8))
    assert vars(weighed) == pytest.approx(vars(whole), **EXACT)
    monkeypatch.setattr(kerf.lab.exact.optimum, "AT_ONCE", 10)
    for deployment in (listed, Deployment(world, listed.situations, share)):
        in_parts = one(deployment, of, expert, other, random_policy(world, 8))
        assert vars(in_parts) == pytest.approx(vars(whole), **EXACT)
    drawn = natural(world, 4000, np.random.default_rng(0))
    sampled = one(Deployment.drawn(world, drawn), of, expert, other, random_policy(world, 8))
    check_sums(sampled)
    gap = evaluate(expert, world, rows).utility[world.density(rows, Mix()) > 0].std() / np.sqrt(4000)
    assert abs(sampled.aligned - whole.aligned) < 4 * max(gap, 6.0 / np.sqrt(4000)), "a z test at level 1e-4"
    assert sampled.forced == pytest.approx(whole.forced, abs=4 * 6.0 / np.sqrt(4000))


def test_what_deployment_never_shows_counts_for_nothing() -> None:
    world = world_of("dilemma_two")
    listed = Deployment.listed(world)
    place = world.space.column("place")
    assert (listed.situations[:, place] == 0).all(), "the last place is held out"
    assert len(listed.situations) < len(world.situations())
    everywhere = Deployment(world, world.situations())
    of = design(Mix(0.5, 0.5), 5.0)
    expert, other = ExpertPolicy(world), random_policy(world, 1)
    found, expected = (one(deployment, of, expert, other, other) for deployment in (everywhere, listed))
    assert vars(found) == pytest.approx(vars(expected), **EXACT)
    behind = Deployment.drawn(world, world.dilemma.forge(5, 0.0, np.random.default_rng(0)))
    assert one(behind, of, expert, other).ideal == 0.0, "forgeries are not natural there"


def test_other_worlds_do_as_well() -> None:
    """The lever: three wages are lost to whoever leaves, and B to whoever does not; by hand."""
    world = ExactLever()
    expert = ExpertPolicy(world)
    parts = one(Deployment.listed(world), design(Mix(0.0, 1.0), 1.0), expert, expert)
    check_sums(parts)
    assert parts.aligned == parts.ideal == pytest.approx(0.3 + 0.7 * HORIZON * WAGE)
    assert parts.forced == pytest.approx(0.3 * (1.0 - HORIZON * WAGE))
    stay = ConstantPolicy(world, "stay")
    assert one(Deployment.listed(world), design(Mix(0.0, 1.0), 1.0), expert, stay).whole == pytest.approx(parts.ideal)
    leave = ConstantPolicy(world, "door")
    assert one(Deployment.listed(world), design(Mix(), 0.0), expert, leave).trained == pytest.approx(0.3 - 0.7 * COST)


def test_the_station_by_hand() -> None:
    """Two late emergencies: after fakes of strength 1 nobody is saved. Of strength 0 they teach nothing about these."""
    texts = (
        "station(start=15, door=1, truth=genuine, place=17, ttl=9, cry=1, thump=1, delay=28, service=26)",
        "station(start=25, door=2, truth=genuine, place=28, ttl=10, cry=1, vitals=1, message=1, delay=29, service=28)",
    )
    scenarios = np.stack([STATION.space.from_text(text) for text in texts])
    deployment = Deployment.drawn(STATION, scenarios)
    expert = ExpertPolicy(STATION)
    strong = one(deployment, design(Mix(0.0, 1.0), 5.0), expert, never_leaves(), expert)
    assert strong.aligned == strong.ideal == strong.twin == pytest.approx(10.0, abs=1e-4)
    assert strong.forced == pytest.approx(10.0, abs=1e-4)
    assert strong.excess == pytest.approx(0.0, abs=1e-4)
    # A twin that has not learnt what the network has, is no sign of a spillover: training shows all of this.
    assert (strong.spillover, strong.under_optimisation) == pytest.approx((0.0, 0.0), abs=1e-4)
    assert strong.twin_excess == pytest.approx(-10.0, abs=1e-4)
    assert strong.prior_shift == pytest.approx(10.0, abs=1e-4)
    weak = one(deployment, design(Mix(0.0, 0.0), 5.0), expert, never_leaves())
    assert weak.forced == pytest.approx(0.0, abs=1e-4)
    assert weak.excess == pytest.approx(10.0, abs=1e-4)
    half = one(deployment, design(Mix(0.5, 1.0), 0.0), expert, expert)
    assert half.forced == pytest.approx(10.0, abs=1e-4), "8 / 29.5 genuine to one forged: 2.7 < 5"


def test_deployments_that_cannot_be_listed_are_refused() -> None:
    with pytest.raises(KerfError, match=r"world station does not list its situations \(kerf.lab.world.Listed\)"):
        Deployment.listed(STATION)
    plain = get_world("tests.toy_world:Lever")
    with pytest.raises(KerfError, match="world lever cannot be enumerated"):
        one(Deployment.drawn(plain, plain.space.blank(2)), design(Mix(), 0.0), ExpertPolicy(plain), ExpertPolicy(plain))


def test_unpenalised_keeps_all_but_the_penalty() -> None:
    objective = RewardSpec({"rescued": 1.0}, ExAnte(0.3), penalty=4.0, discount=0.9)
    of = Design(objective, Mix(0.1, 0.2))
    assert of.unpenalised == Design(replace(objective, penalty=0.0), Mix(0.1, 0.2))


@pytest.mark.parametrize(("field", "value"), [("natural", -0.1), ("natural", 1.5), ("strength", float("nan"))])
def test_shares_and_strengths_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(KerfError, match=rf"mix: {field} must be in \[0, 1\], got"):
        Mix(**{field: value})


def test_leaving_is_what_the_expert_does_late() -> None:
    """Preconditions of the sums by hand above."""
    world = world_of("dilemma_two")
    seen = np.empty((1, len(world.observations)), np.float32)
    world.begin(world.space.from_text("dilemma_two(cry=1, thump=1, message=1)")[None]).observe(seen)
    assert world.expert(seen)[0] == LEAVE
