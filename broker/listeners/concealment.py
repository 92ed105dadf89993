"""What the ledger gets of requests that touch points marked secret or personal: commitments, never values.

One commitment a record, to canonical JSON of what the record leaves out. The digest is left out as well: there are few
values that a register can have, so it would tell which one was written.
"""

from collections.abc import Mapping
from typing import Any

from broker.engine.ports import Disclosures
from broker.errors import LedgerUnavailableError
from broker.ledger import operation_records
from broker.ledger.canonical import canonical
from broker.ledger.record_forms import Pairs


class Concealment:
    """Builds the records of requests that conceal; the value is with the disclosures before a record is returned."""

    def __init__(self, disclosures: Disclosures) -> None:
        self._disclosures = disclosures

    def question(self, question: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The question without the values of its operation, and the commitment to the operation as it was asked.

        Raises LedgerUnavailableError.
        """
        operation = question["operation"]
        shown = operation | {
            "points": [point | {"value": None} for point in operation["points"]],
            "raw_values": [],
            "values": {},
            "facts": {},
        }
        return question | {"operation": shown}, self._disclosures.commit_to(_text(operation))

    def intent(
        self,
        time: float,
        *,
        session: str,
        decision: int,
        service: str,
        digest: str,
        place: int | None,
        part_of: str,
        values: tuple[str, ...],
        before: Pairs,
    ) -> bytes:
        """Like `operation_records.intent`. Raises LedgerUnavailableError."""
        hidden = {
            "digest": digest,
            **({"part_of": part_of} if part_of else {}),
            "values": list(values),
            "before": _members(before),
        }
        return operation_records.concealed_intent(
            time,
            session=session,
            decision=decision,
            service=service,
            place=place,
            concealed=self._disclosures.commit_to(_text(hidden)),
        )

    def outcome(self, time: float, *, intent: int, result: str, code: str, after: Pairs) -> bytes:
        """Like `operation_records.outcome`. What has happened is recorded even if its value cannot be kept any more."""
        if not after:
            return operation_records.outcome(time, intent=intent, result=result, code=code)
        hidden = _text({"after": _members(after)})
        try:
            concealed = self._disclosures.commit_to(hidden)
        except LedgerUnavailableError:
            concealed = self._disclosures.commit_erased(hidden)
        return operation_records.concealed_outcome(time, intent=intent, result=result, code=code, concealed=concealed)


def _members(values: Pairs) -> dict[str, str]:
    """By point id, without lone surrogates, which a device may send and JSON cannot carry."""
    return {point: value.encode(errors="replace").decode() for point, value in values}


def _text(hidden: Mapping[str, object]) -> str:
    return canonical(hidden).decode()
