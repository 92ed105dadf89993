"""`break-glass open`, `ls`, `close`, `review`: emergencies opened with sealed parts, and their reviews."""

import argparse
import getpass
import sys
from pathlib import Path
from urllib.parse import quote

from broker.cli.people.access import read_text
from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, Exit
from broker.cli.people.moments import distance, moment
from broker.cli.people.problem_words import entries
from broker.cli.people.screen import Cell, Screen
from broker.errors import PeerError
from broker.model.parts import decode_part

_STYLES = {"open": "red", "to_review": "yellow", "reviewed": "green"}
_STATES = {"open": "open", "to_review": "review open", "reviewed": "reviewed"}
_MOST_PARTS = 16


async def open_emergency(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Open an emergency."""
    asked: Document = {"site": arguments.site, "why": arguments.why, "parts": _parts(arguments.part_file or [])}
    if arguments.minutes is not None:
        asked["minutes"] = arguments.minutes
    answer = await client.post("/v1/break-glass", asked)
    screen.document(answer)
    emergency = _emergency(answer)
    if emergency:
        screen.say(f"{emergency.get('id')} is open at {emergency.get('site')} until {_until(emergency)}.", "red")
        screen.say("Connect anew, with `otb --without-token` where no token can be had. It alarms, and is reviewed.")
        screen.say(f"Close it when it is no longer needed: otb break-glass close {emergency.get('id')}")
    return Exit.DONE


async def ls(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Emergencies and their reviews."""
    answer = await client.get("/v1/break-glass")
    screen.document(answer)
    found = entries(answer.get("emergencies"))
    head = ("EMERGENCY", "STATE", "SITE", "BY", "OPENED", "UNTIL", "BROKER", "SIGNED BY", "WHY")
    screen.table(head, [_row(emergency) for emergency in found])
    if not found:
        screen.say("There is no emergency.")
    return Exit.DONE


async def close(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Close an emergency."""
    answer = await client.post(f"/v1/break-glass/{quote(arguments.emergency, safe='')}/close", {})
    screen.document(answer)
    screen.say(f"{arguments.emergency} is closed; its review is open until two people have signed it.", "green")
    return Exit.DONE


async def review(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Sign the review of an emergency."""
    path = f"/v1/break-glass/{quote(arguments.emergency, safe='')}/review"
    answer = await client.post(path, {"comment": arguments.comment})
    screen.document(answer)
    missing = _emergency(answer).get("signatures_missing")
    left = "the review is finished" if missing == 0 else f"{missing} more must sign"
    screen.say(f"Signed {arguments.emergency}; {left}.", "green")
    return Exit.DONE


def reviews_told(answer: Document) -> Cell:
    """One line about emergencies for `otb status`."""
    found = entries(answer.get("emergencies"))
    is_open = [str(entry.get("id")) for entry in found if entry.get("state") == "open"]
    waiting = [str(entry.get("id")) for entry in found if entry.get("state") == "to_review"]
    told = [f"{what}: {', '.join(ids)}" for what, ids in (("open", is_open), ("to review", waiting)) if ids]
    return ("; ".join(told), "red" if is_open else "yellow") if told else "none"


def _parts(files: list[str]) -> list[str]:
    """The parts as they are typed, each checked at once; they are never shown and never arguments."""
    if files:
        return [_checked(_last_line(Path(file)), file) for file in files]
    if not sys.stdin.isatty():
        hint = "Give --part-file for each part."
        raise CommandError("parts_missing", "The parts are asked for at a terminal only.", hint, Exit.USAGE)
    parts: list[str] = []
    while len(parts) < _MOST_PARTS:
        typed = getpass.getpass(f"Part {len(parts) + 1} (enter nothing when all are given): ")
        if not typed.strip():
            break
        try:
            parts.append(_checked(typed, "what was typed"))
        except CommandError as error:
            print(f"{error.public} Type it again.", file=sys.stderr)
    return parts


def _last_line(path: Path) -> str:
    """A part as a file has it, below the line that names it."""
    lines = [line for line in read_text(path, "part").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _checked(typed: str, what: str) -> str:
    try:
        return decode_part(typed).text
    except PeerError as error:
        raise CommandError("part_malformed", f"{what}: {error.public}", "Compare it with the paper.") from None


def _emergency(answer: Document) -> Document:
    found = answer.get("emergency")
    return found if isinstance(found, dict) else {}


def _until(emergency: Document) -> str:
    return f"{moment(emergency.get('until'))}, {distance(emergency.get('until'))}"


def _row(emergency: Document) -> tuple[Cell, ...]:
    state = str(emergency.get("state", ""))
    named = (str(emergency.get(name, "")) for name in ("id", "site", "subject", "broker", "why"))
    identifier, site, subject, broker, why = named
    by = emergency.get("ended_by")
    ended = f"{moment(emergency.get('ended_at'))}, closed by {by}" if by else _until(emergency)
    signed = ", ".join(str(signature.get("by", "")) for signature in entries(emergency.get("signatures"))) or "nobody"
    shown = (_STATES.get(state, state), _STYLES.get(state, ""))
    return identifier, shown, site, subject, moment(emergency.get("opened_at")), ended, broker, signed, why
