"""Idempotency-Key: a repeated write call gets the first one's answer and writes nothing again.

Answers are kept in memory: for a day and within bounds. A key that was forgotten, and every key after a restart, is
new; what was written, the ledger says.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from broker.api.problems import Problem

KEPT_SECONDS = 86_400.0
MAX_KEYS = 10_000
MAX_KEYS_OF_SUBJECT = 1_000
MAX_OCTETS = 32 * 1024 * 1024
LONGEST_KEY = 128


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that can be given again; `kept`: it may have reached a device, so a repetition must not."""

    status: int
    media_type: str
    body: bytes
    kept: bool


@dataclass(slots=True)
class _Entry:
    fingerprint: bytes
    began: float
    answer: Answer | None = None


@dataclass(slots=True)
class IdempotencyStore:
    """Answers by subject and key. `monotonic` is the clock; a bound that is reached forgets the oldest answer."""

    monotonic: Callable[[], float]
    kept_seconds: float = KEPT_SECONDS
    max_keys: int = MAX_KEYS
    max_keys_of_subject: int = MAX_KEYS_OF_SUBJECT
    max_octets: int = MAX_OCTETS
    _entries: OrderedDict[tuple[str, str], _Entry] = field(default_factory=OrderedDict)
    _of_subject: dict[str, OrderedDict[str, None]] = field(default_factory=dict)
    _octets: int = 0

    def begin(self, subject: str, key: str, fingerprint: bytes) -> Answer | None:
        """Enter a call, or give the answer of the one before. Raises Problem: still in flight, or not the same call."""
        self._forget_old()
        known = self._entries.get((subject, key))
        if known is None:
            self._enter(subject, key, _Entry(fingerprint, self.monotonic()))
            return None
        if known.fingerprint != fingerprint:
            raise Problem("idempotency_key_reused")
        if known.answer is None:
            raise Problem("idempotency_in_flight", headers={"Retry-After": "1"})
        return known.answer

    def finish(self, subject: str, key: str, answer: Answer | None) -> None:
        """The call has ended: keep its answer, or forget the key if nothing can have reached a device."""
        entry = self._entries.get((subject, key))
        if entry is None:
            return
        if answer is None or not answer.kept:
            self._drop(subject, key)
            return
        entry.answer = answer
        self._octets += len(answer.body)
        self._make_room()

    def _enter(self, subject: str, key: str, entry: _Entry) -> None:
        mine = self._of_subject.setdefault(subject, OrderedDict())
        self._entries[subject, key] = entry
        mine[key] = None
        if len(mine) > self.max_keys_of_subject:
            self._drop_oldest((subject, known) for known in mine)
        self._make_room()

    def _make_room(self) -> None:
        while len(self._entries) > self.max_keys or self._octets > self.max_octets:
            if not self._drop_oldest(iter(self._entries)):
                return

    def _drop_oldest(self, places: Iterator[tuple[str, str]]) -> bool:
        """Forget the first that has an answer: what is in flight has to be known as such."""
        place = next((place for place in places if self._entries[place].answer is not None), None)
        if place is not None:
            self._drop(*place)
        return place is not None

    def _forget_old(self) -> None:
        horizon = self.monotonic() - self.kept_seconds
        while self._entries:
            place, entry = next(iter(self._entries.items()))
            if entry.began > horizon or entry.answer is None:
                return
            self._drop(*place)

    def _drop(self, subject: str, key: str) -> None:
        entry = self._entries.pop((subject, key))
        self._octets -= len(entry.answer.body) if entry.answer else 0
        mine = self._of_subject[subject]
        del mine[key]
        if not mine:
            del self._of_subject[subject]


def idempotency_key(value: str | None) -> str | None:
    """The key of a header, None if there is none. Raises Problem."""
    if value is None:
        return None
    if not 1 <= len(value) <= LONGEST_KEY or not value.isascii() or not value.isprintable() or " " in value:
        raise Problem("idempotency_key_invalid")
    return value


def fingerprint_of(path: str, body: bytes) -> bytes:
    """What makes two calls the same call."""
    return hashlib.sha256(path.encode() + b"\0" + body).digest()
