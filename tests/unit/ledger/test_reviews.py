"""A verdict counts for the very terms that were signed, by whom a known broker says, and for nothing else."""

from dataclasses import fields, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import IntegrityError
from broker.ledger.notes import sign_note, verifier_of
from broker.ledger.reviews import decode_terms, encode_terms, sign_review, terms_digest, verify_review
from broker.model.access_request import Reviewer, Terms, Verdict
from broker.model.place import PlannedWrite
from broker.model.vocabulary import Action

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
ORIGIN = "b.example/ledger"
KNOWN = (verifier_of(ORIGIN, KEY),)
PLAN = (PlannedWrite("plant/ahu-1", "a", "21.5"),)
TERMS = Terms(
    "req-1", "ana", "acme", ("plant/ahu-1",), ("a",), (Action.VIEW,), "why", 100, 200, 50, plan=PLAN, chain="req-1"
)
BO = Reviewer("bo", "person", "owner", ("security",), ("certificate", "token"), 42)


def signed(terms: Terms = TERMS, key: Ed25519PrivateKey = KEY, origin: str = ORIGIN) -> str:
    return sign_review(
        terms, BO, Verdict.APPROVE, comment="go", groups=("security",), at=60, index=7, origin=origin, key=key
    )


def test_a_verdict_says_who_said_what_to_which_terms() -> None:
    review = verify_review(signed(), TERMS, KNOWN)
    assert (review.reviewer, review.verdict, review.comment, review.groups) == (
        BO,
        Verdict.APPROVE,
        "go",
        ("security",),
    )
    assert (review.request, review.digest, review.at, review.broker, review.index) == (
        "req-1",
        terms_digest(TERMS),
        60,
        ORIGIN,
        7,
    )


CHANGED = {
    "id": "req-2",
    "subject": "eve",
    "organisation": "beta",
    "devices": ("plant/ahu-2",),
    "points": (),
    "actions": (Action.VIEW, Action.CONFIG),
    "reason": "why not",
    "starts": 99,
    "ends": 201,
    "created_at": 51,
    "plan": (PlannedWrite("plant/ahu-1", "a", "22"),),
    "ticket": "T-1",
    "window": "night",
    "single_use": True,
    "supervised": True,
    "extends": "req-0",
    "chain": "req-0",
}


@pytest.mark.parametrize("name", [field.name for field in fields(Terms)])
def test_it_does_not_count_for_terms_that_differ_in_anything(name: str) -> None:
    with pytest.raises(IntegrityError, match="review_of_other_terms"):
        verify_review(signed(), replace(TERMS, **{name: CHANGED[name]}), KNOWN)


def test_it_counts_only_by_a_key_that_is_known() -> None:
    for note in (signed(key=OTHER), signed(origin="c.example/ledger", key=OTHER)):
        with pytest.raises(IntegrityError):
            verify_review(note, TERMS, KNOWN)


def test_another_known_broker_cannot_sign_in_the_name_of_one() -> None:
    text = signed(origin="c.example/ledger", key=OTHER).rpartition("\n\n")[0] + "\n"
    note = sign_note(text, ORIGIN, KEY)
    with pytest.raises(IntegrityError, match="review_of_other_broker"):
        verify_review(note, TERMS, (*KNOWN, verifier_of("c.example/ledger", OTHER)))


def test_a_checkpoint_is_no_verdict() -> None:
    for text in (f"{ORIGIN}\n5\nAAAA\n", "otbroker-approval/v1\n{}\n", "otbroker-approval/v1\n"):
        with pytest.raises(IntegrityError, match="review_malformed"):
            verify_review(sign_note(text, ORIGIN, KEY), TERMS, KNOWN)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_no_changed_octet_passes(place: int, octet: int) -> None:
    note = bytearray(signed().encode())
    place %= len(note)
    changed = bytes([*note[:place], octet, *note[place + 1 :]])
    if changed == bytes(note):
        return
    try:
        text = changed.decode()
    except UnicodeDecodeError:
        return
    try:
        review = verify_review(text, TERMS, KNOWN)
    except (IntegrityError, ValueError):
        return
    assert (review.reviewer, review.verdict, review.digest) == (BO, Verdict.APPROVE, terms_digest(TERMS))


def test_terms_are_read_as_they_were_written_and_not_otherwise() -> None:
    raw = encode_terms(TERMS)
    assert decode_terms(raw) == TERMS
    for other in (b"", b"{}", b"[]", raw + b" ", raw.replace(b'"ends":200', b'"ends":"200"'), b'{"x":1,' + raw[1:]):
        with pytest.raises(IntegrityError, match="terms_malformed"):
            decode_terms(other)


def test_the_priority_of_a_planned_write_is_part_of_the_terms_and_none_is_not_said() -> None:
    at_twelve = replace(TERMS, plan=(replace(PLAN[0], priority=12),))
    raw = encode_terms(at_twelve)
    assert decode_terms(raw) == at_twelve
    assert b"priority" not in encode_terms(TERMS)
    with pytest.raises(IntegrityError, match="review_of_other_terms"):
        verify_review(signed(at_twelve), replace(TERMS, plan=(replace(PLAN[0], priority=10),)), KNOWN)
    for odd in (b"null", b'"12"', b"12.0", b"true"):
        with pytest.raises(IntegrityError, match="terms_malformed"):
            decode_terms(raw.replace(b'"priority":12', b'"priority":' + odd))
