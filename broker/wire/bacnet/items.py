"""What a message asks or tells, in the standard's words: one item is one operation."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import NamedTuple

from broker.wire.bacnet.tags import Tag

Fact = tuple[str, str]
ItemKey = tuple[str, int | None, str | None, int | None]
"""What an item is about: object type, instance, property, index."""


class Item(NamedTuple):
    """One property of one object (`property` None: the object itself), with what is written to it or told of it.

    `instance` None: the device is to choose it (15.3). `value` holds all tags, constructed ones too; None: no value.
    `facts` are what else is said of this one of several.
    """

    object_type: str
    instance: int | None
    property: str | None = None
    index: int | None = None  # type: ignore[assignment]  # hides a method of tuples that nobody needs here
    value: tuple[Tag, ...] | None = None
    priority: int | None = None
    facts: tuple[Fact, ...] = ()


class Decoded(NamedTuple):
    """A message: `octets` are its parameters, written down again from what was decoded, `facts` what else it says.

    A message without items is about the device. `octets` may hold a password, `shown` never does: it is what digests
    are made of and what may be kept.
    """

    service: str
    items: tuple[Item, ...]
    octets: bytes
    facts: tuple[Fact, ...] = ()
    secret: bytes = b""

    @property
    def shown(self) -> bytes:
        """The parameters without the password."""
        return self.octets.removesuffix(self.secret)  # 16.1.1, 16.4.1: the password comes last

    def __repr__(self) -> str:
        """Without octets, which may hold a password."""
        return f"Decoded({self.service!r}, {self.items!r}, facts={self.facts!r})"


def digest_of(octets: bytes) -> str:
    """The base64url SHA-256 of octets that are told of and not shown."""
    return urlsafe_b64encode(sha256(octets).digest()).rstrip(b"=").decode()


Contents = tuple[tuple[Item, ...], tuple[Fact, ...]]
