"""A revocation list is believed only if it is complete, fresh and its issuer's; a stale one lets nobody in."""

import dataclasses

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import CertificateError, ConfigError
from broker.identity.certificate import Trust
from broker.identity.explanation import explain_certificate
from broker.identity.revocation import decode_crls
from tests.unit.identity.forgery import DAY, NOW, authority, crl, doubt, key, leaf, organisation

ANA = "ana@acme.example"
ROOT = authority("acme root")
ISSUING = authority("acme issuing", ROOT)
GOOD = leaf(ISSUING, ANA)
OTHER = leaf(ISSUING, ANA)
CHAIN = (ISSUING.der,)
ROOT_LIST, ISSUING_LIST = crl(ROOT), crl(ISSUING)


def trust(*lists, required=False):
    return Trust((organisation(anchors=[ROOT], crls=lists, crl_required=required),))


def verify(*lists, required=False, now=NOW):
    return trust(*lists, required=required).verify(GOOD.der, CHAIN, now)


def refusal(*lists, required=False, now=NOW):
    believed = trust(*lists, required=required)
    with pytest.raises(CertificateError) as raised:
        believed.verify(GOOD.der, CHAIN, now)
    findings = explain_certificate((GOOD.pem + ISSUING.pem).encode(), believed, now)
    assert raised.value.code in {finding.code for finding in findings}
    return raised.value.code


def test_without_lists_the_setting_decides():
    assert verify().proofs[0].crl_next_update is None
    assert refusal(required=True) == "crl_missing"
    assert refusal(ISSUING_LIST, required=True) == "crl_missing"


def test_the_proof_ends_when_the_first_list_relied_on_runs_out():
    early = crl(ROOT, ends=NOW + 600)
    assert verify(ISSUING_LIST, early, required=True).proofs[0].crl_next_update == NOW + 600
    assert verify(ISSUING_LIST, early, crl(ROOT, ends=NOW + 900)).proofs[0].crl_next_update == NOW + 900


def test_a_revoked_leaf_or_authority_is_refused():
    assert refusal(crl(ISSUING, [OTHER, GOOD])) == "certificate_revoked"
    assert refusal(crl(ROOT, [ISSUING])) == "certificate_revoked"
    assert verify(crl(ISSUING, [OTHER])).id == ANA


def test_the_serial_counts_only_on_its_own_authority_s_list():
    assert verify(crl(ROOT, [GOOD]), ISSUING_LIST).id == ANA


def test_a_list_that_ran_out_refuses_everybody_of_its_authority():
    stale = crl(ISSUING, starts=NOW - 2 * DAY, ends=NOW)
    assert refusal(stale) == refusal(stale, required=True) == "crl_stale"
    assert refusal(crl(ISSUING, starts=NOW + 1)) == "crl_stale"
    assert verify(stale, now=NOW - 1).id == ANA
    assert verify(stale, ISSUING_LIST).id == ANA


def test_a_list_that_ran_out_still_tells_of_what_it_revoked():
    assert refusal(crl(ISSUING, [GOOD], starts=NOW - 2 * DAY, ends=NOW - DAY), ISSUING_LIST) == "certificate_revoked"


def test_a_list_signed_by_another_key_is_never_believed():
    impostor = authority("acme issuing", holder_key=key("impostor"))
    assert refusal(crl(ISSUING, signer=impostor), ROOT_LIST, required=True) == "crl_missing"
    assert verify(crl(ISSUING, [GOOD], signer=impostor)).id == ANA


def test_a_list_in_an_anchor_s_name_with_another_s_signature_is_a_settings_error():
    assert settings_error(crl(ROOT, signer=ISSUING)) == "crl_signature_invalid"


def test_a_list_in_another_name_is_not_the_authority_s_even_if_the_key_is():
    renamed = authority("acme renamed", ROOT, holder_key=ISSUING.key)
    assert refusal(crl(renamed), ROOT_LIST, required=True) == "crl_missing"


def test_an_authority_that_may_not_sign_lists_has_none():
    mute = authority("acme mute", ROOT, uses=("key_cert_sign",))
    believed = trust(crl(mute), ROOT_LIST, required=True)
    with pytest.raises(CertificateError) as raised:
        believed.verify(leaf(mute, ANA).der, (mute.der,), NOW)
    assert raised.value.code == "crl_missing"


def test_lists_are_read_as_der_or_as_any_number_of_pem_blocks():
    pem = crl(ROOT, encoding=Encoding.PEM) + crl(ISSUING, [GOOD], encoding=Encoding.PEM)
    assert refusal(pem) == "certificate_revoked"
    assert len(decode_crls(pem)) == 2 and len(decode_crls(ROOT_LIST)) == 1


def settings_error(raw_crl):
    with pytest.raises(ConfigError) as raised:
        trust(raw_crl)
    return raised.value.code


def distribution_point(**flags):
    plain = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**plain, **flags})


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


@pytest.mark.parametrize(
    "raw_crl",
    [
        crl(ROOT, extra=[(x509.DeltaCRLIndicator(1), True)]),
        crl(ROOT, extra=[(x509.DeltaCRLIndicator(1), False)]),
        crl(ROOT, extra=[(distribution_point(indirect_crl=True), True)]),
        crl(ROOT, extra=[(distribution_point(only_contains_user_certs=True), False)]),
        crl(ROOT, extra=[(UNKNOWN, True)]),
        crl(ROOT, [GOOD], entry_extra=[(x509.CertificateIssuer([x509.DNSName("other.example")]), True)]),
        crl(ROOT, [GOOD], entry_extra=[(UNKNOWN, True)]),
    ],
)
def test_a_partial_or_odd_list_is_a_settings_error(raw_crl):
    assert settings_error(raw_crl) == "crl_unsupported"


def test_extensions_that_do_not_change_its_meaning_are_fine():
    entry = [(x509.CRLReason(x509.ReasonFlags.key_compromise), False), (UNKNOWN, False)]
    listed = crl(ISSUING, [OTHER], extra=[(x509.CRLNumber(7), False), (UNKNOWN, False)], entry_extra=entry)
    assert verify(listed).id == ANA


def test_a_list_signed_over_sha_1_is_a_settings_error():
    weak = bytes.fromhex("06072a8648ce3d0401")
    strong = bytes.fromhex("06082a8648ce3d040302")
    assert ROOT_LIST.count(strong) == 2
    assert settings_error(ROOT_LIST.replace(strong, weak + b"\x00")) in ("crl_malformed", "crl_unsupported")
    assert settings_error(crl(ROOT, digest=hashes.SHA224())) == "crl_unsupported"


@given(st.binary(max_size=100))
def test_any_octets_for_a_list_are_a_settings_error(octets):
    with pytest.raises(ConfigError) as raised:
        decode_crls(octets)
    assert raised.value.code == "crl_malformed"


def test_a_live_subject_is_looked_at_again_under_new_trust():
    subject = verify(ROOT_LIST, ISSUING_LIST, required=True)
    assert doubt(trust(ROOT_LIST, ISSUING_LIST, required=True), subject, NOW) is None
    assert doubt(trust(crl(ISSUING, [GOOD])), subject, NOW) == "certificate_revoked"
    assert doubt(trust(crl(ROOT, [ISSUING])), subject, NOW) == "certificate_revoked"
    assert doubt(trust(ROOT_LIST, ISSUING_LIST), subject, NOW + 2 * DAY) == "crl_stale"
    assert doubt(trust(required=True), subject, NOW) == "crl_missing"
    assert doubt(trust(), subject, NOW + 40 * DAY) == "certificate_expired"
    assert doubt(Trust(()), subject, NOW) == "certificate_untrusted"
    moved = organisation("renamed", [ROOT])
    assert doubt(Trust((moved,)), subject, NOW) == "certificate_name_refused"
    chainless = dataclasses.replace(subject, proofs=(dataclasses.replace(subject.proofs[0], chain=()),))
    assert doubt(trust(), chainless, NOW) == "certificate_missing"
    tokens_only = dataclasses.replace(subject, proofs=())
    assert doubt(Trust(()), tokens_only, NOW) is None
