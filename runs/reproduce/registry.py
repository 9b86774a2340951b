"""Registry of the published results that `kerf reproduce` measures."""

from __future__ import annotations

from collections.abc import Mapping

from kerf.runs.reproduce.coins import CURE, LOTTERY
from kerf.runs.reproduce.demonstrations import INTERRUPTIBILITY, SIDE_EFFECTS, TOMATOES, WHISKY
from kerf.runs.reproduce.endgame import ENDGAME
from kerf.runs.reproduce.entry import Entry
from kerf.runs.reproduce.gaussian import GAUSSIAN
from kerf.runs.reproduce.maze import MAZE
from kerf.runs.reproduce.monitors import ANCHORS, LADDER
from kerf.runs.reproduce.race import RACE
from kerf.runs.reproduce.refusal import PATH, POPULATION, RECOVERY
from kerf.runs.reproduce.scripted import ABSENT, BOAT

ENTRIES: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        SIDE_EFFECTS,
        WHISKY,
        INTERRUPTIBILITY,
        TOMATOES,
        ABSENT,
        BOAT,
        ENDGAME,
        GAUSSIAN,
        LADDER,
        ANCHORS,
        RACE,
        POPULATION,
        PATH,
        RECOVERY,
        MAZE,
        CURE,
        LOTTERY,
    )
}
"""All entries by name, in the order in which they are measured."""
