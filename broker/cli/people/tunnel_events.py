"""What happens to a tunnel, in words."""

import time

from broker.cli.people.exits import Document
from broker.cli.people.moments import clock_time
from broker.cli.people.problem_words import reason_lines, window_lines
from broker.cli.people.screen import Screen

_COUNTED = (
    ("requests", "request"),
    ("replies", "reply"),
    ("sent", "message sent"),
    ("received", "message received"),
    ("dropped", "message dropped"),
    ("denials", "denial"),
    ("failures", "failure"),
)
_FAILURES = {"unknown": "Outcome unknown", "denied": "Refused"}
_PLURALS = {"sent": "messages sent", "received": "messages received", "dropped": "messages dropped"}


def show_event(screen: Screen, event: Document) -> None:
    """One event: a line of JSON, or a few of text."""
    screen.line({"time": round(time.time(), 3), **event})
    for text, style in event_lines(event):
        screen.say(f"{clock_time(time.time())} {text}", style)


def event_lines(event: Document) -> list[tuple[str, str]]:
    """An event in words, each line with a style."""
    kind, text = event.get("type"), str(event.get("text", ""))
    if kind == "open":
        return _open_lines(event)
    if kind == "denied":
        return _denied_lines(event)
    if kind == "failed":
        return _failed_lines(event)
    if kind == "ending":
        what = f"Access to {event['device']}" if event.get("device") else "The session"
        told = f"{what} ends: {text} ({event.get('reason', '')}) {event.get('what_to_do', '')}"
        return [(told.rstrip(), "yellow")]
    if kind == "ended":
        return [(f"{text or event.get('reason')} {_counts(event)}.", "")]
    if kind == "waiting":
        return [(f"{text} Trying again in {event.get('seconds')} s.", "yellow")]
    if kind == "renew_refused":
        return [(f"The broker refused the fresh token: {text or event.get('code')}", "red")]
    if kind == "renewed":
        return [("The broker took the fresh token.", "")]
    return [(text or str(kind), "yellow" if kind in {"busy", "dropped", "warning"} else "")]


def _open_lines(event: Document) -> list[tuple[str, str]]:
    what = f"The BACnet network of {event['site']}" if event.get("site") else event.get("device")
    told = f"{what} is at {event.get('listen')}"
    if event.get("again"):
        return [(f"{told} again.", "green")]
    lines = [(f"{told}; Ctrl-C ends it.", "green")]
    if event.get("site"):  # no program on this machine finds it by broadcast
        hint = (
            f"  Register your explorer as a foreign device there (BBMD {event.get('listen')}), then search for devices."
        )
        lines.append((hint, ""))
    return lines


def _counts(event: Document) -> str:
    return ", ".join(
        f"{event[many]} {one if event[many] == 1 else _PLURALS.get(many, many)}"
        for many, one in _COUNTED
        if many in event
    )


def _denied_lines(event: Document) -> list[tuple[str, str]]:
    where = _where(event)
    lines = [f"Denied{where}: {line}" for line in reason_lines(event.get("reasons"))] or [f"Denied{where}."]
    hints = [str(event["what_to_do"])] if event.get("what_to_do") else []
    hints += window_lines(event.get("next_window"))
    hints += [f"Approval: {event['approval']}."] if event.get("approval") else []
    hints += [f"More with `otb why {event['decision_id']}`."] if event.get("decision_id") else []
    return [(line, "red") for line in lines] + [(f"  {hint}", "") for hint in hints + _more(event)]


def _failed_lines(event: Document) -> list[tuple[str, str]]:
    word = _FAILURES.get(str(event.get("result")), "Not answered")
    why = ", ".join(str(event[name]) for name in ("result", "code") if event.get(name) not in (None, "", "denied"))
    hints = [str(event["what_to_do"])] if event.get("what_to_do") else []
    told = f"{word}{_where(event)}: {event.get('text', '')} ({why})"
    return [(told, "red"), *((f"  {hint}", "") for hint in hints + _more(event))]


def _where(event: Document) -> str:
    """The device, and what was asked of it."""
    at = f" at {event['device']}" if event.get("device") else ""
    return f"{at}: {event['what']}" if event.get("what") else at


def _more(event: Document) -> list[str]:
    told = [f"The same {event['repeated']} more times since."] if event.get("repeated") else []
    return told + ([f"{event['left_out']} others before it were not shown."] if event.get("left_out") else [])
