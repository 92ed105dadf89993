"""What must hold between the records of locks: none is lifted but by a lift that was recorded when it was signed."""

from typing import Any

from broker.errors import IntegrityError

Record = dict[str, Any]


class Locks:
    """Locks as the ledger `origin` tells them; records below `minimum` may have been pruned.

    A lift that another broker of the same state signed is in that broker's ledger. Earlier versions cited none.
    """

    def __init__(self, origin: str, minimum: int) -> None:
        self._origin = origin
        self._minimum = minimum
        self._isolated_by: dict[str, str] = {}
        self._signed: dict[int, tuple[str, str]] = {}

    def set(self, record: Record) -> None:
        """A lock takes effect; of an isolation, who set it counts."""
        lock = record["lock"]
        if lock["isolation"]:
            self._isolated_by[lock["id"]] = lock["set_by"]

    def signed(self, record: Record, index: int) -> None:
        """Somebody lifts a lock at this broker."""
        self._require_second(record)
        self._signed[index] = (record["lock"], record["by"])

    def lifted(self, record: Record) -> None:
        """A lock no longer holds here."""
        if "broker" not in record:
            return
        self._require_second(record)
        index = record["index"]
        if record["broker"] != self._origin or 0 <= index < self._minimum:
            return
        if self._signed.get(index) != (record["lock"], record["by"]):
            raise IntegrityError("lift_not_recorded", "a lock was lifted by no recorded lift", record["lock"])

    def _require_second(self, record: Record) -> None:
        if self._isolated_by.get(record["lock"]) == record["by"]:
            raise IntegrityError("isolation_lifted_alone", "who isolated a site lifted that", record["lock"])
