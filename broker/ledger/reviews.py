"""Verdicts on access requests as signed notes, so that whoever writes the state's database can forge none.

The text is two lines: `otbroker-approval/v1`, so that no signature of a checkpoint can pass for one of a verdict, and
canonical JSON that names the request and the digest of its terms.
"""

import base64
from collections.abc import Iterable
from dataclasses import asdict, fields
from hashlib import sha256
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.errors import IntegrityError
from broker.ledger.canonical import canonical
from broker.ledger.notes import Verifier, sign_note, split_note, verify_note
from broker.model.access_request import Review, Reviewer, Terms, Verdict
from broker.model.place import PlannedWrite
from broker.model.vocabulary import Action

FIRST_LINE = "otbroker-approval/v1"
_KEYS = frozenset(
    {"request", "terms", "reviewer", "verdict", "comment", "groups", "time", "ledger", "index"},
)


_LISTS = ("devices", "points", "actions", "plan")
_TYPES: dict[str, type] = {
    **{field.name: str for field in fields(Terms) if field.name not in _LISTS},
    **dict.fromkeys(("starts", "ends", "created_at"), int),
    **dict.fromkeys(("single_use", "supervised"), bool),
}


def terms_document(terms: Terms) -> dict[str, Any]:
    """The terms as one document; of a planned write without priority nothing is said of one."""
    document = asdict(terms)
    document["plan"] = [{k: v for k, v in write.items() if v is not None} for write in document["plan"]]
    document["actions"] = [action.value for action in terms.actions]
    return {name: list(member) if isinstance(member, tuple) else member for name, member in document.items()}


def encode_terms(terms: Terms) -> bytes:
    """The terms as canonical JSON. Raises ValueError for what that cannot hold."""
    return canonical(terms_document(terms))


def decode_terms(raw: bytes) -> Terms:
    """The terms of canonical JSON. Raises IntegrityError for anything else."""
    try:
        document = orjson.loads(raw)
        terms = Terms(
            **document
            | {
                "devices": _texts(document["devices"]),
                "points": _texts(document["points"]),
                "actions": tuple(Action(word) for word in document["actions"]),
                "plan": tuple(PlannedWrite(**write) for write in document["plan"]),
            }
        )
        typed = all(type(document[name]) is kind for name, kind in _TYPES.items())
        if encode_terms(terms) == raw and typed and all(_is_whole(write.priority) for write in terms.plan):
            return terms
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise IntegrityError("terms_malformed", "not the terms of a request")


def _is_whole(priority: object) -> bool:
    return priority is None or type(priority) is int


def terms_digest(terms: Terms) -> str:
    """The SHA-256 of the terms, base64url without padding."""
    return base64.urlsafe_b64encode(sha256(encode_terms(terms)).digest()).rstrip(b"=").decode()


def sign_review(
    terms: Terms,
    reviewer: Reviewer,
    verdict: Verdict,
    *,
    comment: str,
    groups: tuple[str, ...],
    at: int,
    index: int,
    origin: str,
    key: Ed25519PrivateKey,
) -> str:
    """The signed note of a verdict that record `index` of the ledger `origin` holds."""
    text = canonical(
        {
            "request": terms.id,
            "terms": terms_digest(terms),
            "reviewer": _reviewer_document(reviewer),
            "verdict": verdict.value,
            "comment": comment,
            "groups": list(groups),
            "time": at,
            "ledger": origin,
            "index": index,
        }
    ).decode()
    return sign_note(f"{FIRST_LINE}\n{text}\n", origin, key)


def verify_review(raw_note: str, terms: Terms, verifiers: Iterable[Verifier]) -> Review:
    """The verdict that a known broker signed on just these terms. Raises IntegrityError."""
    text, signatures = verify_note(raw_note, verifiers)
    review = _decoded(text, raw_note)
    if review.request != terms.id or review.digest != terms_digest(terms):
        raise IntegrityError("review_of_other_terms", "the verdict is on other terms", review.request)
    if all(signature.verifier.name != review.broker for signature in signatures):
        raise IntegrityError("review_of_other_broker", "the verdict names another broker than the one that signed it")
    return review


def claimed_review(raw_note: str) -> Review:
    """What a note says, nothing of it proven. Raises IntegrityError."""
    return _decoded(split_note(raw_note)[0], raw_note)


def _decoded(text: str, raw_note: str) -> Review:
    first, _, body = text.removesuffix("\n").partition("\n")
    try:
        said = orjson.loads(body)
        if first == FIRST_LINE and said.keys() == _KEYS and canonical(said) == body.encode():
            return _review(said, raw_note)
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise IntegrityError("review_malformed", "the note is no verdict on a request")


def _review(said: dict[str, Any], raw_note: str) -> Review:
    reviewer = said["reviewer"]
    return Review(
        request=str(said["request"]),
        digest=str(said["terms"]),
        reviewer=Reviewer(**reviewer | {"roles": _texts(reviewer["roles"]), "proofs": _texts(reviewer["proofs"])}),
        verdict=Verdict(said["verdict"]),
        comment=str(said["comment"]),
        groups=_texts(said["groups"]),
        at=int(said["time"]),
        broker=str(said["ledger"]),
        index=int(said["index"]),
        note=raw_note,
    )


def _reviewer_document(reviewer: Reviewer) -> dict[str, Any]:
    return asdict(reviewer) | {"roles": list(reviewer.roles), "proofs": list(reviewer.proofs)}


def _texts(items: list[object]) -> tuple[str, ...]:
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError("texts")
    return tuple(str(item) for item in items)
