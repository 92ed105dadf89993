"""`sessions watch`: who reads, and who writes what, as it happens; a line an event."""

import argparse
from contextlib import aclosing, nullcontext
from urllib.parse import urlencode

from broker.cli.people.approving import asking
from broker.cli.people.client import Client
from broker.cli.people.exits import Document, Exit
from broker.cli.people.moments import clock_time
from broker.cli.people.problem_words import entries
from broker.cli.people.record_words import address_words, facts_words
from broker.cli.people.screen import Screen
from broker.cli.people.sessions import session_path
from broker.cli.people.unbroken import unbroken

_PROOFS = frozenset(
    {
        "token_expired",
        "token_key_withdrawn",
        "logged_out",
        "certificate_expired",
        "certificate_revoked",
        "crl_stale",
    }
)


async def watch(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Show events until the session, or one's own access, ends; with a fresh token it goes on."""
    place = session_path(arguments.session) if arguments.session else "/v1/sessions"
    at_site = f"?{urlencode({'site': arguments.site})}" if arguments.site and not arguments.session else ""
    asked = asking(client, screen) if arguments.approve else nullcontext()
    async with asked as questions, aclosing(unbroken(client, f"{place}/events{at_site}")) as events:
        async for kind, event in events:
            screen.line({"type": kind, **event})
            screen.say(*sentence(kind, event))
            if questions is not None:
                questions.notice(event)
            if kind == "ending":
                return _status(event, bool(arguments.session))
    raise AssertionError("a stream ends with a word or with an error")


def sentence(kind: str, event: Document) -> tuple[str, str]:
    """An event in a line, and its style."""
    if kind == "operation":
        return _operation(event), "" if event.get("result") == "done" else "red"
    if kind == "session":
        reason, by = event.get("reason"), event.get("by")
        told = f"{_head(event)} session {event.get('session')} {event.get('change')}"
        return told + (f" by {by}" if by else "") + (f": {reason}" if reason else ""), "cyan"
    if kind == "lost":
        return f"{event.get('count')} events were not shown: they came faster than they were read.", "yellow"
    if kind == "watching":
        what = f"all sessions at {event['site']}" if event.get("site") else "all sessions"
        supervising = ", as a supervisor" if event.get("supervises") else ""
        return f"Watching {event.get('id') or what}{supervising}; Ctrl-C ends it.", "dim"
    return f"{event.get('text', '')} ({event.get('reason', '')}) {event.get('what_to_do', '')}", "bold"


def _head(event: Document) -> str:
    return f"{clock_time(event.get('at'))}  {event.get('subject')}  {event.get('device')} "


def _operation(event: Document) -> str:
    points, address = ", ".join(_point(point) for point in entries(event.get("points"))), event.get("address")
    of_bacnet = isinstance(address, dict) and "object_type" in address and " = " not in points
    points = f"{points} ({address_words(address)})" if points and of_bacnet else points or address_words(address)
    raw = event.get("raw_values")
    if isinstance(raw, list) and not any("value" in point for point in entries(event.get("points"))):
        points += f" = {' '.join(map(str, raw))}"
    points += "" if event.get("priority") is None else f" @{event['priority']}"
    points += facts_words(event.get("facts"))
    concealed = " (values concealed)" if event.get("concealed") else ""
    more = f" and {event['more_points']} more" if event.get("more_points") else ""
    why = event.get("reasons") or ([event["code"]] if event.get("code") else [])
    told = f": {event.get('result')}" + (f" ({', '.join(map(str, why))})" if why else "")
    told += f" [{event['approval']}]" if event.get("approval") else ""
    return f"{_head(event)} {event.get('service')} {points}{more}{concealed}{told}"


def _point(point: Document) -> str:
    if "value" not in point:
        return str(point.get("name", ""))
    return f"{point.get('name')} = {point['value']} {point.get('unit', '')}".rstrip()


def _status(event: Document, one: bool) -> Exit:
    """Watching one session ends with it; if one's own access ends first, or the broker stops, it was not done."""
    reason, own = event.get("reason"), event.get("own_access") is True
    if own:
        return Exit.NOT_AUTHENTICATED if reason in _PROOFS else Exit.DENIED
    return Exit.DONE if one and reason != "broker_stopped" else Exit.ERROR
