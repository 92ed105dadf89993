"""Certificate revocation lists: which are believed (RFC 5280, 5 and 6.3), and what they say of a path.

Only complete, direct lists are used: a delta, an indirect or a partitioned list, or one with a critical extension, is a
settings error and not half believed. It does not fetch lists; they arrive as octets.
"""

import re
from dataclasses import dataclass, field
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from broker.errors import ConfigError
from broker.identity.codes import certificate_error
from broker.identity.profile import X509_ERRORS, sound_hash

_PEM_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_PARTIAL = (x509.IssuingDistributionPoint, x509.DeltaCRLIndicator)
_CheckableKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One list, read and found usable; times in epoch seconds. Whether its signature holds depends on the issuer."""

    crl: x509.CertificateRevocationList
    this_update: float
    next_update: float
    _verified: dict[bytes, bool] = field(default_factory=dict, compare=False)

    def issued_by(self, issuer: x509.Certificate) -> bool:
        """Whether this certificate's name, key and key usage made the list; answers are remembered per issuer."""
        if self.crl.issuer != issuer.subject:
            return False
        fingerprint = issuer.fingerprint(hashes.SHA256())
        if fingerprint not in self._verified:
            if len(self._verified) >= 64:
                self._verified.clear()
            self._verified[fingerprint] = _signed_by(self.crl, issuer)
        return self._verified[fingerprint]

    def revokes(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate's serial is listed; a hold counts as a revocation."""
        return self.crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def decode_crls(raw_crl: bytes) -> tuple[RevocationList, ...]:
    """Read one DER list, or every list of a PEM file. Raises ConfigError `crl_malformed` or `crl_unsupported`."""
    blocks = _PEM_BLOCK.findall(raw_crl)
    try:
        if blocks:
            return tuple(_usable(x509.load_pem_x509_crl(block)) for block in blocks)
        return (_usable(x509.load_der_x509_crl(raw_crl)),)
    except X509_ERRORS as error:
        raise ConfigError("crl_malformed", "A revocation list cannot be read.", str(error)) from None


def verify_unrevoked(
    path: tuple[x509.Certificate, ...], crls: tuple[RevocationList, ...], required: bool, now: float
) -> float | None:
    """Prove that no certificate of a verified path (leaf first, anchor last) is revoked.

    Returns when the first of the lists relied on runs out (None if there is none). Raises CertificateError
    `certificate_revoked`, `crl_stale` or `crl_missing`.
    """
    ends = [
        _unrevoked_until(certificate, [crl for crl in crls if crl.issued_by(issuer)], required, now)
        for certificate, issuer in pairwise(path)
    ]
    return min((end for end in ends if end is not None), default=None)


def _unrevoked_until(
    certificate: x509.Certificate, crls: list[RevocationList], required: bool, now: float
) -> float | None:
    who = f"serial {certificate.serial_number:x} of {certificate.issuer.rfc4514_string()}"
    if any(crl.revokes(certificate) for crl in crls):  # a list that ran out still tells of what it revoked
        raise certificate_error("certificate_revoked", who)
    fresh = [crl.next_update for crl in crls if crl.this_update <= now < crl.next_update]
    if not fresh and (crls or required):
        raise certificate_error("crl_stale" if crls else "crl_missing", who)
    return max(fresh, default=None)


def _usable(crl: x509.CertificateRevocationList) -> RevocationList:
    """Refuse what RFC 5280 lets a list be and this product does not follow."""
    crl.issuer.rfc4514_string()  # read lazily: it raises here or never
    if crl.next_update_utc is None:
        raise _unsupported("it has no next update")
    if not sound_hash(crl):
        raise _unsupported("its signature is not over SHA-2")
    if any(isinstance(extension.value, _PARTIAL) for extension in crl.extensions):
        raise _unsupported("it is a delta, an indirect or a partitioned list")
    entries = (extension for entry in crl for extension in entry.extensions)
    if any(extension.critical for extension in (*crl.extensions, *entries)):  # RFC 5280, 5.2 and 5.3
        raise _unsupported("it has a critical extension")
    return RevocationList(crl, crl.last_update_utc.timestamp(), crl.next_update_utc.timestamp())


def _unsupported(why: str) -> ConfigError:
    return ConfigError("crl_unsupported", "A revocation list is of a kind that is not used.", why)


def _signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    try:
        may_sign = issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        may_sign = True  # RFC 5280, 6.3.3 (f): only a key usage that is there can forbid
    return may_sign and isinstance(key, _CheckableKey) and crl.is_signature_valid(key)
