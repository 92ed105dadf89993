"""What a caller presents becomes one subject, signatures are not verified twice, and nothing outlives its end."""

import asyncio
import dataclasses
import json
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from broker.adapters.development_ca import (
    NAMESPACES,
    OWNER,
    PERSONAS,
    VENDOR,
    create_authority,
    issue_client,
    issue_server,
    publish_crl,
)
from broker.adapters.development_tokens import ISSUER, create_token_issuer, mint_token
from broker.adapters.jwks import KeyCache
from broker.errors import BindingError, CertificateError, ConfigError, TokenError
from broker.identity.certificate import Trust, fingerprint
from broker.identity.keys import parse_key_set
from broker.listeners import authentication
from broker.listeners.authentication import Authenticator
from broker.model.logout import Logout
from broker.model.place import Organisation
from broker.model.subject import ProofKind, SubjectKind
from broker.model.trust import Binding, Issuer, Requirement
from tests.unit.identity.forgery import doubt

NOW = float(int(time.time()))
ANA = "ana@acme.example"


class SettableClock:
    def __init__(self, now=NOW):
        self.time = now

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


class CountingKeys:
    """A key source in memory that counts."""

    def __init__(self, path):
        self.known = parse_key_set(path.read_bytes()).named
        self.lookups = 0
        self.ensured = []
        self.upon_ensure = None

    def keys(self, _issuer, key_id):
        self.lookups += 1
        return self.known(key_id)

    async def ensure(self, issuer, key_id):
        self.ensured.append((issuer, key_id))
        if self.upon_ensure:
            self.known = self.upon_ensure


class Building:
    """Both organisations with their authorities, personas and token issuers."""

    def __init__(self, folder):
        self.folder = folder
        self.authorities = {name: create_authority(folder / name, name, NOW) for name in NAMESPACES}
        self.personas = {
            p.name: issue_client(self.authorities[p.organisation], p.subject, folder / "personas" / p.name, NOW)
            for p in PERSONAS
        }
        self.tokens = create_token_issuer(folder / "tokens")
        self.issuer = Issuer(ISSUER, VENDOR, ("otbroker",), ("*@acme.example",), jwks_file=str(self.tokens.key_set))

    def trust(self, required=True):
        return Trust(
            tuple(
                Organisation(
                    name,
                    (authority.anchor.read_text(),),
                    NAMESPACES[name],
                    owner=name == OWNER,
                    crls=(authority.crl.read_bytes(),),
                    crl_required=required,
                )
                for name, authority in self.authorities.items()
            )
        )

    def chain(self, persona):
        pem = self.personas[persona].certificate.read_bytes()
        return tuple(member.public_bytes(Encoding.DER) for member in x509.load_pem_x509_certificates(pem))

    def token(self, subject=ANA, bound_to="vendor-ana", now=NOW, **rest):
        print_ = self.personas[bound_to].fingerprint if bound_to else None
        return mint_token(self.tokens, subject, now, certificate_fingerprint=print_, **rest)

    def authenticator(self, clock=None, keys=None, **changes):
        issuer = dataclasses.replace(self.issuer, **changes)
        keys = keys or CountingKeys(self.tokens.key_set)
        return Authenticator(self.trust(), [issuer], keys, clock or SettableClock())


@pytest.fixture(scope="module")
def building(tmp_path_factory):
    return Building(tmp_path_factory.mktemp("building"))


def run(awaitable):
    return asyncio.run(awaitable)


def refusal(awaitable):
    with pytest.raises((CertificateError, TokenError, BindingError)) as raised:
        asyncio.run(awaitable)
    return raised.value.code


def test_every_persona_is_proven_by_its_certificate(building):
    for persona in PERSONAS:
        leaf, *others = building.chain(persona.name)
        subject = building.authenticator().certificate_subject(leaf, tuple(others))
        assert (subject.id, subject.organisation) == (persona.subject, persona.organisation)
        assert subject.proofs[0].crl_next_update is not None
    assert subject.kind is SubjectKind.SERVICE


def test_certificate_and_token_of_one_subject_are_one_subject_with_two_proofs(building):
    leaf, *others = building.chain("vendor-ana")
    subject = run(
        building.authenticator(binding=Binding.REQUIRED).authenticate(
            Requirement.BOTH, leaf, tuple(others), building.token(roles=["vendor"])
        )
    )
    assert (subject.id, subject.organisation, subject.roles) == (ANA, VENDOR, ("vendor",))
    assert [proof.kind for proof in subject.proofs] == [ProofKind.CERTIFICATE, ProofKind.TOKEN]
    assert subject.proof(ProofKind.TOKEN).authenticated_at == NOW


def test_missing_foreign_and_stolen_proofs_are_refused(building):
    ana, bo, authenticator = building.chain("vendor-ana"), building.chain("secops-bo"), building.authenticator()
    both, unbound = Requirement.BOTH, building.token(bound_to=None)
    assert refusal(authenticator.authenticate(both, ana[0], ana[1:], None)) == "token_missing"
    assert refusal(authenticator.authenticate(both, None, (), unbound)) == "certificate_missing"
    assert refusal(authenticator.authenticate(both, bo[0], bo[1:], unbound)) == "subjects_differ"
    stolen = authenticator.authenticate(both, bo[0], bo[1:], building.token())
    assert refusal(stolen) == "token_bound_to_other_certificate"
    without = authenticator.authenticate(Requirement.TOKEN, None, (), building.token())
    assert refusal(without) == "token_bound_to_other_certificate"
    garbage = authenticator.authenticate(Requirement.CERTIFICATE, ana[0], ana[1:], "x.y.z")
    assert refusal(garbage) == "token_malformed"
    expired = authenticator.authenticate(Requirement.TOKEN, b"", (), unbound)
    assert refusal(expired) == "certificate_malformed"


def test_a_token_is_verified_once_and_believed_until_it_ends(building, monkeypatch):
    clock, verified = SettableClock(), []
    real = authentication.verify_token
    monkeypatch.setattr(authentication, "verify_token", lambda *given: verified.append(1) or real(*given))
    authenticator, raw = building.authenticator(clock), building.token(bound_to=None, lifetime_seconds=60)
    first = run(authenticator.token_subject(raw, None))
    clock.time += 59.9
    assert run(authenticator.token_subject(raw, None)) is first and len(verified) == 1
    assert run(authenticator.token_subject(raw, "x" * 43)).id == first.id
    assert len(verified) == 2, "another certificate is another question"
    clock.time += 0.1
    assert refusal(authenticator.token_subject(raw, None)) == "token_expired"


def test_a_remembered_token_dies_with_its_key(building):
    keys = CountingKeys(building.tokens.key_set)
    authenticator, raw = building.authenticator(keys=keys), building.token(bound_to=None)
    run(authenticator.token_subject(raw, None))
    keys.known = lambda _key_id: ()
    assert refusal(authenticator.token_subject(raw, None)) == "token_key_unknown"


def test_a_remembered_token_dies_with_the_trust_it_was_verified_under(building):
    authenticator, raw = building.authenticator(), building.token(bound_to=None)
    run(authenticator.token_subject(raw, None))
    authenticator.replace_trust(Trust(()))
    assert refusal(authenticator.token_subject(raw, None)) == "token_subject_refused"


def test_no_more_tokens_are_remembered_than_the_bound(building, monkeypatch):
    monkeypatch.setattr(authentication, "_MOST_VERIFIED", 3)
    authenticator = building.authenticator()

    async def story():
        for _ in range(5):
            await authenticator.token_subject(building.token(bound_to=None), None)

    run(story())
    assert len(authenticator._verified) == 3


def test_an_unknown_key_is_fetched_once_before_the_token_is_refused(building):
    keys = CountingKeys(building.tokens.key_set)
    known, keys.known = keys.known, lambda _key_id: ()
    authenticator, raw = building.authenticator(keys=keys), building.token(bound_to=None)
    assert refusal(authenticator.token_subject(raw, None)) == "token_key_unknown"
    assert keys.ensured == [(ISSUER, building.tokens.key_id)]
    keys.upon_ensure = known
    assert run(authenticator.token_subject(raw, None)).id == ANA


def test_a_token_that_names_no_pinned_issuer_fetches_nothing(building):
    keys = CountingKeys(building.tokens.key_set)
    authenticator = building.authenticator(keys=keys)
    raw = building.token(bound_to=None, claims={"iss": "https://evil.example"})
    assert refusal(authenticator.token_subject(raw, None)) == "token_issuer_unknown"
    assert keys.ensured == [] and keys.lookups == 0


def test_the_key_cache_fits_behind_the_authenticator(building):
    async def story():
        cache = KeyCache([building.issuer], SettableClock())
        await cache.start()
        authenticator = building.authenticator(keys=cache)
        subject = await authenticator.token_subject(building.token(bound_to=None), None)
        await cache.close()
        return subject

    assert run(story()).id == ANA


def test_issuers_that_clash_or_speak_for_nobody_are_a_settings_error(building):
    keys = CountingKeys(building.tokens.key_set)
    for issuers, code in (
        ([building.issuer, building.issuer], "issuer_duplicate"),
        ([Issuer("https://x.example", "nobody", ("a",), ("*",))], "issuer_organisation_unknown"),
    ):
        with pytest.raises(ConfigError) as raised:
            Authenticator(building.trust(), issuers, keys, SettableClock())
        assert raised.value.code == code


def test_revoking_a_persona_ends_its_live_subject_and_refuses_it_anew(building):
    eve = issue_client(building.authorities[VENDOR], "eve@acme.example", building.folder / "eve", NOW)
    building.personas["eve"] = eve
    leaf, *others = building.chain("eve")
    authenticator = building.authenticator()
    subject = authenticator.certificate_subject(leaf, tuple(others))
    assert doubt(authenticator.trust, subject, NOW) is None
    publish_crl(building.authorities[VENDOR], [eve.serial], NOW)
    authenticator.replace_trust(building.trust())
    assert doubt(authenticator.trust, subject, NOW) == "certificate_revoked"
    with pytest.raises(CertificateError):
        authenticator.certificate_subject(leaf, tuple(others))
    ana = building.chain("vendor-ana")
    assert authenticator.certificate_subject(ana[0], ana[1:]).id == ANA


def handshake(server, client):
    """Shake hands in memory; what the server then knows of the client."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname="broker.plant.example")
    other = server.wrap_bio(to_server, to_client, server_side=True)
    finished = set()
    for _ in range(20):
        for side in (one, other):
            if side in finished:
                continue
            try:
                side.do_handshake()
                finished.add(side)
            except ssl.SSLWantReadError:
                continue
    assert finished == {one, other}
    with pytest.raises(ssl.SSLWantReadError):
        one.read()
    return other


@pytest.mark.parametrize("use_rsa", [False, True])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_validators_accept_the_development_certificates(building, use_rsa, version):
    owner = building.authorities[OWNER]
    server_files = issue_server(
        owner, ["broker.plant.example"], building.folder / f"server-{use_rsa}", NOW, use_rsa=use_rsa
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(server_files.certificate, server_files.key)
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_CHAIN
    for authority in building.authorities.values():
        server.load_verify_locations(cafile=authority.anchor)
        server.load_verify_locations(cafile=authority.crl)
    ana = building.personas["vendor-ana"]
    client = ssl.create_default_context(cafile=str(owner.anchor))
    client.minimum_version = client.maximum_version = version
    client.load_cert_chain(ana.certificate, ana.key)
    leaf = handshake(server, client).getpeercert(True)
    assert fingerprint(leaf) == ana.fingerprint
    assert building.authenticator().certificate_subject(leaf, building.chain("vendor-ana")[1:]).id == ANA


def test_a_key_set_file_of_the_development_issuer_holds_no_secret(building):
    (member,) = json.loads(building.tokens.key_set.read_bytes())["keys"]
    assert "d" not in member and "key=" not in repr(building.tokens)


def test_a_token_is_refused_after_a_logout_though_it_was_verified_before(building):
    authenticator = building.authenticator()
    raw = building.token(bound_to=None)

    async def story():
        subject = await authenticator.token_subject(raw, None)
        authenticator.logged_out.add(Logout("out-1", ISSUER, ANA, "", NOW))
        with pytest.raises(TokenError) as again:
            await authenticator.token_subject(raw, None)
        with pytest.raises(TokenError) as live:
            authenticator.prove_again(subject, NOW)
        assert again.value.code == live.value.code == "token_logged_out"
        afresh = building.token(bound_to=None, claims={"auth_time": int(NOW) + 1})
        assert (await authenticator.token_subject(afresh, None)).id == ANA

    asyncio.run(story())
