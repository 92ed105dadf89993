"""What is owed, and what could not be undone, in two files of this broker's own that outlive it.

Each file is replaced as a whole and fsynced. Reading and writing are called from worker threads, one at a time for each
file.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Container, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from broker.access.debts import Debts
from broker.adapters.private_files import read_kept, write_private
from broker.model.leave import Debt, Leave, Place, PointLeft, Undone
from broker.model.operation import Relayed, Request
from broker.model.place import Device, OnLeave
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Result

log = logging.getLogger(__name__)
Told = Callable[[bool], None]


class DebtJournal:
    """Implements `DebtBook`: debts in memory and in a file. What many ask for at once is written once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Told] = []
        self._behind = False
        self._task: asyncio.Task[None] | None = None
        self.debts = Debts()
        self.trouble = ""

    async def open(self) -> None:
        """Take up what the last run left. Raises ConfigError: who cannot know what is owed must not begin."""
        self.debts = Debts(await asyncio.to_thread(_read, self._path, _debt))

    async def close(self) -> None:
        """Bring the file to what is owed now."""
        while self._task is not None:
            await self._task

    def note(self, debts: tuple[Debt, ...], noted: Told) -> bool:
        """Writes are about to be sent: `noted` is called once that is on disk, or cannot be."""
        if not self.debts.note(debts):
            log.error("a write that would have to be undone is refused: too much is owed already")
            return False

        def kept(on_disk: bool) -> None:
            if not on_disk:
                self.settle(debts, Result.NOT_SENT, 0)
            noted(on_disk)

        self._keep(kept)
        return True

    def settle(self, debts: tuple[Debt, ...], result: str, intent: int) -> None:
        """What became of them. The file may be behind for a moment: it then says less than is known, never more."""
        self.debts.settle(debts, result, intent)
        self._keep()

    def written(
        self,
        by: str,
        device: Device,
        request: Request,
        relayed: Relayed,
        first_intent: int,
        met: Container[Place],
        kept: Told,
    ) -> bool:
        """Somebody has written, or may have: what others left there stays."""
        if not self.debts.written(by, device, request, relayed, first_intent, met):
            return False
        self._keep(kept)
        return True

    def owed_still(self, debt: Debt) -> bool:
        """Whether nothing has changed about it but that it is being undone."""
        return self.debts.owed_still(debt)

    def prolong(self, debt: Debt, grants: frozenset[str]) -> None:
        """The access goes on by these grants as well."""
        self.debts.prolong(debt, grants)
        self._keep()

    def mark(self, debt: Debt, undoing: bool, marked: Told) -> None:
        """It is about to be undone, or was not after all."""
        self.debts.mark(debt, undoing)
        self._keep(marked)

    def strike(self, debt: Debt) -> None:
        """Nothing is owed there any more, unless more was written meanwhile."""
        self.debts.close(debt)
        self._keep()

    def retry(self) -> None:
        """Try again to write what could not be written."""
        if self._behind:
            self._keep()

    def _keep(self, told: Told | None = None) -> None:
        if told is not None:
            self._waiting.append(told)
        self._behind = True
        if self._task is None:
            self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            on_disk = True
            while self._behind and on_disk:
                waiting, self._waiting, self._behind = self._waiting, [], False
                on_disk = await self._written()
                for told in waiting:
                    told(on_disk)
        finally:
            self._task = None
        if self._waiting:
            self._keep()

    async def _written(self) -> bool:
        try:
            await asyncio.to_thread(_write, self._path, self.debts.all())
        except OSError as error:
            trouble = f"what is owed cannot be kept: {error}"
            if trouble != self.trouble:
                log.error("%s", trouble)
            self.trouble, self._behind = trouble, True
            return False
        self.trouble = ""
        return True


class LeaveFile:
    """Leaves of which something could not be undone, until somebody has taken note."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Leave, ...]:
        """Those of the last run. Raises ConfigError."""
        return tuple(_read(self._path, _leave))

    def write(self, leaves: Iterable[Leave]) -> None:
        """Keep these, and no others. Raises OSError."""
        _write(self._path, leaves)


def _write(path: Path, things: Iterable[Debt | Leave]) -> None:
    write_private(path, json.dumps([asdict(thing) for thing in things], default=sorted).encode())


def _read(path: Path, made: Callable[[dict[str, Any]], Any]) -> list[Any]:
    def decode(document: Any) -> list[Any]:
        return [made(fields) for fields in document]

    return read_kept(path, decode, [], "leaves_unreadable", "What is owed cannot be read.")


def _debt(fields: dict[str, Any]) -> Debt:
    told = fields["subject"]
    kind, roles = SubjectKind(told["kind"]), tuple(told["roles"])
    return Debt(
        **fields
        | {
            "subject": Subject(told["id"], kind, told["organisation"], roles),
            "undo": OnLeave(fields["undo"]),
            "written": tuple(fields["written"]),
            "under_way": tuple(fields["under_way"]),
            "grants": frozenset(fields["grants"]),
        }
    )


def _leave(fields: dict[str, Any]) -> Leave:
    return Leave(**fields | {"points": tuple(_point(each) for each in fields["points"])})


def _point(fields: dict[str, Any]) -> PointLeft:
    return PointLeft(**fields | {"undo": OnLeave(fields["undo"]), "result": Undone(fields["result"])})
