"""Build hook of the site: refuses a page that would fetch something from another host."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError

FETCHED = re.compile(r"""<(?:script|img|iframe|source|link)\b[^>]*?\s(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")
"""Tags that a browser follows by itself. What a reader must click is no matter."""


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Return `output`, the HTML of `page`, unchanged.

    Raises:
        PluginError: if a browser would fetch something from another host for it; names the first address.
    """
    if found := FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} would fetch {found[1]} from another host: keep it in docs/ instead")
    return output
