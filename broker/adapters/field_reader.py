"""What a survey of BACnet devices needs of a network: it hears who is there and reads. It has no way to write."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from broker.model.field import FieldAddress
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.tags import Tag


class Announced(NamedTuple):
    """An I-Am: segmentation in the words of the inventory (`both`, `transmit`, `receive`, `none`)."""

    instance: int
    address: FieldAddress
    max_apdu: int
    segmentation: str
    vendor_identifier: int


Answer = tuple[Tag, ...] | str
"""The tags of a value, or the standard's words for why there is none (`property/unknown-property`)."""


class RefusedError(Exception):
    """The device refused the whole request; `reason` is `error-…`, `reject-…` or `abort-…` in the standard's words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoAnswerError(Exception):
    """Nothing came within the time for it, or nothing that can be read."""


class FieldReader(Protocol):
    """A network with BACnet devices."""

    async def networks(self, router: FieldAddress | None) -> tuple[int, ...]:
        """The networks that routers say they lead to: this one, or all that hear a broadcast."""

    async def who_is(
        self, low: int, high: int, device: FieldAddress | None = None, network: int | None = None
    ) -> tuple[Announced, ...]:
        """Who says he is there: this device, those of this network, or all that hear a local broadcast."""

    async def read(self, device: FieldAddress, references: Sequence[Reference]) -> Mapping[Reference, Answer]:
        """One request: ReadProperty for one, ReadPropertyMultiple for several. Raises RefusedError, NoAnswerError."""
