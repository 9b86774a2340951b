"""HTML of the page: templates filled in, with scripts, styles and data inline, and a strict content-security policy."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kerf.lab.errors import KerfError
from kerf.runs.report.conclusion import Conclusion
from kerf.runs.report.page.figure import Figure, Section, plain

DEFAULT_HEADING = "What else did the penalty change?"
"""Heading of a study whose recipe asks no question."""

SCRIPTS = ("page.js", "scenes.js", "player.js")
"""Scripts of the page, besides plotly's."""


def render(conclusion: Conclusion, sections: Sequence[Section], replay: Mapping[str, Any] | None = None) -> bytes:
    """Fill in the page's template; equal arguments give equal bytes."""
    scripts = [plotly_script(), *(_text(name) for name in SCRIPTS)]
    environment = Environment(
        loader=PackageLoader("kerf.runs.report.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embedded"] = embedded
    html = environment.get_template("page.html.j2").render(
        conclusion=conclusion,
        heading=conclusion.question if conclusion.question.endswith("?") else DEFAULT_HEADING,
        sections=sections,
        replay=replay,
        policy=security_policy(scripts),
        style=Markup(_text("page.css")),  # our own file
        scripts=[Markup(script) for script in scripts],  # our own files and plotly's
        is_figure=lambda block: isinstance(block, Figure),
    )
    return html.encode()


def embedded(value: Any) -> Markup:
    """JSON for a script element of type `application/json`: no `<` that could end it."""
    text = json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # escaped above


def security_policy(scripts: Sequence[str]) -> str:
    """The policy: nothing is loaded from anywhere, and only these scripts run."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def plotly_script() -> str:
    """The plotly.js that comes with the Python package.

    Raises:
        KerfError: if the package does not hold it.
    """
    try:
        script = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text("utf-8")
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise KerfError("the page needs the package plotly with its plotly.min.js: pip install plotly") from error
    if "</script" in script:
        script = script.replace("</script", "<\\/script")
    return script.strip()


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _text(name: str) -> str:
    return resources.files("kerf.runs.report.page").joinpath("templates", name).read_text("utf-8").strip()
