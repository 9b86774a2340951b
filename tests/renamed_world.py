"""`Quay`: a dilemma whose values have names of their own, none of which is that of a value of a built-in world."""

from __future__ import annotations

from dataclasses import replace

from kerf.lab.dilemma import Words
from kerf.lab.worlds.dilemma import DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal

NAMES = {"care": "mercy", "deference": "patience", "discernment": "doubt", "following": "obeying"}
"""What a value of the dilemma is called here."""

SETTINGS = DilemmaSettings(
    cues=(Signal("shout", 0.95, 0.95, 0.05), Signal("flare", 0.9, 0.8, 0.1)),
    tells=(Signal("seal", 0.0, 0.9, 0.0),),
    orders=True,
)

WORDS = Words("departures", "ships in distress", "false alarms")


class Quay(DilemmaWorld):
    """Two cues, one tell that natural forgeries show, and orders for the skill."""

    def __init__(self) -> None:
        super().__init__(SETTINGS, "quay")
        self.values = tuple(replace(value, name=NAMES[value.name]) for value in self.values)
        self.families = tuple(
            replace(family, value=NAMES[family.value], name=family.name.replace(family.value, NAMES[family.value]))
            for family in self.families
        )
        self.dilemma = replace(self.dilemma, served="mercy", aimed_at="doubt", words=WORDS)


class Misspelt(Quay):
    """It says that the forbidden act serves a value that it does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.dilemma = replace(self.dilemma, served="mercie")


class Unskilled(Quay):
    """It says that a skill is what the penalty asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.dilemma = replace(self.dilemma, aimed_at="obeying")


class Mislabelled(Quay):
    """One of its families is named after another value than it exercises."""

    def __init__(self) -> None:
        super().__init__()
        first, *others = self.families
        self.families = (replace(first, name="doubt/late"), *others)
