"""Everything for which a certificate is refused, in words and with what to do, where `Trust.verify` names the first."""

from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from broker.errors import CertificateError
from broker.identity.anchors import POLICIES_REFUSED, Path, TrustDomain, decode_names, issued
from broker.identity.certificate import Trust, decode_presented
from broker.identity.codes import certificate_error
from broker.identity.modbus_role import ROLE_OID, decode_role
from broker.identity.names import Name
from broker.identity.profile import X509_ERRORS, Finding, binds_policies, has, key_findings, leaf_findings, sound_hash

_REMEDIES = {
    "certificate_malformed": "give the file as PEM (leaf first, then its authorities) or as one DER certificate",
    "certificate_untrusted": "present the chain up to an anchor, or add the anchor to the inventory",
    "certificate_name_refused": "reissue with one name in the organisation's namespaces, or extend the namespaces",
    "certificate_revoked": "issue a new certificate with a new key",
    "crl_stale": "put the authority's current revocation list in place",
    "crl_missing": "add the authority's revocation list to the organisation",
    "chain_too_long": "shorten the chain, or raise max_path_length of the organisation",
    "role_malformed": "encode the role as one DER UTF8String in one extension, or leave it out",
}
_KNOWN_EXTENSIONS = (
    x509.AuthorityInformationAccess,
    x509.AuthorityKeyIdentifier,
    x509.SubjectKeyIdentifier,
    x509.KeyUsage,
    x509.SubjectAlternativeName,
    x509.BasicConstraints,
    x509.NameConstraints,
    x509.ExtendedKeyUsage,
)
_UNTRUSTED = "certificate_untrusted"


def explain_certificate(raw_chain: bytes, trust: Trust, now: float) -> tuple[Finding, ...]:
    """Everything wrong with a chain (PEM, leaf first, or one DER certificate); empty if it would be accepted."""
    try:
        encoded = _split(raw_chain)
        leaf, others = decode_presented(encoded[0], encoded[1:])
    except CertificateError as error:
        return (_finding(error),)
    try:
        trust.verify(encoded[0], encoded[1:], now)
    except CertificateError as error:
        findings = tuple(dict.fromkeys(_all_findings(leaf, others, trust, now)))
        return findings if any(f.code == error.code for f in findings) else (*findings, _finding(error))
    return ()


def _split(raw_chain: bytes) -> tuple[bytes, ...]:
    if b"-----BEGIN" not in raw_chain:
        return (raw_chain,)
    try:
        return tuple(c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(raw_chain))
    except X509_ERRORS as error:
        raise certificate_error("certificate_malformed", str(error)) from None


def _all_findings(leaf: x509.Certificate, others: Path, trust: Trust, now: float) -> Iterator[Finding]:
    for finding in (*leaf_findings(leaf, now), *_profile(leaf), *_leaf_extensions(leaf)):
        yield _of(leaf, finding)
    for authority in others:
        for finding in _authority(authority, now):
            yield _of(authority, finding)
    yield from _role(leaf)
    yield from _name(leaf, trust)
    yield from _way_to_anchor(leaf, others, trust)


def _profile(certificate: x509.Certificate) -> Iterator[Finding]:
    """What path validation wants of every certificate."""
    if certificate.version is not x509.Version.v3:
        yield Finding(_UNTRUSTED, "it is not an X.509 version 3 certificate", "reissue as version 3")
    if not sound_hash(certificate):
        yield Finding(_UNTRUSTED, "it is signed with something other than SHA-2", "reissue, signed with SHA-256")
    if binds_policies(certificate):
        yield Finding(_UNTRUSTED, POLICIES_REFUSED, "present a chain without policy constraints and mappings")
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _KNOWN_EXTENSIONS):
            marked = " (Modbus role)" if extension.oid == ROLE_OID else ""
            yield Finding(
                _UNTRUSTED,
                f"a critical extension that path validation does not know: {extension.oid.dotted_string}{marked}",
                "reissue with the extension marked as not critical",
            )


def _leaf_extensions(leaf: x509.Certificate) -> Iterator[Finding]:
    if not has(leaf.extensions, x509.AuthorityKeyIdentifier):
        yield Finding(
            _UNTRUSTED,
            "it has no authority key identifier",
            "reissue with authorityKeyIdentifier=keyid",
        )
    if has(leaf.extensions, x509.NameConstraints):
        yield Finding(_UNTRUSTED, "it has name constraints, which only authorities have", "reissue without them")
    for extension in leaf.extensions:
        if isinstance(extension.value, x509.KeyUsage) and extension.value.key_cert_sign:
            yield Finding(_UNTRUSTED, "its key usage claims keyCertSign", "reissue with keyUsage digitalSignature only")


def _authority(authority: x509.Certificate, now: float) -> Iterator[Finding]:
    """What path validation wants of an authority (RFC 5280, 4.2.1.3, 4.2.1.9 and 6.1.4)."""
    yield from _profile(authority)
    yield from key_findings(authority)
    if not authority.not_valid_before_utc.timestamp() <= now < authority.not_valid_after_utc.timestamp():
        yield Finding(_UNTRUSTED, "the authority's certificate is expired or not valid yet", "present its renewed one")
    extensions = authority.extensions
    for kind in (x509.BasicConstraints, x509.KeyUsage):
        if not has(extensions, kind):
            yield Finding(_UNTRUSTED, f"the authority lacks {kind.oid._name}", "reissue the authority's certificate")
    for extension in extensions:
        yield from _authority_extension(extension)


def _authority_extension(extension: x509.Extension[x509.ExtensionType]) -> Iterator[Finding]:
    value, remedy = extension.value, "reissue the authority's certificate"
    if isinstance(value, x509.BasicConstraints) and not (value.ca and extension.critical):
        yield Finding(_UNTRUSTED, "its basicConstraints are not critical with CA:TRUE", remedy)
    if isinstance(value, x509.KeyUsage) and not value.key_cert_sign:
        yield Finding(_UNTRUSTED, "its key usage lacks keyCertSign", remedy)
    if isinstance(value, x509.AuthorityKeyIdentifier) and not _plain_key_identifier(value):
        yield Finding(_UNTRUSTED, "its authority key identifier is more or less than the key identifier", remedy)
    usages = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if isinstance(value, x509.ExtendedKeyUsage) and not usages & set(value):
        yield Finding(_UNTRUSTED, "the authority may not issue for clients (extended key usage)", remedy)


def _plain_key_identifier(value: x509.AuthorityKeyIdentifier) -> bool:
    return value.key_identifier is not None and value.authority_cert_issuer is None


def _role(leaf: x509.Certificate) -> Iterator[Finding]:
    try:
        decode_role(leaf.extensions)
    except CertificateError as error:
        yield _of(leaf, _finding(error))


def _name(leaf: x509.Certificate, trust: Trust) -> Iterator[Finding]:
    try:
        names = decode_names(leaf)
    except CertificateError as error:
        yield _of(leaf, _finding(error))
        return
    if len(names) != 1:
        problem = f"it has {len(names)} names that could be the subject's: {', '.join(n.text for n in names) or 'none'}"
        yield _of(leaf, Finding("certificate_name_refused", problem, "reissue with one URI, e-mail or DNS name"))
    for name in names:
        if not any(domain.holds(name) for domain in trust.domains):
            problem = f"{name.text} is in no organisation's namespaces"
            yield _of(leaf, Finding("certificate_name_refused", problem, _REMEDIES["certificate_name_refused"]))


def _way_to_anchor(leaf: x509.Certificate, others: Path, trust: Trust) -> Iterator[Finding]:
    """Walk from issuer to issuer by name and signature, and say where the way ends."""
    current, seen = leaf, {leaf}
    while True:
        domain = next((d for d in trust.domains if any(issued(anchor, current) for anchor in d.anchors)), None)
        if domain is not None:
            yield from _foreign(leaf, domain)
            return
        above = next((c for c in others if c not in seen and issued(c, current)), None)
        if above is None:
            problem = f"nothing presented and no anchor issued it; its issuer is {current.issuer.rfc4514_string()}"
            yield _of(current, Finding(_UNTRUSTED, problem, _REMEDIES[_UNTRUSTED]))
            return
        seen.add(above)
        current = above


def _foreign(leaf: x509.Certificate, domain: TrustDomain) -> Iterator[Finding]:
    try:
        names: tuple[Name, ...] = decode_names(leaf)
    except CertificateError:
        return
    for name in names:
        if not domain.holds(name):
            problem = f"it was issued under an anchor of {domain.organisation.id}, which may not name {name.text}"
            yield _of(leaf, Finding("certificate_name_refused", problem, _REMEDIES["certificate_name_refused"]))


def _finding(error: CertificateError) -> Finding:
    return Finding(error.code, error.detail or error.public, _REMEDIES.get(error.code, "reissue the certificate"))


def _of(certificate: x509.Certificate, finding: Finding) -> Finding:
    return Finding(finding.code, finding.problem, finding.remedy, certificate.subject.rfc4514_string())
