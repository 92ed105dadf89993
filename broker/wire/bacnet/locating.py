"""Finding a device on a network of ours by its instance: the Who-Is for it alone, and its I-Am (16.10)."""

from typing import NamedTuple

from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.encoding import context_unsigned
from broker.wire.bacnet.standard import number_of
from broker.wire.bacnet.tags import ENUMERATED, OBJECT, UNSIGNED, decode_tags, malformed, object_of

WHO_HAS, WHO_IS, I_AM, I_HAVE = 7, 8, 0, 1  # 21, BACnetUnconfirmedServiceChoice
_PARAMETERS = [("application", number) for number in (OBJECT, UNSIGNED, ENUMERATED, UNSIGNED)]
_MOST_OCTETS = 4


class IAm(NamedTuple):
    """What a device says of itself (16.10.1.1)."""

    instance: int
    max_apdu: int
    segmentation: int
    vendor_identifier: int


def encode_who_is(instance: int) -> bytes:
    """A bare Who-Is that one device answers."""
    return bytes((Kind.UNCONFIRMED_REQUEST, WHO_IS)) + context_unsigned(0, instance) + context_unsigned(1, instance)


def decode_i_am(bare: bytes) -> IAm | None:
    """What whoever says I-Am tells; None if it is another request. Raises FrameError."""
    if bare[:2] != bytes((Kind.UNCONFIRMED_REQUEST, I_AM)):
        return None
    tags = decode_tags(bare[2:])
    if [tag[:2] for tag in tags] != _PARAMETERS or any(not 1 <= len(tag.content) <= _MOST_OCTETS for tag in tags):
        raise malformed("an I-Am without its four parameters")
    object_type, instance = object_of(tags[0].content)
    if object_type != number_of("object-type", "device"):
        raise malformed("an I-Am of something that is no device")
    return IAm(instance, *(int.from_bytes(tag.content, "big") for tag in tags[1:]))
