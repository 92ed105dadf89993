"""`proposals ls`, `create`, `show`, `approve`, `refuse`, `warrant`: acts that more than one person must want."""

import argparse
import json
from pathlib import Path
from urllib.parse import quote

from broker.cli.people.access import read_text
from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, Exit
from broker.cli.people.moments import distance, moment
from broker.cli.people.problem_words import entries
from broker.cli.people.screen import Screen


async def ls(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Proposals, the newest first."""
    answer = await client.get("/v1/proposals")
    screen.document(answer)
    rows = [_row(proposal) for proposal in entries(answer.get("proposals"))]
    screen.table(("PROPOSAL", "ACT", "WHAT", "BY", "STATE", "APPROVED BY", "UNTIL"), rows)
    if not rows:
        screen.say("There is no proposal.")
    return Exit.DONE


async def create(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Propose what a file says."""
    if not arguments.file:
        raise CommandError("file_missing", "What is proposed is in a file: --file FILE.", "", Exit.USAGE)
    text = read_text(Path(arguments.file), "proposal")
    try:
        said = json.loads(text)
        asked: Document = {"act": said["act"], "parameters": said["parameters"], "why": arguments.why}
    except (ValueError, KeyError, TypeError):
        public = f"{arguments.file} is not what `otbroker ca … --propose FILE` writes."
        raise CommandError("proposal_unreadable", public, "Let the command write it again.", Exit.USAGE) from None
    return _tell(await client.post("/v1/proposals", asked), screen)


async def show(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """One proposal."""
    answer = await client.get(_path(arguments))
    screen.document(answer)
    _facts(answer, screen)
    return Exit.DONE


async def approve(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Approve."""
    return _tell(await client.post(f"{_path(arguments)}/approve", {}), screen)


async def refuse(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Refuse."""
    return _tell(await client.post(f"{_path(arguments)}/refuse", {"why": arguments.why}), screen)


async def warrant(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """The warrant of an approved proposal, as a file."""
    if not arguments.out:
        raise CommandError("file_missing", "Say where to write it: --out FILE.", "", Exit.USAGE)
    note = (await client.get(_path(arguments))).get("warrant")
    if not isinstance(note, str) or not note:
        raise CommandError("not_approved", "The proposal is not approved.", "See who has with `otb proposals show`.")
    _write(Path(arguments.out), note)
    screen.document({"warrant": arguments.out})
    screen.say(f"Written to {arguments.out}; it serves once, within a day.", "green")
    return Exit.DONE


def _write(path: Path, note: str) -> None:
    try:
        path.write_text(note, encoding="utf-8")
    except OSError as error:
        raise CommandError("file_unwritable", f"{path} cannot be written: {error.strerror}.") from None


def _path(arguments: argparse.Namespace) -> str:
    return f"/v1/proposals/{quote(arguments.proposal, safe='')}"


def _tell(answer: Document, screen: Screen) -> Exit:
    screen.document(answer)
    proposal = answer.get("proposal")
    if isinstance(proposal, dict):
        _facts(proposal, screen)
        if answer.get("lacks"):
            screen.say("It takes another person.", "yellow")
    return Exit.DONE


def _facts(proposal: Document, screen: Screen) -> None:
    parameters = proposal.get("parameters")
    exact = list(parameters.items()) if isinstance(parameters, dict) else []
    screen.facts(
        [
            ("proposal", str(proposal.get("id"))),
            ("act", str(proposal.get("act"))),
            *((f"  {name}", str(value)) for name, value in exact),
            ("why", str(proposal.get("why"))),
            (
                "proposed",
                f"{moment(proposal.get('proposed_at'))} by {proposal.get('proposed_by') or 'files of the host'}",
            ),
            ("approved by", _people(proposal)),
            ("state", _state(proposal)),
        ]
    )


def _row(proposal: Document) -> tuple[str, ...]:
    parameters = proposal.get("parameters")
    what = ", ".join(f"{n} {v}" for n, v in parameters.items()) if isinstance(parameters, dict) else ""
    told = (str(proposal.get(name, "")) for name in ("id", "act"))
    by = str(proposal.get("proposed_by") or "files of the host")
    return (*told, what, by, str(proposal.get("state")), _people(proposal), distance(proposal.get("until")))


def _state(proposal: Document) -> str:
    state = str(proposal.get("state"))
    if state == "open":
        return f"open until {moment(proposal.get('until'))}"
    return f"{state} by {proposal['ended_by']}" if proposal.get("ended_by") else state


def _people(proposal: Document) -> str:
    people = proposal.get("approved_by")
    return ", ".join(map(str, people)) if isinstance(people, list) and people else "nobody"
