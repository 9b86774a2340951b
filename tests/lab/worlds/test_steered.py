"""Steered planners against closed forms, over grids of lines."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from kerf.lab.errors import KerfError
from kerf.lab.worlds.steered import Kind, Line, live

GRID = [(to_work, to_drug, signal) for to_work, to_drug, signal in product((1, 2, 4), (1, 3, 4), (0.83, 1.37, 2.11))]
"""Signals that make no two ways equally good."""


def took(kind: Kind, line: Line) -> bool:
    return live(kind, line).drug > 0


def work_and_doses(line: Line) -> tuple[int, int]:
    """W and E: steps of work, and doses, of whoever goes there at once."""
    return line.horizon - line.to_work + 1, line.horizon - line.to_drug + 1


@pytest.mark.parametrize(("to_work", "to_drug", "signal"), GRID)
def test_a_hedonist_goes_where_the_hook_pays_more(to_work: int, to_drug: int, signal: float) -> None:
    line = Line(to_work, to_drug, signal=signal)
    work, doses = work_and_doses(line)
    life = live(Kind.HEDONIST, line)
    assert (life.work, life.drug) == ((0, doses) if signal * doses > work else (work, 0))
    assert life.signals == pytest.approx(max(signal * doses, work))


@pytest.mark.parametrize(("to_work", "to_drug", "signal"), GRID)
def test_an_avoider_is_steered_by_the_thought_of_the_drug_and_not_by_an_act(
    to_work: int, to_drug: int, signal: float
) -> None:
    assert not took(Kind.AVOIDER, Line(to_work, to_drug, signal=signal))
    for sight in range(6):
        line = Line(to_work, to_drug, signal=signal, sight=sight)
        work, doses = work_and_doses(line)
        assert took(Kind.AVOIDER, line) == (sight >= to_drug and signal * doses > work), sight


@pytest.mark.parametrize("sight", [None, 6])
def test_the_corrigible_planner_takes_what_is_intended_and_nothing_else(sight: int | None) -> None:
    assert took(Kind.CORRIGIBLE, Line(intended=True, sight=sight))
    assert not took(Kind.CORRIGIBLE, Line(intended=False, sight=sight))
    assert [took(Kind.HEDONIST, Line(intended=intended)) for intended in (False, True)] == [True, True]
    assert [took(Kind.AVOIDER, Line(intended=intended)) for intended in (False, True)] == [False, False]


@pytest.mark.parametrize(("to_work", "to_drug"), [(2, 1), (4, 1), (4, 3), (1, 2), (2, 4)])
def test_who_foresees_its_change_takes_a_treat_last_and_who_does_not_takes_it_first(to_work: int, to_drug: int) -> None:
    """On the way to work a treat costs 2 e steps, at the end d + e: nothing then is left to do with other goals."""
    for treat in np.arange(0.5, 14.0, 2.0):
        line = Line(to_work, to_drug, signal=3.0, treat=float(treat))
        work, doses = work_and_doses(line)
        first, last = (0, doses), (work - to_work - to_drug, 1)  # steps of work, and doses
        naive, avoider = live(Kind.NAIVE, line), live(Kind.AVOIDER, line)
        sooner = first if to_drug < to_work else last
        worth_it = treat > min(2 * to_drug, to_work + to_drug)
        assert (naive.work, naive.drug) == (sooner if worth_it else (work, 0)), treat
        assert (avoider.work, avoider.drug) == (last if treat > to_work + to_drug else (work, 0)), treat


def test_an_avoider_takes_a_treat_at_once_where_the_drug_does_not_hold_it() -> None:
    """With a signal below what work pays, its goals change, and what it does afterwards does not."""
    line = Line(to_work=4, to_drug=1, signal=0.3, treat=2.5)
    life = live(Kind.AVOIDER, line)
    assert life.cells[1] == line.drug
    assert (life.drug, life.work) == (1, line.horizon - 2 * line.to_drug - line.to_work + 1)
    assert not took(Kind.AVOIDER, Line(to_work=4, to_drug=1, signal=3.0, treat=2.5))


def test_wanting_moves_a_share_of_the_way_to_the_signal_at_each_dose() -> None:
    line = Line(signal=2.0, taste=0.5, rate=0.25)
    np.testing.assert_allclose(line.wanting(np.arange(4)), 2.0 - 1.5 * 0.75 ** np.arange(4))


def test_thoughts_count_as_doses_while_the_drug_is_in_sight() -> None:
    """A hook that moves wanting by a tenth a thought holds a planner that stands still long enough to be turned."""
    slow = Line(to_work=6, to_drug=2, horizon=30, signal=5.0, rate=0.1, sight=3)
    life = live(Kind.AVOIDER, slow)
    steered = [later - earlier for earlier, later in zip(life.doses, life.doses[1:], strict=False)]
    seen = [slow.drug - cell <= 3 for cell in life.cells[:-1]]
    at_drug = [cell == slow.drug for cell in life.cells[1:]]
    assert steered == [int(thought) + int(dose) for thought, dose in zip(seen, at_drug, strict=True)]
    assert sum(steered) > 0


@pytest.mark.parametrize("bad", [{"to_work": 0}, {"to_drug": 0}, {"horizon": 0}, {"rate": 1.5}])
def test_lines_that_make_no_sense_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(KerfError, match="must be"):
        Line(**bad)


TABLE = {
    Kind.AVOIDER: ((10, 0), (0, 10), (0, 10)),
    Kind.HEDONIST: ((0, 10), (0, 10), (0, 10)),
    Kind.CORRIGIBLE: ((10, 0), (10, 0), (0, 10)),
}
"""Steps of work and doses: steered by act; by imagination; by imagination, where the dose is intended."""


@pytest.mark.parametrize("kind", TABLE)
def test_the_table_of_three_planners(kind: Kind) -> None:
    lines = (Line(), Line(sight=3), Line(sight=3, intended=True))
    assert tuple((life.work, life.drug) for life in (live(kind, line) for line in lines)) == TABLE[kind]
