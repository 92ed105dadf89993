"""Approvals and warrants come back as they were signed; anything else is neither."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import IntegrityError
from broker.ledger.approvals import sign, verify
from broker.ledger.notes import sign_note, verifier_of
from broker.model.backer import Backer
from broker.model.proposal import Approval, ProposalAct, Warrant

KEY = Ed25519PrivateKey.generate()
ORIGIN = "broker.example/ledger"
KNOWN = [verifier_of(ORIGIN, KEY)]
WORDS = st.dictionaries(st.text("abc_", min_size=1, max_size=8), st.text(max_size=20), max_size=16)
PARAMETERS = WORDS.map(lambda words: tuple(sorted(words.items())))
BO = Backer("bo@plant.example", "person", "plant-owner", ("security",), "f" * 43)
APPROVAL = Approval("prp-1", ProposalAct.CA_SIGN, (("csr", "x"),), 1_800_000_900.5, BO, 1_800_000_000.25, ORIGIN, 7)
WARRANT = Warrant(
    "prp-1", ProposalAct.CA_SIGN, (("csr", "x"),), "bo", ("bo", "cy"), 1_800_000_000.123456, 1_800_000_900.5, ORIGIN
)


@given(PARAMETERS, st.sampled_from(ProposalAct), st.integers(0, 2**42))
def test_what_was_signed_comes_back(parameters: tuple[tuple[str, str], ...], act: ProposalAct, at: int) -> None:
    approval = replace(APPROVAL, parameters=parameters, act=act, at=at / 1_000_000)
    assert verify(Approval, sign(approval, KEY), KNOWN) == approval
    warrant = replace(WARRANT, parameters=parameters, act=act, at=at / 1_000_000)
    assert verify(Warrant, sign(warrant, KEY), KNOWN) == warrant


def test_two_warrants_of_one_second_have_an_order() -> None:
    later = replace(WARRANT, at=WARRANT.at + 0.000_001)
    assert verify(Warrant, sign(later, KEY), KNOWN).at > verify(Warrant, sign(WARRANT, KEY), KNOWN).at


def test_an_approval_is_no_warrant_nor_the_other_way_round() -> None:
    with pytest.raises(IntegrityError, match="no warrant"):
        verify(Warrant, sign(APPROVAL, KEY), KNOWN)
    with pytest.raises(IntegrityError, match="no approval"):
        verify(Approval, sign(WARRANT, KEY), KNOWN)


def test_who_signs_for_another_broker_is_not_believed() -> None:
    other = Ed25519PrivateKey.generate()
    known = [*KNOWN, verifier_of("other.example/ledger", other)]
    text = sign(APPROVAL, KEY).partition("\n\n")[0] + "\n"
    with pytest.raises(IntegrityError, match="another broker"):
        verify(Approval, sign_note(text, "other.example/ledger", other), known)
    with pytest.raises(IntegrityError):
        verify(Approval, sign(replace(APPROVAL, broker="other.example/ledger"), KEY), known[1:])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"index":7', '"index":7,"more":1'),
        ('"index":7', '"index": 7'),
        ('{"csr":"x"}', '{"csr":1}'),
        ("ca.sign", "ca.unknown"),
        ("otbroker-proposal-approval/v2", "otbroker-proposal-approval/v1"),
        ('"id":"bo@plant.example",', ""),
        ('"id":"bo@plant.example",', '"id":7,'),
        ('"roles":["security"]', '"roles":"security"'),
    ],
)
def test_what_is_signed_but_malformed_is_nothing(old: str, new: str) -> None:
    text = sign(APPROVAL, KEY).partition("\n\n")[0] + "\n"
    assert old in text
    with pytest.raises(IntegrityError):
        verify(Approval, sign_note(text.replace(old, new), ORIGIN, KEY), KNOWN)
