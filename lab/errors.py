"""`KerfError`, for mistakes that the user can mend: shown as a sentence, never as a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

MANY = 40
"""The most names that a message lists; of more it lists only the nearest `FEW`."""

FEW = 8
"""See above."""


class KerfError(Exception):
    """A mistake in the user's input. The message names the field, what was expected and what was given."""


def unknown_name(
    kind: str, name: str, known: Iterable[str], renamed: Mapping[str, str] = MappingProxyType({})
) -> KerfError:
    """The error for a misspelt `name`: lists the known names (of many only the nearest) and proposes the nearest.

    Args:
        kind: What it names, in words.
        name: As it was given.
        known: The names that there are.
        renamed: Names of earlier versions, with their present ones.
    """
    if name in renamed:
        return KerfError(f"unknown {kind} {name!r}: it is called {renamed[name]} now")
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = names
    if len(names) > MANY:
        listed = [*sorted(difflib.get_close_matches(name, names, n=FEW, cutoff=0.0)), f"and {len(names) - FEW} more"]
    return KerfError(f"unknown {kind} {name!r}{hint} (known: {', '.join(listed)})")


class Interrupted(KeyboardInterrupt):
    """A signal asks the command to end. Like Ctrl-C, it is no `Exception`.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
