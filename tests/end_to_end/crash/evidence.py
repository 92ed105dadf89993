"""What is on disk in a ledger's folder, read with code of its own, and what it must say after a crash."""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import orjson

from broker.ledger.tiles import WIDTH, bundle_path, width_at

HEADER = struct.Struct(">8sQQ")
FRAME = struct.Struct(">IIQI")
ATTEMPTS = 20
NOT_RELAYED = frozenset({"denied", "not_sent"})
Record = dict[str, object]


def records_on_disk(ledger: Path) -> list[bytes]:
    """Every record that a start would find: those in published bundles, then those in whole frames of the journal."""
    for _ in range(ATTEMPTS):
        try:
            return _read(ledger)
        except FileNotFoundError:  # the ledger is open, and what was superseded has just gone
            continue
    raise AssertionError(f"{ledger} cannot be read")


def _read(ledger: Path) -> list[bytes]:
    size = _published_size(ledger)
    found: list[bytes] = []
    for number in range(-(-size // WIDTH)):
        width = width_at(0, number, size)
        found += _entries(_bundle(ledger, number, width), width)
    for first, entries in _frames(ledger / "journal"):
        if first > len(found):
            raise FileNotFoundError("sealed meanwhile")
        found += entries[len(found) - first :]
    return found


def _published_size(ledger: Path) -> int:
    path = ledger / "checkpoint"
    return int(path.read_text().split("\n")[1]) if path.exists() else 0


def _bundle(ledger: Path, number: int, width: int) -> bytes:
    full = ledger / bundle_path(number)
    return full.read_bytes() if full.exists() else (ledger / bundle_path(number, width)).read_bytes()


def _entries(octets: bytes, count: int) -> list[bytes]:
    found, at = [], 0
    for _ in range(count):
        length = int.from_bytes(octets[at : at + 2], "big")
        found.append(octets[at + 2 : at + 2 + length])
        at += 2 + length
    return found


def _frames(journal: Path) -> Iterator[tuple[int, list[bytes]]]:
    for path in sorted(journal.iterdir()):
        octets = path.read_bytes()
        if len(octets) < HEADER.size + 4:
            continue
        seed = crc32(octets[: HEADER.size])
        if seed != int.from_bytes(octets[HEADER.size : HEADER.size + 4], "big"):
            continue
        at = HEADER.size + 4
        while at + FRAME.size <= len(octets):
            length, check, first, count = FRAME.unpack_from(octets, at)
            payload = octets[at + FRAME.size : at + FRAME.size + length]
            head = crc32(FRAME.pack(length, 0, first, count), seed)
            if not length or len(payload) < length or crc32(payload, head) != check:
                break
            yield first, _entries(payload, count)
            at += FRAME.size + length


@dataclass
class Evidence:
    """The records of a ledger, as far as crashes concern them."""

    ledger: Path
    raw: list[bytes] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    intents: dict[int, str] = field(default_factory=dict)
    """Digest of each intent."""
    outcomes: dict[int, str] = field(default_factory=dict)
    """Result of each intent."""
    sessions: set[object] = field(default_factory=set)
    """Those that are open."""

    @classmethod
    def of(cls, ledger: Path) -> "Evidence":
        """What is on disk now."""
        evidence = cls(ledger)
        evidence.read_on()
        return evidence

    def read_on(self) -> None:
        """Take in what has been added; nothing else may have changed."""
        size, now = len(self.raw), records_on_disk(self.ledger)
        assert now[:size] == self.raw, "records went missing or changed"
        self.raw = now
        for raw in now[size:]:
            self._take(orjson.loads(raw))

    def _take(self, record: Record) -> None:
        kind = record["kind"]
        if kind == "intent":
            self.intents[len(self.records)] = str(record["digest"])
        elif kind == "outcome":
            intent = int(str(record["intent"]))
            assert intent in self.intents, record
            assert intent not in self.outcomes, f"two outcomes: {record}"
            self.outcomes[intent] = str(record["result"])
        elif kind == "session_opened":
            self.sessions.add(record["session"])
        elif kind == "session_closed":
            self.sessions.discard(record["session"])
        self.records.append(record)

    @property
    def orphans(self) -> set[int]:
        return self.intents.keys() - self.outcomes.keys()

    def require_intents_for(self, seen: Iterable[str]) -> None:
        """Whatever reached the device was recorded before, each time that it did."""
        recorded = Counter(
            digest for index, digest in self.intents.items() if self.outcomes.get(index) not in NOT_RELAYED
        )
        missing = Counter(seen) - recorded
        assert not missing, f"relayed without an intent: {missing}"

    def require_done(self, acknowledged: Iterable[str]) -> None:
        """Whatever was answered with success has intent and outcome."""
        done = Counter(self.intents[index] for index, result in self.outcomes.items() if result == "done")
        missing = Counter(acknowledged) - done
        assert not missing, f"acknowledged and not in the ledger: {missing}"

    def require_healed(self) -> None:
        """A start has added, ahead of anything of the new run, an end for everything that was left open."""
        size, orphans, sessions = len(self.raw), self.orphans, set(self.sessions)
        self.read_on()
        kinds = [record["kind"] for record in self.records[size:]]
        assert "broker_started" in kinds, kinds
        healing = self.records[size : size + kinds.index("broker_started")]
        unknown = [r["intent"] for r in healing if r["kind"] == "outcome" and r["result"] == "unknown"]
        closed = [r["session"] for r in healing if r["kind"] == "session_closed" and r["reason"] == "broker_killed"]
        assert sorted(map(int, map(str, unknown))) == sorted(orphans)
        assert sorted(map(str, closed)) == sorted(map(str, sessions))
        if orphans or sessions:
            assert healing[0]["kind"] == "tail_healed"
            assert healing[0]["orphans"] == len(orphans)
        assert len(healing) == len(unknown) + len(closed) + (1 if healing else 0)
