"""NIST's PKITS: no path that it calls invalid is believed, and what is valid is believed or refused for a known reason.

Our profile of a client's path: RSA of 2048 to 8192 bits or P-256, P-384, P-521; SHA-2; an end entity with clientAuth
and one name; authorities with critical basicConstraints and keyCertSign, at most four below the anchor; names compared
octet by octet; name constraints on DNS names and mailboxes only; certificate policies not followed; complete, direct
revocation lists signed by the key that signed the certificate. What each vector is and should lead to is in PKITS'
own document; it is at its default settings here (any policy will do, none has to be there).
"""

from collections import Counter

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import Criticality, ExtensionPolicy

from broker.errors import CertificateError, ConfigError
from broker.identity import anchors
from broker.identity.anchors import POLICIES_REFUSED
from broker.identity.certificate import Trust, decode_presented
from broker.identity.revocation import decode_crls, verify_unrevoked
from broker.model.place import Organisation
from tests.integration.identity.pkits import FOLDER, NAMESPACES, NOW, Suite

BELIEVED = "believed"
# Called invalid without being called Invalid: an authority of the path asks for a policy that the path has not.
INVALID = {f"DifferentPoliciesTest{number}" for number in (4, 5, 7, 8, 9, 12)} | {"MissingCRLTest1"}
# A DSA key without parameters is read by nobody here, and a negative serial cannot be issued again.
UNTRIED = {"ValidDSAParameterInheritanceTest5", "InvalidNegativeSerialNumberTest15"}
# Believed though PKITS, which takes deltas for granted, calls them invalid.
EXCEPTIONS = {
    # RFC 5280, 6.3.3 (a): revoked on a delta alone, which whoever does not use deltas need not know. A delta in the
    # settings is refused (crl_unsupported), so nobody can think that it is followed.
    "InvaliddeltaCRLTest4",
}
# Valid and refused: a part of the refusal, why our profile is stricter, and how many there are.
STRICTER = (
    (POLICIES_REFUSED, "policies are not followed (RFC 5280, 6.1.4 (i))", 5),
    ("unaccounted-for critical extensions", "policy mappings and constraints, critical (RFC 5280, 4.2)", 19),
    ("Forbidden public key algorithm", "DSA", 1),
    ("no interior errors", "names are compared octet by octet, without case and spaces (RFC 5280, 7.1)", 5),
    ("incorrect criticality", "basicConstraints of authorities are critical (RFC 5280, 4.2.1.9)", 1),
    ("unsupported name constraint", "no name constraints on URIs", 2),
    ("unsupported directoryName constraint", "no name constraints on directory names", 9),
    (
        "signature does not match",
        "self-issued authorities count towards lengths (RFC 5280, 4.2.1.9), or have policies",
        3,
    ),
    ("it is the certificate of an authority", "an authority is no client", 4),
    ("crl_missing", "no partitioned or indirect lists, none signed by another key (RFC 5280, 5.2.5)", 18),
    ("certificate_revoked", "a hold counts until a complete list no more has it (RFC 5280, 5.3.1)", 1),
)


@pytest.fixture(scope="module")
def suite() -> Suite:
    if not (FOLDER / "vectors.txt").exists():
        pytest.skip("PKITS is not there: its wheel could not be brought")
    return Suite()


def usable(suite: Suite) -> dict[str, bytes]:
    """The lists that an organisation may have."""
    lists = {}
    for name, raw_crl in suite.crls.items():
        try:
            decode_crls(raw_crl)
            lists[name] = raw_crl
        except ConfigError as error:
            assert error.code == "crl_unsupported"
    return lists


def trust(suite: Suite, lists: tuple[bytes, ...]) -> Trust:
    anchor = suite.anchor.public_bytes(Encoding.PEM).decode()
    required = bool(lists)
    return Trust((Organisation("pkits", (anchor,), NAMESPACES, crls=lists, crl_required=required, max_path_length=4),))


def verdict(trust: Trust, leaf: bytes, others: tuple[bytes, ...]) -> str:
    try:
        trust.verify(leaf, others, NOW)
    except CertificateError as error:
        return f"{error.code}: {error.detail}"
    return BELIEVED


@pytest.fixture(scope="module")
def verdicts(suite: Suite) -> dict[str, str]:
    """What is said of each vector that can be read and issued again."""
    domain = trust(suite, tuple(usable(suite).values()))
    found = {}
    for name in suite.names:
        try:
            vector = suite.vector(name)
            leaf = suite.issued_again(vector)
        except ValueError:
            continue
        found[name] = verdict(domain, leaf, vector.presented)
    assert set(suite.names) - set(found) == UNTRIED
    return found


def is_invalid(name: str) -> bool:
    return name.startswith("Invalid") or name in INVALID


def test_no_path_that_pkits_calls_invalid_is_believed(verdicts: dict[str, str]) -> None:
    invalid = {name: said for name, said in verdicts.items() if is_invalid(name)}
    assert len(invalid) == 120
    assert {name for name, said in invalid.items() if said == BELIEVED} == EXCEPTIONS


def test_what_pkits_calls_valid_is_believed_or_refused_for_a_known_reason(verdicts: dict[str, str]) -> None:
    valid = {name: said for name, said in verdicts.items() if not is_invalid(name)}
    refused = {name: said for name, said in valid.items() if said != BELIEVED}
    reasons = {name: [part for part, _, _ in STRICTER if part in said] for name, said in refused.items()}
    assert {name: refused[name] for name, parts in reasons.items() if len(parts) != 1} == {}
    assert Counter(parts[0] for parts in reasons.values()) == {part: count for part, _, count in STRICTER}
    assert len(valid) - len(refused) == 34


def test_no_invalid_path_is_believed_with_the_end_entity_in_its_own_octets_either(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was issued again may have a date, a serial or a signature of another form than NIST's.

    Put aside here: the extended key usage and the alternative name that NIST's end entities lack.
    """
    names = ExtensionPolicy.webpki_defaults_ee().may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    monkeypatch.setattr(anchors, "_LEAF_POLICY", names)
    (domain,) = trust(suite, tuple(usable(suite).values())).domains
    said: dict[str, str] = {}
    for name in suite.names:
        try:
            vector = suite.vector(name)
            leaf, others = decode_presented(vector.leaf.public_bytes(Encoding.DER), vector.presented)
            verify_unrevoked(domain.verify_path(leaf, others, NOW), domain.crls, True, NOW)
            said[name] = BELIEVED
        except ValueError:
            said[name] = "unreadable"
        except CertificateError as error:
            said[name] = error.code
    assert {name for name in said if is_invalid(name) and said[name] == BELIEVED} == EXCEPTIONS
    assert {name: said[name] for name in UNTRIED} == {
        "ValidDSAParameterInheritanceTest5": "unreadable",
        "InvalidNegativeSerialNumberTest15": "certificate_untrusted",  # a negative serial is refused before any list
    }
    # One fewer than issued again: dates before 2050 must be UTCTime (RFC 5280, 4.1.2.5).
    assert said["ValidGeneralizedTimenotBeforeDateTest4"] == "certificate_untrusted"
    assert Counter(is_invalid(name) for name in said if said[name] == BELIEVED) == {False: 33, True: 1}


def test_what_revocation_lists_alone_refuse_is_believed_without_them(suite: Suite, verdicts: dict[str, str]) -> None:
    lax = trust(suite, ())
    revoked = [name for name, said in verdicts.items() if said.startswith(("certificate_revoked", "crl_"))]
    said = {}
    for name in revoked:
        vector = suite.vector(name)
        said[name] = verdict(lax, suite.issued_again(vector), vector.presented)
    assert len(said) == 62
    assert {name for name, without in said.items() if without != BELIEVED} == set()


def test_lists_that_are_not_followed_are_a_settings_error(suite: Suite) -> None:
    assert (len(suite.crls), len(usable(suite))) == (173, 145)
    assert "GoodCACRL" in usable(suite)


def test_the_end_entities_as_they_are_are_no_clients(suite: Suite) -> None:
    domain = trust(suite, ())
    said: Counter[str] = Counter()
    for name in suite.names:
        try:
            vector = suite.vector(name)
        except ValueError:
            continue
        said[verdict(domain, vector.leaf.public_bytes(Encoding.DER), vector.presented).partition(":")[0]] += 1
    assert BELIEVED not in said
    # Two of its invalid signatures are valid ones that leave a bit of their last octet unused.
    assert (said["certificate_not_for_clients"], said["certificate_malformed"], said.total()) == (217, 2, 223)
