"""What must hold of operations that waited for persons: asked, then armed by the right person, then used once, in time.

An approval lives no longer than the run of the broker. What was asked before the records begin is taken as it stands.
"""

from collections.abc import Mapping
from typing import Any

from broker.errors import IntegrityError
from broker.model.decision import BY_PERSONS, Obligation

GRACE_SECONDS = 1.0

Record = Mapping[str, Any]


class Reliance:
    """How a decision relies on persons: which approvals its input shows, and whom it obliges in vain.

    `digest` is the request that it may be acted upon for, once; None before what was armed is used up for it.
    """

    __slots__ = ("approvals", "digest", "lacks")

    def __init__(self, approvals: frozenset[str], lacks: bool) -> None:
        self.approvals = approvals
        self.lacks = lacks
        self.digest: str | None = None

    def take(self, intent: Record) -> bool:
        """Whether that intent may be relayed as far as persons are concerned; at most one may for each use."""
        digest, self.digest = self.digest, None
        if self.lacks:
            return False
        return not self.approvals or (digest is not None and digest in ("", intent.get("digest", digest)))


class _Approval:
    __slots__ = ("digest", "met", "session", "subject", "until")

    def __init__(self, record: Record) -> None:
        self.session: str = record["session"]
        self.subject: str = record["subject"]
        self.digest: str = record.get("digest", "")
        self.met: dict[tuple[str, str], bool] = {}
        self.until = 0.0


class Armings:
    """The approvals as the records tell them. All methods raise IntegrityError."""

    def __init__(self) -> None:
        self._open: dict[str, _Approval] = {}
        self._over: dict[str, _Approval] = {}
        self._whole = False

    def began(self) -> None:
        """The broker starts, and remembers none: from here on every approval is known."""
        self._open.clear()
        self._over.clear()
        self._whole = True

    def asked(self, record: Record) -> None:
        """`approval_asked`."""
        if record["approval"] in self._open or record["approval"] in self._over:
            raise _broken("approval_asked_twice", record["approval"])
        self._open[record["approval"]] = _Approval(record)

    def armed(self, record: Record, until: float) -> None:
        """`operation_armed`, good until then."""
        approval = self._known(record["approval"])
        if approval is None:
            return
        by, kind = record["by"], record["obligation"]
        if (by == approval.subject) is not (kind == Obligation.STEP_UP.value):
            raise _broken("armed_by_the_wrong_person", record["approval"])
        approval.met[kind, by] = True
        approval.until = until

    def ended(self, record: Record) -> None:
        """`approval_ended`."""
        if self._known(record["approval"]) is not None:
            self._finish(record["approval"])

    def shown(self, question: Record, obligations: list[str]) -> Reliance | None:
        """What an allowing decision was told that persons have armed; None if it concerns no person. By the time it is
        recorded the approval may be over; then nothing can be done under it.
        """
        armed = question.get("armed", ())
        oblige = BY_PERSONS.intersection(obligations)
        if not armed and not oblige:
            return None
        for arming in armed:
            identifier = arming["approval"]
            approval = self._over[identifier] if identifier in self._over else self._known(identifier)
            if approval is not None and (arming["kind"], arming["by"]) not in approval.met:
                raise _broken("armed_without_record", identifier)
        kinds = {arming["kind"] for arming in armed}
        return Reliance(frozenset(arming["approval"] for arming in armed), not oblige <= kinds)

    def used(self, record: Record, time: float, relied: list[Reliance]) -> None:
        """`arming_used` by decisions that rely on it."""
        identifier = record["approval"]
        approval = self._known(identifier)
        if approval is not None:
            if time > approval.until + GRACE_SECONDS:
                raise _broken("arming_had_expired", identifier)
            self._finish(identifier)
        for reliance in relied:
            if reliance.approvals != {identifier}:
                raise _broken("armed_for_another", identifier)
            reliance.digest = "" if approval is None else approval.digest

    def _finish(self, identifier: str) -> None:
        self._over[identifier] = self._open.pop(identifier)

    def _known(self, identifier: str) -> _Approval | None:
        """The open approval; None if it may have been asked before the records begin."""
        approval = self._open.get(identifier)
        if approval is None and self._whole:
            raise _broken("approval_not_open", identifier)
        return approval


def _broken(code: str, detail: str) -> IntegrityError:
    return IntegrityError(code, code.replace("_", " "), detail)
