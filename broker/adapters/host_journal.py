"""What commands on the broker's host do, told to the broker through a folder that it empties into the ledger.

    host-commands/pending.jsonl   what commands append, one JSON object a line, fsynced before they act
    host-commands/taken.jsonl     what the broker is taking into the ledger; gone once that is on disk

A broker that ends in between takes the same lines again: their ids show it. Who did it is what the host knows; whoever
is root on it can claim anything.
"""

import fcntl
import json
import os
import pwd
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from broker.adapters.ledger_files_disk import sync_folder, write_all
from broker.errors import BrokerError, ConfigError

FOLDER = "host-commands"
LARGEST_FILE = 1 << 20
LARGEST_LINE = 4096
MOST_MEMBERS = 16
LONGEST_TEXT = 300
BEGUN, DONE = "begun", "done"
_NOBODY_LOGGED_IN = 2**32 - 1


@dataclass(frozen=True, slots=True)
class HostCommand:
    """A command at one moment: `begun` before it acts, then `done` or how it failed. `at` is epoch seconds."""

    id: str
    at: float
    command: str
    about: Mapping[str, str]
    outcome: str
    claimed_by: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Taken:
    """What the broker has taken, and how many lines of it cannot be read."""

    commands: tuple[HostCommand, ...]
    unreadable: int


class HostJournal:
    """The journal beside whatever a command acts on: the state folder, the ledger's, or that of an authority."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._folder = place / FOLDER
        self._pending = self._folder / "pending.jsonl"
        self._taken = self._folder / "taken.jsonl"

    @property
    def kept(self) -> bool:
        """Whether a broker reads it, or has."""
        return self._folder.is_dir()

    def make(self) -> None:
        """Make the folder, of the same owner as what it lies in. Raises OSError."""
        if not self.kept:
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._give_away(self._folder)
            sync_folder(self._folder.parent)

    @contextmanager
    def telling(self, command: str, **about: str) -> Iterator[dict[str, str]]:
        """Tell of a command before it acts, and how it came out. Raises ConfigError: untold, it must not act.

        What the command adds to the mapping it is given is told at its end.
        """
        identifier = f"cmd-{secrets.token_hex(8)}"
        self._tell(identifier, command, about, BEGUN)
        found: dict[str, str] = {}
        try:
            yield found
        except BaseException as error:
            outcome = error.code if isinstance(error, BrokerError) else type(error).__name__
            with suppress(ConfigError):
                self._tell(identifier, command, about | found, outcome)
            raise
        self._tell(identifier, command, about | found, DONE)

    def take(self) -> Taken | None:
        """What has been told since, None if nothing; the same again until `drop`. Raises OSError."""
        if not self._taken.exists():
            with suppress(FileNotFoundError), self._opened(os.O_RDONLY):
                self._pending.rename(self._taken)
        try:
            with self._taken.open("rb") as file:
                octets = file.read(LARGEST_FILE + LARGEST_LINE)
        except FileNotFoundError:
            return None
        lines = [line for line in octets.split(b"\n") if line]
        commands = tuple(command for line in lines if (command := decode_host_command(line)) is not None)
        return Taken(commands, len(lines) - len(commands))

    def drop(self) -> None:
        """Forget what was taken: it is in the ledger. Raises OSError."""
        self._taken.unlink(missing_ok=True)

    def _tell(self, identifier: str, command: str, about: Mapping[str, str], outcome: str) -> None:
        told = {name: value[:LONGEST_TEXT] for name, value in about.items()}
        entry = HostCommand(identifier, time.time(), command, told, outcome, who_claims())
        # What a crash cut off before it ends here.
        line = b"\n" + json.dumps(asdict(entry), separators=(",", ":")).encode() + b"\n"
        try:
            self.make()
            with self._opened(os.O_WRONLY | os.O_CREAT | os.O_APPEND) as descriptor:
                size = os.fstat(descriptor).st_size
                if size + len(line) > LARGEST_FILE and outcome == BEGUN:
                    detail = f"{self._pending} is full: the broker has not taken it. Is it running?"
                    raise ConfigError("host_journal_full", "The command cannot be recorded and was not begun.", detail)
                write_all(descriptor, line)
                os.fsync(descriptor)
            if not size:
                sync_folder(self._folder)
        except OSError as error:
            detail = f"{error.filename or self._pending}: {error.strerror}. Run it as the user that the broker runs as."
            public = "What the command does cannot be recorded."
            raise ConfigError("host_journal_unusable", public, detail) from None

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        """The pending file, locked; the broker may have taken it away just before. Raises OSError."""
        while True:
            descriptor = os.open(self._pending, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_still(self._pending, descriptor):
                    self._give_away(descriptor)
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _give_away(self, made: Path | int) -> None:
        """What root made belongs to whom the place belongs to, so that the broker can take it."""
        if os.geteuid() == 0:
            owner = self._place.stat()
            os.chown(made, owner.st_uid, owner.st_gid)


def decode_host_command(line: bytes) -> HostCommand | None:
    """The command that a line tells of; None unless it is exactly as `telling` writes it."""
    try:
        members = json.loads(line) if len(line) <= LARGEST_LINE else {}
        entry = HostCommand(**members)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (entry.id, entry.command, entry.outcome)
    sound = isinstance(entry.at, float) and 0 <= entry.at < 2**53 and all(map(_is_text, texts))
    return entry if sound and _are_texts(entry.about) and _are_texts(entry.claimed_by) else None


def who_claims() -> dict[str, str]:
    """As whom the command runs, and who logged in to run it, as far as the host knows."""
    claims = {"uid": str(os.getuid()), "login_uid": _login_uid(), "sudo_user": os.environ.get("SUDO_USER", "")}
    with suppress(KeyError):
        claims["user"] = pwd.getpwuid(os.getuid()).pw_name
    return {name: value[:LONGEST_TEXT] for name, value in claims.items() if value}


def _login_uid() -> str:
    """Who logged in, whatever he became since; the kernel keeps it (audit_setloginuid), PAM sets it."""
    try:
        uid = Path("/proc/self/loginuid").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return uid if uid.isdigit() and int(uid) != _NOBODY_LOGGED_IN else ""


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT


def _are_texts(members: object) -> bool:
    return (
        isinstance(members, dict)
        and len(members) <= MOST_MEMBERS
        and all(
            _is_text(name) and isinstance(text, str) and len(text) <= LONGEST_TEXT for name, text in members.items()
        )
    )
