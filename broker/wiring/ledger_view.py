"""Reads the running ledger for the API, from worker threads, a bounded number of records at a time."""

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import Any

import orjson

from broker.adapters.ledger_files import FileLedger
from broker.api.evidence_ports import Filters, Numbered, Page
from broker.errors import IntegrityError

LOOKED_AT = 20_000
CHUNK = 1_000
SESSIONS_REMEMBERED = 100_000
DECISIONS_REMEMBERED = 4_096
NOBODY = "", ""


class RunningLedgerView:
    """A `LedgerView`. A record belongs to the subject and device of its session.

    Remembered are all sessions that are open, and so many of those that ended. Intents and outcomes of older ones are
    found through the decision that they cite, so that nobody pushes what he wrote out of sight with sessions that came
    later. What else those left (how they ended, who paused them) is found by the session itself.
    """

    def __init__(self, ledger: FileLedger) -> None:
        self._ledger = ledger
        self._open: dict[str, tuple[str, str]] = {}
        self._ended: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._learnt_upto = 0
        self._learning = Lock()
        self._decided = lru_cache(DECISIONS_REMEMBERED)(self._of_decided)

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
        told = self._intent_of(record) if filters.subject or filters.device or filters.session else {}
        session = _text(record.get("session")) or _text(told.get("session"))
        if filters.session and session != filters.session:
            return False
        if not (filters.subject or filters.device):
            return True
        subject, device = self._about(session, record, told)
        return (not filters.subject or filters.subject in (subject, record.get("by"))) and (
            not filters.device or device == filters.device
        )

    def _about(self, session: str, record: dict[str, Any], told: dict[str, Any]) -> tuple[str, str]:
        """Subject and device of a record; `told` is the intent that an outcome is of, or the record."""
        subject, device = self._open.get(session) or self._ended.get(session) or NOBODY
        if subject and device:
            return subject, device
        decided = self._decided(told["decision"]) if told.get("kind") == "intent" else _asked_about(record)
        return subject or decided[0] or _text(record.get("subject")), device or decided[1] or _text(
            record.get("device")
        )

    def _of_decision(self, record: dict[str, Any], decision: str) -> bool:
        if record["kind"] == "decision":
            return bool(record["id"] == decision)
        cited = self._intent_of(record).get("decision")
        return isinstance(cited, int) and self._decoded(cited).get("id") == decision

    def _of_decided(self, index: int) -> tuple[str, str]:
        return _asked_about(self._decoded(index))

    def _intent_of(self, record: dict[str, Any]) -> dict[str, Any]:
        """The intent that an outcome is of; any other record as it is."""
        return self._decoded(record["intent"]) if record["kind"] == "outcome" else record

    def _decoded(self, index: int) -> dict[str, Any]:
        return next((record for _, record in self.records(index, index + 1)), {})

    def _learn_sessions(self, filters: Filters) -> None:
        """Remember whom sessions belong to, from where we stopped last time."""
        if not (filters.subject or filters.device):
            return
        with self._learning:
            upto = self.size
            for _, raw in self._raw(self._learnt_upto, upto):
                if b'"kind":"session_opened"' in raw:
                    record = orjson.loads(raw)
                    self._open[record["session"]] = _text(record["subject"]), record["device"]
                elif b'"kind":"session_closed"' in raw:
                    self._learn_end(orjson.loads(raw)["session"])
            self._learnt_upto = upto

    def _learn_end(self, session: str) -> None:
        if session in self._open:
            self._ended[session] = self._open[session]
            del self._open[session]
        if len(self._ended) > SESSIONS_REMEMBERED:
            self._ended.popitem(last=False)


def _asked_about(record: dict[str, Any]) -> tuple[str, str]:
    """Subject and device of the question that a decision answers; "" for what it is not about."""
    asked = record.get("input") or {}
    device = asked.get("device") or {}
    return _text(asked.get("subject")), f"{device['site']}/{device['id']}" if "id" in device else ""


def _text(value: object) -> str:
    if isinstance(value, dict):
        return str(value.get("id", ""))
    return value if isinstance(value, str) else ""


def _within(stamp: str, filters: Filters) -> bool:
    if filters.since is None and filters.until is None:
        return True
    at = datetime.fromisoformat(stamp).timestamp()
    return (filters.since is None or at >= filters.since) and (filters.until is None or at < filters.until)
