"""What the records leave open: intents without outcome, sessions without end, and the time of the last record."""

from collections.abc import Iterable
from datetime import datetime

import orjson

from broker.model.vocabulary import RecordKind

# The members of a record are sorted by name. In an intent or outcome none behind `kind` holds an object, so the last
# `kind` of such a record is its own.
_KIND = b',"kind":"'
_OUTCOME = f'{RecordKind.OUTCOME.value}"'.encode()
_INTENT = f'{RecordKind.INTENT.value}",'.encode()
_SESSION = b'"kind":"session_'
KIND_OCTETS = len(_OUTCOME)


class OpenThings:
    """Follows the records in order; cheap for the two kinds that make up nearly all of them."""

    def __init__(self) -> None:
        self.size = 0
        self.intents: dict[int, None] = {}
        self.sessions: dict[str, None] = {}

    def follow(self, records: Iterable[bytes]) -> None:
        """Take the next records."""
        intents, end = self.intents, self.size
        for end, record in enumerate(records, self.size + 1):
            head, _, tail = record.rpartition(_KIND)
            kind = tail[:KIND_OCTETS]
            if kind == _OUTCOME:
                intents.pop(int(head[head.rfind(b":") + 1 :]), None)
            elif kind == _INTENT:
                intents[end - 1] = None
            elif _SESSION in record:
                self._follow_session(orjson.loads(record))
        self.size = end

    def _follow_session(self, record: dict[str, str]) -> None:
        if record["kind"] == RecordKind.SESSION_OPENED:
            self.sessions[record["session"]] = None
        elif record["kind"] == RecordKind.SESSION_CLOSED:
            self.sessions.pop(record["session"], None)

    def copy(self) -> "OpenThings":
        """The same at this moment."""
        things = OpenThings()
        things.size, things.intents, things.sessions = self.size, dict(self.intents), dict(self.sessions)
        return things

    def document(self) -> dict[str, object]:
        """For the file that spares a start from reading everything."""
        return {"size": self.size, "intents": list(self.intents), "sessions": list(self.sessions)}

    @classmethod
    def from_document(cls, document: dict[str, object], largest_size: int) -> "OpenThings | None":
        """None if the document cannot be used for a ledger of that size."""
        things = cls()
        size, intents, sessions = (document.get(name) for name in ("size", "intents", "sessions"))
        if not isinstance(size, int) or not isinstance(intents, list) or not isinstance(sessions, list):
            return None
        if not 0 <= size <= largest_size:
            return None
        things.size, things.intents, things.sessions = size, dict.fromkeys(intents), dict.fromkeys(sessions)
        return things


def time_of(record: bytes) -> float:
    """When a record was made, epoch seconds."""
    stamp: str = orjson.loads(record)["time"]
    return datetime.fromisoformat(stamp[:-1] + "+00:00").timestamp()
