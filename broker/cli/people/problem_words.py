"""A refusal or failure of the API in sentences: what, why, what to do, when it will be possible, and its id."""

from collections.abc import Iterator
from typing import Any

from broker.cli.people.exits import CommandError, Document, Exit, ProblemError, exit_of
from broker.cli.people.moments import distance, moment
from broker.cli.people.screen import Screen

_TITLES: dict[object, str] = {"body_invalid": "Something that was given is not as it must be."}
"""Instead of what only those who call the API understand."""


def report(error: ProblemError | CommandError, screen: Screen) -> Exit:
    """Print a problem (as a document in JSON, as sentences on standard error in text); the exit status."""
    if screen.as_json:
        screen.document(error.document if isinstance(error, ProblemError) else error.document())
    elif isinstance(error, ProblemError):
        for text, style in sentences(error.document):
            screen.note(text, style)
    else:
        screen.note(f"otb: {error.public}", "red")
        if error.what_to_do:
            screen.note(f"What to do: {error.what_to_do}", "")
    return error.status


def sentences(problem: Document) -> Iterator[tuple[str, str]]:
    """The lines, each with a style, that explain a problem document."""
    reasons, faults = reason_lines(problem.get("reasons")), entries(problem.get("errors"))
    title, detail = _TITLES.get(problem.get("code"), str(problem.get("title", ""))), str(problem.get("detail", ""))
    yield title or detail or "The broker refused without saying why.", "bold red"
    if reasons:
        yield from ((f"  - {line}", "") for line in reasons)
    elif detail and detail != title and not faults:
        yield f"  {detail}", ""
    for fault in faults:
        yield f"  - {fault.get('argument') or fault.get('at', '')}: {fault.get('problem', '')}", ""
    yield from ((line, "") for line in _outcomes(problem))
    if problem.get("what_to_do"):
        yield f"What to do: {problem['what_to_do']}", ""
    yield from ((line, "") for line in window_lines(problem.get("next_window")))
    waiting = problem.get("approvals")
    if isinstance(waiting, list) and waiting:
        refused = any(line.endswith("(approval_refused)") for line in reasons)
        word = "Refused by a person" if refused else "Waiting for a person"
        yield f"{word}: {', '.join(map(str, waiting))} (see `otb approvals show {waiting[0]}`)", ""
    if problem.get("decision_id"):
        yield f"Decision: {problem['decision_id']} (more with `otb why {problem['decision_id']}`)", ""


def or_not_there(error: ProblemError, listing: str) -> ProblemError:
    """A refusal to show one thing, which may not be there: the broker says no more to who may see only his own."""
    if error.code != "permission_denied":
        return error
    told = f"{error.document.get('what_to_do', '')} If it is yours, it is over or has another id: see `{listing}`."
    return ProblemError(error.document | {"what_to_do": told.strip()})


def reason_lines(reasons: object) -> list[str]:
    """Each reason's sentence with its word."""
    return [f"{reason.get('text', '')} ({reason.get('code', '')})" for reason in entries(reasons)]


def window_lines(window: object) -> list[str]:
    """When the next window opens and closes, in local time and UTC."""
    if not isinstance(window, dict):
        return []
    opens, closes = window.get("opens"), window.get("closes")
    return [
        f"Next window: {window.get('id', '')} opens {moment(opens)}, {distance(opens)}, and closes {moment(closes)}."
    ]


def failure_line(failure: Document) -> str:
    """One point's failure in a line."""
    code = failure.get("device_code") if failure.get("code") != "device_refused" else None
    told = f"{failure.get('text', '')} ({failure.get('code', '')}{f', device: {code}' if code else ''})"
    decision = failure.get("decision_id")
    return f"{told} decision {decision}" if decision else told


def worst(codes: list[object]) -> Exit:
    """One exit status for several failures: an unknown outcome first, then denials, then what comes first."""
    found = [exit_of(code) for code in codes]
    return next((status for status in (Exit.UNKNOWN, Exit.DENIED) if status in found), found[0] if found else Exit.DONE)


def entries(value: object) -> list[Document]:
    """The objects in what should be a list of objects."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def named(value: object) -> list[tuple[str, Document]]:
    """The named objects in what should be an object of objects."""
    return [(name, item) for name, item in value.items() if isinstance(item, dict)] if isinstance(value, dict) else []


def place_name(entry: Any) -> str:
    """`holding-register:10` of an answer about a range."""
    return f"{entry.get('table', '')}:{entry.get('address', '')}"


def _outcomes(problem: Document) -> Iterator[str]:
    """What became of each point of a call that was not wholly done."""
    found = named(problem.get("points")) + [(place_name(entry), entry) for entry in entries(problem.get("raw"))]
    for name, entry in found:
        error = entry.get("error")
        told = failure_line(error) if isinstance(error, dict) and error.get("text") != problem.get("detail") else ""
        outcome = str(entry.get("outcome") or entry.get("quality") or "")
        yield f"  {name}: {outcome}{f', {told}' if told else ''}"
