"""Lifts of locks come back as they were signed, for just that lock; anything else lifts nothing."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import IntegrityError
from broker.ledger.lifts import lock_digest, sign_lift, verify_lift
from broker.ledger.notes import sign_note, verifier_of
from broker.model.lock import Lift, Lock, LockKind

KEY = Ed25519PrivateKey.generate()
ORIGIN = "broker.example/ledger"
KNOWN = [verifier_of(ORIGIN, KEY)]
BO, CY = "bo@plant.example", "cy@plant.example"
LOCK = Lock("lck-1", LockKind.SITE, "plant", "why", BO, 1_800_000_000.123, "b/ledger", isolation=True)
LIFT = Lift("lck-1", lock_digest(LOCK), CY, 1_800_000_900.25, ORIGIN, 7)


@given(st.text(max_size=40), st.text(max_size=40), st.integers(0, 2**42), st.none() | st.floats())
def test_what_was_signed_comes_back(by: str, message: str, at: int, until: float | None) -> None:
    lock = replace(LOCK, message=message, until=until, isolation=False)
    lift = replace(LIFT, digest=lock_digest(lock), by=by, at=at / 1_000_000)
    assert verify_lift(sign_lift(lift, KEY), lock, KNOWN) == lift


@pytest.mark.parametrize(
    "change",
    [
        {"id": "lck-2"},
        {"kind": LockKind.SUBJECT},
        {"target": "mill"},
        {"message": "because"},
        {"set_by": CY},
        {"set_at": 1_800_000_000.124},
        {"broker": "c/ledger"},
        {"until": 1_900_000_000.0},
        {"isolation": False},
    ],
)
def test_a_lift_is_of_one_lock_just_as_it_was_set(change: dict[str, object]) -> None:
    with pytest.raises(IntegrityError, match="lift_of_other_lock"):
        verify_lift(sign_lift(LIFT, KEY), replace(LOCK, **change), KNOWN)  # type: ignore[arg-type]


def test_what_a_row_says_beside_the_note_is_nothing() -> None:
    claimed = replace(LOCK, lifted_by="eve", lifted_at=1.0)
    assert verify_lift(sign_lift(LIFT, KEY), claimed, KNOWN) == LIFT
    with pytest.raises(IntegrityError, match="lift_unsigned"):
        verify_lift("", claimed, KNOWN)


def test_who_isolated_a_site_does_not_lift_that_even_where_a_broker_signed_it() -> None:
    with pytest.raises(IntegrityError, match="lift_by_setter"):
        verify_lift(sign_lift(replace(LIFT, by=BO), KEY), LOCK, KNOWN)


def test_who_signs_for_another_broker_or_is_not_known_is_not_believed() -> None:
    other = Ed25519PrivateKey.generate()
    known = [*KNOWN, verifier_of("other.example/ledger", other)]
    text = sign_lift(LIFT, KEY).partition("\n\n")[0] + "\n"
    with pytest.raises(IntegrityError, match="lift_of_other_broker"):
        verify_lift(sign_note(text, "other.example/ledger", other), LOCK, known)
    with pytest.raises(IntegrityError, match="signed_by_others"):
        verify_lift(sign_lift(LIFT, KEY), LOCK, known[1:])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"index":7', '"index":7,"more":1'),
        ('"index":7', '"index": 7'),
        ('"index":7', '"index":true'),
        (f'"by":"{CY}"', '"by":["x"]'),
        ("otbroker-lift/v1", "otbroker-warrant/v1"),
        (f'"by":"{CY}",', ""),
    ],
)
def test_what_is_signed_but_malformed_is_no_lift(old: str, new: str) -> None:
    text = sign_lift(LIFT, KEY).partition("\n\n")[0] + "\n"
    assert old in text
    with pytest.raises(IntegrityError, match="lift_malformed"):
        verify_lift(sign_note(text.replace(old, new), ORIGIN, KEY), LOCK, KNOWN)
