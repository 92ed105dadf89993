"""Whatever is in a token, it proves the subject it should or is refused in the product's own words."""

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import BindingError, TokenError
from broker.identity.codes import TOKEN_CODES
from tests.unit.identity.test_identity_token import ANA, refusal, token, verify


@given(st.text(max_size=60) | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}", fullmatch=True))
def test_any_text_gives_a_token_error(text):
    assert refusal(text) in TOKEN_CODES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["iss", "sub", "aud", "iat", "exp", "nbf", "jti", "roles", "kind", "cnf", "amr", "auth_time"])


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(NAMES, JSON, max_size=3), st.dictionaries(st.sampled_from(["typ", "alg", "kid"]), JSON, max_size=2)
)
def test_signed_claims_of_any_type_give_the_same_subject_or_an_error(claims, header):
    try:
        subject = verify(token(header, **claims))
    except (TokenError, BindingError):
        return
    assert (subject.id, subject.organisation) == (ANA, "acme")
