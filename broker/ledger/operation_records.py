"""Builders of the records that every operation has: canonical JSON octets out.

An intent or outcome is at most 300 octets, its texts cut (and counted in `omitted`) when it would be longer; the digest
that an intent carries covers what was cut.
"""

from functools import lru_cache

import orjson

from broker.ledger.canonical import canonical
from broker.ledger.record_forms import Pairs, cut, stamp
from broker.model.vocabulary import RecordKind, Result

LARGEST_SMALL_RECORD = 300
LONGEST_VALUE = 40

_INTENT = RecordKind.INTENT.value
_OUTCOME = RecordKind.OUTCOME.value
_WORDS = ("service", "code")
_RESULTS = frozenset(result.value for result in Result)
_REMEMBERED_INTENTS = 8192
_ANY_TIME = "0000-00-00T00:00:00.000000Z"


def intent(
    time: float,
    *,
    session: str,
    decision: int,
    service: str,
    digest: str,
    place: int | None = None,
    part_of: str = "",
    values: tuple[str, ...] = (),
    before: Pairs = (),
) -> bytes:
    """What is about to be sent: `decision` is the index of the record that allowed (or denied) it.

    `place` is which operation of the request with that digest it is, None if that has no other; `part_of` the digest of
    the request that this one is the allowed part of.
    """
    if not values and not before:
        return _intent_head(session, decision, service, digest, place, part_of) + stamp(time).encode() + b'"}'
    record: dict[str, object] = {
        "decision": decision,
        "digest": digest,
        "kind": _INTENT,
        "service": service,
        "session": session,
        "time": stamp(time),
    }
    if place is not None:
        record["place"] = place
    if part_of:
        record["part_of"] = part_of
    if values:
        record["values"] = values
    if before:
        record["before"] = dict(before)
    return _small(record)


def view_intent(time: float, session: str, decision: int, service: str, digest: str) -> bytes:
    """The intent of a request that reads one thing: most are, and many again and again."""
    return _intent_head(session, decision, service, digest, None, "") + stamp(time).encode() + b'"}'


def concealed_intent(
    time: float, *, session: str, decision: int, service: str, concealed: str, place: int | None = None
) -> bytes:
    """An intent whose digest, values and before-values are in the commitment `concealed`."""
    told = {} if place is None else {"place": place}
    return _small(
        {
            "concealed": concealed,
            "decision": decision,
            "kind": _INTENT,
            "service": service,
            "session": session,
            "time": stamp(time),
            **told,
        }
    )


def outcome(
    time: float,
    *,
    intent: int,
    result: str,
    code: str = "",
    after: Pairs = (),
) -> bytes:
    """What became of the intent at that index; `after` is what was read back."""
    if not code and not after and result in _RESULTS:
        return f'{{"intent":{intent},"kind":"outcome","result":"{result}","time":"{stamp(time)}"}}'.encode()
    record: dict[str, object] = {"intent": intent, "kind": _OUTCOME, "result": result, "time": stamp(time)}
    if code:
        record["code"] = code
    if after:
        record["after"] = dict(after)
    return _small(record)


@lru_cache(_REMEMBERED_INTENTS)
def _intent_head(session: str, decision: int, service: str, digest: str, place: int | None, part_of: str) -> bytes:
    """A polled point's intent up to its time, which stands last: the same under one lease."""
    parts = {"decision": decision, "digest": digest, "kind": _INTENT, "service": service, "session": session}
    if place is not None:
        parts["place"] = place
    if part_of:
        parts["part_of"] = part_of
    return _small(parts | {"time": _ANY_TIME})[: -len(_ANY_TIME) - 2]


def concealed_outcome(time: float, *, intent: int, result: str, code: str, concealed: str) -> bytes:
    """An outcome whose after-values are in the commitment `concealed`."""
    told = {"code": code} if code else {}
    return _small(
        {
            "concealed": concealed,
            "intent": intent,
            "kind": _OUTCOME,
            "result": result,
            "time": stamp(time),
            **told,
        }
    )


def _small(record: dict[str, object]) -> bytes:
    """Canonical octets without the walk of `canonical`: the types are known and the keys plain."""
    try:
        encoded = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        encoded = orjson.dumps(_clean(record), option=orjson.OPT_SORT_KEYS)
    return encoded if len(encoded) <= LARGEST_SMALL_RECORD else _cut_small(record)


def _cut_small(record: dict[str, object]) -> bytes:
    """Values shortened, then left out from the end, then words cut, until the record is small.

    `omitted` counts the values left out. Session, digests and indices stay whole.
    """
    shorter = dict(record)
    pieces = {name: _pieces(member) for name, member in record.items() if isinstance(member, tuple | dict)}
    omitted, longest_word = 0, 2 * LONGEST_VALUE
    while True:
        shorter |= {name: cut(word, longest_word) for name in _WORDS if isinstance(word := shorter.get(name), str)}
        shorter |= {name: _assembled(kept) for name, kept in pieces.items()}
        encoded = canonical({name: member for name, member in shorter.items() if member or name not in pieces})
        if len(encoded) <= LARGEST_SMALL_RECORD or longest_word == 1:
            return encoded
        if any(pieces.values()):
            longest = max(pieces.values(), key=len)
            dropped = -(-len(longest) // 4)
            del longest[-dropped:]
            omitted += dropped
            shorter["omitted"] = omitted
        else:
            longest_word //= 2


def _pieces(member: tuple[str, ...] | dict[str, str]) -> list[tuple[str, ...]]:
    """A list's texts or an object's pairs, each cut."""
    if isinstance(member, dict):
        return [(cut(name, 2 * LONGEST_VALUE), cut(value, LONGEST_VALUE)) for name, value in member.items()]
    return [(cut(value, LONGEST_VALUE),) for value in member]


def _assembled(pieces: list[tuple[str, ...]]) -> object:
    if pieces and len(pieces[0]) == 2:
        return {piece[0]: piece[1] for piece in pieces}
    return [piece[0] for piece in pieces]


def _clean(member: object) -> object:
    """The same without lone surrogates, which JSON cannot carry."""
    if isinstance(member, str):
        return member.encode(errors="replace").decode()
    if isinstance(member, dict):
        return {_clean(key): _clean(item) for key, item in member.items()}
    return tuple(_clean(item) for item in member) if isinstance(member, tuple) else member
