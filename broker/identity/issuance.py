"""What our own authority certifies: profiles, terms within a profile, and requests (PKCS #10) that stay within terms.

The authority's word counts, never the requester's: of a request only the proven public key is taken over. What it asks
for beyond the terms is refused in words instead of dropped, so that nobody believes to hold what he does not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from broker.errors import CertificateError, IssuanceError
from broker.identity.modbus_role import LONGEST_ROLE, ROLE_OID, decode_role, encode_role
from broker.identity.names import Name, NameForm, Namespace, decode_subject_id
from broker.identity.profile import X509_ERRORS, sound_hash, sound_key

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Address = IPv4Address | IPv6Address
MOST_NAMES = 64
_LARGEST_REQUEST = 16 * 1024
_LARGEST_RSA_BITS = 4096
_HOUR, _DAY = 3_600, 86_400
_SERVER, _CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
_USES = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
_FORMS = {NameForm.EMAIL: "mailbox", NameForm.URI: "SPIFFE id", NameForm.DNS: "DNS name"}
_GENERAL_NAMES: dict[NameForm, Callable[[str], x509.GeneralName]] = {
    NameForm.EMAIL: x509.RFC822Name,
    NameForm.URI: x509.UniformResourceIdentifier,
    NameForm.DNS: x509.DNSName,
}


class RoleRule(StrEnum):
    """Whether a certificate of a profile carries a Modbus role."""

    REFUSED = "refused"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate; `several` names instead of exactly one, and `addresses` besides them."""

    name: str
    forms: frozenset[NameForm]
    usages: tuple[x509.ObjectIdentifier, ...]
    lifetime_seconds: int
    longest_seconds: int
    role: RoleRule = RoleRule.REFUSED
    several: bool = False
    addresses: bool = False


def _by_name(*profiles: Profile) -> dict[str, Profile]:
    return {profile.name: profile for profile in profiles}


_PERSON, _MACHINE = frozenset({NameForm.EMAIL}), frozenset({NameForm.URI, NameForm.DNS})
_WORKLOAD, _HOST = frozenset({NameForm.URI}), frozenset({NameForm.DNS})
PROFILES = _by_name(
    Profile("person", _PERSON, (_CLIENT,), 8 * _HOUR, 24 * _HOUR, RoleRule.OPTIONAL),
    Profile("service", _WORKLOAD, (_CLIENT,), 30 * _DAY, 90 * _DAY, RoleRule.OPTIONAL),
    Profile("modbus", _MACHINE, (_CLIENT,), 30 * _DAY, 90 * _DAY, RoleRule.REQUIRED),
    Profile("connector", _WORKLOAD, (_CLIENT,), 30 * _DAY, 90 * _DAY),
    Profile("server", _HOST, (_SERVER,), 90 * _DAY, 398 * _DAY, several=True, addresses=True),
    Profile("bacnet-sc", _MACHINE, (_SERVER, _CLIENT), 90 * _DAY, 398 * _DAY, addresses=True),
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What one certificate will say of its holder, besides his key."""

    profile: Profile
    names: tuple[Name, ...]
    lifetime_seconds: int
    modbus_role: str | None = None
    addresses: tuple[Address, ...] = ()

    @property
    def general_names(self) -> tuple[x509.GeneralName, ...]:
        """The subject alternative name."""
        named = tuple(_GENERAL_NAMES[name.form](name.text) for name in self.names)
        return (*named, *(x509.IPAddress(address) for address in self.addresses))


def decode_terms(
    profile: str,
    namespaces: Sequence[Namespace],
    raw_names: Sequence[str],
    *,
    raw_addresses: Sequence[str] = (),
    lifetime_seconds: int | None = None,
    modbus_role: str | None = None,
) -> Terms:
    """The terms that somebody of the authority grants. Raises IssuanceError `terms_refused` with all that is wrong."""
    kind = PROFILES.get(profile)
    if kind is None:
        raise _refused("terms_refused", [f"there is no profile {profile!a}"])
    names, wrong_names = _names(kind, namespaces, raw_names)
    addresses, wrong_addresses = _addresses(kind, raw_addresses)
    lifetime = kind.lifetime_seconds if lifetime_seconds is None else lifetime_seconds
    problems = [*wrong_names, *wrong_addresses, *_lifetime_problems(kind, lifetime), *_role_problems(kind, modbus_role)]
    if problems:
        raise _refused("terms_refused", problems)
    return Terms(kind, names, lifetime, modbus_role, addresses)


def verify_request(raw_request: bytes, terms: Terms) -> PublicKey:
    """The public key that a request (PEM or DER) proves to hold, if it asks for nothing beyond the terms.

    Raises IssuanceError `request_malformed`, or `request_refused` with all that is wrong.
    """
    request = decode_request(raw_request)
    problems = [*key_problems(request), *_asked_beyond(request, terms)]
    if problems:
        raise _refused("request_refused", problems)
    return public_key_of(request)


def decode_request(raw_request: bytes) -> x509.CertificateSigningRequest:
    """Read a request, all of it. Raises IssuanceError `request_malformed`."""
    try:
        if len(raw_request) > _LARGEST_REQUEST:
            raise ValueError("larger than 16 KiB")
        pem = b"-----BEGIN" in raw_request
        request = x509.load_pem_x509_csr(raw_request) if pem else x509.load_der_x509_csr(raw_request)
        request.subject.rfc4514_string()
        len(request.extensions)
    except X509_ERRORS as error:
        raise _refused("request_malformed", [f"it cannot be read as PKCS #10: {str(error)[:200]!a}"]) from None
    return request


def key_problems(request: x509.CertificateSigningRequest) -> Iterator[str]:
    """Whether the key is of a sound kind and size, and signed the request itself: proof of possession."""
    if not sound_key(request):
        yield "its key is neither RSA of 2048 to 4096 bits nor on P-256, P-384 or P-521"
        return
    key = public_key_of(request)
    if isinstance(key, rsa.RSAPublicKey) and (key.key_size > _LARGEST_RSA_BITS or key.public_numbers().e != 65537):
        yield "its RSA key is larger than 4096 bits or has an exponent other than 65537"
    if not sound_hash(request):
        yield "it is signed with something other than SHA-2"
    elif not request.is_signature_valid:
        yield "it is not signed with the key that it names"


def public_key_of(request: x509.CertificateSigningRequest) -> PublicKey:
    """The request's key. Raises IssuanceError `request_refused` for a kind that is not certified."""
    key = request.public_key()
    if not isinstance(key, PublicKey):
        raise _refused("request_refused", ["its key is of a kind that is not certified"])
    return key


def _names(
    profile: Profile, spaces: Sequence[Namespace], raw_names: Sequence[str]
) -> tuple[tuple[Name, ...], list[str]]:
    names: dict[Name, None] = {}
    problems = []
    for raw_name in raw_names:
        try:
            names[_name(profile, spaces, raw_name)] = None
        except ValueError as error:
            problems.append(f"{raw_name!a}: {error}")
    if not raw_names or (len(raw_names) > 1 and not profile.several) or len(raw_names) > MOST_NAMES:
        wanted = f"1 to {MOST_NAMES} names" if profile.several else "exactly one name"
        problems.append(f"a certificate of profile {profile.name} has {wanted}")
    return tuple(names), problems


def _name(profile: Profile, spaces: Sequence[Namespace], raw_name: str) -> Name:
    name = decode_subject_id(raw_name)
    if name.form not in profile.forms:
        forms = " or ".join(_FORMS[form] for form in sorted(profile.forms))
        raise ValueError(f"profile {profile.name} names by {forms}")
    if not any(space.holds(name) for space in spaces):
        raise ValueError("it is outside the namespaces of this authority")
    return name


def _addresses(profile: Profile, raw_addresses: Sequence[str]) -> tuple[tuple[Address, ...], list[str]]:
    if not raw_addresses:
        return (), []
    if not profile.addresses or len(raw_addresses) > MOST_NAMES:
        return (), [f"a certificate of profile {profile.name} has no addresses, or not so many"]
    try:
        return tuple(dict.fromkeys(ip_address(raw) for raw in raw_addresses)), []
    except ValueError as error:
        return (), [str(error)]


def _lifetime_problems(profile: Profile, lifetime_seconds: int) -> Iterator[str]:
    if not 0 < lifetime_seconds <= profile.longest_seconds:
        longest = f"{profile.longest_seconds // _HOUR} hours"
        yield f"a certificate of profile {profile.name} is good for at most {longest}"


def _role_problems(profile: Profile, role: str | None) -> Iterator[str]:
    if role is None:
        if profile.role is RoleRule.REQUIRED:
            yield f"a certificate of profile {profile.name} needs a Modbus role"
    elif profile.role is RoleRule.REFUSED:
        yield f"a certificate of profile {profile.name} has no Modbus role"
    elif not role_fits(role):
        yield "a Modbus role is 1 to 255 octets of printable characters"


def _asked_beyond(request: x509.CertificateSigningRequest, terms: Terms) -> Iterator[str]:
    for extension in request.extensions:
        if extension.oid == ROLE_OID:
            yield from _asked_role(request.extensions, terms)
        else:
            yield from _asked(extension, terms)


def _asked(extension: x509.Extension[x509.ExtensionType], terms: Terms) -> Iterator[str]:
    match extension.value:
        case x509.SubjectAlternativeName() as names:
            granted = terms.general_names
            yield from (f"it asks for the name {str(n.value)[:100]!a}, not granted" for n in names if n not in granted)
        case x509.BasicConstraints() as constraints:
            if constraints.ca:
                yield "it asks to be an authority"
        case x509.KeyUsage() as usage:
            yield from (f"it asks for the key usage {use}" for use in _USES if getattr(usage, use))
        case x509.ExtendedKeyUsage() as usages:
            beyond = (usage for usage in usages if usage not in terms.profile.usages)
            yield from (f"it asks for the extended key usage {usage.dotted_string}" for usage in beyond)
        case x509.SubjectKeyIdentifier():
            pass  # many tools add one; ours is computed from the key
        case _:
            yield f"it asks for the extension {extension.oid.dotted_string}"


def _asked_role(extensions: x509.Extensions, terms: Terms) -> Iterator[str]:
    try:
        asked = decode_role(extensions)
    except CertificateError as error:
        yield error.public
        return
    if asked != terms.modbus_role:
        yield f"it asks for the Modbus role {asked!a}, not granted"


def role_fits(role: str) -> bool:
    """Whether the role survives the way into a certificate and back."""
    return bool(role) and role.isprintable() and len(role.encode("utf-8", "replace")) <= LONGEST_ROLE


def role_extension(role: str) -> x509.UnrecognizedExtension:
    """The Modbus role as an extension."""
    return x509.UnrecognizedExtension(ROLE_OID, encode_role(role))


def _refused(code: str, problems: Sequence[str]) -> IssuanceError:
    what = "The certificate request" if code.startswith("request") else "What was asked for"
    return IssuanceError(code, f"{what} is refused: {'; '.join(problems)}.")
