"""`read` and `write`: points by name in engineering units, or ranges of raw Modbus addresses."""

import argparse
import asyncio
import re
import uuid
from decimal import Decimal
from typing import Any

from broker.cli.people.client import Client
from broker.cli.people.devices import device_key, path_of, with_suggestion
from broker.cli.people.exits import CommandError, Document, Exit, ProblemError
from broker.cli.people.problem_words import entries, failure_line, named, place_name, worst
from broker.cli.people.safe_text import decode_document, number_text
from broker.cli.people.screen import Cell, Screen

TABLES = ("coil", "discrete-input", "input-register", "holding-register")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_COMMA_NUMBER = re.compile(r"[+-]?[0-9]+,[0-9]+", re.ASCII)
_LITERALS = {"true": True, "false": False}


async def read(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Read points, or ranges."""
    body = read_body(arguments.points, arguments.raw)
    device = await device_key(client, arguments.device)
    try:
        answer = await client.post(f"{path_of(device)}/read", body)
    except ProblemError as problem:
        raise await with_suggestion(client, problem, device, arguments.points) from None
    screen.document(answer)
    ranges = entries(answer.get("raw"))
    readings = named(answer.get("points")) + [(place_name(entry), entry) for entry in ranges]
    screen.table((), [_reading_row(name, reading) for name, reading in readings])
    return worst([reading["error"].get("code") for _, reading in readings if isinstance(reading.get("error"), dict)])


async def write(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Write points, or ranges."""
    body = write_body(arguments.values, arguments.raw, arguments.priority, arguments.release)
    key = arguments.idempotency_key or str(uuid.uuid4())
    device = await device_key(client, arguments.device)
    try:
        if arguments.wait:
            body["wait_seconds"] = arguments.wait
            screen.note(f"Waits up to {arguments.wait} s for a person, if it takes one.", "dim")
        answer = await client.write(f"{path_of(device)}/write", body, key, arguments.wait)
    except asyncio.CancelledError:
        screen.note(f"Interrupted: the write may have taken effect; its idempotency key is {key}.")
        raise
    except ProblemError as problem:
        if problem.code == "outcome_unknown":
            screen.note(f"The call's idempotency key is {key}.", "")
        if problem.code == "value_invalid" and (comma := comma_number(arguments.values)):
            problem.document["what_to_do"] = f"Use a point in numbers: {comma.replace(',', '.')}, not {comma}."
        names = [] if arguments.raw else list(body["points"])
        raise await with_suggestion(client, problem, device, names) from None
    screen.document(answer)
    done = named(answer.get("points")) + [(place_name(entry), entry) for entry in entries(answer.get("raw"))]
    for name, entry in done:
        at = "" if entry.get("priority") is None else f" at priority {entry['priority']}"
        screen.say(f"{name}: {'released' if arguments.release else 'written'}{at}", "green")
    return Exit.DONE


def read_body(points: list[str], raw: list[str] | None) -> Document:
    """The body of a read call. Raises CommandError."""
    if bool(points) == bool(raw):
        raise _usage("Name the points to read, or give --raw TABLE:ADDRESS:COUNT.")
    if raw:
        return {"raw": [_read_range(text) for text in raw]}
    return {"points": list(dict.fromkeys(points))}


def write_body(values: list[str], raw: list[str] | None, priority: int | None, release: bool) -> Document:
    """The body of a write call. Raises CommandError."""
    if bool(values) == bool(raw):
        raise _usage("Give POINT=VALUE, or --raw TABLE:ADDRESS:VALUE,….")
    if raw:
        if priority is not None or release:
            raise _usage("--priority and --release are for points of BACnet devices, not for --raw.")
        return {"raw": [_write_range(text) for text in raw]}
    points: Document = {}
    for text in values:
        name, value = _assignment(text, release)
        if name in points:
            raise _usage(f"{name} is given twice.")
        points[name] = value if priority is None else {"value": value, "priority": priority}
    return {"points": points}


def parse_value(text: str) -> Any:
    """`21.5` is a number, `true` and `false` are themselves, `"21.5"` in quotes and all else is a text."""
    if text in _LITERALS:
        return _LITERALS[text]
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _quoted(text)
    return text


def comma_number(values: list[str]) -> str:
    """The first of these POINT=VALUE whose value is a number with a comma; empty if none is."""
    given = (text.partition("=")[2] for text in values)
    return next((value for value in given if _COMMA_NUMBER.fullmatch(value)), "")


def _quoted(text: str) -> str:
    try:
        value = decode_document(text)
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise _usage(f"{text} is not a text in quotes.")
    return value


def _assignment(text: str, release: bool) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not name:
        raise _usage(f"{text} names no point.")
    if release:
        if sign:
            raise _usage(f"With --release give only names of points, not {text}.")
        return name, None
    if not value:
        raise _usage(f"Give a value: {name}=VALUE, or --release.")
    return name, parse_value(value)


def _read_range(text: str) -> Document:
    table, address, count = _parts(text, "TABLE:ADDRESS:COUNT")
    return {"table": table, "address": _whole(address, text), "count": _whole(count, text)}


def _write_range(text: str) -> Document:
    table, address, values = _parts(text, "TABLE:ADDRESS:VALUE,…")
    return {
        "table": table,
        "address": _whole(address, text),
        "values": [_whole(value, text) for value in values.split(",")],
    }


def _parts(text: str, form: str) -> tuple[str, str, str]:
    parts = text.split(":")
    if len(parts) != 3 or parts[0] not in TABLES:
        raise _usage(f"{text} is not {form}, with a table of {', '.join(TABLES)}.")
    return parts[0], parts[1], parts[2]


def _whole(digits: str, text: str) -> int:
    if not digits.isascii() or not digits.isdigit() or len(digits) > 6:
        raise _usage(f"{digits or 'nothing'} in {text} is not a whole number; addresses count from 0.")
    return int(digits)


def _usage(public: str) -> CommandError:
    return CommandError("usage", public, status=Exit.USAGE)


def _reading_row(name: str, reading: Document) -> tuple[Cell, Cell, Cell]:
    error = reading.get("error")
    if isinstance(error, dict):
        return name, ("-", "dim"), (failure_line(error), "red")
    values = reading.get("values")
    told = " ".join(map(number_text, values)) if isinstance(values, list) else number_text(reading.get("value"))
    return name, (told, "bold"), str(reading.get("unit") or "")
