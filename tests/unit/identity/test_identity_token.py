"""A token proves a subject only if every word of it is as its pinned issuer's rules want."""

import base64
import dataclasses
import hashlib
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from broker.errors import BindingError, TokenError
from broker.identity.codes import BINDING_CODES, TOKEN_CODES
from broker.identity.keys import parse_key_set
from broker.identity.names import decode_namespace
from broker.identity.token import verify_token
from broker.model.subject import ProofKind, SubjectKind
from broker.model.trust import Binding, Issuer
from tests.unit.identity.forgery import NOW, base64url, compact, ed25519_key, es256, key, rsa_key

ISS = "https://issuer.example"
ANA = "ana@acme.example"
ISSUER = Issuer(ISS, "acme", ("otbroker",), ("*@acme.example", "spiffe://acme.example/*"), jwks_url="https://x.example")
NAMESPACES = {"acme": tuple(decode_namespace(p) for p in ("*@acme.example", "spiffe://acme.example/*"))}
THUMBPRINT = base64url(hashlib.sha256(b"certificate").digest())
HEADER = {"typ": "at+jwt", "alg": "ES256", "kid": "one"}
CLAIMS = {"iss": ISS, "sub": ANA, "aud": "otbroker", "iat": NOW, "exp": NOW + 600}
DROP = object()


def member(private, key_id, **more):
    return {**jwk_of(private.public_key()), "kid": key_id, **more}


def jwk_of(public):
    for algorithm in (jwt.algorithms.ECAlgorithm, jwt.algorithms.RSAAlgorithm, jwt.algorithms.OKPAlgorithm):
        try:
            return algorithm.to_jwk(public, as_dict=True)
        except (jwt.InvalidKeyError, AttributeError, TypeError):
            continue
    raise AssertionError("no such key")


KEYS = parse_key_set(
    json.dumps(
        {
            "keys": [
                member(key("one"), "one"),
                member(rsa_key(2048), "rsa"),
                member(rsa_key(2048), "rs256 only", alg="RS256"),
                member(ed25519_key("ed"), "ed"),
            ]
        }
    ).encode()
)


def changed(base, changes):
    return {name: value for name, value in {**base, **changes}.items() if value is not DROP}


def token(header=None, signer=None, **claims):
    return compact(changed(HEADER, header or {}), changed(CLAIMS, claims), signer or es256(key("one")))


def verify(raw_token, issuer=ISSUER, now=NOW, thumbprint=None, issuers=None):
    trusted = issuers if issuers is not None else {ISS: issuer}
    return verify_token(raw_token, trusted, lambda _issuer, kid: KEYS.named(kid), now, thumbprint, NAMESPACES)


def refusal(raw_token, **how):
    with pytest.raises((TokenError, BindingError)) as raised:
        verify(raw_token, **how)
    assert raised.value.public == {**TOKEN_CODES, **BINDING_CODES}[raised.value.code]
    assert raw_token[:20] not in str(raised.value) or len(raw_token) < 20
    return raised.value.code


def test_a_good_token_proves_its_subject_with_all_facts():
    raw = token(roles=["vendor", "hvac"], jti="j-1", auth_time=NOW - 60, amr=["otp", "pwd"], nbf=NOW)
    subject = verify(raw)
    (proof,) = subject.proofs
    assert (subject.id, subject.kind, subject.organisation) == (ANA, SubjectKind.PERSON, "acme")
    assert (subject.roles, subject.modbus_role) == (("vendor", "hvac"), None)
    assert subject.proofs[0].roles == subject.roles
    assert (proof.kind, proof.issuer, proof.identifier) == (ProofKind.TOKEN, ISS, "j-1")
    assert (proof.proven_at, proof.not_after, proof.authenticated_at) == (NOW, NOW + 600, NOW - 60)
    assert proof.methods == ("otp", "pwd")
    assert proof.fingerprint == base64url(hashlib.sha256(raw.rpartition(".")[0].encode()).digest())


@pytest.mark.parametrize(
    ("header", "signer"),
    [
        ({"kid": "ed", "alg": "EdDSA"}, ed25519_key("ed").sign),
        (
            {"kid": "rsa", "alg": "RS256"},
            lambda m: jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(m, rsa_key(2048)),
        ),
        (
            {"kid": "rsa", "alg": "PS256"},
            lambda m: jwt.algorithms.RSAPSSAlgorithm(jwt.algorithms.RSAPSSAlgorithm.SHA256).sign(m, rsa_key(2048)),
        ),
        ({"typ": "application/AT+JWT"}, None),
        ({"typ": "JWT"}, None),
    ],
)
def test_each_listed_algorithm_and_type_is_accepted(header, signer):
    assert verify(token(header, signer)).id == ANA


def public_pem():
    return key("one").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hs256(secret):
    return lambda signing_input: hmac.new(secret, signing_input, "sha256").digest()


@pytest.mark.parametrize(
    ("header", "signer", "code"),
    [
        ({"alg": "none"}, lambda _m: b"x", "token_algorithm_refused"),
        ({"alg": "None"}, lambda _m: b"x", "token_algorithm_refused"),
        ({"alg": "HS256"}, hs256(public_pem()), "token_algorithm_refused"),
        ({"alg": "ES384"}, None, "token_algorithm_refused"),
        ({"alg": "es256"}, None, "token_algorithm_refused"),
        ({"alg": ["ES256"]}, None, "token_algorithm_refused"),
        ({"alg": DROP}, None, "token_algorithm_refused"),
        ({"alg": "RS256"}, None, "token_algorithm_refused"),
        ({"kid": "rs256 only", "alg": "PS256"}, None, "token_algorithm_refused"),
        ({"typ": DROP}, None, "token_type_refused"),
        ({"typ": "logout+jwt"}, None, "token_type_refused"),
        ({"typ": 5}, None, "token_type_refused"),
        ({"kid": DROP}, None, "token_key_unknown"),
        ({"kid": "two"}, None, "token_key_unknown"),
        ({"kid": ""}, None, "token_key_unknown"),
        ({"kid": 1}, None, "token_key_unknown"),
        ({"kid": "../../etc/passwd\x00"}, None, "token_key_unknown"),
        ({"kid": "rsa", "alg": "RS256"}, None, "token_signature_invalid"),
        ({}, es256(key("two")), "token_signature_invalid"),
        ({}, lambda _m: b"\x00" * 64, "token_signature_invalid"),
        ({}, lambda _m: b"x", "token_signature_invalid"),
        ({"jwk": {"kty": "EC"}}, es256(key("two")), "token_malformed"),
        ({"jku": "https://evil.example"}, None, "token_malformed"),
        ({"x5u": "https://evil.example"}, None, "token_malformed"),
        ({"x5c": ["AAAA"]}, None, "token_malformed"),
        ({"crit": ["exp"]}, None, "token_malformed"),
        ({"b64": False}, None, "token_malformed"),
        ({"zip": "DEF"}, None, "token_malformed"),
    ],
)
def test_a_header_that_is_not_as_pinned_refuses_the_token(header, signer, code):
    assert refusal(token(header, signer)) == code


def test_settings_cannot_allow_what_is_never_allowed():
    lax = dataclasses.replace(ISSUER, algorithms=("none", "HS256", "ES256"))
    assert refusal(token({"alg": "none"}, lambda _m: b"x"), issuer=lax) == "token_algorithm_refused"
    assert refusal(token({"alg": "HS256"}, hs256(public_pem())), issuer=lax) == "token_algorithm_refused"


def test_an_algorithm_left_out_of_the_settings_is_refused():
    narrow = dataclasses.replace(ISSUER, algorithms=("EdDSA",))
    assert refusal(token(), issuer=narrow) == "token_algorithm_refused"


GOOD = token()
HEAD, BODY, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize(
    "raw_token",
    [
        "",
        ".",
        "..",
        "a.b",
        f"{HEAD}.{BODY}.",
        f"{HEAD}..{SIGNATURE}",
        f"{HEAD}.{BODY}.{SIGNATURE}.",
        f"{GOOD}.{SIGNATURE}",
        f"{GOOD}==",
        f"{HEAD}=.{BODY}.{SIGNATURE}",
        f" {GOOD}",
        f"{GOOD} ",
        f"{GOOD}\n",
        f"{HEAD}.\n{BODY}.{SIGNATURE}",
        GOOD.replace(".", "\uff0e", 1),
        GOOD.replace("A", "Á", 1),
        GOOD[:-1] + "+",
        f"{HEAD}A.{BODY}.{SIGNATURE}" if len(HEAD) % 4 == 0 else f"{HEAD}.{BODY}.{SIGNATURE}AAA",
        "A" * 8193,
        f"{HEAD}.{BODY}.{SIGNATURE}{'A' * 8192}",
        "\ud800." * 2 + "a",
    ],
)
def test_anything_but_three_parts_of_canonical_base64url_is_refused(raw_token):
    assert refusal(raw_token) == "token_malformed"


def test_unused_bits_of_the_last_character_must_be_zero():
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = SIGNATURE[:-1] + last[last.index(SIGNATURE[-1]) + 1]
    padded = (base64.urlsafe_b64decode(part + "==") for part in (SIGNATURE, other))
    assert len(set(padded)) == 1, "both spell the same octets"
    assert refusal(f"{HEAD}.{BODY}.{other}") == "token_malformed"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{} {}",
        b'{"iss":"x"',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        json.dumps(CLAIMS).encode()[:-1] + b', "sub": "bo@plant.example"}',
        json.dumps(CLAIMS).encode()[:-1] + b', "cnf": {"x5t#S256": "a", "x5t#S256": "b"}}',
        json.dumps(CLAIMS).encode()[:-1] + b', "x": NaN}',
        json.dumps(CLAIMS).encode()[:-1] + b', "x": 1e999}',
        json.dumps(CLAIMS).encode()[:-1] + b', "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        json.dumps(CLAIMS).encode()[:-1] + b', "x": ' + b"9" * 5000 + b"}",
        json.dumps(CLAIMS).encode("utf-16"),
    ],
)
def test_a_payload_that_is_not_one_strict_json_object_is_refused(payload):
    assert refusal(compact(HEADER, payload, es256(key("one")))) == "token_malformed"


def test_a_header_with_a_key_twice_is_refused():
    header = b'{"typ":"at+jwt","alg":"none","alg":"ES256","kid":"one"}'
    assert refusal(compact(header, CLAIMS, es256(key("one")))) == "token_malformed"


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"iss": DROP}, "token_issuer_unknown"),
        ({"iss": None}, "token_issuer_unknown"),
        ({"iss": [ISS]}, "token_issuer_unknown"),
        ({"iss": ISS + "/"}, "token_issuer_unknown"),
        ({"iss": ISS.upper()}, "token_issuer_unknown"),
        ({"aud": DROP}, "token_claim_missing"),
        ({"aud": "other"}, "token_audience_refused"),
        ({"aud": "otbroker "}, "token_audience_refused"),
        ({"aud": []}, "token_audience_refused"),
        ({"aud": ["otbroker", "other"]}, "token_audience_refused"),
        ({"aud": ["otbroker", 5]}, "token_audience_refused"),
        ({"aud": {"otbroker": 1}}, "token_audience_refused"),
        ({"exp": DROP}, "token_claim_missing"),
        ({"iat": DROP}, "token_claim_missing"),
        ({"exp": None}, "token_claim_missing"),
        ({"exp": str(NOW + 600)}, "token_claim_malformed"),
        ({"exp": True}, "token_claim_malformed"),
        ({"exp": [NOW + 600]}, "token_claim_malformed"),
        ({"exp": -1}, "token_claim_malformed"),
        ({"exp": 10**400}, "token_claim_malformed"),
        ({"exp": 10**13}, "token_claim_malformed"),
        ({"iat": "now"}, "token_claim_malformed"),
        ({"nbf": "now"}, "token_claim_malformed"),
        ({"exp": NOW}, "token_expired"),
        ({"exp": NOW - 1}, "token_expired"),
        ({"nbf": NOW + 6}, "token_not_yet_valid"),
        ({"iat": NOW + 6}, "token_not_yet_valid"),
        ({"iat": NOW + 6, "nbf": NOW}, "token_not_yet_valid"),
        ({"exp": NOW + 3601}, "token_lifetime_too_long"),
        ({"iat": NOW - 3600, "exp": NOW + 1}, "token_lifetime_too_long"),
        ({"sub": DROP}, "token_claim_missing"),
        ({"sub": ""}, "token_claim_malformed"),
        ({"sub": 5}, "token_claim_malformed"),
        ({"sub": "a" * 257}, "token_claim_malformed"),
        ({"sub": "ana\n@acme.example"}, "token_claim_malformed"),
        ({"sub": "ana\u202e@acme.example"}, "token_claim_malformed"),
        ({"sub": "bo@plant.example"}, "token_subject_refused"),
        ({"sub": "ana@ACME.example"}, "token_subject_refused"),
        ({"sub": "\u0430na@acme.example"}, "token_subject_refused"),
        ({"sub": "x@evil.acme.example"}, "token_subject_refused"),
        ({"sub": "bo@plant.example@acme.example"}, "token_subject_refused"),
        ({"roles": "vendor"}, "token_claim_malformed"),
        ({"roles": [["vendor"]]}, "token_claim_malformed"),
        ({"roles": ["a"] * 65}, "token_claim_malformed"),
        ({"roles": ["a" * 65]}, "token_claim_malformed"),
        ({"roles": ["a\n"]}, "token_claim_malformed"),
        ({"kind": 5}, "token_claim_malformed"),
        ({"amr": "otp"}, "token_claim_malformed"),
        ({"auth_time": "now"}, "token_claim_malformed"),
        ({"auth_time": NOW + 60}, "token_claim_malformed"),
        ({"jti": 5}, "token_claim_malformed"),
        ({"cnf": "x"}, "token_claim_malformed"),
        ({"cnf": {"x5t#S256": 5}}, "token_claim_malformed"),
        ({"cnf": {"x5t#S256": "short"}}, "token_claim_malformed"),
        ({"cnf": {"jkt": THUMBPRINT}}, "token_binding_missing"),
        ({"cnf": {"x5t#S256": THUMBPRINT, "jkt": THUMBPRINT}}, "token_binding_missing"),
        ({"cnf": {}}, "token_binding_missing"),
        ({"cnf": {"x5t#S256": THUMBPRINT}}, "token_bound_to_other_certificate"),
    ],
)
def test_a_claim_that_is_not_as_wanted_refuses_the_token(claims, code):
    assert refusal(token(**claims)) == code


def test_leeway_forgives_a_clock_that_is_ahead_and_lengthens_nothing():
    assert verify(token(iat=NOW + 5, nbf=NOW + 5)).id == ANA
    late = token(exp=NOW + 600)
    assert verify(late, now=NOW + 599.9).proofs[0].not_after == NOW + 600
    assert refusal(late, now=NOW + 600) == "token_expired"


def test_a_claim_is_judged_only_after_the_signature():
    assert refusal(token(signer=es256(key("two")), exp=NOW - 1)) == "token_signature_invalid"


def test_a_claim_required_by_settings_must_be_there():
    strict = dataclasses.replace(ISSUER, required_claims=("jti",))
    assert refusal(token(), issuer=strict) == "token_claim_missing"
    assert verify(token(jti="a"), issuer=strict).proofs[0].identifier == "a"


def test_several_audiences_are_accepted_only_if_all_are_ours():
    both = dataclasses.replace(ISSUER, audiences=("otbroker", "otbroker-api"))
    assert verify(token(aud=["otbroker-api", "otbroker"]), issuer=both).id == ANA
    assert verify(token(aud=["otbroker"])).id == ANA


def test_binding_to_the_presented_certificate():
    required = dataclasses.replace(ISSUER, binding=Binding.REQUIRED)
    bound = token(cnf={"x5t#S256": THUMBPRINT})
    assert verify(bound, issuer=required, thumbprint=THUMBPRINT).id == ANA
    assert verify(bound, thumbprint=THUMBPRINT).id == ANA
    assert refusal(bound, thumbprint=THUMBPRINT[:-1] + "A") == "token_bound_to_other_certificate"
    assert refusal(token(), issuer=required, thumbprint=THUMBPRINT) == "token_binding_missing"
    assert verify(token(), thumbprint=THUMBPRINT).id == ANA


@pytest.mark.parametrize(
    ("claims", "kind"),
    [
        ({"kind": "service"}, SubjectKind.SERVICE),
        ({"kind": "person"}, SubjectKind.PERSON),
        ({"kind": "robot"}, SubjectKind.PERSON),
        ({"sub": "spiffe://acme.example/agent"}, SubjectKind.SERVICE),
        ({"sub": "spiffe://acme.example/agent", "kind": "person"}, SubjectKind.SERVICE),
    ],
)
def test_a_token_makes_a_service_of_a_person_never_the_reverse(claims, kind):
    assert verify(token(**claims)).kind is kind


def test_the_subject_must_lie_in_the_namespaces_of_the_issuer_s_organisation():
    wide = dataclasses.replace(ISSUER, subjects=("*",))
    assert refusal(token(sub="bo@plant.example"), issuer=wide) == "token_subject_refused"
    elsewhere = dataclasses.replace(ISSUER, organisation="gone")
    assert refusal(token(), issuer=elsewhere) == "token_subject_refused"


def test_the_subject_must_match_a_pattern_of_its_issuer():
    narrow = dataclasses.replace(ISSUER, subjects=("ana@*", "spiffe://acme.example/agents/*"))
    assert verify(token(), issuer=narrow).id == ANA
    assert refusal(token(sub="eve@acme.example"), issuer=narrow) == "token_subject_refused"
    assert refusal(token(sub="spiffe://acme.example/other/a"), issuer=narrow) == "token_subject_refused"


def test_the_subject_may_come_from_another_claim():
    mail = dataclasses.replace(ISSUER, subject_claim="email")
    raw = token(sub="248289761001", email=ANA, email_verified=True)
    assert verify(raw, issuer=mail).id == ANA
    assert verify(raw, issuer=mail).proofs[0].account == "248289761001"


@pytest.mark.parametrize("verified", [DROP, None, False, "true", 1])
def test_an_address_that_is_not_verified_names_nobody(verified):
    mail = dataclasses.replace(ISSUER, subject_claim="email")
    assert refusal(token(email=ANA, email_verified=verified), issuer=mail) == "token_subject_refused"


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        ({"client_id": "otb"}, True),
        ({"azp": "otb"}, True),
        ({"azp": "otb", "client_id": "otb"}, True),
        ({"azp": "otb", "client_id": "payroll"}, False),
        ({"azp": "payroll"}, False),
        ({"client_id": ["otb"]}, False),
        ({}, False),
    ],
)
def test_a_token_of_another_application_is_refused(claims, accepted):
    ours = dataclasses.replace(ISSUER, clients=("otb", "console"))
    if accepted:
        assert verify(token(**claims), issuer=ours).id == ANA
    else:
        assert refusal(token(**claims), issuer=ours) == "token_client_refused"


def test_a_required_way_of_logging_in_is_required():
    strict = dataclasses.replace(ISSUER, required_acr=("phr", "phrh"))
    assert verify(token(acr="phr"), issuer=strict).proofs[0].acr == "phr"
    for acr in ("pwd", DROP, ["phr"], None):
        assert refusal(token(acr=acr), issuer=strict) == "token_acr_refused"


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("groups", {"groups": ["/ot/security", "/everybody"]}),
        ("realm_access.roles", {"realm_access": {"roles": ["/ot/security", "security"]}}),
        ("https://plant.example/groups", {"https://plant.example/groups": ["/ot/security"]}),
    ],
)
def test_only_groups_that_the_settings_name_become_roles(path, claims):
    mapped = dataclasses.replace(ISSUER, roles_claim=path, roles={"/ot/security": ("security", "operator")})
    assert verify(token(roles=["auditor"], **claims), issuer=mapped).roles == ("security", "operator")
    assert verify(token(), issuer=mapped).roles == ()


@pytest.mark.parametrize("groups", ["/ot/security", [1], {"a": 1}, ["x" * 301], ["x"] * 257])
def test_groups_that_are_not_a_list_of_words_refuse_the_token(groups):
    mapped = dataclasses.replace(ISSUER, roles_claim="groups", roles={"/ot/security": ("security",)})
    assert refusal(token(groups=groups), issuer=mapped) == "token_claim_malformed"


def test_a_subject_that_the_settings_call_a_service_is_one():
    issuer = dataclasses.replace(ISSUER, services=("bot-*@acme.example",))
    assert verify(token(sub="bot-1@acme.example"), issuer=issuer).kind is SubjectKind.SERVICE
    assert verify(token(), issuer=issuer).kind is SubjectKind.PERSON


def test_a_key_is_looked_up_for_the_pinned_issuer_only():
    asked = []

    def keys(issuer, key_id):
        asked.append((issuer, key_id))
        return ()

    with pytest.raises(TokenError):
        verify_token(token(), {ISS: ISSUER}, keys, NOW, None, NAMESPACES)
    with pytest.raises(TokenError):
        verify_token(token(iss="https://evil.example"), {ISS: ISSUER}, keys, NOW, None, NAMESPACES)
    assert asked == [(ISS, "one")]


def test_no_secret_of_the_token_is_in_an_error():
    with pytest.raises(TokenError) as raised:
        verify(token(exp=NOW - 1, jti="correct-horse"))
    assert "correct-horse" not in str(raised.value) and ANA not in str(raised.value)
