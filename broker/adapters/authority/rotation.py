"""A new issuing authority beside the old one, without an outage.

Its key is made here, its certificate comes from the root, which may be on another machine. From the moment it is taken
in its revocation list is published; it issues a while later, when every broker has fetched that list. The old one
issues until then, and its lists stay fresh until the last of its certificates has run out.
"""

import secrets
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from broker.adapters.authority.certificates import PrivateKey, authority_name, crl_number
from broker.adapters.authority.folder import AuthorityFolder, FolderFacts, Issuing, IssuingFacts, KeyFacts
from broker.adapters.authority.key_files import FileKey, Secrets
from broker.adapters.authority.root import Root
from broker.adapters.private_files import write_private, write_public
from broker.errors import ConfigError
from broker.identity.profile import X509_ERRORS
from broker.identity.revocation import RevocationList, decode_crls


def create_folder(folder: Path, root: Root, key: KeyFacts, crl_seconds: int, opened_by: Secrets, now: float) -> None:
    """Make the folder of a new authority below a root that is at hand, with its first issuing authority in use."""
    if (folder / "ca.json").exists():
        raise ConfigError("authority_exists", f"There is an authority in {folder} already.")
    facts = FolderFacts(organisation=root.facts.organisation, namespaces=root.facts.namespaces, crl_seconds=crl_seconds)
    write_public(folder / "root.pem", root.certificate.public_bytes(Encoding.PEM))
    write_public(folder / "root-crl.pem", root.publish(now).public_bytes(Encoding.PEM))
    write_private(folder / "ca.json", facts.model_dump_json(indent=2).encode() + b"\n")
    request = request_authority(AuthorityFolder(folder, opened_by), key)
    take_authority(AuthorityFolder(folder, opened_by), root.certify(request, now), now, now)


def request_authority(authority: AuthorityFolder, key: KeyFacts) -> bytes:
    """The request (PEM) of a new issuing authority; the same again as long as it is not answered."""
    waiting = _awaited(authority)
    number = waiting.number if waiting else len(authority.issuing) + 1
    if waiting is None:
        facts = IssuingFacts(key=_labelled(key, authority.facts.organisation, number))
        write_private(authority.path(number, "json"), facts.model_dump_json().encode() + b"\n")
        waiting = Issuing(number, facts, None)
    path = authority.path(number, "csr")
    if not path.exists():
        name = authority_name(authority.facts.organisation, f"{authority.facts.organisation} issuing {number}")
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        request = builder.sign(_key(authority, waiting), hashes.SHA256())
        write_private(path, request.public_bytes(Encoding.PEM))
    return path.read_bytes()


def take_authority(
    authority: AuthorityFolder, certificate: x509.Certificate, issues_from: float, now: float
) -> AuthorityFolder:
    """Take in the root's answer and publish; the folder as it is then. Raises ConfigError `certificate_refused`."""
    waiting = _awaited(authority)
    if waiting is None:
        raise _refused("no issuing authority waits for one: `otbroker ca rotate DIR --request FILE` begins")
    _check(authority, waiting, certificate, now)
    write_public(authority.path(waiting.number, "pem"), certificate.public_bytes(Encoding.PEM))
    facts = waiting.facts.model_copy(update={"issues_from": issues_from})
    write_private(authority.path(waiting.number, "json"), facts.model_dump_json().encode() + b"\n")
    taken = AuthorityFolder(authority.folder, authority.secrets)
    taken.publish(now)
    return taken


def take_root_list(authority: AuthorityFolder, raw_crl: bytes, now: float) -> None:
    """Take in a newer list of the root and publish. Raises ConfigError `crl_refused`."""
    lists = decode_crls(raw_crl)
    known = [crl for crl in authority.lists if crl.issued_by(authority.root)]
    if len(lists) != 1 or not lists[0].issued_by(authority.root):
        raise ConfigError("crl_refused", "This is not the one revocation list of this authority's root.")
    if not lists[0].this_update <= now < lists[0].next_update or _number(lists[0]) < max(
        map(_number, known), default=0
    ):
        raise ConfigError("crl_refused", "This list of the root has run out, or is older than the one that is there.")
    write_public(authority.folder / "root-crl.pem", lists[0].crl.public_bytes(Encoding.PEM))
    authority.publish(now)


def _labelled(key: KeyFacts, organisation: str, number: int) -> KeyFacts:
    """A label of its own, so that no key that is in the token already can be meant."""
    if key.kind == "file":
        return key
    return key.model_copy(update={"label": f"{organisation}-issuing-{number}-{secrets.token_hex(4)}"})


def _key(authority: AuthorityFolder, waiting: Issuing) -> PrivateKey:
    """A new key, or the one that was made before its request could be written.

    Keys in files have one passphrase: it must open the one before, or a slip of the hand would be the new one's.
    """
    before = authority.path(waiting.number - 1, "key")
    if waiting.facts.key.kind == "file" and before.exists():
        FileKey(before, authority.secrets).load()
    place = authority.key_place(waiting.number, waiting.facts.key)
    try:
        return place.create()
    except ConfigError as error:
        if error.code != "key_exists":
            raise
        return place.load()


def _number(crl: RevocationList) -> int:
    return crl_number(crl.crl)


def _awaited(authority: AuthorityFolder) -> Issuing | None:
    return next((issuing for issuing in authority.issuing if issuing.facts.issues_from is None), None)


def _check(authority: AuthorityFolder, waiting: Issuing, certificate: x509.Certificate, now: float) -> None:
    request = x509.load_pem_x509_csr(authority.path(waiting.number, "csr").read_bytes())
    try:
        certificate.verify_directly_issued_by(authority.root)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (InvalidSignature, x509.ExtensionNotFound, *X509_ERRORS):
        raise _refused("it is not an authority below this root") from None
    if certificate.public_key() != request.public_key() or certificate.subject != request.subject:
        raise _refused("it does not answer the request that waits")
    if not constraints.ca or constraints.path_length != 0:
        raise _refused("it is not an authority that issues leaves only (CA:TRUE, path length 0)")
    starts, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if not starts <= now < ends:
        raise _refused("it is not valid now")


def _refused(why: str) -> ConfigError:
    return ConfigError("certificate_refused", "This certificate of an issuing authority is not taken in.", why)
