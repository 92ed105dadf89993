"""Builders of the records of emergencies; the forms are those of `records`. No part of a seal is ever in one."""

from collections.abc import Mapping

from broker.ledger.record_forms import optional, plain, record, stamp, text
from broker.model.vocabulary import RecordKind


def break_glass_sealed(time: float, *, seal: str, parts: int, needed: int, sealed_at: float) -> bytes:
    """New parts were sealed on the broker's host; how many there are, and how many open an emergency."""
    fields = {"seal": text(seal), "parts": parts, "needed": needed, "sealed_at": stamp(sealed_at)}
    return record(RecordKind.BREAK_GLASS_SEALED, time, fields)


def break_glass_opened(time: float, *, emergency: Mapping[str, object], resumed: bool = False) -> bytes:
    """An emergency holds from here on (`resumed`: it was opened before a restart); never with the parts themselves."""
    return record(RecordKind.BREAK_GLASS_OPENED, time, {"emergency": plain(emergency), "resumed": resumed})


def break_glass_refused(time: float, *, subject: str, code: str, count: int, first: float, last: float) -> bytes:
    """How often a subject tried to open an emergency and did not."""
    fields = {"subject": text(subject), "code": text(code), "count": count}
    return record(RecordKind.BREAK_GLASS_REFUSED, time, fields | {"first": stamp(first), "last": stamp(last)})


def break_glass_ended(time: float, *, emergency: str, by: str = "") -> bytes:
    """An emergency gives nothing any more: closed by somebody, or its time is over."""
    return record(RecordKind.BREAK_GLASS_ENDED, time, {"emergency": emergency} | optional(by=by))


def break_glass_reviewed(time: float, *, emergency: str, by: str, comment: str, signatures: int) -> bytes:
    """Somebody signed the review of an emergency; how many have."""
    fields = {"emergency": emergency, "by": text(by), "comment": text(comment), "signatures": signatures}
    return record(RecordKind.BREAK_GLASS_REVIEWED, time, fields)
