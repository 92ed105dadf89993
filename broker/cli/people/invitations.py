"""`invite create`, `invite ls`, `invite revoke`, `people ls`, `people revoke`: who may enrol, and who has."""

import argparse
from urllib.parse import quote

from broker.cli.people.client import Client
from broker.cli.people.exits import Document, Exit
from broker.cli.people.moments import distance, moment
from broker.cli.people.problem_words import entries
from broker.cli.people.screen import Cell, Screen


async def create(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Invite somebody; the code is shown once."""
    asked: Document = {"organisation": arguments.organisation, "subject": arguments.subject}
    if arguments.seconds is not None:
        asked["seconds"] = arguments.seconds
    answer = await client.post("/v1/invitations", asked)
    screen.document(answer)
    invitation = _part(answer, "invitation")
    until = invitation.get("expires_at")
    screen.say(f"Code for {invitation.get('subject')}, good once until {moment(until)} ({distance(until)}):")
    screen.say(f"    {answer.get('code')}", "bold")
    screen.say("It is not kept. Hand it over in person or by a call, not beside the address of this broker.")
    screen.say(f"Take it back with `otb invite revoke {invitation.get('id')}`.")
    return Exit.DONE


async def ls(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Invitations, the newest first."""
    answer = await client.get("/v1/invitations")
    screen.document(answer)
    rows: list[list[Cell]] = [
        [
            str(entry.get("id")),
            str(entry.get("subject")),
            str(entry.get("organisation")),
            str(entry.get("created_by")),
            moment(entry.get("expires_at")),
            (str(entry.get("state")), "green" if entry.get("state") == "open" else ""),
        ]
        for entry in entries(answer.get("invitations"))
    ]
    if not rows:
        screen.say("Nobody is invited.")
    screen.table(("id", "who", "organisation", "by", "until", "state"), rows)
    return Exit.DONE


async def revoke(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Take an invitation back."""
    answer = await client.post(f"/v1/invitations/{quote(arguments.invitation, safe='')}/revoke", {})
    screen.document(answer)
    screen.say(f"The code of {_part(answer, 'invitation').get('id')} is good for nothing any more.")
    return Exit.DONE


async def people(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Who has enrolled."""
    answer = await client.get("/v1/people")
    screen.document(answer)
    rows: list[list[Cell]] = [_person(entry) for entry in entries(answer.get("people"))]
    if not rows:
        screen.say("Nobody has enrolled.")
    screen.table(("who", "organisation", "enrolled", "invited by", "certificate until", "state"), rows)
    return Exit.DONE


async def revoke_person(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Take everything away from somebody."""
    answer = await client.post("/v1/people/revoke", {"subject": arguments.subject, "why": arguments.why})
    screen.document(answer)
    screen.say(f"{_part(answer, 'person').get('subject')} has no second factor, certificate or session any more.")
    return Exit.DONE


def _person(entry: Document) -> list[Cell]:
    until, revoked = entry.get("certificate_until"), entry.get("revoked_at")
    state: Cell = (f"revoked by {entry.get('revoked_by')}: {entry.get('why')}", "red") if revoked else "in force"
    return [
        str(entry.get("subject")),
        str(entry.get("organisation")),
        moment(entry.get("enrolled_at")),
        str(entry.get("invited_by")),
        moment(until) if until else "none",
        state,
    ]


def _part(answer: Document, name: str) -> Document:
    part = answer.get(name)
    return part if isinstance(part, dict) else {}
