"""`why`: one decision in words. Who, what, where, when, by which rule, and which conditions were missing."""

import argparse
from collections.abc import Iterator
from urllib.parse import quote

from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, Exit
from broker.cli.people.moments import distance, moment
from broker.cli.people.problem_words import entries, reason_lines
from broker.cli.people.record_words import address_words, operation_words
from broker.cli.people.screen import Cell, Screen

_ID_LENGTH = 64


async def why(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Explain a decision."""
    if not 0 < len(arguments.decision) <= _ID_LENGTH or not arguments.decision.isascii():
        raise CommandError("usage", f"{arguments.decision} is not the id of a decision.", status=Exit.USAGE)
    answer = await client.get(f"/v1/decisions/{quote(arguments.decision, safe='')}")
    screen.document(answer)
    allowed = answer.get("allow") is True
    screen.say(
        f"Decision {answer.get('id', '')}, record {answer.get('index', '')} of the ledger: "
        f"{'ALLOWED' if allowed else 'DENIED'}",
        "bold green" if allowed else "bold red",
    )
    screen.facts(explanation(answer))
    return Exit.DONE


def explanation(answer: Document) -> Iterator[tuple[str, Cell]]:
    """Names and values that explain a decision."""
    record = _inside(answer, "record")
    question, reply = _inside(record, "input"), _inside(record, "answer")
    yield "who", who(_inside(question, "subject"))
    concealed = " (value concealed)" if record.get("concealed") else ""
    yield "what", what(question, str(record.get("entry_point", ""))) + concealed
    if answer.get("device"):
        yield "where", where(question, str(answer["device"]))
    yield "when", moment(record.get("time"))
    yield "through", through(_inside(question, "session"), str(record.get("session", "")))
    yield "rule", str(reply.get("rule") or "none")
    for line in reason_lines(answer.get("reasons")):
        yield "missing", (line, "red")
    if reply.get("fault"):
        yield "", str(reply["fault"])
    for line in conditions(question, _codes(answer)):
        yield "", line
    yield from surroundings(question)
    if answer.get("what_to_do"):
        yield "what to do", (str(answer["what_to_do"]), "bold")
    yield "policy", str(record.get("revision", ""))


def who(subject: Document) -> str:
    """The subject, its organisation and roles, and what proved it."""
    organisation = _inside(subject, "organisation").get("id", "")
    roles = ", ".join(map(str, subject.get("roles", [])))
    proofs = " and ".join(str(proof.get("kind", "")) for proof in entries(subject.get("proofs")))
    told = f"{subject.get('id', '')}, {subject.get('kind', '')} of {organisation}"
    return f"{told}{f', roles {roles}' if roles else ''}{f', proven by {proofs}' if proofs else ''}"


def what(question: Document, entry_point: str) -> str:
    """The operation, or what else was asked."""
    operation = question.get("operation")
    if isinstance(operation, dict):
        told, address = operation_words(operation), address_words(operation.get("address"))
        return f"{told} ({operation.get('service', '')}{f', {address}' if address and address not in told else ''})"
    if question.get("permission"):
        resource = question.get("resource")
        about = " ".join(f"{k}={v}" for k, v in resource.items()) if isinstance(resource, dict) else ""
        return f"{question['permission']} {about}".strip()
    return "open a session" if entry_point.startswith("session") else entry_point


def where(question: Document, key: str) -> str:
    """The device and what makes it special."""
    device = _inside(question, "device")
    segment, criticality = device.get("segment", ""), device.get("criticality", "")
    return f"{key}, segment {segment}, criticality {criticality}, {device.get('protocol', '')}"


def through(session: Document, identifier: str) -> str:
    """The listener, the peer and the session."""
    told = f"{session.get('listener', '')} from {session.get('peer', '')}"
    return f"{told}, session {identifier}" if identifier else told


def conditions(question: Document, codes: set[str]) -> Iterator[str]:
    """What the inventory asks of the points that were touched, where that was the reason."""
    if not codes & {"value_below_limit", "value_above_limit", "value_not_allowed", "priority_not_allowed"}:
        return
    for point in entries(_inside(question, "operation").get("points")):
        limits, priority = _inside(point, "limits"), point.get("priority")
        unit = point.get("engineering_unit", "")
        value = point.get("value")
        asked = "asked a value that is concealed" if value is None else f"asked {value} {unit}".strip()
        parts = [f"lowest {limits['minimum']}"] if limits.get("minimum") is not None else []
        parts += [f"highest {limits['maximum']}"] if limits.get("maximum") is not None else []
        parts += [f"allowed {', '.join(map(str, limits['allowed']))}"] if limits.get("allowed") else []
        if isinstance(priority, dict):
            parts.append(f"priorities {priority.get('lowest')} to {priority.get('highest')}")
        yield f"{point.get('name', '')}: {asked}; {', '.join(parts) or 'no limits'}"


def surroundings(question: Document) -> Iterator[tuple[str, Cell]]:
    """Windows, freezes and grants at that moment."""
    if "windows" not in question:
        return
    windows = _inside(question, "windows")
    is_open = [f"{w.get('id', '')} until {moment(w.get('closes'))}" for w in entries(windows.get("open"))]
    yield "windows open", ("; ".join(is_open), "green") if is_open else ("none", "red")
    following = windows.get("next")
    if isinstance(following, dict):
        opens = following.get("opens")
        yield "next window", f"{following.get('id', '')} opens {moment(opens)}, {distance(opens)}"
    for freeze in entries(question.get("freezes")):
        yield "freeze", (f"{freeze.get('id', '')} until {moment(freeze.get('closes'))}", "red")
    grants = [_grant(grant) for grant in entries(question.get("grants"))]
    yield from (("grant", grant) for grant in grants)
    if not grants:
        yield "grant", ("none for this subject and device", "red")


def _grant(grant: Document) -> str:
    actions = ", ".join(map(str, grant.get("actions", [])))
    points = ", ".join(map(str, grant.get("points", []))) or "all points"
    windows = ", ".join(map(str, grant.get("windows", [])))
    until = f", until {moment(grant['not_after'])}" if grant.get("not_after") is not None else ""
    return f"{grant.get('id', '')}: {actions} on {points}{f', only in {windows}' if windows else ''}{until}"


def _codes(answer: Document) -> set[str]:
    return {str(reason.get("code")) for reason in entries(answer.get("reasons"))}


def _inside(document: Document, name: str) -> Document:
    member = document.get(name)
    return member if isinstance(member, dict) else {}
