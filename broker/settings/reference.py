"""The reference pages of settings and inventory, generated from the models so that they cannot differ from them."""

from collections.abc import Iterator, Mapping
from typing import Any

from broker.settings.action_class_file import DATA_NAME, FILE_NAME, ActionClassFile
from broker.settings.broker_file import Settings
from broker.settings.fields import Section
from broker.settings.inventory_file import InventoryFile

_Schema = Mapping[str, Any]

INTRODUCTIONS = {
    "settings": (
        "# Settings\n\n"
        "One YAML file. Unknown keys are errors, relative paths continue from the file's folder, and secrets are only "
        "ever named as files (`…_file`), which other users of the machine must not be able to read. "
        "`otbroker config check FILE` names every problem with file, line and column; `otbroker config show` prints "
        "the effective values and where each came from.\n"
    ),
    "inventory": (
        "# Inventory\n\n"
        "A folder of `*.yaml` files. Each may contain any of the lists below; together they are the inventory. "
        "Ids are lower-case letters, digits and hyphens, at most 63. Numbers are read as exact decimals. "
        "See [how to write an inventory](../how-to/inventory.md).\n"
    ),
    "bacnet-actions": (
        f"## Rules of your own\n\n"
        f"A file `{FILE_NAME}` in the folder of the policies. Its rules stand in front of those above, and belong to "
        "the policy: they come into force, are recorded and are archived with its revision, and policies see them as "
        f"`data.{DATA_NAME}`.\n"
    ),
}
_MODELS: Mapping[str, type[Section]] = {
    "settings": Settings,
    "inventory": InventoryFile,
    "bacnet-actions": ActionClassFile,
}


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of `settings`, of a file of the `inventory`, or of `bacnet-actions` beside policies."""
    schema = _MODELS[kind].model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def markdown(kind: str) -> str:
    """The reference page of one of these."""
    schema = json_schema(kind)
    sections = [INTRODUCTIONS[kind], *(_section(schema, path, part) for path, part in _sections(schema))]
    return "\n".join(sections)


def _sections(schema: _Schema) -> Iterator[tuple[str, _Schema]]:
    """Every mapping with the path it stands at, each kind of mapping once."""
    waiting, seen = [("", schema)], set()
    while waiting:
        path, part = waiting.pop(0)
        if path:
            seen.add(part["title"])
        yield path, part
        inner = [found for key, value in part["properties"].items() for found in _inside(schema, f"{path}{key}", value)]
        fresh = [(place, found) for place, found in inner if found["title"] not in seen]
        seen.update(found["title"] for _, found in fresh)
        waiting[:0] = fresh


def _inside(schema: _Schema, path: str, value: _Schema) -> Iterator[tuple[str, _Schema]]:
    if "$ref" in value:
        part = schema["$defs"][value["$ref"].rpartition("/")[2]]
        if "properties" in part:
            yield f"{path}.", part
    elif "items" in value:
        yield from _inside(schema, f"{path}[]", value["items"])
    for choice in (*value.get("anyOf", ()), *value.get("oneOf", ())):
        yield from _inside(schema, path, choice)


def _section(schema: _Schema, path: str, part: _Schema) -> str:
    kind = next((value["const"] for value in part["properties"].values() if "const" in value), "")
    title = path.rstrip(".") + (f" ({kind})" if kind else "")
    head = f"## {title}\n\n" if path else ""
    lines = [f"{head}{part.get('description', '')}\n", "| key | what | default |", "|---|---|---|"]
    required = part.get("required", ())
    for key, value in part["properties"].items():
        what = f"{value.get('description', '')} {_form(schema, value)}".strip()
        default = "**required**" if key in required else _default(value)
        lines.append(f"| `{key}` | {what.replace('|', '&#124;')} | {default} |")
    return "\n".join(lines) + "\n"


def _default(value: _Schema) -> str:
    default = value.get("default")
    if default in (None, "", [], {}) or isinstance(default, dict):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return ", ".join(f"`{item}`" for item in default) if isinstance(default, list) else f"`{default}`"


def _form(schema: _Schema, value: _Schema) -> str:
    """What may be written, in parentheses; nothing for mappings, which have their own table."""
    while "$ref" in value:
        value = schema["$defs"][value["$ref"].rpartition("/")[2]]
    if "properties" in value or "const" in value or "oneOf" in value:
        return ""
    if "enum" in value:
        return "(" + ", ".join(f"`{word}`" for word in value["enum"]) + ")"
    if "anyOf" in value:
        return next((_form(schema, choice) for choice in value["anyOf"] if choice.get("type") != "null"), "")
    if value.get("type") == "array":
        inner = _form(schema, value.get("items", {})).strip("()")
        return f"(list of {inner})" if inner else "(list)"
    return _plain_form(value)


def _plain_form(value: _Schema) -> str:
    kind = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "object": "mapping"}
    name = value.get("format") or kind.get(str(value.get("type")), "text")
    low, high = value.get("minimum"), value.get("maximum")
    above = value.get("exclusiveMinimum")
    bounds = [f"from {low}"] if low is not None else [f"above {above}"] if above is not None else []
    bounds += [f"to {high}"] if high is not None else []
    return f"({' '.join((name, *bounds))})"
