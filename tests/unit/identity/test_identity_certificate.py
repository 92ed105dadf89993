"""A certificate proves exactly the subject that its organisation may name, or is refused with a constant code."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.errors import CertificateError
from broker.identity.binding import bind
from broker.identity.certificate import Trust, fingerprint
from broker.identity.codes import CERTIFICATE_CODES
from broker.identity.explanation import explain_certificate
from broker.identity.modbus_role import ROLE_OID, encode_role
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.trust import Requirement
from tests.unit.identity.forgery import (
    DAY,
    DROP,
    NOW,
    authority,
    forge,
    key,
    leaf,
    organisation,
    raw_san,
    resign,
    rsa_key,
    usage,
)

ROOT = authority("acme root")
ISSUING = authority("acme issuing", ROOT, path_length=0)
PLANT = authority("plant root")
ANA = "ana@acme.example"
GOOD = leaf(ISSUING, ANA)
OWNER_NAMESPACES = ("*@plant.example", "spiffe://plant.example/*", "*.plant.example")
TRUST = Trust(
    (
        organisation(anchors=[ROOT], roles=((ANA, ("vendor", "hvac")),)),
        organisation("plant-owner", [PLANT], OWNER_NAMESPACES, owner=True),
    )
)


def refusal(holder, *others, trust=TRUST, now=NOW):
    """The code with which a chain is refused; the explanation must say the same."""
    der = holder if isinstance(holder, bytes) else holder.der
    with pytest.raises(CertificateError) as raised:
        trust.verify(der, tuple(other.der for other in others), now)
    code = raised.value.code
    assert raised.value.public == CERTIFICATE_CODES[code]
    return code


def explained(holder, *others, trust=TRUST, now=NOW):
    """The codes in the explanation of a chain."""
    if isinstance(holder, bytes):
        return {finding.code for finding in explain_certificate(holder, trust, now)}
    pem = "".join(member.pem for member in (holder, *others)).encode()
    return {finding.code for finding in explain_certificate(pem, trust, now)}


def test_a_good_certificate_proves_its_subject_with_all_facts():
    subject = TRUST.verify(GOOD.der, (ISSUING.der,), NOW)
    (proof,) = subject.proofs
    assert (subject.id, subject.kind, subject.organisation) == (ANA, SubjectKind.PERSON, "acme")
    assert (subject.roles, subject.modbus_role) == (("vendor", "hvac"), None)
    assert (proof.kind, proof.issuer, proof.identifier) == (ProofKind.CERTIFICATE, "CN=acme issuing", ANA)
    assert proof.fingerprint == fingerprint(GOOD.der) and len(proof.fingerprint) == 43
    assert proof.serial == f"{GOOD.certificate.serial_number:x}"
    assert (proof.proven_at, proof.crl_next_update) == (NOW, None)
    assert proof.chain == (GOOD.der, ISSUING.der)
    assert explain_certificate((GOOD.pem + ISSUING.pem).encode(), TRUST, NOW) == ()


@pytest.mark.parametrize(
    ("named", "subject", "kind"),
    [
        ("Ana@ACME.example", "Ana@acme.example", SubjectKind.PERSON),
        ("spiffe://acme.example/agent/7", "spiffe://acme.example/agent/7", SubjectKind.SERVICE),
        ("GW-1.acme.example", "gw-1.acme.example", SubjectKind.SERVICE),
    ],
)
def test_each_form_of_name_becomes_a_subject_id(named, subject, kind):
    proven = TRUST.verify(leaf(ISSUING, named).der, (ISSUING.der,), NOW)
    assert (proven.id, proven.kind, proven.organisation) == (subject, kind, "acme")


def test_the_same_name_twice_is_one_name_and_unmappable_names_do_not_count():
    uri, address = x509.UniformResourceIdentifier("https://acme.example/x"), x509.RFC822Name(ANA)
    holder = leaf(ISSUING, ANA, address, uri, x509.DirectoryName(ISSUING.certificate.subject))
    assert TRUST.verify(holder.der, (ISSUING.der,), NOW).id == ANA


def test_the_leaf_and_duplicates_among_the_intermediates_are_passed_over():
    assert TRUST.verify(GOOD.der, (GOOD.der, ISSUING.der, ISSUING.der), NOW).id == ANA


def test_the_proof_ends_with_the_first_certificate_of_the_path_that_ends():
    short = authority("short", ROOT, ends=NOW + DAY)
    proof = TRUST.verify(leaf(short, ANA).der, (short.der,), NOW).proofs[0]
    assert proof.not_after == NOW + DAY


def test_key_usage_may_be_absent_and_a_critical_purpose_is_understood():
    for holder in leaf(ISSUING, ANA, uses=()), leaf(ISSUING, ANA, purpose_critical=True):
        assert TRUST.verify(holder.der, (ISSUING.der,), NOW).id == ANA


BELOW = authority("acme below", authority("acme middle", ROOT))
MIDDLE = authority("acme middle", ROOT)
UNRELATED = authority("unrelated")
SPLIT_KEY_CA = authority("acme root", holder_key=key("impostor"))
LEAF_AS_ISSUER = leaf(ISSUING, ANA, holder_key=key("leaf issuer"), subject="leaf issuer")
CLIENT_ANY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
CA_CONSTRAINED = authority(
    "acme constrained",
    ROOT,
    extra=[(x509.NameConstraints([x509.RFC822Name("other.example")], None), True)],
)
URI_CONSTRAINED = authority(
    "acme uri constrained",
    ROOT,
    extra=[(x509.NameConstraints([x509.UniformResourceIdentifier("acme.example")], None), True)],
)
WEAK_CA = authority("acme weak", ROOT, holder_key=rsa_key(1024))
NOT_A_CA = authority("acme nothing", ROOT, constraints=(DROP, True))
CA_NOT_CRITICAL = authority("acme soft", ROOT, constraints=(x509.BasicConstraints, False))
CA_NO_USAGE = authority("acme no usage", ROOT, uses=())
CA_NO_SIGNING = authority("acme no signing", ROOT, uses=("crl_sign",))
CA_EXPIRED = authority("acme expired", ROOT, ends=NOW - 1)
CA_SERVERS = authority("acme servers", ROOT, extra=[(SERVER, False)])
PATH_ZERO = authority("acme zero", ROOT, path_length=0)
BELOW_ZERO = authority("acme below zero", PATH_ZERO)
EXPLICIT_POLICY = [(x509.PolicyConstraints(0, None), False)]
# From anyPolicy to another, which RFC 5280, 4.2.1.5 forbids.
ANY_POLICY_MAPPED = x509.UnrecognizedExtension(
    ExtensionOID.POLICY_MAPPINGS, bytes.fromhex("3014 3012 0604551d2000 060a60864801650302013001")
)
POLICY_CONSTRAINED = authority("acme policies", ROOT, extra=EXPLICIT_POLICY)
POLICY_MAPPED = authority("acme mapped policies", ROOT, extra=[(ANY_POLICY_MAPPED, False)])
POLICY_INHIBITED = authority("acme inhibited policies", ROOT, extra=[(x509.InhibitAnyPolicy(0), False)])
UNKNOWN_CRITICAL = [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.50316.999"), b"\x05\x00"), True)]

HOSTILE = {
    "policies constrained": (leaf(POLICY_CONSTRAINED, ANA), [POLICY_CONSTRAINED], "certificate_untrusted"),
    "policies constrained by the leaf": (leaf(ISSUING, ANA, extra=EXPLICIT_POLICY), [ISSUING], "certificate_untrusted"),
    "policies mapped": (leaf(POLICY_MAPPED, ANA), [POLICY_MAPPED], "certificate_untrusted"),
    "policies inhibited": (leaf(POLICY_INHIBITED, ANA), [POLICY_INHIBITED], "certificate_untrusted"),
    "expired": (leaf(ISSUING, ANA, ends=NOW - 1), [ISSUING], "certificate_expired"),
    "expires this second": (leaf(ISSUING, ANA, ends=NOW), [ISSUING], "certificate_expired"),
    "from tomorrow": (leaf(ISSUING, ANA, starts=NOW + DAY), [ISSUING], "certificate_not_yet_valid"),
    "no extended key usage": (leaf(ISSUING, ANA, purpose=None), [ISSUING], "certificate_not_for_clients"),
    "for servers": (leaf(ISSUING, ANA, purpose=SERVER), [ISSUING], "certificate_not_for_clients"),
    "any extended key usage": (leaf(ISSUING, ANA, purpose=CLIENT_ANY), [ISSUING], "certificate_not_for_clients"),
    "an authority as leaf": (leaf(ISSUING, ANA, ca=True), [ISSUING], "certificate_not_for_clients"),
    "key usage without signatures": (
        leaf(ISSUING, ANA, uses=("key_encipherment",)),
        [ISSUING],
        "certificate_not_for_clients",
    ),
    "key usage of an authority": (
        leaf(ISSUING, ANA, uses=("digital_signature", "key_cert_sign")),
        [ISSUING],
        "certificate_untrusted",
    ),
    "weak RSA key": (leaf(ISSUING, ANA, holder_key=rsa_key(1024)), [ISSUING], "certificate_key_weak"),
    "small curve": (
        leaf(ISSUING, ANA, holder_key=ec.generate_private_key(ec.SECP192R1())),
        [ISSUING],
        "certificate_key_weak",
    ),
    "no authority key identifier": (leaf(ISSUING, ANA, key_identifier=False), [ISSUING], "certificate_untrusted"),
    "unknown critical extension": (leaf(ISSUING, ANA, extra=UNKNOWN_CRITICAL), [ISSUING], "certificate_untrusted"),
    "no intermediate presented": (GOOD, [], "certificate_untrusted"),
    "an unknown authority": (leaf(UNRELATED, ANA), [UNRELATED], "certificate_untrusted"),
    "self-signed": (
        forge("me", key("leaf"), x509.Name([]), key("leaf"), [(usage("digital_signature"), True)]),
        [],
        "certificate_not_for_clients",
    ),
    "the anchor's name with another key": (leaf(SPLIT_KEY_CA, ANA), [SPLIT_KEY_CA], "certificate_untrusted"),
    "signed by a leaf": (leaf(LEAF_AS_ISSUER, ANA), [LEAF_AS_ISSUER, ISSUING], "certificate_untrusted"),
    "signed by no authority": (leaf(NOT_A_CA, ANA), [NOT_A_CA], "certificate_untrusted"),
    "authority not critical": (leaf(CA_NOT_CRITICAL, ANA), [CA_NOT_CRITICAL], "certificate_untrusted"),
    "authority without key usage": (leaf(CA_NO_USAGE, ANA), [CA_NO_USAGE], "certificate_untrusted"),
    "authority that may not sign": (leaf(CA_NO_SIGNING, ANA), [CA_NO_SIGNING], "certificate_untrusted"),
    "authority expired": (leaf(CA_EXPIRED, ANA), [CA_EXPIRED], "certificate_untrusted"),
    "authority for servers only": (leaf(CA_SERVERS, ANA), [CA_SERVERS], "certificate_untrusted"),
    "authority with a weak key": (leaf(WEAK_CA, ANA), [WEAK_CA], "certificate_untrusted"),
    "outside name constraints": (leaf(CA_CONSTRAINED, ANA), [CA_CONSTRAINED], "certificate_untrusted"),
    "constraints on URIs": (
        leaf(URI_CONSTRAINED, "spiffe://acme.example/a"),
        [URI_CONSTRAINED],
        "certificate_untrusted",
    ),
    "path length of an authority": (leaf(BELOW_ZERO, ANA), [BELOW_ZERO, PATH_ZERO], "certificate_untrusted"),
    "two intermediates where one is allowed": (leaf(BELOW, ANA), [BELOW, MIDDLE], "chain_too_long"),
    "another organisation's name": (leaf(ISSUING, "bo@plant.example"), [ISSUING], "certificate_name_refused"),
    "nobody's name": (leaf(ISSUING, "eve@evil.example"), [ISSUING], "certificate_name_refused"),
    "a mailbox below the domain": (leaf(ISSUING, "x@evil.acme.example"), [ISSUING], "certificate_name_refused"),
    "no name": (leaf(ISSUING), [ISSUING], "certificate_name_refused"),
    "an address only": (
        leaf(ISSUING, san=raw_san((7, b"\x7f\x00\x00\x01"))),
        [ISSUING],
        "certificate_name_refused",
    ),
    "two names of one organisation": (leaf(ISSUING, ANA, "eve@acme.example"), [ISSUING], "certificate_name_refused"),
    "two names of one subject's two forms": (
        leaf(ISSUING, ANA, "spiffe://acme.example/ana"),
        [ISSUING],
        "certificate_name_refused",
    ),
    "names of two organisations": (leaf(ISSUING, ANA, "bo@plant.example"), [ISSUING], "certificate_name_refused"),
    "a wildcard host": (leaf(ISSUING, "*.acme.example"), [ISSUING], "certificate_name_refused"),
    "a NUL in the mailbox": (
        leaf(ISSUING, san=raw_san((1, b"ana@acme.example\x00.evil.example"))),
        [ISSUING],
        "certificate_name_refused",
    ),
    "a NUL in the host": (
        leaf(ISSUING, san=raw_san((2, b"gw.acme.example\x00.evil.example"))),
        [ISSUING],
        "certificate_name_refused",
    ),
    "a NUL in the URI": (
        leaf(ISSUING, san=raw_san((6, b"spiffe://acme.example/a\x00b"))),
        [ISSUING],
        "certificate_name_refused",
    ),
    "another scheme's case": (
        leaf(ISSUING, ANA, x509.UniformResourceIdentifier("SPIFFE://acme.example/a")),
        [ISSUING],
        "certificate_name_refused",
    ),
    "letters that look alike": (
        leaf(ISSUING, san=raw_san((1, "\u0430na@acme.example".encode()))),
        [ISSUING],
        "certificate_name_refused",
    ),
    "a name of a form nobody reads": (leaf(ISSUING, san=raw_san((3, b"\x30\x00"))), [ISSUING], "certificate_malformed"),
    "a truncated name": (
        leaf(ISSUING, san=x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x05\x81")),
        [ISSUING],
        "certificate_malformed",
    ),
    "critical role": (
        leaf(ISSUING, ANA, extra=[(x509.UnrecognizedExtension(ROLE_OID, encode_role("Operator")), True)]),
        [ISSUING],
        "certificate_untrusted",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_certificate_is_refused_and_the_explanation_agrees(what):
    holder, others, code = HOSTILE[what]
    assert refusal(holder, *others) == code
    assert code in explained(holder, *others)


def test_a_certificate_signed_with_sha_1_is_refused():
    assert refusal(forge_sha1()) in ("certificate_untrusted", "certificate_malformed")


def forge_sha1():
    """The good certificate with its signature algorithm and signature made by SHA-1."""
    sha256, sha1 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06072a8648ce3d0401")
    body = leaf(authority("acme root"), ANA).certificate.tbs_certificate_bytes
    content = body[4:].replace(b"\x30\x0a" + sha256, b"\x30\x09" + sha1, 1)
    tbs = b"\x30\x82" + len(content).to_bytes(2, "big") + content
    signature = ROOT.key.sign(tbs, ec.ECDSA(hashes.SHA1()))
    whole = tbs + b"\x30\x09" + sha1 + b"\x03" + bytes([len(signature) + 1]) + b"\x00" + signature
    return b"\x30\x82" + len(whole).to_bytes(2, "big") + whole


def test_the_sha_1_certificate_would_be_good_if_signed_with_sha_256():
    assert TRUST.verify(leaf(ROOT, ANA).der, (), NOW).id == ANA
    assert x509.load_der_x509_certificate(forge_sha1()).signature_hash_algorithm.name == "sha1"


def test_identity_comes_from_the_leaf_never_from_another_certificate_of_the_chain():
    decoy = leaf(PLANT, "bo@plant.example", subject="decoy")
    assert TRUST.verify(GOOD.der, (ISSUING.der, decoy.der), NOW).id == ANA
    stranger = leaf(UNRELATED, "bo@plant.example")
    assert refusal(stranger, decoy) == "certificate_untrusted"
    assert refusal(stranger, GOOD, ISSUING) == "certificate_untrusted"


def test_a_chain_across_two_organisations_gives_neither_of_their_subjects():
    crossed = authority("acme issuing", PLANT)
    assert refusal(leaf(crossed, ANA), crossed) == "certificate_name_refused"
    both = Trust((organisation(anchors=[ROOT]), organisation("plant-owner", [PLANT], OWNER_NAMESPACES)))
    assert both.verify(leaf(crossed, "bo@plant.example").der, (crossed.der,), NOW).organisation == "plant-owner"


def test_more_than_four_intermediates_are_not_looked_at():
    assert refusal(GOOD, ISSUING, *(authority(f"filler {place}") for place in range(4))) == "chain_too_long"


def test_a_longer_path_is_accepted_where_the_organisation_allows_it():
    longer = Trust((organisation(anchors=[ROOT], max_path_length=2),))
    assert longer.verify(leaf(BELOW, ANA).der, (BELOW.der, MIDDLE.der), NOW).id == ANA


def test_a_leaf_that_is_itself_an_anchor_proves_nobody():
    assert refusal(ROOT) == "certificate_not_for_clients"


def role_extension(value):
    return [(x509.UnrecognizedExtension(ROLE_OID, value), False)]


@pytest.mark.parametrize("role", ["Operator", "Wartung Kälte", "r" * 127, "r" * 128, "r" * 255, "a,b"])
def test_the_whole_role_string_is_one_role(role):
    holder = leaf(ISSUING, ANA, extra=role_extension(encode_role(role)))
    assert TRUST.verify(holder.der, (ISSUING.der,), NOW).modbus_role == role


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x0c",
        b"\x0c\x00",
        b"\x0c\x05Oper",
        b"\x0c\x04Operator",
        b"\x0c\x81\x04Oper",
        b"\x0c\x82\x00\x04Oper",
        b"\x0c\x80Oper\x00\x00",
        b"\x0c\x81",
        b"\x13\x04Oper",
        b"\x2c\x06\x0c\x04Oper",
        b"\x30\x06\x0c\x04Oper",
        b"\x0c\x04Ope\xff",
        b"\x0c\x04Op\x00r",
        b"\x0c\x04Op\nr",
        b"Oper",
    ],
)
def test_a_role_in_any_other_encoding_refuses_the_certificate(value):
    holder = leaf(ISSUING, ANA, extra=role_extension(value))
    assert refusal(holder, ISSUING) == "role_malformed"
    assert "role_malformed" in explained(holder, ISSUING)


def test_two_role_extensions_refuse_the_certificate():
    near = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.2"), encode_role("Admin"))
    holder = leaf(ISSUING, ANA, extra=[*role_extension(encode_role("Viewer")), (near, False)])
    twice = resign(holder, ISSUING, lambda tbs: tbs.replace(b"\x83\x89\x0c\x86\x22\x02", b"\x83\x89\x0c\x86\x22\x01"))
    assert TRUST.verify(holder.der, (ISSUING.der,), NOW).modbus_role == "Viewer"
    assert refusal(twice, ISSUING) == "role_malformed"


def test_an_extension_that_occurs_twice_refuses_the_certificate():
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    third = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.5"), b"\x05\x00")
    holder = leaf(ISSUING, ANA, extra=[(other, False), (third, False)])
    twice = resign(holder, ISSUING, lambda tbs: tbs.replace(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04"))
    assert refusal(twice, ISSUING) == "certificate_malformed"


def test_an_rsa_certificate_is_as_good():
    holder = leaf(ISSUING, ANA, holder_key=rsa_key(2048))
    assert isinstance(holder.certificate.public_key(), rsa.RSAPublicKey)
    assert TRUST.verify(holder.der, (ISSUING.der,), NOW).id == ANA


def test_the_explanation_names_every_problem_with_a_remedy():
    holder = leaf(ISSUING, "eve@evil.example", ends=NOW - 1, purpose=SERVER, key_identifier=False)
    findings = explain_certificate(holder.pem.encode(), TRUST, NOW)
    words = ("expired", "clientAuth", "authority key identifier", "eve@evil.example", "no anchor")
    assert all(any(word in finding.problem for finding in findings) for word in words)
    assert all(finding.remedy and finding.problem for finding in findings)


def test_a_file_that_is_no_certificate_is_explained_too():
    assert explained(b"") == explained(b"-----BEGIN CERTIFICATE-----\n") == {"certificate_malformed"}


ECDSA = bytes.fromhex("06082a8648ce3d0403")
VERSION = GOOD.der.index(bytes.fromhex("a003020102")) + 4


def verified_or_refused(der, others=(ISSUING.der,)):
    try:
        return TRUST.verify(der, others, NOW)
    except CertificateError as error:
        assert error.code in CERTIFICATE_CODES
        return None


def test_a_signature_that_leaves_bits_unused_makes_no_second_certificate_of_the_same_content():
    even = next(der for der in (leaf(ISSUING, ANA).der for _ in range(64)) if der[-1] % 2 == 0)
    unused = len(even) - len(x509.load_der_x509_certificate(even).signature) - 1
    assert isinstance(verified_or_refused(even), Subject)
    assert verified_or_refused(even[:unused] + b"\1" + even[unused + 1 :]) is None


@given(st.binary(max_size=200))
@example(b"")
def test_any_octets_for_a_leaf_give_a_certificate_error(octets):
    assert verified_or_refused(octets) is None
    assert verified_or_refused(GOOD.der, (octets,)) is None


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(GOOD.der) - 1), st.integers(0, 255))
@example(VERSION, 1)
@example(GOOD.der.index(ECDSA), 0)
@example(GOOD.der.index(b"whoever") - 2, 3)
def test_no_changed_octet_of_a_certificate_makes_another_subject(place, octet):
    changed = bytearray(GOOD.der)
    changed[place] = octet
    subject = verified_or_refused(bytes(changed))
    assert subject is None or (isinstance(subject, Subject) and bytes(changed) == GOOD.der)
    explain_certificate(bytes(changed), TRUST, NOW)


def test_large_chains_are_verified_and_not_remembered():
    """Whoever holds one good certificate may present it with ever other company."""
    ballast = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x04\x82\x23\x28" + bytes(9000))
    small, large = leaf(ISSUING, ANA), leaf(ISSUING, ANA, extra=[(ballast, False)])
    trust = Trust((organisation(anchors=[ROOT]),))
    assert trust.verify(large.der, (ISSUING.der,), NOW).id == ANA
    assert trust.verify(small.der, (ISSUING.der,), NOW).id == ANA
    assert list(trust._verified) == [(small.der, (ISSUING.der,))]


def test_who_showed_a_token_too_keeps_its_roles_and_loses_those_that_the_inventory_took_away():
    token = Proof(ProofKind.TOKEN, "https://issuer.example", "j", "fp", NOW, NOW + 60, roles=("night", "vendor"))
    shown = Subject(ANA, SubjectKind.PERSON, "acme", token.roles, None, (token,))
    both = bind(Requirement.BOTH, TRUST.verify(GOOD.der, (ISSUING.der,), NOW), shown)
    assert both.roles == ("vendor", "hvac", "night")
    assert TRUST.prove_again(both, NOW) is both
    fewer = Trust((organisation(anchors=[ROOT], roles=((ANA, ("hvac",)),)),))
    assert fewer.prove_again(both, NOW).roles == ("hvac", "night", "vendor")
    assert Trust((organisation(anchors=[ROOT]),)).prove_again(both, NOW).roles == ("night", "vendor")
