"""Codes of authenticator apps: the vectors of RFC 6238, clock skew, and no code twice."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.identity.second_factor import STEP_SECONDS, accepted_step, otpauth_uri, wait_after
from tests.totp import code_at

RFC_SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("now", "digits"),
    [(59, "94287082"), (1111111109, "07081804"), (1234567890, "89005924"), (20000000000, "65353130")],
)
def test_the_vectors_of_rfc_6238_are_accepted(now: int, digits: str) -> None:
    assert accepted_step(RFC_SECRET, digits[-6:], now, 0) == now // STEP_SECONDS


@given(now=st.integers(10_000, 4_000_000_000), skew=st.integers(-4, 4))
def test_a_code_is_good_one_step_either_way(now: int, skew: int) -> None:
    step = now // STEP_SECONDS + skew
    code = code_at(RFC_SECRET, step * STEP_SECONDS)
    near = [code_at(RFC_SECRET, (now // STEP_SECONDS + n) * STEP_SECONDS) for n in (-1, 0, 1)]
    found = accepted_step(RFC_SECRET, code, now, 0)
    assert (found == step) if abs(skew) <= 1 and near.count(code) == 1 else (found is None or code in near)


@given(now=st.integers(10_000, 4_000_000_000))
def test_a_step_that_was_accepted_is_never_accepted_again(now: int) -> None:
    code = code_at(RFC_SECRET, now)
    step = accepted_step(RFC_SECRET, code, now, 0)
    assert step is not None
    assert accepted_step(RFC_SECRET, code, now, step) is None
    assert accepted_step(RFC_SECRET, code, now + STEP_SECONDS, step) is None


@pytest.mark.parametrize("wrong", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "-12345", "+12345", "1e4444"])
def test_what_is_not_six_digits_is_no_code(wrong: str) -> None:
    assert accepted_step(RFC_SECRET, wrong, 59, 0) is None


def test_spaces_between_digits_do_not_matter() -> None:
    assert accepted_step(RFC_SECRET, " 287 082\n", 59, 0) == 1


def test_whoever_goes_on_guessing_waits_ever_longer() -> None:
    waits = [wait_after(failures) for failures in range(200)]
    assert waits[:4] == [0.0] * 4
    assert waits[4:8] == [30.0, 60.0, 120.0, 240.0]
    assert waits == sorted(waits)
    assert waits[-1] == 3600.0


def test_an_app_is_told_the_parameters_that_every_app_knows() -> None:
    parts = urlsplit(otpauth_uri(RFC_SECRET, "ana@acme.example", "broker.example"))
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert (query["algorithm"], query["digits"], query["period"]) == ("SHA1", "6", "30")
    assert query["secret"] == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
