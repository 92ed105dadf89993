"""What must hold between the records of requested grants: nothing is allowed by one that had not come into force."""

from typing import Any

from broker.errors import IntegrityError
from broker.model.place import GrantKind

Record = dict[str, Any]


class Giving:
    """Which grants of requests are in force on the broker whose records these are; since its start none is."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._withdrawn: dict[str, float] = {}

    def began(self) -> None:
        """The broker starts: what is in force is given anew."""
        self._given.clear()
        self._withdrawn.clear()

    def given(self, record: Record) -> None:
        """A grant comes into force."""
        self._given.add(record["grant"])

    def withdrawn(self, record: Record, time: float) -> None:
        """It gives nothing any more; what was asked before may still be answered."""
        self._given.discard(record["grant"])
        self._withdrawn[record["grant"]] = time

    def require(self, question: Record, rule: str) -> None:
        """Raises IntegrityError for what a requested grant allowed that was not in force when the policy was asked."""
        identifier = rule.removeprefix("grant/")
        grants = question["grants"]
        if not isinstance(grants, list) or identifier in self._given:
            return
        requested = any(g["id"] == identifier and g.get("kind") == GrantKind.REQUEST.value for g in grants)
        if requested and question["now"] > self._withdrawn.get(identifier, -1.0):
            raise IntegrityError("grant_not_given", "grant not given", identifier)
