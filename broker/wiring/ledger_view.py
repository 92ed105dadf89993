"""Reads the running ledger for the API, from worker threads, a bounded number of records at a time."""

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

from broker.adapters.ledger_files import FileLedger
from broker.api.ports import Filters, Numbered, Page
from broker.errors import IntegrityError

LOOKED_AT = 20_000
CHUNK = 1_000
SESSIONS_REMEMBERED = 100_000


class RunningLedgerView:
    """A `LedgerView`. What a record belongs to is found through its session, whose opening is remembered or looked
    up.
    """

    def __init__(self, ledger: FileLedger) -> None:
        self._ledger = ledger
        self._sessions: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._sessions_upto = 0

    @property
    def size(self) -> int:
        """How many records there are."""
        return self._ledger.size

    def checkpoint(self) -> str:
        """The newest signed checkpoint."""
        return self._ledger.checkpoint()

    def records(self, start: int, stop: int) -> Iterator[Numbered]:
        """Records start <= index < stop, decoded."""
        for index, raw in self._raw(start, stop):
            yield index, orjson.loads(raw)

    def stored(self, index: int) -> bytes:
        """One record as it is stored. Raises LookupError."""
        try:
            return self._ledger.read(index)
        except IntegrityError as error:
            raise LookupError(index) from error

    def inclusion_proof(self, index: int) -> tuple[list[str], str]:
        """Hashes from leaf to root, and the newest checkpoint. Raises LookupError if it does not cover the record."""
        try:
            proof = self._ledger.inclusion_proof(index)
        except IntegrityError as error:
            raise LookupError(index) from error
        head, _, note = proof.partition("\n\n")
        return head.splitlines()[2:], note

    def search(self, filters: Filters) -> Page:
        """At most so many records are looked at; the cursor goes on from there."""
        self._learn_sessions(filters)
        found: list[Numbered] = []
        at = self._first(filters)
        end = self.size if filters.oldest_first else -1
        for _ in range(LOOKED_AT // CHUNK):
            chunk = range(at, min(at + CHUNK, end)) if filters.oldest_first else range(at, max(at - CHUNK, end), -1)
            if not chunk:
                return Page(tuple(found), None)
            numbered = dict(self._raw(min(chunk), max(chunk) + 1))
            for index in chunk:
                if index not in numbered or not self._matches(index, numbered[index], filters, found):
                    continue
                if len(found) == filters.limit:
                    following = index + chunk.step
                    return Page(tuple(found), following if 0 <= following < self.size else None)
            at = chunk[-1] + chunk.step
        return Page(tuple(found), at if 0 <= at < self.size else None)

    def _first(self, filters: Filters) -> int:
        if filters.cursor is not None:
            return min(filters.cursor, self.size - 1) if not filters.oldest_first else filters.cursor
        return 0 if filters.oldest_first else self.size - 1

    def _raw(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        try:
            yield from enumerate(self._ledger.records(start, stop), start)
        except IntegrityError:
            return

    def _matches(self, index: int, raw: bytes, filters: Filters, found: list[Numbered]) -> bool:
        record: dict[str, Any] = orjson.loads(raw)
        if filters.kinds and record["kind"] not in filters.kinds:
            return False
        if not _within(record["time"], filters) or not self._belongs(record, filters):
            return False
        found.append((index, record))
        return True

    def _belongs(self, record: dict[str, Any], filters: Filters) -> bool:
        if filters.decision and not self._of_decision(record, filters.decision):
            return False
        if not (filters.subject or filters.device or filters.session):
            return True
        session = self._session_of(record)
        subject, device = self._sessions.get(session, ("", ""))
        asked = record.get("input") or {}
        subject = subject or (asked.get("subject") or {}).get("id", "") or _text(record.get("subject"))
        device = device or _text(record.get("device"))
        return (
            (not filters.session or session == filters.session)
            and (not filters.subject or filters.subject in (subject, record.get("by")))
            and (not filters.device or device == filters.device)
        )

    def _of_decision(self, record: dict[str, Any], decision: str) -> bool:
        if record["kind"] == "decision":
            return bool(record["id"] == decision)
        cited = self._intent_of(record).get("decision")
        return isinstance(cited, int) and self._decoded(cited).get("id") == decision

    def _session_of(self, record: dict[str, Any]) -> str:
        return _text(record.get("session")) or _text(self._intent_of(record).get("session"))

    def _intent_of(self, record: dict[str, Any]) -> dict[str, Any]:
        """The intent that an outcome is of; any other record as it is."""
        return self._decoded(record["intent"]) if record["kind"] == "outcome" else record

    def _decoded(self, index: int) -> dict[str, Any]:
        return next((record for _, record in self.records(index, index + 1)), {})

    def _learn_sessions(self, filters: Filters) -> None:
        """Remember whom sessions belong to, from where we stopped last time."""
        if not (filters.subject or filters.device):
            return
        upto = self.size
        for _, raw in self._raw(self._sessions_upto, upto):
            if b'"kind":"session_opened"' in raw:
                record = orjson.loads(raw)
                self._sessions[record["session"]] = (_text(record["subject"]), record["device"])
                if len(self._sessions) > SESSIONS_REMEMBERED:
                    self._sessions.popitem(last=False)
        self._sessions_upto = upto


def _text(value: object) -> str:
    if isinstance(value, dict):
        return str(value.get("id", ""))
    return value if isinstance(value, str) else ""


def _within(stamp: str, filters: Filters) -> bool:
    if filters.since is None and filters.until is None:
        return True
    at = datetime.fromisoformat(stamp).timestamp()
    return (filters.since is None or at >= filters.since) and (filters.until is None or at < filters.until)
