"""Access requests in words: what is asked for, by whom, when, who said what to it, and what became of it."""

from collections.abc import Iterator

from broker.cli.people.exits import Document
from broker.cli.people.moments import distance, moment
from broker.cli.people.problem_words import entries, reason_lines
from broker.cli.people.safe_text import number_text
from broker.cli.people.screen import Cell

COLUMNS = ("REQUEST", "STATE", "WHO", "DEVICES", "ACTIONS", "FROM", "UNTIL", "REASON")
_STYLES = {"active": "green", "pending": "yellow", "denied": "red", "revoked": "red"}


def row(request: Document) -> tuple[Cell, ...]:
    """One line of a list."""
    return (
        str(request.get("id", "")),
        state(request),
        str(request.get("subject", "")),
        _listed(request.get("devices")),
        _listed(request.get("actions")),
        moment(request.get("from")),
        moment(request.get("until")),
        str(request.get("reason", "")),
    )


def state(request: Document) -> Cell:
    """The state, and what stands between it and the next."""
    word = str(request.get("state", ""))
    if request.get("report_due"):
        return f"{word}, report due", "yellow"
    if word == "active" and not request.get("in_force"):
        return f"{word}, held", "yellow"
    return word, _STYLES.get(word, "")


def facts(request: Document) -> Iterator[tuple[str, Cell]]:
    """Everything about a request, below each other."""
    yield "request", str(request.get("id", ""))
    yield "state", state(request)
    yield from (("held because", line) for line in reason_lines(request.get("held_because")))
    yield "who", f"{request.get('subject', '')} of {request.get('organisation', '')}{_sponsor(request)}"
    yield "devices", _listed(request.get("devices"))
    yield "points", _listed(request.get("points")) or "all"
    yield "actions", _listed(request.get("actions"))
    yield "reason", str(request.get("reason", ""))
    if request.get("ticket"):
        yield "ticket", str(request["ticket"])
    yield "from", f"{moment(request.get('from'))}, {distance(request.get('from'))}"
    yield "until", f"{moment(request.get('until'))}, {distance(request.get('until'))}{_window(request)}"
    for name, words in (("single_use", "each planned write once"), ("supervised", "only while somebody watches")):
        if request.get(name):
            yield "condition", words
    if request.get("extends"):
        yield "prolongs", str(request["extends"])
    yield from (("plan", _planned(write)) for write in entries(request.get("plan")))
    yield from (_review(review) for review in entries(request.get("reviews")))
    yield from _end(request)


def done(answer: Document) -> Iterator[tuple[str, Cell]]:
    """What was written under the request, to be held against its plan."""
    for write in entries(answer.get("done")):
        values = write.get("values")
        told = ", ".join(f"{point} = {value}" for point, value in values.items()) if isinstance(values, dict) else ""
        result = str(write.get("result", ""))
        what = f"{write.get('device', '')} {told or write.get('service', '')}{_priority(write)}"
        words = f"{what}: {result}, {moment(write.get('at'))}"
        yield "done", (words, "" if result == "done" else "yellow")
    if answer.get("more"):
        yield "done", "and more: `otb audit search`"
    if answer.get("ledger"):
        nothing = "" if entries(answer.get("done")) else "nothing "
        yield "done", (f"{nothing}as {answer['ledger']} recorded it; if there are several brokers, ask each", "dim")


def waits_for(outlook: object) -> str:
    """Who is still to approve a request, of what the broker says about its review; empty if nobody."""
    if not isinstance(outlook, dict):
        return ""
    needed, missing = outlook.get("still_needed", 0), outlook.get("missing", ())
    if needed is None:
        return "Who is still to approve it is not known at the moment: no answer of the policy can be had."
    if needed and missing is None:
        return f"It waits for {needed} more approval{'s' if needed != 1 else ''}."
    if not needed or not missing:
        return ""
    missing = [str(group) for group in missing]
    if len(missing) <= needed:
        told = " and ".join(missing)
    else:
        told = " or ".join(missing) if needed == 1 else f"{needed} of {', '.join(missing)}"
    return f"It waits for approval by {told}."


def not_reviewer(outlook: Document) -> list[str]:
    """Why the reader may not review a request; nothing of who asked for it, whom nobody expects to."""
    reasons = entries(outlook.get("reasons"))
    asked = any(reason.get("code") == "review_of_oneself" for reason in reasons)
    return [] if asked else reason_lines(reasons)


def _end(request: Document) -> Iterator[tuple[str, Cell]]:
    if request.get("ended_at"):
        why = f": {request['ended_why']}" if request.get("ended_why") else ""
        yield "ended", f"{moment(request['ended_at'])} by {request.get('ended_by', '')}{why}"
    if request.get("report"):
        yield "report", str(request["report"])


def _planned(write: Document) -> Cell:
    told = f"{write.get('device', '')} {write.get('point', '')} = {number_text(write.get('value'))}{_priority(write)}"
    return (f"{told} (used)", "dim") if write.get("used") else told


def _priority(write: Document) -> str:
    return "" if write.get("priority") is None else f" at priority {write['priority']}"


def _review(review: Document) -> tuple[str, Cell]:
    verdict = str(review.get("verdict", ""))
    groups = _listed(review.get("groups"))
    comment = f": {review['comment']}" if review.get("comment") else ""
    told = f"{review.get('reviewer', '')}{f' for {groups}' if groups else ''}, {moment(review.get('at'))}{comment}"
    signed = f"record {review.get('index')} of {review.get('ledger')}"
    return {"approve": "approved", "deny": "denied"}.get(verdict, verdict), f"{told} (signed, {signed})"


def _sponsor(request: Document) -> str:
    return f", sponsor {request['sponsor']}" if request.get("sponsor") else ""


def _window(request: Document) -> str:
    return f", while window {request['window']} is open" if request.get("window") else ""


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else ""
