"""Codes of invitations: one form, found slips of the pen, nothing shown in errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import EnrolmentError
from broker.identity.invitation_code import decode_code, encode_code, invitation_id
from broker.model.backer import Backer
from broker.model.enrolment import Invitation, InvitationState

PLACE, SECRET = b"12345", bytes(range(16))
CODE = encode_code(PLACE, SECRET)


def test_a_code_comes_back_however_it_is_written() -> None:
    assert len(CODE) == 49
    for written in (CODE, CODE.upper(), CODE.replace("-", ""), f"  {CODE.replace('-', ' ')}\n"):
        assert decode_code(written) == (invitation_id(PLACE), SECRET)


@given(place=st.integers(0, 39), letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_wrong_letter_is_found_before_it_is_tried(place: int, letter: str) -> None:
    plain = CODE.replace("-", "")
    wrong = plain[:place] + letter + plain[place + 1 :]
    if wrong == plain:
        return
    with pytest.raises(EnrolmentError) as refused:
        decode_code(wrong)
    assert refused.value.code == "code_malformed"
    assert wrong not in str(refused.value)


@given(st.text(max_size=200))
def test_whatever_is_typed_is_a_code_or_malformed(text: str) -> None:
    try:
        assert decode_code(text)
    except EnrolmentError as error:
        assert error.code == "code_malformed"


@pytest.mark.parametrize(
    ("changes", "now", "state"),
    [
        ({}, 10.0, InvitationState.OPEN),
        ({}, 100.0, InvitationState.EXPIRED),
        ({"revoked_at": 5.0}, 10.0, InvitationState.REVOKED),
        ({"used_at": 5.0, "revoked_at": 6.0}, 200.0, InvitationState.USED),
    ],
)
def test_an_invitation_says_why_it_is_not_open(changes: dict[str, float], now: float, state: InvitationState) -> None:
    bo = Backer("bo", "person", "plant")
    invitation = Invitation("inv-a", "acme", "ana@acme.example", bo, 0.0, 100.0, b"s", b"d", **changes)  # type: ignore[arg-type]
    assert invitation.state_at(now) is state
    assert "digest" not in repr(invitation)
