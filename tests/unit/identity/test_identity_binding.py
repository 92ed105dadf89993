"""A listener gets one subject from the proofs it wants, and two subjects are never one."""

import dataclasses

import pytest

from broker.errors import BindingError, CertificateError, TokenError
from broker.identity.binding import bind
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.trust import Requirement

BY_CERTIFICATE = Proof(ProofKind.CERTIFICATE, "CN=acme", "ana@acme.example", "fp", 1.0, 2.0)
BY_TOKEN = Proof(ProofKind.TOKEN, "https://issuer.example", "j", "fp", 1.0, 2.0)
ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme", ("hvac", "vendor"), "Operator", (BY_CERTIFICATE,))
TOKEN = Subject("ana@acme.example", SubjectKind.PERSON, "acme", ("vendor", "night"), None, (BY_TOKEN,))


@pytest.mark.parametrize("requirement", list(Requirement))
def test_both_proofs_of_one_subject_are_merged_whatever_is_wanted(requirement):
    merged = bind(requirement, ANA, TOKEN)
    assert merged.proofs == (BY_CERTIFICATE, BY_TOKEN)
    assert (merged.id, merged.roles, merged.modbus_role) == (ANA.id, ("hvac", "vendor", "night"), "Operator")


@pytest.mark.parametrize("requirement", list(Requirement))
@pytest.mark.parametrize("other", [{"id": "eve@acme.example"}, {"organisation": "plant-owner"}])
def test_two_subjects_are_refused_whatever_is_wanted(requirement, other):
    with pytest.raises(BindingError) as raised:
        bind(requirement, ANA, dataclasses.replace(TOKEN, **other))
    assert raised.value.code == "subjects_differ"


@pytest.mark.parametrize(
    ("requirement", "certificate", "token", "error", "code"),
    [
        (Requirement.CERTIFICATE, None, TOKEN, CertificateError, "certificate_missing"),
        (Requirement.CERTIFICATE, None, None, CertificateError, "certificate_missing"),
        (Requirement.TOKEN, ANA, None, TokenError, "token_missing"),
        (Requirement.TOKEN, None, None, TokenError, "token_missing"),
        (Requirement.BOTH, ANA, None, TokenError, "token_missing"),
        (Requirement.BOTH, None, TOKEN, CertificateError, "certificate_missing"),
        (Requirement.EITHER, None, None, BindingError, "proof_missing"),
    ],
)
def test_a_missing_proof_is_named(requirement, certificate, token, error, code):
    with pytest.raises(error) as raised:
        bind(requirement, certificate, token)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("requirement", "certificate", "token"),
    [
        (Requirement.CERTIFICATE, ANA, None),
        (Requirement.EITHER, ANA, None),
        (Requirement.TOKEN, None, TOKEN),
        (Requirement.EITHER, None, TOKEN),
    ],
)
def test_one_proof_is_enough_where_one_is_wanted(requirement, certificate, token):
    assert bind(requirement, certificate, token) is (certificate or token)


def test_a_service_by_either_proof_is_a_service():
    service = dataclasses.replace(TOKEN, kind=SubjectKind.SERVICE)
    assert bind(Requirement.BOTH, ANA, service).kind is SubjectKind.SERVICE
    assert bind(Requirement.BOTH, dataclasses.replace(ANA, kind=SubjectKind.SERVICE), TOKEN).kind is SubjectKind.SERVICE
