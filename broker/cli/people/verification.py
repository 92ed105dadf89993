"""`audit verify`: the evidence checked from its files and a public key alone; no broker, no profile, no network."""

import argparse
import importlib
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from broker.cli.people.access import read_text
from broker.cli.people.exits import CommandError, Exit
from broker.cli.people.screen import Cell, Screen
from broker.errors import IntegrityError

if TYPE_CHECKING:
    from broker.ledger.verify import Report

MOST_SAVED_OCTETS = 64 << 20
_NOT_THE_LEDGER = {
    "signed_by_others": "The ledger cannot be verified with this key: it is signed by nobody of this name and key. "
    "Is this the right public key?",
    "saved_checkpoint_refused": "The saved checkpoint is not one that this key signed; nothing was compared with it.",
}


def verify(arguments: argparse.Namespace, environment: Mapping[str, str], screen: Screen) -> Exit:
    """Check tree, chain of checkpoints, signatures and what must hold between records; done only if all holds."""
    from broker.adapters.ledger_reader import verify_directory

    folder = Path(arguments.directory)
    if not folder.is_dir():
        raise CommandError("ledger_missing", f"{folder} is not a folder.", "Give the folder of the ledger's files.")
    key = _read_key(Path(arguments.public_key), "public key of a ledger")
    saved = _read_saved(Path(arguments.checkpoint)) if arguments.checkpoint else None
    witnesses = [_read_key(Path(name), "public key of a witness") for name in arguments.witness or ()]
    with _told(folder, screen):
        report = verify_directory(folder, key, saved, witnesses)
    screen.document(asdict(report) | {"unwitnessed": report.unwitnessed})
    if report.ok:
        _tell_good(report, screen)
        return Exit.DONE
    _tell_bad(report, screen)
    return Exit.ERROR


def _told(folder: Path, screen: Screen) -> AbstractContextManager[None]:
    """Who verifies a running broker's own files has looked at evidence; a copy tells nobody."""
    try:  # by its name: what it needs is not there on Windows, where no broker runs
        host_journal = importlib.import_module("broker.adapters.host_journal")
    except ImportError:
        return nullcontext()
    journal = host_journal.HostJournal(folder)
    if not journal.kept:
        return nullcontext()
    if not os.access(folder, os.W_OK):
        screen.say("This look at the evidence is not recorded: the folder cannot be written to.", "yellow")
        return nullcontext()
    telling: AbstractContextManager[None] = journal.telling("audit verify", folder=str(folder))
    return telling


def _read_key(path: Path, what: str) -> str:
    """A key as notes are signed with. Raises CommandError for what is none: that says nothing about the ledger."""
    from broker.ledger.notes import decode_vkey

    key = read_text(path, what).strip()
    try:
        decode_vkey(key)
    except IntegrityError as error:
        if error.code == "key_malformed":
            public = f"{path} holds no {what}: {error.public}."
            hint = "Give the file that has it (a broker's is ledger.pub), as whoever runs the broker handed it to you."
            raise CommandError("key_unreadable", public, hint) from None
    return key


def _read_saved(path: Path) -> str:
    """One checkpoint or more, as `audit checkpoint --save` or an export wrote them. Raises CommandError."""
    from broker.ledger.checkpoint import split_checkpoints

    text = read_text(path, "saved checkpoint", MOST_SAVED_OCTETS)
    try:
        split_checkpoints(text)
    except IntegrityError as error:
        public = f"The saved checkpoint {path} cannot be read as a checkpoint: {error.public}."
        hint = "Give what `otb audit checkpoint --save` or the export of checkpoints wrote."
        raise CommandError("checkpoint_unreadable", public, hint, Exit.USAGE) from None
    return text


def _tell_good(report: "Report", screen: Screen) -> None:
    screen.say(f"The ledger {report.origin} holds: {report.size} records.", "bold green")
    rows: list[tuple[str, Cell]] = [
        ("size", str(report.size)),
        ("root", report.root),
        ("checkpoints", str(report.checkpoints)),
        ("witnesses", _witnesses(report)),
    ]
    if report.minimum:
        rows.append(("pruned", f"records below {report.minimum} are not there; their hashes are"))
    if report.saved_size is not None:
        rows.append(("saved checkpoint", _saved(report)))
    if report.late_checkpoints:
        rows.append(("late", (_late(report), "yellow")))
    if report.head_behind:
        rows.append(("head", (f"{report.head_behind} checkpoints behind the chain", "yellow")))
    if report.open_intents:
        rows.append(("under way", f"{report.open_intents} intents without outcome yet"))
    screen.facts(rows)
    if report.counts:
        screen.facts((kind, str(count)) for kind, count in sorted(report.counts.items()))


def _tell_bad(report: "Report", screen: Screen) -> None:
    where = "" if report.first_bad is None else f" First bad record: {report.first_bad}."
    reason = report.reason.replace("_", " ")
    other = _NOT_THE_LEDGER.get(report.reason) if report.first_bad is None else None
    screen.say(other or f"The ledger does NOT hold: {reason}.{where}", "bold red")
    rows: list[tuple[str, Cell]] = [("reason", report.reason)]
    if report.detail:
        rows.append(("detail", report.detail))
    if report.first_bad is not None:
        rows.append(("first bad record", str(report.first_bad)))
    if report.origin:
        rows += [("signed for", f"{report.origin}, {report.size} records"), ("witnesses", _witnesses(report))]
    screen.facts(rows)


def _saved(report: "Report") -> str:
    if report.saved_checkpoints == 1:
        return f"of {report.saved_size} records: the history since is the same"
    return f"{report.saved_checkpoints}, the largest of {report.saved_size} records: the history agrees with each"


def _late(report: "Report") -> str:
    return (
        f"checkpoints over more than 2 s of records: {report.late_checkpoints}, the longest over "
        f"{report.longest_stretch:g} s: sealing was held up, or checkpoints between were removed"
    )


def _witnesses(report: "Report") -> Cell:
    if report.unwitnessed:
        return "unwitnessed: nobody but the broker has signed this history", "yellow"
    return ", ".join(report.witnesses)
