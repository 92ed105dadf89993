"""What a broker keeps of break-glass in one file of its own: the seal, and the emergencies that its parts opened.

It is one file so that spending parts and opening an emergency are one step: whatever happens, no part is spent for
nothing, and none opens two emergencies. The broker and `otbroker break-glass` both change it, one at a time.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from broker.adapters.private_files import read_kept, write_private
from broker.model.emergency import Emergency, Seal, SealedPart, Signature
from broker.model.vocabulary import Action

NAME = "break-glass.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is in the file; `recorded` is the id of the seal that the ledger knows of."""

    seal: Seal | None = None
    recorded: str = ""
    emergencies: tuple[Emergency, ...] = ()

    def spent(self, emergency: Emergency) -> "Kept":
        """The same after an emergency was opened with its parts."""
        assert self.seal is not None
        parts = tuple(
            replace(part, spent_in=emergency.id) if part.number in emergency.parts else part for part in self.seal.parts
        )
        return replace(self, seal=replace(self.seal, parts=parts), emergencies=(*self.emergencies, emergency))

    def changed(self, emergency: Emergency) -> "Kept":
        """The same with an emergency as it is now."""
        return replace(
            self, emergencies=tuple(emergency if old.id == emergency.id else old for old in self.emergencies)
        )


class BreakGlassFile:
    """Replaced as a whole and fsynced; called from worker threads."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / NAME

    def read(self) -> Kept:
        """What is kept. Raises ConfigError."""
        public = "What is kept of break-glass cannot be read."
        return read_kept(self.path, _decode, Kept(), "break_glass_unreadable", public)

    def change(self, change: Callable[[Kept], Kept]) -> Kept:
        """Change what is kept and bring it to disk, unless `change` gives it back as it was; what is kept then.

        Raises ConfigError, OSError, and whatever `change` raises.
        """
        with self._alone():
            before = self.read()
            after = change(before)
            if after is not before:
                write_private(self.path, json.dumps(asdict(after)).encode())
            return after

    def mark(self) -> tuple[int, ...]:
        """Changes whenever somebody has written the file."""
        try:
            stat = self.path.stat()
        except OSError:
            return ()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _decode(document: dict[str, Any]) -> Kept:
    seal = document["seal"]
    emergencies = tuple(decode_emergency(fields) for fields in document["emergencies"])
    if seal is not None:
        seal = Seal(**seal | {"parts": tuple(SealedPart(**part) for part in seal["parts"])})
    return Kept(seal, document["recorded"], emergencies)


def decode_emergency(fields: dict[str, Any]) -> Emergency:
    """An emergency from its fields in JSON. Raises TypeError, ValueError or KeyError."""
    return Emergency(
        **fields
        | {
            "actions": tuple(Action(action) for action in fields["actions"]),
            "parts": tuple(fields["parts"]),
            "passes": tuple(fields["passes"]),
            "signatures": tuple(Signature(**signature) for signature in fields["signatures"]),
        }
    )
