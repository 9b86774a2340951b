"""Figures in the documentation: each line of a quoted table is one that its command printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "docs" / "figures"
DIGESTS = json.loads((FIGURES / "digests.json").read_text())

QUOTED = re.compile(r"`(kerf run [^`]*)`\s+printed[^`]*```\n(.*?)```", re.DOTALL)
"""A command in a sentence that says `printed`, and the block that follows."""

PAGES = ("README.md", "docs/guides/reading-the-table.md", "docs/findings.md")


def lines(text: str) -> set[str]:
    """Lines without the blanks by which columns are set, and without rules between rows."""
    return {" ".join(line.split()) for line in text.splitlines() if line.strip(" ─")}


def quotes() -> list[tuple[str, str, str]]:
    """Page, command and block of every quoted output of a study."""
    return [(page, *found) for page in PAGES for found in QUOTED.findall((ROOT / page).read_text())]


@pytest.mark.parametrize(("page", "command", "block"), quotes(), ids=lambda value: str(value)[:40])
def test_what_a_page_quotes_is_what_its_command_printed(page: str, command: str, block: str) -> None:
    (name,) = [name for name, made in DIGESTS.items() if made["command"] == command]
    printed = lines((FIGURES / f"{name}.txt").read_text())
    assert lines(block) - {"[...]"} <= printed, page


def test_both_pages_quote_the_main_study() -> None:
    assert [page for page, _, _ in quotes()][:2] == ["README.md", "docs/guides/reading-the-table.md"]


def test_the_simulated_rates_of_verdicts_stand_in_the_documentation_as_they_came_out() -> None:
    rates = (FIGURES / "decision-rates.md").read_text().strip()
    assert rates in (ROOT / "docs" / "concepts" / "statistics.md").read_text()
