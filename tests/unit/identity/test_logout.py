"""A logout token is one, whole and fresh, or it is refused; and a logout ends the tokens that it should."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import TokenError
from broker.identity import logout
from broker.identity.codes import TOKEN_CODES
from broker.identity.logout import EVENT, LoggedOut, verify_logout_token
from broker.model.logout import Logout
from broker.model.subject import Proof, ProofKind
from tests.unit.identity.forgery import NOW, compact, es256, key
from tests.unit.identity.test_identity_token import DROP, ISS, ISSUER, KEYS, changed
from tests.unit.identity.test_identity_token import token as access_token

OURS = dataclasses.replace(ISSUER, clients=("otb", "console"))
HEADER = {"typ": "logout+jwt", "alg": "ES256", "kid": "one"}
CLAIMS = {"iss": ISS, "aud": "otb", "iat": NOW, "exp": NOW + 120, "jti": "j-1", "sub": "u-1", "sid": "s-1"}
CLAIMS |= {"events": {EVENT: {}}}


def logout_token(header=None, signer=None, **claims):
    return compact(changed(HEADER, header or {}), changed(CLAIMS, claims), signer or es256(key("one")))


def verify(raw_token, issuer=OURS, now=NOW):
    return verify_logout_token(raw_token, {ISS: issuer}, lambda _issuer, kid: KEYS.named(kid), now)


def refusal(raw_token, **how):
    with pytest.raises(TokenError) as raised:
        verify(raw_token, **how)
    return raised.value.code


def test_a_good_logout_token_tells_who_logged_out_and_when():
    told = verify(logout_token())
    assert (told.issuer, told.account, told.login, told.at) == (ISS, "u-1", "s-1", NOW)
    assert verify(logout_token(iat=NOW - 1)).id == told.id != verify(logout_token(jti="j-2")).id
    assert verify(logout_token(sid=DROP)).login == ""
    assert verify(logout_token(sub=DROP)).account == ""
    for header in ({"typ": DROP}, {"typ": "JWT"}, {"typ": "application/logout+jwt"}):
        assert verify(logout_token(header)).id == told.id


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://evil.example"}, "token_issuer_unknown"),
        ({"aud": "payroll"}, "token_audience_refused"),
        ({"aud": ["otb", "payroll"]}, "token_audience_refused"),
        ({"aud": "otbroker"}, "token_audience_refused"),
        ({"iat": NOW - 126}, "token_expired"),
        ({"iat": NOW + 6}, "token_not_yet_valid"),
        ({"exp": NOW - 6}, "token_expired"),
        ({"jti": DROP}, "token_claim_missing"),
        ({"iat": DROP}, "token_claim_missing"),
        ({"events": DROP}, "token_claim_missing"),
        ({"events": {}}, "token_claim_malformed"),
        ({"events": [EVENT]}, "token_claim_malformed"),
        ({"events": {EVENT: True}}, "token_claim_malformed"),
        ({"events": {"urn:other": {}}}, "token_claim_malformed"),
        ({"nonce": "n"}, "token_claim_malformed"),
        ({"nonce": None}, "token_claim_malformed"),
        ({"sub": DROP, "sid": DROP}, "token_claim_missing"),
        ({"sub": 1}, "token_claim_malformed"),
    ],
)
def test_anything_else_is_refused(changes, code):
    assert refusal(logout_token(**changes)) == code


def test_it_must_be_signed_by_the_issuer_and_be_of_its_own_type():
    assert refusal(logout_token(signer=es256(key("two")))) == "token_signature_invalid"
    assert refusal(logout_token({"typ": "at+jwt"})) == "token_type_refused"
    assert refusal(logout_token({"alg": "none"}, lambda _: b"x")) == "token_algorithm_refused"
    assert refusal(logout_token({"kid": "two"})) == "token_key_unknown"
    assert refusal(access_token(jti="j", client_id="otb")) == "token_type_refused"


def test_of_an_issuer_without_clients_no_logout_is_taken():
    assert refusal(logout_token(), issuer=ISSUER) == "token_audience_refused"


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*CLAIMS, "nonce"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2),
        min_size=1,
        max_size=3,
    )
)
def test_claims_of_any_type_give_a_logout_or_an_error(claims):
    try:
        told = verify(logout_token(**claims))
    except TokenError as error:
        assert error.code in TOKEN_CODES
        return
    assert told.issuer == ISS
    assert told.account or told.login


def proof(*, login="", account="u-1", issuer=ISS, issued=NOW - 10, logged_in=None):
    return Proof(
        ProofKind.TOKEN,
        issuer,
        "j",
        "f",
        NOW,
        NOW + 600,
        authenticated_at=logged_in,
        issued_at=issued,
        account=account,
        login=login,
    )


def after(*logouts):
    found = LoggedOut()
    for account, login, at in logouts:
        found.add(Logout(f"out-{account}{login}{at}", ISS, account, login, at))
    return found


@pytest.mark.parametrize(
    ("told", "ended", "kept"),
    [
        (
            ("u-1", "", NOW),
            [proof(), proof(login="s-1"), proof(issued=NOW), proof(issued=NOW + 5, logged_in=NOW - 60)],
            [proof(issued=NOW + 1), proof(logged_in=NOW + 1), proof(account="u-2"), proof(issuer="https://other")],
        ),
        (
            ("u-1", "s-1", NOW),
            [proof(login="s-1"), proof(login="s-1", issued=NOW + 5), proof()],
            [proof(login="s-2"), proof(issued=NOW + 1), proof(login="s-1", issuer="https://other")],
        ),
        (("", "s-1", NOW), [proof(login="s-1")], [proof(), proof(login="s-2")]),
    ],
    ids=["account", "log-in of an account", "log-in"],
)
def test_a_logout_ends_the_tokens_from_before_it_and_no_others(told, ended, kept):
    logged_out = after(told)
    assert all(logged_out.ends(token) for token in ended)
    assert not any(logged_out.ends(token) for token in kept)
    logged_out.forget(NOW)
    assert all(logged_out.ends(token) for token in ended)
    logged_out.forget(NOW + 1)
    assert not any(logged_out.ends(token) for token in ended)


def test_of_two_logouts_of_an_account_the_later_counts_in_whatever_order_they_come():
    for logouts in ((NOW, NOW - 100), (NOW - 100, NOW)):
        logged_out = after(*(("u-1", "", at) for at in logouts))
        assert logged_out.ends(proof(issued=NOW - 1))


def test_so_many_logouts_are_remembered_and_the_oldest_go_first(monkeypatch):
    monkeypatch.setattr(logout, "MOST_REMEMBERED", 3)
    logged_out = after(*((f"u-{n}", f"s-{n}", NOW) for n in range(3)), ("u-0", "s-0", NOW), ("u-3", "s-3", NOW))
    ended = [logged_out.ends(proof(account=f"u-{n}", login=f"s-{n}")) for n in range(4)]
    assert ended == [True, False, True, True]
