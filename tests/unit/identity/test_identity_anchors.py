"""Anchors and namespaces that could belong to two organisations, or to none, are a settings error."""

import dataclasses

import pytest

from broker.errors import CertificateError, ConfigError
from broker.identity.certificate import Trust
from tests.unit.identity.forgery import NOW, authority, leaf, organisation, rsa_key

ROOT = authority("acme root")
ISSUING = authority("acme issuing", ROOT)
PLANT = authority("plant root")
GOOD = leaf(ISSUING, "ana@acme.example")


def settings_error(*organisations):
    with pytest.raises(ConfigError) as raised:
        Trust(organisations)
    return raised.value.code


def test_organisations_that_could_share_a_subject_are_a_settings_error():
    acme, other = organisation(anchors=[ROOT]), "other"
    assert settings_error(acme, acme) == "organisation_duplicate"
    assert settings_error(acme, organisation(other, [PLANT], ("*.sub.acme.example",))) == "namespace_overlap"
    assert settings_error(acme, organisation(other, [ROOT], ("*@other.example",))) == "anchor_shared"
    same_key = authority("renamed", holder_key=ROOT.key)
    assert settings_error(acme, organisation(other, [same_key], ("*@other.example",))) == "anchor_shared"
    assert settings_error(acme, organisation(other, [ISSUING], ("*@other.example",))) == "anchor_shared"


def test_anchors_that_are_no_authorities_are_a_settings_error():
    assert settings_error(organisation(anchors=[GOOD])) == "anchor_not_an_authority"
    assert settings_error(organisation(anchors=[authority("weak", holder_key=rsa_key(1024))])) == (
        "anchor_not_an_authority"
    )
    for pem in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ä"):
        assert settings_error(dataclasses.replace(organisation(), anchors=(pem,))) == "anchor_malformed"


def test_an_organisation_without_anchors_lets_nobody_in_by_certificate():
    with pytest.raises(CertificateError) as raised:
        Trust((organisation(),)).verify(GOOD.der, (ISSUING.der,), NOW)
    assert raised.value.code == "certificate_untrusted"
