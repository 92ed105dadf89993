"""Names of subjects and the namespaces that contain them, label by label, in ASCII only.

    name                                  namespace                 holds
    spiffe://plant.example/bms/sync       spiffe://plant.example/*  every path below, at any depth
    ana@acme.example                      *@acme.example            every mailbox of exactly that domain
    gateway-1.acme.example                *.acme.example            every host below, at any depth, not itself

A name has one form only: domains in lower case, no empty part, no wildcard, no escape. Two namespaces overlap when any
name could be in both.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from broker.errors import ConfigError
from broker.model.subject import SubjectKind

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, 2.1
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,128}")  # SPIFFE-ID, 2.2
_MAILBOX = re.compile(r"[A-Za-z0-9_+%&'=~-]+(?:\.[A-Za-z0-9_+%&'=~-]+)*")  # RFC 5321, 4.1.2, less what needs quoting
_SPIFFE = "spiffe://"
_LONGEST_NAME = 255
_LONGEST_MAILBOX = 64


class NameForm(StrEnum):
    """The three forms of subject alternative name that can name a subject."""

    URI = "uri"
    EMAIL = "email"
    DNS = "dns"


@dataclass(frozen=True, slots=True)
class Name:
    """A well-formed name; `text` is the subject id, `path` the segments of a SPIFFE id."""

    form: NameForm
    text: str
    domain: str
    path: tuple[str, ...] = ()

    @property
    def kind(self) -> SubjectKind:
        """A mailbox belongs to a person, everything else is a service."""
        return SubjectKind.PERSON if self.form is NameForm.EMAIL else SubjectKind.SERVICE


@dataclass(frozen=True, slots=True)
class Namespace:
    """A set of names of one form."""

    form: NameForm
    domain: str
    path: tuple[str, ...] = ()

    def holds(self, name: Name) -> bool:
        """Whether the name lies in this namespace."""
        if name.form is not self.form:
            return False
        if self.form is NameForm.DNS:
            return name.domain.endswith("." + self.domain)
        deeper = self.form is NameForm.EMAIL or len(name.path) > len(self.path)
        return name.domain == self.domain and name.path[: len(self.path)] == self.path and deeper

    def overlaps(self, other: "Namespace") -> bool:
        """Whether a name could be in both."""
        if self.form is not other.form:
            return False
        if self.form is NameForm.DNS:
            ours, theirs = "." + self.domain, "." + other.domain
            return ours.endswith(theirs) or theirs.endswith(ours)
        shared = min(len(self.path), len(other.path))
        return self.domain == other.domain and self.path[:shared] == other.path[:shared]


def decode_name(raw_name: str, form: NameForm) -> Name:
    """Read a name of that form; the domain comes out in lower case. Raises ValueError."""
    if not 0 < len(raw_name) <= _LONGEST_NAME:
        raise ValueError("a name has 1 to 255 characters")
    return _DECODERS[form](raw_name)


def decode_subject_id(raw_id: str) -> Name:
    """Read a subject id, which must already be in its one form. Raises ValueError."""
    form = NameForm.URI if raw_id.startswith(_SPIFFE) else NameForm.EMAIL if "@" in raw_id else NameForm.DNS
    name = decode_name(raw_id, form)
    if name.text != raw_id:
        raise ValueError("a subject id writes its domain in lower case")
    return name


def decode_namespace(pattern: str) -> Namespace:
    """Read one pattern of `Organisation.namespaces`. Raises ConfigError `namespace_malformed`."""
    try:
        if pattern.startswith(_SPIFFE) and pattern.endswith("/*"):
            domain, *path = pattern.removeprefix(_SPIFFE).removesuffix("/*").split("/")
            return Namespace(NameForm.URI, _domain(domain), _path(path))
        if pattern.startswith("*@"):
            return Namespace(NameForm.EMAIL, _domain(pattern.removeprefix("*@")))
        if pattern.startswith("*."):
            return Namespace(NameForm.DNS, _domain(pattern.removeprefix("*.")))
        raise ValueError("expected spiffe://domain/path/*, *@mail.domain or *.dns.domain")
    except ValueError as error:
        raise ConfigError("namespace_malformed", f"The namespace {pattern!r} cannot be used.", str(error)) from None


def _decode_uri(raw_name: str) -> Name:
    """SPIFFE-ID, 2: scheme, trust domain and path only; no port, user, query, fragment or percent-encoding."""
    if not raw_name.startswith(_SPIFFE):
        raise ValueError("a URI names a subject only as spiffe://trust-domain/path")
    domain, *path = raw_name.removeprefix(_SPIFFE).split("/")
    if not path:
        raise ValueError("a SPIFFE id of a workload has a path")
    return Name(NameForm.URI, raw_name, _domain(domain), _path(path))


def _decode_email(raw_name: str) -> Name:
    mailbox, at, domain = raw_name.partition("@")
    if not at or len(mailbox) > _LONGEST_MAILBOX or not _MAILBOX.fullmatch(mailbox):
        raise ValueError("a mailbox is letters, digits and _+%&'=~.- before one @")
    domain = _domain(domain.lower())
    return Name(NameForm.EMAIL, f"{mailbox}@{domain}", domain)


def _decode_dns(raw_name: str) -> Name:
    domain = _domain(raw_name.lower())
    if domain.rpartition(".")[2].isdigit():
        raise ValueError("an address is not a name")
    return Name(NameForm.DNS, domain, domain)


def _domain(domain: str) -> str:
    if not domain.isascii() or not all(_LABEL.fullmatch(label) for label in domain.split(".")):
        raise ValueError("a domain is labels of ASCII letters, digits and inner hyphens, none empty")
    return domain


def _path(segments: list[str]) -> tuple[str, ...]:
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError("a path is segments of ASCII letters, digits and ._-, none empty, '.' or '..'")
    return tuple(segments)


_DECODERS = {NameForm.URI: _decode_uri, NameForm.EMAIL: _decode_email, NameForm.DNS: _decode_dns}
