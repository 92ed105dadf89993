"""`audit search`, `audit show`, `audit checkpoint`: the ledger through the broker. Every look is recorded itself."""

import argparse
from pathlib import Path

from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, Exit
from broker.cli.people.moments import epoch_of, moment, rfc3339
from broker.cli.people.problem_words import entries
from broker.cli.people.record_words import operation_words, record_sentence
from broker.cli.people.safe_text import encode_document
from broker.cli.people.screen import Screen

PAGE = 200
_FILTERS = ("subject", "device", "session", "decision")


async def search(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Records that match, page by page until there are enough."""
    query = search_query(arguments)
    cursor: int | None = arguments.cursor
    found: list[Document] = []
    size = 0
    while True:
        wanted = min(PAGE, arguments.limit - len(found))
        more = [("cursor", str(cursor))] if cursor is not None else []
        page = await client.get("/v1/ledger/records", [*query, ("limit", str(wanted)), *more])
        records = entries(page.get("records"))
        found += records
        size, cursor = int(page.get("size", 0)), _cursor(page)
        screen.table((), [_row(record) for record in records], right=(0,))
        if cursor is None or len(found) >= arguments.limit:
            break
    screen.document({"size": size, "records": found, "cursor": cursor})
    if not screen.as_json:
        screen.note(_summary(len(found), size, cursor), "")
        if arguments.subject and not found:
            screen.note("A subject is written in full, such as ana@acme.example: is it known by another name?", "")
    return Exit.DONE


async def show(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """One record, whole; with proof, if that is asked for."""
    kind = "proof" if arguments.proof else "records"
    answer = await client.get(f"/v1/ledger/{kind}/{arguments.index}")
    screen.document(answer)
    if screen.as_json:
        return Exit.DONE
    if arguments.proof:
        screen.facts((name, _shown(value)) for name, value in answer.items())
        return Exit.DONE
    record = answer.get("record")
    if isinstance(record, dict):
        screen.say(f"{moment(record.get('time'))}: {_sentence(record, answer.get('about'))}", "bold")
        for line in encode_document(record).splitlines():
            screen.say(line)
    return Exit.DONE


async def checkpoint(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """The newest signed checkpoint, printed or kept in a file for a later `audit verify --checkpoint`."""
    answer = await client.get("/v1/ledger/checkpoint")
    note = str(answer.get("checkpoint", ""))
    if arguments.save:
        _save(Path(arguments.save), note)
        screen.say(f"The checkpoint of {answer.get('size')} records is in {arguments.save}.")
    screen.document(answer)
    if not arguments.save:
        for line in note.splitlines():
            screen.say(line)
    return Exit.DONE


def search_query(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """The filters as query parameters. Raises CommandError for a time without offset."""
    query = [("kind", kind) for kind in arguments.kind or ()]
    query += [(name, getattr(arguments, name)) for name in _FILTERS if getattr(arguments, name)]
    for name, text in (("from", arguments.since), ("until", arguments.until)):
        if text:
            query.append((name, rfc3339(name, text)))
    return [*query, ("order", "oldest" if arguments.oldest else "newest")]


def _cursor(page: Document) -> int | None:
    cursor = page.get("cursor")
    return cursor if isinstance(cursor, int) else None


def _row(entry: Document) -> tuple[str, str, str, str]:
    record = entry.get("record")
    if not isinstance(record, dict):
        return str(entry.get("index", "")), "", "", ""
    when = record.get("time")
    shown = str(when) if epoch_of(when) is None else moment(when)
    return str(entry.get("index", "")), shown, str(record.get("kind", "")), _sentence(record, entry.get("about"))


def _sentence(record: Document, about: object) -> str:
    """What the record says, and whose operation, what and where it is about."""
    told = record_sentence(record)
    if not isinstance(about, dict):
        return told
    return f"{told}: {about.get('subject')} {operation_words(about.get('operation'))} on {about.get('device')}"


def _summary(found: int, size: int, cursor: int | None) -> str:
    told = f"{found} of {size} records"
    return f"{told}; more with --cursor {cursor}" if cursor is not None else told


def _shown(value: object) -> str:
    return value if isinstance(value, str) else encode_document(value, indented=False)


def _save(path: Path, note: str) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(note)
    except OSError as error:
        raise CommandError("file_unwritable", f"{path} cannot be written: {error.strerror or error}.") from None
