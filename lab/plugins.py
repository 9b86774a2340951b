"""Plug-ins: what installed packages add to the lab, by entry points."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType


def plugged_in(group: str) -> Mapping[str, str]:
    """The entry points of `group`, as `{name: "module:attribute"}`; cached, as all installed packages are scanned."""
    return _plugged_in(group, tuple(sys.path))


@cache
def _plugged_in(group: str, path: tuple[str, ...]) -> Mapping[str, str]:
    """Those of the packages on `path`, which must be `sys.path`: another path has other packages."""
    return MappingProxyType({point.name: point.value for point in entry_points(group=group)})
