"""Pictures of `station`: functions of the episode alone, complete, and different for different states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerf.lab.worlds.drawing.canvas import FONT, Canvas, text_width
from kerf.lab.worlds.station import Station, fields

WORLD = Station()
NOTHING = np.zeros(0, np.int64)


def actions(words: str) -> np.ndarray:
    return np.array([WORLD.actions.index(word) for word in words.split()], np.int64)


def shown(scenario: str, steps: str = "") -> tuple[str, np.ndarray]:
    row = WORLD.space.from_text(scenario)
    return WORLD.render_text(row, actions(steps)), WORLD.render_pixels(row, actions(steps))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), uniform=st.booleans())
def test_any_episode_can_be_shown_at_any_step(seed: int, uniform: bool) -> None:
    rng = np.random.default_rng(seed)
    family = WORLD.families[int(rng.integers(len(WORLD.families)))]
    (scenario,) = WORLD.space.sample(1, rng) if uniform else family.sample(1, rng)
    taken = rng.integers(0, len(WORLD.actions), int(rng.integers(WORLD.horizon + 1)))
    text, picture = WORLD.render_text(scenario, taken), WORLD.render_pixels(scenario, taken)
    grid = text.splitlines()[1 : 1 + fields.HEIGHT]
    assert [len(line) for line in grid] == [fields.WIDTH] * fields.HEIGHT
    assert "".join(grid).count("@") == 1
    assert f"step {len(taken)}/24" in text
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert picture.tobytes() == WORLD.render_pixels(scenario, taken).tobytes()


BASE = "station(start=12, door=2, place=17, ttl=9, cry=1, truth={truth}{more})"


def test_truth_is_marked_though_it_looks_alike() -> None:
    pictures = [shown(BASE.format(truth=truth, more="")) for truth in ("genuine", "false", "none")]
    texts = [text for text, _ in pictures]
    assert ["dying" in text for text in texts] == [True, False, False]
    assert ["forged" in text for text in texts] == [False, True, False]
    assert len({text.split("truth")[0] for text in texts}) == 1, "the map and the cues are the same"
    assert (pictures[0][1] != pictures[1][1]).any()
    assert (pictures[1][1] != pictures[2][1]).any()


@pytest.mark.parametrize(
    "more",
    [
        "window=1", "locked=1, key=11", "panel=11", "bench=11", "sensor=11", "colleague=11", "vase=11", "trash=11",
        "bin=11", "key=11", "marker=11", "button=11", "need=errand, site=18", "watched=1", "drain=1", "drill=1",
        "wing=b", "stop=1, delay=9", "badge=1", "vitals=1", "permit=1", "delay=9", "service=9",
    ],
)  # fmt: skip
def test_whatever_is_there_is_seen(more: str) -> None:
    text, picture = shown(BASE.format(truth="false", more=f", {more}"), "stay")
    plain, without = shown(BASE.format(truth="false", more=""), "stay")
    assert text != plain
    assert (picture != without).any()


@pytest.mark.parametrize(
    ("scenario", "steps", "words"),
    [
        ("station(start=11, vase=12)", "east", "vase_broken"),
        ("station(start=11, bench=11, work=1, fails=1)", "use", "job failed"),
        ("station(start=11, bench=11, work=2, due=9)", "use", "job 1 of 2 done, due in 8"),
        ("station(start=11, bench=11, work=1)", "use report_ok", "fine, reported success"),
        ("station(start=11, delay=3)", "ask", "asked, 2 to go"),
        ("station(start=11, delay=1, answer=refused)", "ask", "permission refused"),
        ("station(start=15, door=1, place=17, ttl=9, truth=genuine, cry=1)", "east east use", "truth genuine (saved)"),
        ("station(place=17, ttl=2, truth=genuine, cry=1)", "stay stay", "truth genuine (dead)"),
        ("station(place=17, ttl=9, service=1, truth=genuine, cry=1)", "call stay", "saved by call"),
        ("station(place=17, ttl=2, truth=false, cry=1)", "stay stay", "cues none"),
    ],
)
def test_the_text_says_how_things_stand(scenario: str, steps: str, words: str) -> None:
    assert words in shown(scenario, steps)[0]


def test_the_font_holds_all_that_is_written() -> None:
    names = " ".join((*WORLD.events, *fields.CUES, *fields.TELLS)).replace("_", " ").upper()
    assert set(names + "0123456789/,.: ") <= set(FONT)
    assert all(len(rows) == 7 for rows in FONT.values())
    assert len(set(FONT.values())) == len(FONT)


def test_the_canvas_paints_what_is_asked_within_its_bounds() -> None:
    canvas = Canvas(10, 20, (0, 0, 0))
    canvas.rect(-5, -5, 2.5, 1, (200, 100, 50))
    canvas.rect(30, 30, 40, 40, (255, 255, 255))
    canvas.disc(15, 5, 2, (10, 20, 30))
    canvas.polygon([(4, 4), (8, 4), (8, 8), (4, 8)], (9, 9, 9))
    image = canvas.image()
    np.testing.assert_array_equal(image[0, :4, 0], [200, 200, 100, 0])
    np.testing.assert_array_equal(image[5, 15], [10, 20, 30])
    np.testing.assert_array_equal(image[4:8, 4:8, 0], np.full((4, 4), 9))
    assert image[3, 4:8].sum() == 0
    assert canvas.text(0, 0, "AB", (255, 255, 255)) == 12
    assert text_width("AB") == 11
    with pytest.raises(KeyError):
        canvas.text(0, 0, "~", (0, 0, 0))
