"""Parts of a seal as people type them: what is mistyped is found, and in which group."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import PeerError
from broker.model.parts import ALPHABET, GROUP, GROUPS, MOST_PARTS, SECRET_BITS, decode_part, encode_part

NUMBERS = st.integers(1, MOST_PARTS)
SECRETS = st.integers(0, 2**SECRET_BITS - 1)
LENGTH = GROUPS * GROUP


def refused(typed: str) -> str:
    with pytest.raises(PeerError) as caught:
        decode_part(typed)
    assert caught.value.code == "part_malformed"
    return caught.value.public


@given(NUMBERS, SECRETS)
def test_what_is_printed_is_what_is_read(number: int, secret: int) -> None:
    printed = encode_part(number, secret)
    part = decode_part(printed)
    assert (part.number, part.text) == (number, printed.replace("-", ""))
    assert [len(group) for group in printed.split("-")] == [GROUP] * GROUPS


@given(NUMBERS, SECRETS)
def test_case_spaces_and_letters_that_look_alike_do_not_matter(number: int, secret: int) -> None:
    printed = encode_part(number, secret)
    typed = printed.lower().replace("-", "  ").replace("0", "o").replace("1", "l")
    assert decode_part(f" {typed}\n") == decode_part(printed)


@given(NUMBERS, SECRETS, st.integers(0, LENGTH - 1), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_found_and_its_group_named(number: int, secret: int, place: int, other: str) -> None:
    text = encode_part(number, secret).replace("-", "")
    wrong = text[:place] + other + text[place + 1 :]
    if wrong != text:
        assert refused(wrong) == f"Group {place // GROUP + 1} of the part is mistyped."


@given(NUMBERS, SECRETS, st.integers(0, LENGTH - 2))
def test_two_neighbours_exchanged_are_found(number: int, secret: int, place: int) -> None:
    text = encode_part(number, secret).replace("-", "")
    wrong = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    if wrong != text:
        refused(wrong)


@given(NUMBERS, SECRETS, st.integers(0, GROUPS - 1), st.integers(0, GROUPS - 1))
def test_two_groups_exchanged_are_found(number: int, secret: int, one: int, other: int) -> None:
    groups = encode_part(number, secret).split("-")
    groups[one], groups[other] = groups[other], groups[one]
    if one != other:
        refused("-".join(groups))


@given(st.text(max_size=300))
def test_nothing_else_is_a_part(typed: str) -> None:
    refused(typed)


def test_a_group_too_many_or_too_few_is_no_part() -> None:
    printed = encode_part(1, 0)
    refused(printed + "-00000")
    refused(printed[:-6])
