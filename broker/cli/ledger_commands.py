"""`otbroker ledger …`: show and erase what lies behind commitments. Works on the files; the broker may be running."""

import argparse
import base64
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from broker.adapters.host_journal import HostJournal
from broker.adapters.ledger_disclosures import Disclosure, DisclosureFiles
from broker.errors import ConfigError
from broker.ledger.disclosure import verify_disclosure

_COMMITMENT = re.compile(r"sha256-[A-Za-z0-9_-]{43}", re.ASCII)
MOST_NAMED = 15
_GONE = "not kept here: erased, given up with its record, lost in a power cut, or of another ledger"

Subparsers = Any  # argparse names its own type privately


def add_ledger_commands(subparsers: Subparsers) -> None:
    """Add `ledger` and what belongs to it; each sets `run`, a function of the parsed arguments with the exit status."""
    ledger = subparsers.add_parser("ledger", help="show or erase what the ledger holds only commitments to")
    commands = ledger.add_subparsers(dest="ledger_command", required=True, metavar="COMMAND")
    disclose = commands.add_parser(
        "disclose", help="show values", description="Show values behind commitments, with the salts that prove them."
    )
    disclose.set_defaults(run=_disclose)
    erase = commands.add_parser(
        "erase",
        help="erase values for good",
        description="Erase values and salts for good. The records stay and verify; what they commit to is gone.",
    )
    erase.set_defaults(run=_erase)
    for command in (disclose, erase):
        command.add_argument("directory", type=Path, metavar="DIR", help="folder of the ledger, on the broker's host")
        command.add_argument(
            "commitments",
            type=_commitment,
            nargs="+",
            metavar="COMMITMENT",
            help="member `concealed` of a record, as `otb audit show` prints it",
        )
        command.add_argument("--format", choices=("text", "json"), default="text")


def _commitment(text: str) -> str:
    if not _COMMITMENT.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no commitment: sha256- and 43 characters, as the record has it")
    return text


def _disclose(arguments: argparse.Namespace) -> int:
    files = _files(arguments.directory)
    with HostJournal(arguments.directory).telling("ledger disclose", **_about(arguments.commitments)):
        found = {commitment: _read(files, commitment) for commitment in dict.fromkeys(arguments.commitments)}
    if arguments.format == "json":
        _print_json({"disclosures": [_document(d) for d in found.values() if d], "missing": _missing(found)})
    for disclosure in found.values() if arguments.format == "text" else ():
        if disclosure:
            print(f"{disclosure.commitment}\n  value  {_shown(disclosure.value)}\n  salt   {_salt(disclosure)}")
    return _status(_missing(found))


def _erase(arguments: argparse.Namespace) -> int:
    commitments = tuple(dict.fromkeys(arguments.commitments))
    files = _files(arguments.directory)
    with HostJournal(arguments.directory).telling("ledger erase", **_about(commitments)):
        try:
            erased = files.erase(commitments)
        except OSError as error:
            raise _unusable(error) from None
    missing = [commitment for commitment in commitments if commitment not in erased]
    if arguments.format == "json":
        _print_json({"erased": [c for c in commitments if c in erased], "missing": missing})
    for commitment in commitments if arguments.format == "text" else ():
        if commitment in erased:
            print(f"{commitment}: erased")
    return _status(missing)


def _about(commitments: Sequence[str]) -> dict[str, str]:
    """What is looked at or erased, as far as there is room: by commitment, never by value."""
    named = {f"commitment_{place}": commitment for place, commitment in enumerate(commitments[:MOST_NAMED], 1)}
    return {"count": str(len(commitments))} | named


def _files(directory: Path) -> DisclosureFiles:
    """The disclosures of a ledger. Raises ConfigError if the folder is none."""
    if not (directory / "journal").is_dir():
        detail = f"{directory} has no journal. Give ledger_folder of the settings, on the broker's host, not a copy."
        raise ConfigError("ledger_missing", "This is not the folder of a broker's ledger.", detail)
    return DisclosureFiles(directory)


def _read(files: DisclosureFiles, commitment: str) -> Disclosure | None:
    """A disclosure that proves its value. Raises ConfigError, IntegrityError."""
    try:
        disclosure = files.disclose(commitment)
    except OSError as error:
        raise _unusable(error) from None
    if disclosure is not None:
        verify_disclosure(commitment, disclosure.value, disclosure.salt)
    return disclosure


def _unusable(error: OSError) -> ConfigError:
    detail = f"{error.filename or ''}: {error.strerror}. Only the user that the broker runs as, and root, may use them."
    return ConfigError("disclosures_unusable", "The disclosures cannot be used.", detail.removeprefix(": "))


def _missing(found: dict[str, Disclosure | None]) -> list[str]:
    return [commitment for commitment, disclosure in found.items() if disclosure is None]


def _status(missing: Sequence[str]) -> int:
    for commitment in missing:
        print(f"{commitment}: {_GONE}", file=sys.stderr)
    return 1 if missing else 0


def _document(disclosure: Disclosure) -> dict[str, str]:
    return {"commitment": disclosure.commitment, "value": disclosure.value, "salt": _salt(disclosure)}


def _salt(disclosure: Disclosure) -> str:
    return base64.b64encode(disclosure.salt).decode()


def _shown(value: str) -> str:
    """Without characters that a terminal would act upon; devices and callers made the text."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in value)


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=True))
