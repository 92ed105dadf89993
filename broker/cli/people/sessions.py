"""`sessions ls`, `show`, `pause`, `resume`, `end`: live sessions, and what administrators do to them."""

import argparse
from collections.abc import Iterator
from urllib.parse import quote

from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, Exit, ProblemError
from broker.cli.people.moments import distance, moment
from broker.cli.people.problem_words import entries, or_not_there
from broker.cli.people.safe_text import number_text
from broker.cli.people.screen import Cell, Screen

LONGEST_ID = 64
LONGEST_WHY = 200
_COLUMNS = ("SESSION", "STATE", "SUBJECT", "DEVICE", "LISTENER", "PEER", "GRANTS", "ENDS", "OPS", "OPS/S", "REFUSALS")
_NONE = {"own": "No session of yours is open at this broker.", "sites": "No session that you may see is open here."}
_STYLES = {"running": "green", "paused": "yellow", "ended": "red"}


async def ls(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Open sessions."""
    answer = await client.get("/v1/sessions")
    screen.document(answer)
    rows = [_row(session) for session in entries(answer.get("sessions"))]
    screen.table(_COLUMNS, rows, right=(8, 9, 10))
    if not rows:
        screen.say(_NONE.get(str(answer.get("scope")), "No session is open at this broker."))
    return Exit.DONE


async def show(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """One session."""
    try:
        found = await client.get(session_path(arguments.session))
    except ProblemError as error:
        raise or_not_there(error, "otb sessions ls") from None
    _tell(found, screen)
    return Exit.DONE


async def pause(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Refuse its operations without cutting it."""
    return await _act("pause", arguments, client, screen)


async def resume(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Let it go on."""
    return await _act("resume", arguments, client, screen)


async def end(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Cut it."""
    return await _act("end", arguments, client, screen)


def session_path(session: str) -> str:
    """Where the API has a session. Raises CommandError for what cannot be one's id."""
    if not session.isascii() or not session.startswith("ses-") or len(session) > LONGEST_ID:
        raise CommandError("usage", f"{session} is not the id of a session.", "See `otb sessions ls`.", Exit.USAGE)
    return f"/v1/sessions/{quote(session, safe='')}"


async def _act(act: str, arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    if len(arguments.why) > LONGEST_WHY:
        raise CommandError("usage", f"--why takes at most {LONGEST_WHY} characters.", status=Exit.USAGE)
    _tell(await client.post(f"{session_path(arguments.session)}/{act}", {"why": arguments.why}), screen)
    return Exit.DONE


def _tell(session: Document, screen: Screen) -> None:
    screen.document(session)
    screen.facts(_facts(session))


def _row(session: Document) -> tuple[Cell, ...]:
    subject, device, listener, peer = (str(session.get(name, "")) for name in ("subject", "device", "listener", "peer"))
    counts = (number_text(session.get(name)) for name in ("operations", "operations_per_second", "refusals"))
    return (
        str(session.get("id", "")),
        _state(session),
        subject,
        device,
        listener,
        peer,
        _grants(session),
        (f"{distance(session.get('ends_at'))} ({session.get('ends_because')})" if session.get("ends_at") else "-"),
        *counts,
    )


def _facts(session: Document) -> Iterator[tuple[str, Cell]]:
    yield "session", str(session.get("id", ""))
    yield "state", _state(session)
    paused = session.get("paused")
    if isinstance(paused, dict):
        why = f": {paused['why']}" if paused.get("why") else ""
        yield "paused", f"by {paused.get('by', '')}, {distance(paused.get('since'))}{why}"
    if session.get("ended_because"):
        yield "ended", str(session["ended_because"])
    yield "who", f"{session.get('subject', '')} ({session.get('kind', '')} of {session.get('organisation', '')})"
    yield "device", str(session.get("device", ""))
    yield "through", f"{session.get('listener', '')} from {session.get('peer', '')}"
    yield "since", f"{moment(session.get('started'))}, {distance(session.get('started'))}"
    yield "grants", _grants(session)
    watched = session.get("watched_by")
    if isinstance(watched, list) and watched:
        yield "supervised", f"by {', '.join(map(str, watched))}"
    elif session.get("supervised"):
        yield "supervised", ("by nobody: what the grant gives is refused until somebody watches", "yellow")
    if session.get("ends_at") and not session.get("ended_because"):
        yield "ends", f"{moment(session['ends_at'])}, {distance(session['ends_at'])}: {session.get('ends_because')}"
    yield "operations", f"{session.get('operations')}, {number_text(session.get('operations_per_second'))} a second"
    yield "refusals", str(session.get("refusals", ""))


def _state(session: Document) -> Cell:
    state = str(session.get("state", ""))
    return state, _STYLES.get(state, "")


def _grants(session: Document) -> str:
    grants = session.get("grants")
    return ", ".join(map(str, grants)) if isinstance(grants, list) and grants else "none"
