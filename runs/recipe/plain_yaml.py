"""Reader of the subset of YAML that recipes use: mappings, lists and plain values. Anything else is refused.

Scalars follow the core schema of YAML 1.2, not PyYAML's default (1.1): `1e-3` is a number, `no` and `2024-01-01` are
text, `010` is ten. Tags, anchors, aliases, duplicate keys, keys that are not text, and input that is too large or too
deeply nested are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from kerf.lab.errors import KerfError

MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 32
MAX_DIGITS = 18

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class _Reader(yaml.SafeLoader):
    """PyYAML's loader with the resolvers of the core schema, which are added below the class."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's API

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(None, None, "keys must be names", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Do nothing: `<<` is an ordinary key, not a merge key."""

    def construct_number(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MAX_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, f"a whole number may have at most {MAX_DIGITS} digits", node.start_mark
            )
        return int(node.value)


for _tag, _pattern in (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("float", _FLOAT)):
    _Reader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern.pattern})\\Z"), None)
_Reader.add_constructor("tag:yaml.org,2002:int", _Reader.construct_number)


def parse(text: str, where: str) -> Any:
    """Parse `text` into nested values: dict, list, str, float, int, bool or None.

    Args:
        text: YAML.
        where: Name of the source in error messages, e.g. the file's name.

    Raises:
        KerfError: if it is not YAML or not in the subset; names line and column where known.
    """
    if len(text) > MAX_BYTES:
        raise KerfError(f"{where} is larger than {MAX_BYTES} bytes: that is no recipe")
    try:
        _refuse_more_than_plain(text, where)
        value = yaml.load(text, Loader=_Reader)
        "".join(_texts(value)).encode()  # lone surrogates ("\\ud800") can be parsed but not encoded
    except yaml.MarkedYAMLError as error:
        at = _place(error.problem_mark or error.context_mark)
        raise KerfError(f"{where}{at}: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        raise KerfError(f"{where}: the character U+{error.character:04X} is not allowed in YAML") from error
    except (ValueError, OverflowError) as error:  # "\\UFFFFFFFF": PyYAML passes it to chr()
        raise KerfError(f"{where}: an escape in a quoted text is not a character") from error
    return value


def _place(mark: Any) -> str:
    """Return line and column of a PyYAML mark (of either class) as text; empty for None."""
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _refuse_more_than_plain(text: str, where: str) -> None:
    """Check the parser's events before values are built, so that malicious input cannot exhaust memory."""
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=_Reader):
        at = where + _place(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            raise KerfError(f"{at}: aliases (*{event.anchor}) are not allowed; write the value out")
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if event.anchor is not None:
                raise KerfError(f"{at}: anchors (&{event.anchor}) are not allowed; write the value out at each use")
            tag = getattr(event, "tag", None)
            if tag is not None:
                short = tag.replace("tag:yaml.org,2002:", "!!")
                raise KerfError(f"{at}: tags ({short}) are not allowed; a recipe holds plain values only")
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if documents > 1:
            raise KerfError(f"{at}: expected one document, got a second one")
        if depth > MAX_DEPTH:
            raise KerfError(f"{at}: nested more than {MAX_DEPTH} deep: that is no recipe")
        if nodes > MAX_NODES:
            raise KerfError(f"{at}: more than {MAX_NODES} entries: that is no recipe")


def _texts(value: Any) -> Iterator[str]:
    """Yield every string in `value`, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
