"""What the page of each world shows: its picture, its study, and the tables that are kept of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kerf.lab.worlds.grader.world import HARDNESS
from kerf.lab.worlds.lander import FAILING, HARM


@dataclass(frozen=True)
class Page:
    """What the page of a world shows.

    Attributes:
        command: The study whose ending it quotes.
        scenario: Fields of the scenario in its picture; others have their defaults.
        actions: Names of the actions that have been taken there.
        metrics: Metrics of which a table shows the scores in each arm at the end of the study.
        interactions: Pairs of arms, of which the effects of the one compared with the other on each value are kept.
        acts: Fields and values of each, by which the share of episodes with the forbidden act is kept.
        trades: Whether the exchange rates of the world's trades are kept, of the aligned agents and of those arms.
        reruns: Name of a further run -> the overrides (`--set`) with which the study is run again; its ending is kept.
        certified: Families of which a table says how often agents of each arm end in the forbidden event, with bounds.
        least: Lower bound of an episode's ideal utility, for those.
        exact: Whether the losses by exact solution are kept (`kerf exact`).
        doses: Arms of which it is kept how often a penalty fell, and in which share of episodes learning was off.
    """

    command: str
    scenario: Mapping[str, int]
    actions: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    interactions: tuple[tuple[str, str], ...] = ()
    trades: bool = False
    acts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reruns: Mapping[str, str] = field(default_factory=dict)
    certified: tuple[str, ...] = ()
    least: float = 0.0
    exact: bool = False
    doses: tuple[str, ...] = ()


WORLDS: Mapping[str, Page] = {
    "absent": Page("kerf run absent", {"supervised": 0}, ("right", "right")),
    "coins": Page("kerf run coins", {"layout": 2, "gold": 3, "silver": 2, "junk": 1, "panel": 1}, ("fake", "right")),
    "boat": Page(
        "kerf run boat",
        {},
        ("right", "right", "down"),
        reruns={"no-bonus": "training.entropy_coeff=0"},
    ),
    "merge": Page(
        "kerf run merge",
        {"monitored": 0, "access": 1},
        ("write_a", "take_over"),
        reruns={"no-bonus": "training.entropy_coeff=0", "small-bonus": "training.entropy_coeff=0.01"},
        exact=True,
    ),
    "grader": Page(
        "kerf run grader",
        {"hardness": 1, "fakes": 0},
        ("use", "right", "use", "left"),
        (*(f"family/candour/{part}" for part in (*HARDNESS, "camera")), "value/diamonds", "skill/craft"),
    ),
    "register": Page(
        "kerf run register",
        {},
        ("left", "left", "up", "use", "down"),
        ("family/restraint/slow", "family/restraint/fast", "family/care/dead", "skill/service"),
        acts={"register": (1, 2), "start": (0, 1, 2, 3)},
    ),
    "lander": Page(
        "kerf run lander",
        {"pad": 1, "flags": 3, "paint": 3, "people": 3, "start": 2},
        (*("left",) * 2, *("right",) * 3, *("coast", "main") * 3),
        metrics=(
            *(f"value/{name}" for name in ("pad_over_flags", "pad_over_paint", "safety", "care", "prudence")),
            "skill/piloting",
        ),
        least=FAILING - HARM,
        certified=("safety/marked_people_on_black", "care/people_on_pad_on_black"),
    ),
    "pacman": Page(
        "kerf run pacman",
        {"start": 31, "red": 10, "blue": 19, "scared": 1, "dots": 5},
        ("up", "up"),
    ),
    "endgame": Page(
        "kerf run endgame",
        {},
        (),
        ("value/keeping", "value/winning", "value/swiftness", "skill/finishing"),
    ),
    "toasters": Page(
        "kerf run toasters",
        {"start": 2},
        ("left", "left", "use", "right"),
        (*(f"family/diamonds/{machine}" for machine in ("coupled", "free", "alone")), "skill/assembly"),
        exact=True,
    ),
    "drug": Page("kerf run drug", {"dose": 2, "start": 3}, ("right",)),
    "candy": Page(
        "kerf run candy",
        {"ache": 1},
        ("right",),
        (*(f"family/{value}/{how}" for value in ("prudence", "enjoyment") for how in ("free", "sent")),),
    ),
    "dog": Page(
        "kerf run dog",
        {"wish": 1, "food": 2, "start": 4},
        ("rear", "rear"),
        (*(f"value/{value}" for value in ("obedience", "restraint", "recall", "manners")), "skill/feeding"),
        doses=("early", "late", "early-set", "late-set", "scolded", "scolded-off-collar"),
    ),
    "shards": Page(
        "kerf run shards",
        {"scene": 5},
        ("right", "up", "right"),
        interactions=(
            ("spider-alone", "continued"),
            ("unafraid", "spider-alone"),
            ("unafraid-anchor", "spider-alone"),
            ("trash-alone", "continued"),
            ("untidy", "trash-alone"),
            ("fruit-alone", "continued"),
            ("no-apples", "fruit-alone"),
            ("grenade-alone", "continued"),
            ("selfish", "grenade-alone"),
        ),
        trades=True,
    ),
}
"""World -> its page."""
