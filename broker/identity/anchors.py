"""One organisation's trust: its anchors, the namespaces they may name and its revocation lists."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from broker.errors import CertificateError, ConfigError
from broker.identity.codes import certificate_error
from broker.identity.names import Name, NameForm, decode_name, decode_namespace
from broker.identity.profile import X509_ERRORS, binds_policies, read_whole, sound_key
from broker.identity.revocation import RevocationList, decode_crls
from broker.model.place import Organisation

MOST_INTERMEDIATES = 4
POLICIES_REFUSED = "it constrains or maps certificate policies, which are not followed here"
Path = tuple[x509.Certificate, ...]


def _require_client_auth(_policy: Policy, _leaf: x509.Certificate, usage: x509.ExtendedKeyUsage) -> None:
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("the extended key usage lacks clientAuth")


_CA_POLICY = ExtensionPolicy.webpki_defaults_ca()
_LEAF_POLICY = ExtensionPolicy.webpki_defaults_ee().require_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _require_client_auth
)


class TrustDomain:
    """What is believed of one organisation's subjects. Raises ConfigError for what it cannot use."""

    def __init__(self, organisation: Organisation) -> None:
        self.organisation = organisation
        self.anchors = tuple(anchor for pem in organisation.anchors for anchor in _decode_anchors(organisation.id, pem))
        self.anchor_names = {anchor.subject for anchor in self.anchors}
        self.namespaces = tuple(decode_namespace(pattern) for pattern in organisation.namespaces)
        self.crls = tuple(crl for raw_crl in organisation.crls for crl in decode_crls(raw_crl))
        self.roles = dict(organisation.roles)
        self._store = Store(list(self.anchors)) if self.anchors else None
        for crl in self.crls:
            self._check_crl(crl)

    def holds(self, name: Name) -> bool:
        """Whether the organisation may name this subject."""
        return any(namespace.holds(name) for namespace in self.namespaces)

    def may_anchor(self, presented: Path) -> bool:
        """Whether any presented certificate names one of our anchors as its issuer: a cheap first look."""
        return any(certificate.issuer in self.anchor_names for certificate in presented)

    def verify_path(self, leaf: x509.Certificate, others: Path, now: float) -> Path:
        """The path from the leaf to one of our anchors (RFC 5280, 6).

        Raises CertificateError `certificate_untrusted` or `chain_too_long`.
        """
        try:
            path = self._build(leaf, others, now, self.organisation.max_path_length)
        except (VerificationError, *X509_ERRORS) as error:
            raise self._no_path(leaf, others, now, str(error)) from None
        if any(binds_policies(member) for member in path[:-1]):
            raise certificate_error("certificate_untrusted", POLICIES_REFUSED)
        return path

    def verify_name(self, leaf: x509.Certificate) -> Name:
        """The one name of the leaf that names a subject, if the organisation may use it.

        Raises CertificateError `certificate_name_refused`.
        """
        names = decode_names(leaf)
        if len(names) != 1:
            raise certificate_error("certificate_name_refused", f"{len(names)} names that could be the subject's")
        if not self.holds(names[0]):
            detail = f"{names[0].text} is outside the namespaces of {self.organisation.id}"
            raise certificate_error("certificate_name_refused", detail)
        return names[0]

    def _build(self, leaf: x509.Certificate, others: Path, now: float, depth: int) -> Path:
        if self._store is None:
            raise VerificationError("the organisation has no anchors")
        policies = PolicyBuilder().extension_policies(ca_policy=_CA_POLICY, ee_policy=_LEAF_POLICY)
        policies = policies.store(self._store).time(datetime.fromtimestamp(now, UTC)).max_chain_depth(depth)
        return tuple(policies.build_client_verifier().verify(leaf, list(others)).chain)

    def _no_path(self, leaf: x509.Certificate, others: Path, now: float, detail: str) -> CertificateError:
        """Tell a path that is too long from one that does not exist."""
        try:
            self._build(leaf, others, now, MOST_INTERMEDIATES)
        except (VerificationError, *X509_ERRORS):
            return certificate_error("certificate_untrusted", detail)
        longest = self.organisation.max_path_length
        return certificate_error("chain_too_long", f"{self.organisation.id} allows {longest} intermediates")

    def _check_crl(self, crl: RevocationList) -> None:
        """A list in an anchor's name must be that anchor's; those of intermediates are checked when used."""
        if crl.crl.issuer in self.anchor_names and not any(crl.issued_by(anchor) for anchor in self.anchors):
            raise ConfigError(
                "crl_signature_invalid",
                f"A revocation list of {self.organisation.id} is not signed by the authority that it names.",
                crl.crl.issuer.rfc4514_string(),
            )


def check_disjoint(domains: tuple[TrustDomain, ...]) -> None:
    """Prove that no certificate and no name can belong to two organisations.

    Raises ConfigError `organisation_duplicate`, `anchor_shared` or `namespace_overlap`.
    """
    for place, one in enumerate(domains):
        for other in domains[place + 1 :]:
            both = f"{one.organisation.id} and {other.organisation.id}"
            if one.organisation.id == other.organisation.id:
                raise ConfigError("organisation_duplicate", f"The organisation {one.organisation.id} is there twice.")
            if any(_related(ours, theirs) for ours in one.anchors for theirs in other.anchors):
                raise ConfigError("anchor_shared", f"{both} share a trust anchor, or one issued the other's.")
            if any(ours.overlaps(theirs) for ours in one.namespaces for theirs in other.namespaces):
                raise ConfigError("namespace_overlap", f"The namespaces of {both} overlap.")


def decode_names(leaf: x509.Certificate) -> tuple[Name, ...]:
    """The different names of the leaf that can name a subject; addresses, other URIs and directory names cannot.

    Raises CertificateError `certificate_name_refused` if one that could is malformed: it is never passed over.
    """
    names: dict[Name, None] = {}
    try:
        for general_name in leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value:
            form = _form(general_name)
            if form is not None:
                names[decode_name(str(general_name.value), form)] = None
    except (x509.ExtensionNotFound, *X509_ERRORS) as error:
        raise certificate_error("certificate_name_refused", str(error)) from None
    return tuple(names)


def _form(general_name: x509.GeneralName) -> NameForm | None:
    if isinstance(general_name, x509.RFC822Name):
        return NameForm.EMAIL
    if isinstance(general_name, x509.DNSName):
        return NameForm.DNS
    if isinstance(general_name, x509.UniformResourceIdentifier):
        return NameForm.URI if general_name.value.lower().startswith("spiffe:") else None
    return None


def _decode_anchors(organisation: str, pem: str) -> list[x509.Certificate]:
    try:
        anchors = [read_whole(anchor) for anchor in x509.load_pem_x509_certificates(pem.encode("ascii"))]
        authorities = [_is_authority(anchor) and sound_key(anchor) for anchor in anchors]
    except X509_ERRORS as error:
        public = f"A trust anchor of {organisation} cannot be read."
        raise ConfigError("anchor_malformed", public, str(error)) from None
    if not all(authorities):
        public = f"A trust anchor of {organisation} is not the certificate of an authority with a sound key."
        raise ConfigError("anchor_not_an_authority", public)
    return anchors


def _is_authority(anchor: x509.Certificate) -> bool:
    try:
        return anchor.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _related(one: x509.Certificate, other: x509.Certificate) -> bool:
    return _key(one) == _key(other) or issued(one, other) or issued(other, one)


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether one certificate names and signed the other, by name and signature alone."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *X509_ERRORS):
        return False
    return True
