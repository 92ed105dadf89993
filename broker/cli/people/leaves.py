"""`leave ls`, `leave ack`: what could not be undone when access ended, and what will have to be."""

import argparse
from urllib.parse import quote

from broker.cli.people.client import Client
from broker.cli.people.exits import Document, Exit
from broker.cli.people.moments import moment
from broker.cli.people.problem_words import entries
from broker.cli.people.screen import Screen


async def ls(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """What nobody has taken note of, and what is owed now."""
    answer = await client.get("/v1/leaves")
    screen.document(answer)
    left = [row for leave in entries(answer.get("leaves")) for row in _left(leave)]
    screen.table(("LEAVE", "ENDED", "SUBJECT", "DEVICE", "POINT", "RESULT", "WHY"), left)
    if not left:
        screen.say("Nothing was left that nobody has taken note of.")
    owed = [_owed(debt) for debt in entries(answer.get("debts"))]
    if owed:
        screen.say("")
        screen.table(("OWED BY", "DEVICE", "POINT", "NOW", "WILL BE", "WAITS FOR"), owed)
    return Exit.DONE


async def acknowledge(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Take note of a leave."""
    path = f"/v1/leaves/{quote(arguments.leave, safe='')}/acknowledge"
    answer = await client.post(path, {"why": arguments.why})
    screen.document(answer)
    screen.say(f"Taken note of {arguments.leave}.", "green")
    return Exit.DONE


def _left(leave: Document) -> list[tuple[str, ...]]:
    told = (str(leave.get("id", "")), moment(leave.get("ended")), str(leave.get("subject", "")))
    return [
        (*told, str(leave.get("device", "")), _place(point), str(point.get("result", "")), str(point.get("detail", "")))
        for point in entries(leave.get("points"))
    ]


def _owed(debt: Document) -> tuple[str, ...]:
    own = debt.get("own")
    held = " or ".join(map(str, own)) if isinstance(own, list) else ""
    becomes = "released" if debt.get("before") is None else str(debt["before"])
    told = (str(debt.get("subject", "")), str(debt.get("device", "")), _place(debt))
    return (*told, held, becomes, str(debt.get("waits_for", "")))


def _place(point: Document) -> str:
    priority = point.get("priority")
    return f"{point.get('point')}" + (f" at priority {priority}" if priority is not None else "")
