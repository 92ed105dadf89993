"""Which paths questions have, by their schemas: what a policy reads anywhere else is never there, and never denies."""

import difflib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from broker.authz.validation import ENTRY_POINTS, schema

Node = dict[str, Any]


def never_there(path: tuple[str, ...]) -> str:
    """Why no question has this path (`operation`, `write`), with what was perhaps meant; "" if one has."""
    nodes = _questions()
    for place, step in enumerate(path):
        steps = [each for node in nodes for each in _alternatives(node)]
        if any(_is_open(each) for each in steps):
            return ""
        known = sorted({name for each in steps for name in each.get("properties", {})})
        if step not in known:
            meant = difflib.get_close_matches(step, known, 1)
            hint = f" (did you mean {'.'.join(('input', *path[:place], *meant))}?)" if meant else ""
            return f"input.{'.'.join(path[: place + 1])} is never there{hint}"
        nodes = tuple(each["properties"][step] for each in steps if step in each.get("properties", {}))
    return ""


@lru_cache(1)
def _questions() -> tuple[Node, ...]:
    return tuple(schema(entry_point.value) for entry_point in ENTRY_POINTS)


@lru_cache(1)
def _definitions() -> Node:
    definitions: Node = schema("definitions")["$defs"]
    return definitions


def _alternatives(node: Node) -> Iterator[Node]:
    """What a value may be, references followed."""
    if "$ref" in node:
        yield from _alternatives(_definitions()[node["$ref"].rpartition("/")[2]])
        return
    several = [each for word in ("anyOf", "oneOf", "allOf") for each in node.get(word, ())]
    for each in several:
        yield from _alternatives(each)
    if not several or "properties" in node:
        yield node


def _is_open(node: Node) -> bool:
    """Whether it may have members of any name."""
    return node.get("type", "object") == "object" and node.get("additionalProperties", True) is not False
