"""Finding a device on a network of ours by its instance: the Who-Is for it alone, and its I-Am (16.10)."""

from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.discovery import I_AM, WHO_IS
from broker.wire.bacnet.encoding import context_unsigned
from broker.wire.bacnet.standard import number_of
from broker.wire.bacnet.tags import OBJECT, decode_tags, malformed

_INSTANCE = 0x3FFFFF


def encode_who_is(instance: int) -> bytes:
    """A bare Who-Is that one device answers."""
    return bytes((Kind.UNCONFIRMED_REQUEST, WHO_IS)) + context_unsigned(0, instance) + context_unsigned(1, instance)


def decode_i_am(bare: bytes) -> int | None:
    """The instance of whoever says I-Am; None if it is another request. Raises FrameError."""
    if bare[:2] != bytes((Kind.UNCONFIRMED_REQUEST, I_AM)):
        return None
    tags = decode_tags(bare[2:])
    if len(tags) != 4 or (tags[0].kind, tags[0].number) != ("application", OBJECT):
        raise malformed("an I-Am without its four parameters")
    identifier = int.from_bytes(tags[0].content, "big")
    if identifier >> 22 != number_of("object-type", "device"):
        raise malformed("an I-Am of something that is no device")
    return identifier & _INSTANCE
