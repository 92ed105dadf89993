"""Builders of the records about access requests and the grants that they give."""

from collections.abc import Mapping, Sequence

from broker.ledger.record_forms import optional, plain, record, text, texts
from broker.model.vocabulary import RecordKind


def request_changed(
    time: float,
    *,
    request: str,
    version: int,
    act: str,
    by: str,
    previous: str,
    state: str,
    terms: Mapping[str, object] | None = None,
    why: str = "",
) -> bytes:
    """An access request goes from one state to another, from `version` on; `terms` are told when it is made.

    A later record of the same request and version means that this one did not take effect: the state was not written.
    """
    fields = {"request": request, "version": version, "act": act, "by": text(by), "from": previous, "to": state}
    told = {} if terms is None else {"terms": plain(terms)}
    return record(RecordKind.REQUEST_CHANGED, time, fields | told | optional(why=why))


def request_reviewed(
    time: float,
    *,
    request: str,
    version: int,
    terms: str,
    reviewer: Mapping[str, object],
    verdict: str,
    groups: Sequence[str],
    decision: int,
    comment: str = "",
) -> bytes:
    """Somebody approves or denies the terms with that digest; `decision` is the record that let him."""
    fields = {"request": request, "version": version, "terms": terms, "verdict": verdict, "decision": decision}
    told = {"reviewer": plain(reviewer), "groups": texts(groups)}
    return record(RecordKind.REQUEST_REVIEWED, time, fields | told | optional(comment=comment))


def request_distrusted(time: float, *, request: str, code: str, detail: str = "") -> bytes:
    """What the state says of a request cannot be true; it gives nothing because of that."""
    fields = {"request": text(request), "code": text(code)}
    return record(RecordKind.REQUEST_DISTRUSTED, time, fields | optional(detail=detail))


def grant_given(time: float, *, grant: str, subject: str, terms: str, reviews: Sequence[Mapping[str, object]]) -> bytes:
    """The grant comes into force here; `reviews` name ledger and index of the verdicts that it rests on."""
    fields = {"grant": grant, "subject": text(subject), "terms": terms, "reviews": plain(reviews)}
    return record(RecordKind.GRANT_GIVEN, time, fields)


def grant_withdrawn(time: float, *, grant: str, reasons: Sequence[str]) -> bytes:
    """The grant gives nothing from here on, for these reasons or, with none, because its time is over."""
    return record(RecordKind.GRANT_WITHDRAWN, time, {"grant": grant, "reasons": texts(reasons)})


def grant_used(time: float, *, grant: str, use: str, session: str, result: str) -> bytes:
    """A use of a grant for single use: `claimed` before it is relayed, `returned` if nothing was sent after all."""
    fields = {"grant": grant, "use": text(use), "session": session, "result": result}
    return record(RecordKind.GRANT_USED, time, fields)
