"""`policy ls`, `show`, `diff`, `activate`: which policy is in force, and which waits for people."""

import argparse
import difflib
import json
from collections.abc import Iterator
from urllib.parse import quote

from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, Exit
from broker.cli.people.moments import distance, moment
from broker.cli.people.problem_words import entries
from broker.cli.people.screen import Screen

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


async def ls(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """What is in force, what waits, and what was in force before."""
    answer = await client.get("/v1/policies")
    screen.document(answer)
    rows = [(str(entry.get("revision")), _state(entry, answer), _since(entry)) for entry in _history(answer)]
    if answer.get("waiting"):
        rows.insert(0, (str(answer["waiting"]), "waits", _approved(answer)))
    screen.table(("REVISION", "STATE", ""), rows)
    if answer.get("activation") == "apply":
        screen.say("Changed files come into force at once (policy.activation: apply).")
    return Exit.DONE


async def show(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """A policy whole."""
    answer = await _policy(client, arguments.revision or str((await client.get("/v1/policies")).get("in_force")))
    screen.document(answer)
    for name, text in sorted(_files(answer).items()):
        screen.say(f"# {name}", "bold")
        for line in text.splitlines():
            screen.say(line)
    return Exit.DONE


async def diff(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Two policies compared."""
    known = await client.get("/v1/policies")
    new, old = arguments.new or str(known.get("waiting")), arguments.old or str(known.get("in_force"))
    if not new:
        raise CommandError("nothing_waits", "No policy waits.", "Name the revisions to compare.", Exit.USAGE)
    lines = list(differences(_files(await _policy(client, old)), _files(await _policy(client, new))))
    screen.document({"old": old, "new": new, "diff": lines})
    for line in lines:
        screen.say(line, _STYLES.get(line[:1], ""))
    if not lines:
        screen.say("They are the same.")
    return Exit.DONE


async def activate(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Approve a revision."""
    answer = await client.post(f"/v1/policies/{quote(arguments.revision, safe='')}/activate", {})
    screen.document(answer)
    if answer.get("activated"):
        here = answer.get("in_force") == answer.get("revision")
        screen.say("Activated." if here else "Activated; this broker has yet to bring it into force.", "green")
    else:
        screen.say(f"Approved by {_people(answer)}; it takes another person.", "yellow")
    return Exit.DONE


def differences(old: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    """Unified, file by file."""
    for name in sorted(old.keys() | new.keys()):
        before, after = (files.get(name, "").splitlines() for files in (old, new))
        yield from difflib.unified_diff(before, after, f"in force/{name}", f"waiting/{name}", lineterm="")


async def _policy(client: Client, revision: str) -> Document:
    return await client.get(f"/v1/policies/{quote(revision, safe='')}")


def _files(policy: Document) -> dict[str, str]:
    """Modules by name, and data as one more file."""
    modules, data = policy.get("modules"), policy.get("data")
    files = {str(name): str(text) for name, text in modules.items()} if isinstance(modules, dict) else {}
    return files | ({"data.json": json.dumps(data, indent=2, sort_keys=True, default=str)} if data else {})


def _history(answer: Document) -> list[Document]:
    return entries(answer.get("before"))


def _state(entry: Document, answer: Document) -> str:
    return "in force" if entry.get("revision") == answer.get("in_force") else "was in force"


def _since(entry: Document) -> str:
    return f"from {moment(entry.get('since'))}, {distance(entry.get('since'))}"


def _approved(answer: Document) -> str:
    people = _people(answer)
    return f"approved by {people}" if people else "approved by nobody yet"


def _people(answer: Document) -> str:
    people = answer.get("approved_by")
    return ", ".join(map(str, people)) if isinstance(people, list) else ""
