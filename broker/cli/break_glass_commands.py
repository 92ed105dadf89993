"""`otbroker break-glass …`: makes the parts that open an emergency, on the broker's host, beside a running broker."""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from broker.adapters.break_glass_file import BreakGlassFile, Kept
from broker.adapters.clock import random_id
from broker.adapters.host_journal import HostJournal
from broker.adapters.private_files import write_private
from broker.adapters.sealed_parts import seal_parts
from broker.cli.config_files import load_settings
from broker.cli.program import DEFAULT_SETTINGS
from broker.errors import ConfigError
from broker.model.emergency import Seal
from broker.model.parts import MOST_PARTS

Subparsers = Any  # argparse names its own type privately
LEAST_NEEDED = 2
_NOTE = "These parts are shown once. Put each into an envelope of its own, for a person of its own."


def add_break_glass_commands(subparsers: Subparsers) -> None:
    """Add `break-glass` and what belongs to it; each sets `run`, a function of the parsed arguments."""
    glass = subparsers.add_parser("break-glass", help="the parts that open an emergency, made on the broker's host")
    commands = glass.add_subparsers(dest="break_glass_command", required=True, metavar="COMMAND")
    seal = _command(commands, "seal", _seal, "make new parts; those made before open nothing any more")
    seal.add_argument("--parts", type=int, required=True, metavar="N", help=f"how many to make, at most {MOST_PARTS}")
    seal.add_argument(
        "--needed", type=int, required=True, metavar="M", help=f"how many open an emergency, {LEAST_NEEDED} or more"
    )
    seal.add_argument("--out", type=Path, metavar="DIR", help="write each into a file of its own here, and show none")
    _command(commands, "status", _status, "how many parts are left, and which emergencies wait for their review")


def _command(commands: Subparsers, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--config", default=DEFAULT_SETTINGS, metavar="FILE", help="settings (default: %(default)s)")
    parser.set_defaults(run=run)
    return parser


def _seal(arguments: argparse.Namespace) -> int:
    if not LEAST_NEEDED <= arguments.needed <= arguments.parts <= MOST_PARTS:
        public = f"M must be at least {LEAST_NEEDED} and at most N, and N at most {MOST_PARTS}."
        raise ConfigError("seal_impossible", public)
    file = _file(arguments.config)
    seal, texts = seal_parts(random_id("seal"), arguments.parts, arguments.needed, time.time())
    about = {"seal": seal.id, "parts": str(arguments.parts), "needed": str(arguments.needed)}
    with HostJournal(file.path.parent).telling("break-glass seal", **about):
        _keep(file, arguments.out, seal, texts)
    _tell(arguments.out, seal, texts)
    return 0


def _keep(file: BreakGlassFile, folder: Path | None, seal: Seal, texts: tuple[str, ...]) -> None:
    """First what people are to keep, then what counts: parts that could not be written must not replace others."""
    if folder is not None:
        _write_parts(folder, seal, texts)
    try:
        file.change(lambda kept: Kept(seal, kept.recorded, kept.emergencies))
    except OSError as error:
        raise ConfigError("break_glass_unwritable", f"{file.path} cannot be written.", error.strerror or "") from None


def _status(arguments: argparse.Namespace) -> int:
    kept = _file(arguments.config).read()
    seal = kept.seal
    if seal is None:
        print("No parts are sealed: make some with `otbroker break-glass seal`.")
    else:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seal.sealed_at))
        told = "" if seal.usable else " Too few are left: seal again."
        print(f"{seal.id}, sealed {when}: {seal.unspent} of {len(seal.parts)} parts left, {seal.needed} needed.{told}")
    for emergency in kept.emergencies:
        state = f"{len(emergency.signatures)} of 2 signatures" + ("" if emergency.reviewed else ", review open")
        print(f"{emergency.id} at {emergency.site} by {emergency.subject}: {state}")
    return 0 if seal is not None and seal.usable else 1


def _file(settings: str) -> BreakGlassFile:
    """The file of the broker with these settings, which must go on belonging to the broker's user."""
    folder = Path(load_settings(settings).settings.state_dir)
    try:
        owner = folder.stat().st_uid
    except OSError as error:
        raise ConfigError("state_dir_unreadable", f"{folder} cannot be used.", error.strerror or "") from None
    if owner != os.geteuid():
        public = f"{folder} belongs to another user: run this as the broker's user."
        raise ConfigError("user_wrong", public, "sudo -u otbroker otbroker break-glass …")
    return BreakGlassFile(folder)


def _write_parts(folder: Path, seal: Seal, texts: tuple[str, ...]) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError("folder_not_empty", f"{folder} is not empty: parts are never written over.")
    try:
        for number, text in enumerate(texts, 1):
            write_private(folder / f"part-{number}", f"{_label(seal, number)}\n{text}\n".encode())
    except OSError as error:
        raise ConfigError("parts_unwritable", f"Parts cannot be written to {folder}.", error.strerror or "") from None


def _tell(folder: Path | None, seal: Seal, texts: tuple[str, ...]) -> None:
    if folder is not None:
        print(f"{seal.id}: {len(texts)} parts written to {folder}, {seal.needed} open an emergency.")
        return
    for number, text in enumerate(texts, 1):
        print(f"{_label(seal, number)}\n    {text}\n")
    print(_NOTE, file=sys.stderr)


def _label(seal: Seal, number: int) -> str:
    when = time.strftime("%Y-%m-%d", time.gmtime(seal.sealed_at))
    return f"# part {number} of {len(seal.parts)}, {seal.needed} needed, {seal.id}, {when}"
