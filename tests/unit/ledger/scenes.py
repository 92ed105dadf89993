"""Ledgers in memory, built from the rules alone, for tests of verification."""

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.ledger import operation_records, records
from broker.ledger.checkpoint import Checkpoint, sign_checkpoint
from broker.ledger.merkle import leaf_hash
from broker.ledger.tiles import WIDTH, Edge, bundle_path, encode_bundle
from broker.model.vocabulary import RecordKind

ORIGIN = "plant.example/ledger"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
START = 1_790_000_000.0
OPEN_WINDOW = {
    "windows": {"open": [{"id": "w", "opens": int(START) - 60, "closes": int(START) + 3600}], "next": None},
    "grants": [],
    "now": int(START),
}


class MemoryReader:
    """Files of a ledger in a dictionary."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, path: str, offset: int = 0, length: int = 1 << 30) -> bytes | None:
        content = self.files.get(path)
        return None if content is None else content[offset : offset + length]


def publish(entries: list[bytes], sizes: Iterable[int] = (), key: Ed25519PrivateKey = KEY) -> dict[str, bytes]:
    """The published files of a ledger with these records, with checkpoints at `sizes`, every bundle, and the end."""
    files: dict[str, bytes] = {}
    edge, chain, note = Edge(), "", ""
    for index, entry in enumerate(entries):
        for tile in edge.extend([leaf_hash(entry)]):
            files[tile.path] = tile.octets
        size = index + 1
        if size % WIDTH == 0:
            files[bundle_path(index // WIDTH)] = encode_bundle(entries[size - WIDTH : size])
        if size in sizes or size % WIDTH == 0 or size == len(entries):
            note = sign_checkpoint(Checkpoint(ORIGIN, size, edge.root()), key)
            chain += note + "\n"
    rest = len(entries) % WIDTH
    if rest:
        files[bundle_path(len(entries) // WIDTH, rest)] = encode_bundle(entries[-rest:])
    for tile in edge.partials():
        files[tile.path] = tile.octets
    files["checkpoint"], files["checkpoints"] = note.encode(), chain.encode()
    return files


class Story:
    """Writes a plausible history; indices are those of the records."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.time = START

    def add(self, record: bytes) -> int:
        self.entries.append(record)
        return len(self.entries) - 1

    def started(self) -> "Story":
        self.add(records.broker_started(self.time, version="1", revisions={"policy": "p"}))
        return self

    def stopped(self) -> "Story":
        self.add(records.broker_stopped(self.time, reason="sigterm"))
        return self

    def decision(
        self,
        session: str = "s1",
        allow: bool = True,
        entry_point: str = "operation.decision",
        question: dict[str, object] | None = None,
        valid_until: int | None = None,
    ) -> int:
        answer: dict[str, object] = {"allow": allow, "reasons": [], "obligations": [], "rule": "r"}
        if valid_until is not None:
            answer["valid_until"] = valid_until
        return self.add(
            records.decision(
                self.time,
                id=f"d{len(self.entries)}",
                session=session,
                entry_point=entry_point,
                input=OPEN_WINDOW if question is None else question,
                answer=answer,
                revision="p",
                allow=allow,
                reasons=() if allow else ("no_grant",),
            )
        )

    def opened(self, session: str = "s1", decision: int | None = None) -> int:
        if decision is None:
            decision = self.decision(session, entry_point="session.decision")
        return self.add(
            records.session_opened(
                self.time,
                session=session,
                subject={"id": "ana", "kind": "person"},
                device="plant/ahu-1",
                listener="modbus_tls",
                peer="127.0.0.1:4711",
                proofs=[{"kind": "certificate", "not_after": START + 9}],
                decision=decision,
            )
        )

    def closed(self, session: str = "s1", reason: str = "peer_closed") -> int:
        return self.add(records.session_closed(self.time, session=session, reason=reason, operations=1, refusals=0))

    def act(self, kind: RecordKind, session: str = "s1") -> int:
        return self.add(records.session_act(kind, self.time, session=session, by="bo"))

    def intent(self, decision: int, session: str = "s1") -> int:
        return self.add(
            operation_records.intent(
                self.time,
                session=session,
                decision=decision,
                service="write-single-register",
                digest="d" * 43,
                values=("205",),
            )
        )

    def outcome(self, intent: int, result: str = "done") -> int:
        return self.add(operation_records.outcome(self.time, intent=intent, result=result))

    def operation(self, session: str = "s1") -> "Story":
        self.outcome(self.intent(self.decision(session), session))
        return self


def whole_story(operations: int = 2) -> Story:
    """Start, one session with operations, its end, stop."""
    story = Story().started()
    story.opened()
    decision = story.decision()
    for _ in range(operations):
        story.time += 0.25
        story.outcome(story.intent(decision))
    story.closed()
    return story.stopped()
