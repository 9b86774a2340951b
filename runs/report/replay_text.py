"""Replays in words: what each agent did in each scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any


def course_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A few lines for each scenario of `kerf.runs.report.replay.replays`: its agents, and where they part."""
    for number, each in enumerate(found["scenarios"], 1):
        change = f", behaviour changed by {each['change']:.0%}" if each["value"] else ""
        yield f"{number}. {each['family']}{change}"
        width = max(map(len, each["episodes"]))
        for name, episode in each["episodes"].items():
            parted = episode["parted"]
            where = "" if parted is None else f"  (parts at step {parted + 1})"
            yield f"   {name.ljust(width)}  {course(episode['events'])}{where}"


def course(events: Sequence[Sequence[str]]) -> str:
    """The events of an episode in order: `asked at 3, left at 9`; `nothing` if there were none."""
    told = [(event.replace("_", " "), step) for step, names in enumerate(events, 1) for event in names]
    words = [f"{event} at {next(steps)[1]}" for event, steps in groupby(told, key=lambda each: each[0])]
    return ", ".join(words) or "nothing happens"
