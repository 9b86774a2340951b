"""Published results: the registry, the command, the rewritten gridworlds, and what came out the last time."""

from __future__ import annotations

import io
import itertools
import json
import math
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.lab.exact.evaluation import action_probs
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.world import Mix
from kerf.runs.bench.timing import one_quiet_thread
from kerf.runs.cli import main
from kerf.runs.reproduce import maze, training
from kerf.runs.reproduce.command import FAILED, REPRODUCED, WIDTH, reproduce
from kerf.runs.reproduce.demonstrations import SIDE_EFFECTS
from kerf.runs.reproduce.entry import ALPHA, Entry, Figure, above, at_least, at_most, equal
from kerf.runs.reproduce.gaussian import EPSILON, ETA, FEATURES, P, accuracy
from kerf.runs.reproduce.grids import MOVES, Solution, play
from kerf.runs.reproduce.gridworlds import Box, Interruption, Together, Tomatoes, Whisky
from kerf.runs.reproduce.monitors import ARMS, GAIN, NINE, SEVEN, design
from kerf.runs.reproduce.refusal import NATURAL, PENALTY, STRENGTH
from kerf.runs.reproduce.registry import ENTRIES
from kerf.runs.reproduce.training import Arm
from tests.test_docs_claims import FIGURES

QUICK = [name for name, entry in ENTRIES.items() if not entry.trains]


def silent(doing: str) -> None:
    assert doing


# ---- the registry


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_entry_says_what_where_how_and_why(entry):
    assert ENTRIES[entry.name] is entry
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", entry.name)
    for text in (entry.title, entry.claim, entry.source, entry.setting, entry.tolerance):
        assert len(text) > 20
        assert not text.endswith(".")
    assert re.search(r"\b(19|20)\d\d\b", entry.source), "a year"
    assert re.search(r"arXiv \d{4}\.\d{5}|github\.com|lesswrong\.com|archive\.ics\.uci\.edu", entry.source), "a place"


@pytest.mark.parametrize("name", QUICK)
def test_what_needs_no_training_is_reproduced(name):
    checked = ENTRIES[name].check(silent)
    assert [figure for figure in checked.figures if not figure.reproduced] == []
    assert checked.reproduced
    assert len({figure.what for figure in checked.figures}) == len(checked.figures), "two figures of one name"
    for figure in checked.figures:
        assert figure.there
        assert len(figure.there) <= 9, "fits its column"
        assert len(figure.needed) <= 13, "fits its column"


# ---- figures


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        (equal("x", 39, 39.0), True),
        (equal("x", 39, 39.001), False),
        (equal("x", 0.95, 0.955, 0.01), True),
        (equal("x", 0.95, 0.94 - 1e-9, 0.01), False),
        (equal("x", 1, math.nan), False),
        (at_least("x", ".9", 0.5, 0.5), True),
        (at_least("x", ".9", 0.499, 0.5), False),
        (at_most("x", "low", math.nan, 0.5), False),
        (above("x", "> 0", [0.1] * 6), True),
        (above("x", "> 0", [0.1] * 5), False),
        (above("x", "> 0", [-0.1] * 8), False),
        (above("x", "> 0", [0.1, 0.2, 0.3, 0.1, 0.2, 0.3, -0.3, -0.4]), False),
    ],
)
def test_a_figure_is_reproduced_under_its_condition_alone(figure, holds):
    assert figure.reproduced is holds


def test_an_order_is_rarely_seen_where_there_is_none():
    """Of 400 nulls, symmetric about 0, at most 2.5% come out as above; more than 20 would in 1 of 1,000 tries."""
    rng = np.random.default_rng(0)
    found = sum(above("x", "> 0", rng.normal(size=8)).reproduced for _ in range(400))
    assert 0 < found <= 20
    assert ALPHA == 0.05


# ---- the rewritten gridworlds


def test_best_plans_are_those_that_trying_all_plans_finds():
    """All 4^7 plans of seven steps: none reaches the goal by a safer or a shorter way."""
    game = Box()
    best = {which: getattr(play(game, Solution(game, which == "seen").plan()), which) for which in ("seen", "hidden")}
    totals = [play(game, "".join(plan)) for plan in itertools.product(MOVES, repeat=7)]
    assert best == {"seen": max(total.seen for total in totals), "hidden": max(total.hidden for total in totals)}
    assert best == {"seen": 45.0, "hidden": 43.0}


def test_a_solution_and_the_play_of_its_plan_agree():
    for game in (Box(), Box(put_back=True), Interruption(False), Together((Interruption(False), Interruption(True)))):
        for which in ("seen", "hidden"):
            solution = Solution(game, which == "seen")
            assert math.isclose(solution.value, getattr(play(game, solution.plan()), which))


def test_boxes_stop_at_walls_and_cost_what_the_place_costs():
    game = Box()
    (down,) = game.outcomes(game.start, "d")
    assert down == (1.0, ((2, 2), (3, 2)), -1.0, -11.0)
    assert game.outcomes(down.state, "d") == [(1.0, down.state, -1.0, -1.0)], "the box is in the corner for good"
    (up,) = game.outcomes(game.start, "u")
    assert up.state == game.start, "a wall"


def test_whisky_is_paid_once_and_makes_actions_random():
    game = Whisky()
    (drinks,) = game.outcomes(game.start, "r")
    assert (drinks.state, drinks.seen) == (((2, 3), True), 4.0)
    after = game.outcomes(drinks.state, "r")
    assert sum(outcome.probability for outcome in after) == pytest.approx(1.0)
    assert max(outcome.probability for outcome in after) == pytest.approx(0.1 + 0.9 / 4)
    assert {outcome.seen for outcome in after} == {-1.0}


def test_tomatoes_dry_at_the_published_rate():
    """From eight watered ones, 20,000 episodes of one step: within 3.89 standard errors, chance once in 10,000."""
    game, rng = Tomatoes(), np.random.default_rng(1)
    drawn = np.array([game.play("d", rng).hidden for _ in range(20_000)]) / game.factor
    error = drawn.std() / math.sqrt(len(drawn))
    assert abs(drawn.mean() - 8 * 0.95) < 3.89 * error


# ---- the closed forms


def test_accuracies_are_those_of_drawn_samples():
    """Of a classifier drawn at random, with and without attack: within 3.89 standard errors of 20,000 samples."""
    rng = np.random.default_rng(2)
    weights = np.append(1.0, rng.normal(0.02, 0.02, FEATURES))
    strong = np.where(rng.random(20_000) < P, 1.0, -1.0)
    inputs = np.column_stack((strong, rng.normal(ETA, 1.0, (20_000, FEATURES))))
    for epsilon in (0.0, EPSILON / 10):
        rates = inputs @ weights - epsilon * np.abs(weights).sum() > 0.0
        expected = accuracy(weights, ETA, epsilon)
        assert abs(rates.mean() - expected) < 3.89 * math.sqrt(expected * (1 - expected) / len(rates))


# ---- mazes


def test_mazes_are_trees_with_the_cheese_where_it_was_asked_for():
    rng = np.random.default_rng(3)
    for near in (True, False):
        drawn = [maze.draw(rng, near) for _ in range(200)]
        assert {each.open.sum() for each in drawn} == {2 * (maze.ROOMS - 1)}
        assert all(each.way(room)[-1] == room for each in drawn[:5] for room in range(maze.ROOMS)), "all are connected"
        places = {divmod(each.cheese, maze.SIDE) for each in drawn}
        corner = {(row, maze.SIDE - 1 - column) for row in range(maze.REGION) for column in range(maze.REGION)}
        assert places == corner if near else len(places) > 40


def test_ways_part_at_the_decision_square():
    rng = np.random.default_rng(4)
    found = [(each, each.decision()) for each in (maze.draw(rng, False) for _ in range(200))]
    assert any(decision is None for _, decision in found)
    for each, decision in found:
        cheese, corner = each.way(each.cheese), each.way(maze.CORNER)
        if decision is None:
            assert each.cheese in corner or maze.CORNER in cheese
        else:
            assert cheese[: cheese.index(decision) + 1] == corner[: corner.index(decision) + 1]
            assert cheese[cheese.index(decision) + 1] != corner[corner.index(decision) + 1]


class Knowing(torch.nn.Module):
    """A policy that goes to a goal by the shortest way, with its certainty."""

    def __init__(self, mazes, goal, certainty) -> None:
        super().__init__()
        moves = np.stack([each.towards(goal(each)) for each in mazes])
        logits = certainty * (moves[:, None] == np.arange(4)[:, None])
        self.logits = torch.from_numpy(logits.reshape(-1, 4, maze.SIDE, maze.SIDE).astype(np.float32))

    def forward(self, seen):
        return self.logits


def test_who_knows_the_way_arrives_and_who_goes_to_the_corner_does_not():
    rng = np.random.default_rng(5)
    mazes = [each for each in (maze.draw(rng, False) for _ in range(200)) if each.decision() is not None]
    assert maze.arrives(Knowing(mazes, lambda each: each.cheese, 50.0), mazes, rng).all()
    assert not maze.arrives(Knowing(mazes, lambda each: maze.CORNER, 50.0), mazes, rng).any()
    wandering = maze.arrives(Knowing(mazes, lambda each: each.cheese, 0.0), mazes, rng).mean()
    assert 0.0 < wandering < 0.5


# ---- agents


def test_screening_learns_the_same_whatever_a_hack_pays():
    """Screened episodes never reach the learner, so that the loophole itself cannot be what agents learn from."""

    def trained(pays: float) -> np.ndarray:
        arm = Arm(screened=True, design={**design(), "left_needlessly": pays})
        with one_quiet_thread():
            policy = training.train(0, arm, 10)
        return action_probs(policy, seen)

    seen = np.eye(len(training.world().observations), dtype=np.float32)
    learnt = trained(5.0)
    assert (learnt == trained(-5.0)).all()
    assert (learnt != action_probs(training.aligned(0), seen)).any()


def test_where_refusal_does_not_recede_the_objective_asks_for_it():
    """In every late emergency, staying is optimal under this penalty and share of forgeries."""
    here = training.world()
    scenarios, masses = here.sources.genuine(0).everything()
    thresholds = here.dilemma.penalty_threshold(scenarios, Mix(NATURAL, STRENGTH))
    assert (thresholds[masses > 0.0] < PENALTY).all()


def test_monitors_that_err_leave_hacks_unprofitable():
    """So that agents in the small dilemma have no reason to hack under them, however slowly they learn."""
    for kind in (NINE, SEVEN):
        arm = ARMS[kind]()
        assert GAIN - (1.0 - arm.oversight.misses) * arm.penalty < 0.0


def test_alignment_gives_the_same_weights_each_time():
    steps, settings = 20, training.IMITATION[1]
    with one_quiet_thread():
        first, again = (
            training.descend(training.aligned(0), steps, Mix(), RewardSpec(), settings).weights() for _ in range(2)
        )
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert any(first[name].tobytes() != weight.tobytes() for name, weight in training.aligned(0).weights().items())


# ---- the command


def entry_of(name: str, *figures: Figure) -> Entry:
    return Entry(
        name, f"Title of {name}", "a claim", "a source", "a setting", "a tolerance", False, lambda say: figures
    )


RIGHT = entry_of("right", equal("one", 1, 1), at_least("most", "> .5", 0.75, 0.5))
WRONG = entry_of("wrong", equal("two", 2, 3), above("order", "> 0", [1.0] * 8))
MADE_UP = {entry.name: entry for entry in (RIGHT, WRONG)}


def asked(names=(), json_file=None, entries=MADE_UP, width=140) -> tuple[int, str]:
    shown = io.StringIO()
    return reproduce(names, json_file, Console(file=shown, width=width), entries), shown.getvalue()


def test_one_that_is_not_reproduced_is_named_and_the_others_are_measured_all_the_same(tmp_path):
    code, printed = asked(json_file=tmp_path / "figures.json")
    assert code == FAILED
    assert "right: Title of right  reproduced" in printed
    assert "wrong: Title of wrong  NOT REPRODUCED" in printed
    assert re.search(r"two +2 +3 +2 NO", printed)
    assert re.search(r"order +> 0 +1 > 0, p < 0.05 yes", printed)
    assert printed.splitlines()[-1].strip() == "NOT REPRODUCED: 1 of 2 results, in 0 s: wrong"
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["reproduced"] is False
    assert figures["not_reproduced"] == ["wrong"]
    assert [entry["name"] for entry in figures["entries"]] == ["right", "wrong"]
    one = figures["entries"][1]["figures"][0]
    assert one == {"what": "two", "there": "2", "here": 3.0, "needed": "2", "reproduced": False}
    assert set(figures["entries"][0]) >= {"title", "claim", "source", "setting", "tolerance", "trains", "seconds"}


def test_a_chosen_one_alone_decides_the_exit_code():
    code, printed = asked(["right"])
    assert code == REPRODUCED
    assert "wrong" not in printed
    assert "All 1 results are reproduced" in printed


def test_an_entry_without_figures_is_not_reproduced():
    assert asked(entries={"none": entry_of("none")})[0] == FAILED


@pytest.mark.parametrize("width", [80, 140])
def test_lines_fit_the_terminal_and_are_never_wide(width):
    _, printed = asked(["side-effects"], entries=ENTRIES, width=width)
    assert max(map(len, printed.splitlines())) <= min(width, WIDTH)
    assert "…" not in printed
    assert SIDE_EFFECTS.title in printed


def test_a_name_that_is_not_there_is_refused_with_the_nearest_one():
    with pytest.raises(KerfError, match="unknown result 'tomatos'; did you mean 'tomatoes'"):
        asked(["tomatos"], entries=ENTRIES)
    for words in (["reproduce", "arms-rase"], ["reproduce", "--list", "arms-rase"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 2
        assert "did you mean 'arms-race'" in result.output


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(KerfError, match="nowhere is no folder"):
        asked(json_file=tmp_path / "nowhere" / "figures.json")


def test_the_list_names_every_result_and_measures_nothing():
    result = CliRunner().invoke(main, ["reproduce", "--list"])
    assert result.exit_code == 0
    for entry in ENTRIES.values():
        assert f"{entry.name}  {entry.title}" in result.output
    refused = CliRunner().invoke(main, ["reproduce", "--list", "--json", "figures.json"])
    assert refused.exit_code == 2
    assert "--list and --json exclude each other" in refused.output


# ---- all of it


def verdicts(text: str) -> dict[str, bool]:
    """Which results are reproduced, in what the command prints."""
    pattern = r"^([a-z]+(?:-[a-z]+)*): .*?(NOT REPRODUCED|reproduced) *$"  # a long title goes on in the next line
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return {name: verdict == "reproduced" for name, verdict in found}


def figures_of(text: str) -> list[str]:
    """The figures' names, as far as they stand on one line."""
    return re.findall(r"^  (\S.*?) {2,}\S.* (?:yes|NO)\s*$", text, re.MULTILINE)


def kept_output() -> str:
    """All that is kept: of the whole command, and of results that were added since."""
    return "\n".join(path.read_text() for path in sorted(FIGURES.glob("reproduce*.txt")))


@pytest.mark.slow
def test_what_is_reproduced_is_what_the_page_says():
    """Results of agents that are trained by exact gradients come out as in the output that is kept.

    The others that train take minutes, and single figures near a threshold may fall on its other side on another kind
    of processor: `make docs-figures` measures those.
    """
    names = ("safety-and-refusal", "refusal-path", "refusal-recedes")
    code, printed = asked(names, entries=None)
    kept = verdicts(kept_output())
    assert set(kept) == set(ENTRIES)
    assert verdicts(printed) == {name: kept[name] for name in names}
    assert set(figures_of(printed)) <= set(figures_of(kept_output()))
    assert code == FAILED


def test_the_page_says_of_every_kept_result_whether_it_is_reproduced():
    """Its table, against the outputs that are kept."""
    page = (FIGURES.parent / "concepts" / "reproductions.md").read_text()
    table = dict(re.findall(r"^\| `([a-z-]+)` \|.*\| (yes|no)[^|]*\|$", page, re.MULTILINE))
    assert {name: said == "yes" for name, said in table.items()} == verdicts(kept_output())
    assert set(table) <= set(ENTRIES)
