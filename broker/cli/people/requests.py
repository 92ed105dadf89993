"""`request …`: ask for access, review what others ask for, give it back."""

import argparse
import sys
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from broker.cli.people.client import Client
from broker.cli.people.devices import device_key
from broker.cli.people.exits import CommandError, Document, Exit, ProblemError
from broker.cli.people.moments import distance, moment, rfc3339
from broker.cli.people.problem_words import entries, or_not_there
from broker.cli.people.request_words import COLUMNS, done, facts, not_reviewer, row, waits_for
from broker.cli.people.screen import Screen
from broker.cli.people.values import parse_value

_PATH = "/v1/requests"
_SEVERAL = {
    "devices": ("", "devices"),
    "points": ("--point", "point"),
    "actions": ("--action", "action"),
    "plan": ("--plan", "plan"),
}
"""Where a body has a list: the option, and what it is called among the arguments."""


async def ls(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Those that one may see."""
    answer = await client.get(_PATH, [("state", state) for state in arguments.state or ()])
    screen.document(answer)
    found = entries(answer.get("requests"))
    screen.table(COLUMNS, [row(request) for request in found])
    if not found:
        screen.say("There is no such request." if arguments.state else "Nobody has asked for access.")
    if answer.get("more"):
        screen.note("There are more than these: choose with --state.")
    return Exit.DONE


async def show(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """One of them."""
    answer = await _found(arguments, client)
    request = _request(answer)
    if request.get("activated_at"):
        answer |= await client.get(f"{_path(arguments.request)}/done")
    screen.document(answer)
    screen.facts([*facts(request), *done(answer)])
    _tell_outlook(answer, screen)
    return Exit.DONE


async def create(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Ask for access."""
    body = await _asked(arguments, client)
    answer = await _post(arguments, client, _PATH, body)
    screen.document(answer)
    request = _request(answer)
    screen.facts(facts(request))
    if arguments.draft:
        screen.say(f"A draft; hand it in with `otb request submit {request.get('id')}`.")
    else:
        screen.say(f"Asked. `otb request show {request.get('id')}` tells what comes of it.", "green")
        _tell_waiting(answer, screen)
    return Exit.DONE


async def submit(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Hand a draft in."""
    return await _act(arguments, client, screen, "submit", {})


async def extend(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Ask for the same until later."""
    until = _until(arguments, _epoch_end(await client.get(_path(arguments.request))))
    body: Document = {"until": until, "reason": arguments.reason, "ticket": arguments.ticket}
    return await _act(arguments, client, screen, "extend", body)


async def withdraw(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Take it back."""
    return await _act(arguments, client, screen, "withdraw", {"why": arguments.why})


async def close(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Give access back, with a report."""
    return await _act(arguments, client, screen, "close", {"report": arguments.report})


async def revoke(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """End what was approved."""
    return await _act(arguments, client, screen, "revoke", {"why": arguments.why})


async def review(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Show it, and say yes or no to exactly what was shown."""
    shown = await _found(arguments, client)
    request = _request(shown)
    if not screen.as_json:
        screen.facts(facts(request))
        _tell_outlook(shown, screen)
    verdict = arguments.verdict or _verdict()
    body = {"verdict": verdict, "comment": arguments.comment, "version": request.get("version")}
    return await _act(arguments, client, screen, "review", body)


async def _found(arguments: argparse.Namespace, client: Client) -> Document:
    try:
        return await client.get(_path(arguments.request))
    except ProblemError as error:
        raise or_not_there(error, "otb request ls") from None


async def _act(arguments: argparse.Namespace, client: Client, screen: Screen, act: str, body: Document) -> Exit:
    answer = await _post(arguments, client, f"{_path(arguments.request)}/{act}", body)
    screen.document(answer)
    request = _request(answer)
    screen.say(f"{request.get('id')} is {request.get('state')}.", "green")
    if request.get("state") == "pending":
        _tell_waiting(answer, screen)
    if request.get("ends_in_seconds") is not None:
        screen.say(f"Access until {moment(request.get('until'))}, {distance(request.get('until'))}.")
    if request.get("shared") is False:
        screen.note("The state cannot be reached: it is so on this broker, on the others when it is back.")
    return Exit.DONE


async def _post(arguments: argparse.Namespace, client: Client, path: str, body: Document) -> Document:
    """The answer; what does not fit is told by the argument that it is about. Raises ProblemError or CommandError."""
    try:
        return await client.post(path, body)
    except ProblemError as error:
        faults = [
            fault | {"argument": argument_of(fault, arguments)} for fault in entries(error.document.get("errors"))
        ]
        raise ProblemError(error.document | ({"errors": faults} if faults else {})) from None


def argument_of(fault: Document, arguments: argparse.Namespace) -> str:
    """The argument that a fault is about, as it was given; empty if it is about none."""
    name, _, place = str(fault.get("at", "")).partition(".")
    option, word = _SEVERAL.get(name, (f"--{name.replace('_', '-')}", name))
    if name == "until" and getattr(arguments, "seconds", None) is not None:
        return "--for"
    given = getattr(arguments, "starts" if name == "from" else word, None)
    if given is None:
        return ""
    number = place.partition(".")[0]
    if isinstance(given, list) and number.isdigit() and int(number) < len(given):
        return f"{option} {given[int(number)]}".lstrip()
    return f"{option} {given}" if name == "window" else option


async def _asked(arguments: argparse.Namespace, client: Client) -> Document:
    """The body of a request. Raises CommandError or ProblemError."""
    devices = [await device_key(client, name) for name in arguments.devices]
    starts = rfc3339("from", arguments.starts) if arguments.starts else ""
    body: Document = {
        "devices": devices,
        "reason": arguments.reason,
        "ticket": arguments.ticket,
        "window": arguments.window,
        "single_use": arguments.single_use,
        "supervised": arguments.supervised,
        "submit": not arguments.draft,
        "from": starts,
        "until": _until(arguments, _begin(starts)),
    }
    if arguments.point:
        body["points"] = arguments.point
    if arguments.action:
        body["actions"] = arguments.action
    if arguments.plan:
        body["plan"] = [await _planned(text, client) for text in arguments.plan]
    if not body["until"] and not arguments.window:
        raise CommandError("usage", "Say until when: --until, --for, or --window.", status=Exit.USAGE)
    return body


async def _planned(text: str, client: Client) -> Document:
    """`[DEVICE:]POINT=VALUE[@PRIORITY]`. Raises CommandError or ProblemError."""
    place, sign, told = text.partition("=")
    device, colon, point = place.rpartition(":")
    value, at, priority = told.rpartition("@") if _ends_in_priority(told) else (told, "", "")
    if not sign or not point or not value:
        raise CommandError("usage", f"--plan {text} is not [DEVICE:]POINT=VALUE.", status=Exit.USAGE)
    write: Document = {"point": point, "value": _value(value)}
    if colon:
        write["device"] = await device_key(client, device)
    if at:
        write["priority"] = int(priority)
    return write


def _ends_in_priority(text: str) -> bool:
    _, at, priority = text.rpartition("@")
    return bool(at) and priority.isascii() and priority.isdigit() and len(priority) <= 2


def _value(text: str) -> Any:
    """As of a write; `null` releases a BACnet priority."""
    return None if text == "null" else parse_value(text)


def _until(arguments: argparse.Namespace, begins: float) -> str:
    if arguments.seconds is not None:
        return datetime.fromtimestamp(begins + arguments.seconds, UTC).isoformat()
    return rfc3339("until", arguments.until) if arguments.until else ""


def _begin(starts: str) -> float:
    return datetime.fromisoformat(starts).timestamp() if starts else time.time()


def _epoch_end(answer: Document) -> float:
    """The end of a request, from which an extension counts. Raises CommandError."""
    try:
        return datetime.fromisoformat(str(_request(answer).get("until"))).timestamp()
    except ValueError:
        raise CommandError("broker_odd", "The broker does not say until when the request goes.") from None


def _verdict() -> str:
    """Ask at the terminal. Raises CommandError where there is none, or nothing clear is said."""
    if not sys.stdin.isatty():
        raise CommandError("usage", "Say --approve or --deny.", status=Exit.USAGE)
    sys.stderr.write("Approve exactly this? Type approve or deny: ")
    sys.stderr.flush()
    said = sys.stdin.readline().strip().lower()
    if said not in ("approve", "deny"):
        raise CommandError("usage", "Nothing was said to the request.", status=Exit.USAGE)
    return said


def _tell_outlook(answer: Document, screen: Screen) -> None:
    """Who is still to approve it, and what the reader may do as a reviewer."""
    outlook = answer.get("review")
    if not isinstance(outlook, dict):
        return
    _tell_waiting(answer, screen)
    if outlook.get("may") is True:
        screen.say(f"You may review it for {', '.join(map(str, outlook.get('groups') or ()))}.")
    elif outlook.get("reviewed") is True:
        screen.say("You have reviewed it.")
    else:
        for line in not_reviewer(outlook):
            screen.say(f"You may not review it: {line}")


def _tell_waiting(answer: Document, screen: Screen) -> None:
    waiting = waits_for(answer.get("review"))
    if waiting:
        screen.say(waiting)


def _path(request: str) -> str:
    return f"{_PATH}/{quote(request, safe='')}"


def _request(answer: Document) -> Document:
    request = answer.get("request")
    return request if isinstance(request, dict) else {}
