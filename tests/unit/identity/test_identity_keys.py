"""Of a key set only public, sound, signature-verifying keys with an id are used."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ConfigError
from broker.identity.keys import parse_key_set
from tests.unit.identity.forgery import ed25519_key, key, rsa_key
from tests.unit.identity.test_identity_token import jwk_of, member


def key_set(*members):
    return json.dumps({"keys": list(members)}).encode()


GOOD = member(key("one"), "good")


@pytest.mark.parametrize(
    ("private", "algorithms"),
    [
        (key("one"), {"ES256"}),
        (ec.generate_private_key(ec.SECP384R1()), {"ES384"}),
        (ec.generate_private_key(ec.SECP521R1()), {"ES512"}),
        (ed25519_key("ed"), {"EdDSA"}),
        (rsa_key(2048), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ],
)
def test_a_key_may_be_used_with_the_algorithms_of_its_type(private, algorithms):
    (parsed,) = parse_key_set(key_set(member(private, "k"))).keys
    assert (parsed.id, parsed.algorithms, parsed.key) == ("k", algorithms, private.public_key())


def test_the_key_s_own_algorithm_narrows_it():
    (parsed,) = parse_key_set(key_set(member(rsa_key(2048), "k", alg="PS256"))).keys
    assert parsed.algorithms == {"PS256"}


PRIVATE = {**GOOD, "d": "AAAA"}
SYMMETRIC = {"kty": "oct", "k": "c2VjcmV0", "kid": "sym"}


@pytest.mark.parametrize(
    "member_",
    [
        PRIVATE,
        SYMMETRIC,
        {**SYMMETRIC, "alg": "HS256"},
        {**GOOD, "kid": None},
        {**GOOD, "kid": ""},
        {**GOOD, "kid": 5},
        {**GOOD, "kid": "a\n"},
        {name: value for name, value in GOOD.items() if name != "kid"},
        {**GOOD, "use": "enc"},
        {**GOOD, "key_ops": ["encrypt"]},
        {**GOOD, "key_ops": "verify me"},
        {**GOOD, "alg": "HS256"},
        {**GOOD, "alg": "none"},
        {**GOOD, "alg": "ES384"},
        {**GOOD, "alg": ["ES256"]},
        {**GOOD, "x": "AAAA"},
        {**GOOD, "x": 5},
        {**GOOD, "y": GOOD["x"]},
        {**GOOD, "crv": "P-384"},
        {**GOOD, "crv": "secp256k1"},
        {**GOOD, "crv": None},
        {**GOOD, "kty": "RSA"},
        {**GOOD, "kty": "AKP"},
        member(rsa_key(1024), "weak"),
        {**member(rsa_key(2048), "huge"), "n": "A" * 20000},
        {**member(rsa_key(2048), "e"), "e": "AQ"},
        {**jwk_of(ed448.Ed448PrivateKey.generate().public_key()), "kid": "448"},
        None,
        "key",
        [],
    ],
)
def test_an_unusable_key_is_passed_over_with_a_reason_that_quotes_nothing_of_it(member_):
    parsed = parse_key_set(key_set(member_, GOOD))
    assert [key_.id for key_ in parsed.keys] == ["good"]
    (reason,) = parsed.passed_over
    assert reason.startswith("key 0: ") and GOOD["x"] not in reason and "c2VjcmV0" not in reason
    with pytest.raises(ConfigError) as raised:
        parse_key_set(key_set(member_))
    assert raised.value.code == "key_set_empty"


def test_a_key_with_use_and_operations_for_signatures_is_used():
    assert len(parse_key_set(key_set({**GOOD, "use": "sig", "key_ops": ["verify"], "x5t": "ignored"})).keys) == 1


def test_keys_are_found_by_their_id_alone():
    parsed = parse_key_set(key_set(GOOD, member(key("two"), "two"), member(rsa_key(2048), "two")))
    assert len(parsed.named("two")) == 2 and len(parsed.named("good")) == 1 and parsed.named("none") == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b"<html></html>",
        b'{"keys": [], "keys": []}',
        key_set(*[GOOD] * 33),
        key_set(GOOD) + b" " * 65536,
        b"\xff" + key_set(GOOD),
    ],
)
def test_anything_but_a_bounded_key_set_is_refused_whole(raw):
    with pytest.raises(ConfigError) as raised:
        parse_key_set(raw)
    assert raised.value.code == "key_set_malformed"


@given(st.binary(max_size=100))
def test_any_octets_are_refused_as_a_key_set(raw):
    with pytest.raises(ConfigError):
        parse_key_set(raw)
