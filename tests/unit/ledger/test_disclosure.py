"""Commitments prove a value with its salt, and say nothing without it."""

import pytest

from broker.errors import IntegrityError
from broker.ledger.disclosure import commit, verify_disclosure

SALT = bytes(range(32))


def test_a_value_is_proven_with_its_salt_only() -> None:
    commitment = commit("ana@vendor.example", SALT)
    assert verify_disclosure(commitment, "ana@vendor.example", SALT) == "ana@vendor.example"
    for value, salt in (("bo@vendor.example", SALT), ("ana@vendor.example", bytes(32)), ("ana@vendor.example", b"")):
        with pytest.raises(IntegrityError):
            verify_disclosure(commitment, value, salt)


def test_equal_values_look_different() -> None:
    assert commit("x", SALT) != commit("x", bytes(32))


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(ValueError):
        commit("x", b"short")
