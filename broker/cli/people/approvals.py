"""`approvals ls`, `show`, `approve`, `refuse` and `step-up`: operations that wait for a person."""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Iterator
from urllib.parse import quote

from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, Exit
from broker.cli.people.moments import distance, moment
from broker.cli.people.problem_words import entries
from broker.cli.people.record_words import facts_words
from broker.cli.people.screen import Cell, Screen

LONGEST_ID = 64
LONGEST_WHY = 200
_STYLES = {"waiting": "yellow", "armed": "green", "refused": "red"}
_OLD = {"being_read": "is still being read", "unreadable": "could not be read: nobody knows what is written over"}
_PERSONS = {"step_up": "the one who asks, logged in again", "second_person": "a second person"}


async def ls(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """What waits."""
    answer = await client.get("/v1/approvals")
    screen.document(answer)
    found = entries(answer.get("approvals"))
    screen.table(("APPROVAL", "STATE", "SUBJECT", "DEVICE", "WHAT", "LACKS", "ENDS"), [_row(each) for each in found])
    if not found:
        waits = "Nothing of yours waits" if answer.get("scope") == "own" else "Nothing waits"
        screen.say(f"{waits} at this broker.")
    return Exit.DONE


async def show(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """One of them, whole."""
    tell(await client.get(approval_path(arguments.approval)), screen)
    return Exit.DONE


async def approve(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Show it, and arm it as a second person."""
    path, why = approval_path(arguments.approval), _why(arguments.why)
    if not screen.as_json:
        tell(await client.get(path), screen)
    answer = await client.post(f"{path}/approve", {"why": why, "without_old": arguments.without_old})
    screen.document(answer)
    lacks = _listed(answer, "missing")
    screen.say(f"{answer.get('id')} is {'approved; others have to act too' if lacks else 'armed, once'}.", "green")
    return Exit.DONE


async def refuse(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Refuse it."""
    return await _act("refuse", {"why": _why(arguments.why)}, arguments, client, screen)


async def step_up(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Arm one's own by a fresh token, or by a code that is asked for."""
    body = {"code": await asyncio.to_thread(_code)} if arguments.code else {}
    return await _act("step-up", body, arguments, client, screen)


def approval_path(approval: str) -> str:
    """Where the API has an approval. Raises CommandError for what cannot be one's id."""
    if not approval.isascii() or not approval.startswith("arm-") or len(approval) > LONGEST_ID:
        raise CommandError("usage", f"{approval} is not the id of an approval.", "See `otb approvals ls`.", Exit.USAGE)
    return f"/v1/approvals/{quote(approval, safe='')}"


def tell(approval: Document, screen: Screen) -> None:
    """Show one, with every operation and value in it."""
    screen.document(approval)
    screen.facts(_facts(approval))
    screen.table(("POINT", "NOW", "NEW", "UNIT"), list(_points(approval)))


async def _act(act: str, body: Document, arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    tell(await client.post(f"{approval_path(arguments.approval)}/{act}", body), screen)
    return Exit.DONE


def _code() -> str:
    """Asked for at a terminal, or a line of standard input: a code has no place in the arguments of a process."""
    if sys.stdin.isatty():
        return getpass.getpass("Code of your authenticator app: ").strip()
    return sys.stdin.readline().strip()


def _why(text: str) -> str:
    if len(text) > LONGEST_WHY:
        raise CommandError("usage", f"--why takes at most {LONGEST_WHY} characters.", status=Exit.USAGE)
    return text


def _row(approval: Document) -> tuple[Cell, ...]:
    told = (str(approval.get(name, "")) for name in ("id", "subject", "device"))
    identifier, subject, device = told
    lacks, ends = ", ".join(_listed(approval, "missing")) or "-", distance(approval.get("until"))
    return identifier, _state(approval), subject, device, what(approval), lacks, ends


def what(approval: Document) -> str:
    """What would be done, in a line."""
    return "; ".join(_operation(operation) for operation in entries(approval.get("operations")))


def _operation(operation: Document) -> str:
    points = ", ".join(_change(point) for point in entries(operation.get("points"))) or str(operation.get("address"))
    raw = operation.get("raw_values")
    if isinstance(raw, list) and raw and not any(p.get("new") is not None for p in entries(operation.get("points"))):
        points += f" = {' '.join(map(str, raw))}"
    points += "" if operation.get("priority") is None else f" @{operation['priority']}"
    return f"{operation.get('action')} {points}{facts_words(operation.get('facts'))}"


def _change(point: Document) -> str:
    if point.get("new") is None:
        return str(point.get("name", ""))
    old = f"{point['old']} -> " if point.get("old") is not None else ""
    return f"{point.get('name')} = {old}{point['new']} {point.get('unit', '')}".rstrip()


def _facts(approval: Document) -> Iterator[tuple[str, Cell]]:
    yield "approval", str(approval.get("id", ""))
    yield "state", _state(approval)
    yield "who", f"{approval.get('subject', '')} of {approval.get('organisation', '')}"
    yield "device", str(approval.get("device", ""))
    yield "session", str(approval.get("session", ""))
    yield "asked", f"{moment(approval.get('asked_at'))}, {distance(approval.get('asked_at'))}"
    yield "ends", f"{moment(approval.get('until'))}, {distance(approval.get('until'))}"
    yield "rests on", ", ".join(_listed(approval, "rules"))
    for grant in entries(approval.get("grants")):
        ticket = f" (ticket {grant['ticket']})" if grant.get("ticket") else ""
        yield "given for", f"{grant.get('reason') or 'no reason told'}{ticket}"
    if approval.get("old_values") in _OLD:
        yield "now", (_OLD[approval["old_values"]], "yellow")
    for kind in _listed(approval, "missing"):
        yield "lacks", _PERSONS.get(kind, kind)
    for arming in entries(approval.get("armings")):
        yield (
            "armed",
            f"{arming.get('obligation')} by {arming.get('by')}, good once until {moment(arming.get('until'))}",
        )
    if approval.get("refused_by"):
        yield "refused", f"by {approval['refused_by']}"
    if approval.get("concealed"):
        yield "values", "concealed: a confidential point is among them"
    for operation in entries(approval.get("operations")):
        at = "" if operation.get("priority") is None else f" @{operation['priority']}"
        told = f"{operation.get('service')} ({operation.get('action')}) {operation.get('address')}{at}"
        yield "operation", told + facts_words(operation.get("facts"))
        raw = operation.get("raw_values")
        if isinstance(raw, list) and raw:
            yield "raw values", " ".join(map(str, raw))


def _points(approval: Document) -> Iterator[tuple[Cell, ...]]:
    for operation in entries(approval.get("operations")):
        for point in entries(operation.get("points")):
            old, new = point.get("old"), point.get("new")
            yield (
                str(point.get("name", "")),
                ("?", "dim") if old is None else str(old),
                ("?", "dim") if new is None else (str(new), "bold"),
                str(point.get("unit", "")),
            )


def _state(approval: Document) -> Cell:
    state = str(approval.get("state", ""))
    return state, _STYLES.get(state, "")


def _listed(approval: Document, name: str) -> list[str]:
    found = approval.get(name)
    return list(map(str, found)) if isinstance(found, list) else []
