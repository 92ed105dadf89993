"""`lock set`, `lock ls`, `lock lift`, `isolate`: who is refused what, at once."""

import argparse
from urllib.parse import quote

from broker.cli.people.client import Client
from broker.cli.people.exits import Document, Exit
from broker.cli.people.moments import distance, moment
from broker.cli.people.problem_words import entries
from broker.cli.people.screen import Screen


async def set_lock(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Set a lock."""
    asked: Document = {"kind": arguments.kind, "target": arguments.lock_target, "message": arguments.message}
    if arguments.seconds is not None:
        asked["seconds"] = arguments.seconds
    _tell(await client.post("/v1/locks", asked), screen)
    return Exit.DONE


async def isolate(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Isolate a site."""
    path = f"/v1/sites/{quote(arguments.site, safe='')}/isolate"
    _tell(await client.post(path, {"message": arguments.message}), screen)
    return Exit.DONE


async def lift(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Lift a lock."""
    answer = await client.post(f"/v1/locks/{quote(arguments.lock_id, safe='')}/lift", {})
    screen.document(answer)
    screen.say(f"Lifted {arguments.lock_id}.", "green")
    return Exit.DONE


async def ls(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """The locks that hold."""
    answer = await client.get("/v1/locks")
    screen.document(answer)
    found = entries(answer.get("locks"))
    screen.table(("LOCK", "KIND", "TARGET", "SET", "BY", "ENDS", "MESSAGE"), [_row(lock) for lock in found])
    if not found:
        screen.say("No lock holds.")
    return Exit.DONE


def _tell(answer: Document, screen: Screen) -> None:
    screen.document(answer)
    lock = answer.get("lock")
    if not isinstance(lock, dict):
        return
    screen.say(f"{lock.get('id')} holds on {lock.get('kind')} {lock.get('target')}, {_ends(lock)}.", "green")
    screen.say(f"Sessions ended on this broker so far: {answer.get('ended')}.")
    if answer.get("shared") is not True:
        screen.note("The state cannot be reached: the lock holds on this broker, on the others when it is back.")


def _row(lock: Document) -> tuple[str, ...]:
    kind = "site (isolated)" if lock.get("isolation") else str(lock.get("kind", ""))
    told = (str(lock.get(name, "")) for name in ("target", "set_at", "set_by"))
    target, set_at, set_by = told
    return (str(lock.get("id", "")), kind, target, moment(set_at), set_by, _ends(lock), str(lock.get("message", "")))


def _ends(lock: Document) -> str:
    until = lock.get("until")
    if until is not None:
        return f"until {moment(until)}, {distance(until)}"
    return "until a second person lifts it" if lock.get("isolation") else "until it is lifted"
