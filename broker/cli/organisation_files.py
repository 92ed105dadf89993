"""What an organisation's files contain: certificates of authorities and revocation lists, checked as they are read."""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from broker.errors import ConfigError
from broker.identity.anchors import TrustDomain, check_disjoint
from broker.identity.names import decode_namespace
from broker.model.place import Organisation
from broker.settings.findings import Finding
from broker.settings.inventory_access import OrganisationEntry
from broker.settings.inventory_checks import organisation_findings

MAXIMUM_FILE_OCTETS = 16 * 1024 * 1024
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def read_organisation(entry: OrganisationEntry, folder: Path) -> tuple[Organisation, list[Finding]]:
    """The organisation with the contents of its files, and what is wrong; paths begin at the organisation."""
    findings = list(organisation_findings(entry))
    findings += _namespace_findings(entry)
    anchors = tuple(_contents(entry.anchors, "anchors", folder, findings))
    crls = tuple(_contents(entry.crl_files, "crl_files", folder, findings))
    blocks = tuple(block for place, raw in anchors for block in _certificates(place, raw, findings))
    organisation = entry.to_model(blocks, tuple(raw for _, raw in crls))
    if not any(not finding.warning for finding in findings):
        findings += _trust_findings(organisation)
    return organisation, findings


def shared_trust(organisations: Sequence[Organisation]) -> Iterator[tuple[int, Finding]]:
    """Organisations (by place, the later of two) whose certificates or names could belong to another one."""
    domains = [_domain(organisation) for organisation in organisations]
    for (_, one), (place, other) in combinations(enumerate(domains), 2):
        if one is None or other is None or one.organisation.id == other.organisation.id:
            continue
        try:
            check_disjoint((one, other))
        except ConfigError as error:
            key = "anchors" if error.code == "anchor_shared" else "namespaces"
            hint = "the verified anchor selects the organisation, so each needs its own"
            yield place, Finding((key,), error.public, hint)


def _domain(organisation: Organisation) -> TrustDomain | None:
    try:
        return TrustDomain(organisation)
    except ConfigError:
        return None


def _namespace_findings(entry: OrganisationEntry) -> Iterator[Finding]:
    for place, pattern in enumerate(entry.namespaces):
        try:
            decode_namespace(pattern)
        except ConfigError as error:
            yield Finding(("namespaces", place), f"'{pattern}' is no namespace", error.detail)


def _contents(
    names: Sequence[str], key: str, folder: Path, findings: list[Finding]
) -> Iterator[tuple[tuple[str, int], bytes]]:
    for place, name in enumerate(names):
        path = folder / name
        try:
            with path.open("rb") as file:
                raw = file.read(MAXIMUM_FILE_OCTETS + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            findings.append(Finding((key, place), f"the file {path} cannot be read: {reason}"))
            continue
        if len(raw) > MAXIMUM_FILE_OCTETS:
            findings.append(
                Finding((key, place), f"the file {path} is larger than {MAXIMUM_FILE_OCTETS // 1024**2} MiB")
            )
        else:
            yield (key, place), raw


def _certificates(place: tuple[str, int], raw: bytes, findings: list[Finding]) -> list[str]:
    text = raw.decode("ascii", errors="replace")
    if "PRIVATE KEY-----" in text:
        message = "the file contains a private key, which must never be in an inventory"
        findings.append(Finding(place, message, "keep only the CERTIFICATE part; treat the key as known to others"))
        return []
    blocks = _CERTIFICATE.findall(text)
    if not blocks:
        findings.append(Finding(place, "the file contains no PEM certificate", "convert it: openssl x509 -in FILE"))
    return [f"{block}\n" for block in blocks]


def _trust_findings(organisation: Organisation) -> Iterator[Finding]:
    try:
        TrustDomain(organisation)
    except ConfigError as error:
        key = "crl_files" if error.code.startswith("crl") else "anchors"
        yield Finding((key,), error.public.rstrip("."), error.detail)
