"""What a device would answer, as the bare APDUs that the rest of the product sees."""

from broker.model.operation import BacnetProperty, Request
from broker.wire.bacnet.references import reference_of
from broker.wire.bacnet.replies import Reported, encode_read_property_ack, encode_read_property_multiple_ack
from broker.wire.bacnet.standard import error_numbers
from broker.wire.bacnet.tags import decode_tags
from broker.wire.bacnet.values import encode_value

READ_PROPERTY = 12


def read_reply(request: Request, *found: str) -> bytes:
    """The acknowledgement of a read, with a text for each operation: a value, or after an exclamation mark an error."""
    reported = []
    for operation, text in zip(request.operations, found, strict=True):
        at = operation.address
        assert isinstance(at, BacnetProperty)
        assert at.property is not None
        if text.startswith("!"):
            reported.append(Reported(reference_of(at), error=error_numbers(text[1:])))
        else:
            octets = encode_value(at.object_type, at.property, at.index, text)
            reported.append(Reported(reference_of(at), decode_tags(octets)))
    if request.payload[1] == READ_PROPERTY:
        return bytes((0x30, READ_PROPERTY)) + encode_read_property_ack(reported[0])
    return bytes((0x30, request.payload[1])) + encode_read_property_multiple_ack(reported)


def write_reply(request: Request) -> bytes:
    """The acknowledgement of a write."""
    return bytes((0x20, request.payload[1]))
