"""Pydantic's findings in words that a plant engineer understands."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from broker.settings.findings import Finding, did_you_mean

_KINDS = {
    "int": "must be a whole number",
    "decimal": "must be a decimal number, such as 0.1",
    "float": "must be a number",
    "bool": "must be true or false",
    "string": "must be text",
    "finite": "must be a finite number",
    "dict": "must be a mapping (lines of 'key: value')",
    "model": "must be a mapping (lines of 'key: value')",
    "tuple": "must be a list (lines that begin with '- ', or [a, b])",
}
_LIMITS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be greater than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
    "string_too_long": ("max_length", "is too long; characters at most:"),
    "string_too_short": ("min_length", "is too short; characters at least:"),
    "too_long": ("max_length", "has too many entries; at most:"),
    "too_short": ("min_length", "has too few entries; at least:"),
    "decimal_max_digits": ("max_digits", "has too many digits; at most:"),
    "decimal_max_places": ("decimal_places", "has too many decimal places; at most:"),
    "decimal_whole_digits": ("whole_digits", "has too many digits before the point; at most:"),
}
_FORMATS = {
    "id": ("must be lower-case letters, digits and hyphens, at most 63", "such as ahu-1"),
    "site/device": ("must name a device as site/device", "such as plant/ahu-1"),
}


def findings_of(errors: Sequence[ErrorDetails], schema: Mapping[str, Any]) -> Iterator[Finding]:
    """All errors of one validation as findings; `schema` is the JSON Schema of the validated model.

    A list of which an entry could not be read is not also called too short.
    """
    broken = {error["loc"][:-1] for error in errors}
    for error in errors:
        if error["type"] != "too_short" or error["loc"] not in broken:
            yield _finding_of(error, schema)


def _finding_of(error: ErrorDetails, schema: Mapping[str, Any]) -> Finding:
    path, kind, context = error["loc"], error["type"], error.get("ctx", {})
    name = _name(path)
    if kind == "missing":
        return Finding(path[:-1], f"{name} is missing", _what(schema, path))
    if kind == "extra_forbidden":
        known = _known_keys(schema, path[:-1])
        return Finding(path, f"unknown key {name}", did_you_mean(str(path[-1]), known), at_key=True)
    if path and path[-1] == "[key]":
        message = f"the key {_name(path[:-1])} cannot be used here"
        return Finding(path[:-1], message, _key_hint(kind, context), at_key=True)
    if error["input"] is None:
        return Finding(path, f"{name} has no value", _what(schema, path))
    return _value_finding(path, name, kind, context, error, schema)


def _value_finding(
    path: tuple[str | int, ...],
    name: str,
    kind: str,
    context: Mapping[str, Any],
    error: ErrorDetails,
    schema: Mapping[str, Any],
) -> Finding:
    shown = _shown(error["input"])
    if kind == "value_error":
        return Finding(path, f"{name}{shown}: {context['error']}" if shown else str(context["error"]))
    if kind in ("enum", "literal_error"):
        return _choice_finding(path, str(error["input"]), str(context["expected"]).replace(" or ", ", "))
    if kind == "union_tag_invalid":
        key = str(context["discriminator"]).strip("'")
        return _choice_finding((*path, key), str(context["tag"]), str(context["expected_tags"]))
    if kind == "union_tag_not_found":
        key = str(context["discriminator"]).strip("'")
        return Finding(path, f"'{key}' is missing", "it says which other keys belong here")
    if kind == "string_pattern_mismatch":
        message, hint = _FORMATS.get(str(_at(schema, path).get("format")), ("is not of the right form", ""))
        return Finding(path, f"{name}{shown} {message}", hint or _what(schema, path))
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return Finding(path, f"{name}{shown} {words} {context[key]}")
    family = kind.partition("_")[0]
    return Finding(path, f"{name}{shown} {_KINDS.get(family, 'cannot be used: ' + error['msg'])}", _what(schema, path))


def _choice_finding(path: tuple[str | int, ...], given: str, expected: str) -> Finding:
    choices = [word.strip("' ") for word in expected.split(",")]
    message = f"{_name(path)}{_shown(given)} is not one of {', '.join(choices)}"
    return Finding(path, message, did_you_mean(given, choices))


def _key_hint(kind: str, context: Mapping[str, Any]) -> str:
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"it {words} {context[key]}"
    return _KINDS.get(kind.partition("_")[0], "it is not of the right form").replace("must", "it must")


def _name(path: tuple[str | int, ...]) -> str:
    """The last key of a path, with the place in its list if that is what is meant."""
    if path and isinstance(path[-1], int):
        return f"entry {path[-1] + 1} of {_name(path[:-1])}"
    return f"'{path[-1]}'" if path else "the file"


def _shown(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return f" '{value}'" if len(value) <= 60 else f" '{value[:57]}…'"


def _what(schema: Mapping[str, Any], path: tuple[str | int, ...]) -> str:
    """What belongs at a path, from the model's own documentation."""
    return str(_at(schema, path).get("description", "")).rstrip(".")


def _known_keys(schema: Mapping[str, Any], path: tuple[str | int, ...]) -> tuple[str, ...]:
    return tuple(_resolved(schema, _at(schema, path)).get("properties", {}))


def _at(schema: Mapping[str, Any], path: tuple[str | int, ...]) -> Mapping[str, Any]:
    """The part of a JSON Schema that describes a path; empty if it says nothing."""
    here: Mapping[str, Any] = schema
    for step in path:
        here = next(_steps(schema, here, step), {})
    return here


def _steps(schema: Mapping[str, Any], here: Mapping[str, Any], step: str | int) -> Iterator[Mapping[str, Any]]:
    here = _resolved(schema, here)
    if isinstance(step, int):
        if "items" in here:
            yield here["items"]
    elif step in here.get("properties", {}):
        yield here["properties"][step]
    elif step in (mapping := here.get("discriminator", {}).get("mapping", {})):
        yield {"$ref": mapping[step]}
    elif isinstance(here.get("additionalProperties"), Mapping):
        yield here["additionalProperties"]
    for choice in here.get("anyOf", ()):
        yield from _steps(schema, choice, step)


def _resolved(schema: Mapping[str, Any], here: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in here:
        here = schema["$defs"][here["$ref"].rpartition("/")[2]]
    return here
