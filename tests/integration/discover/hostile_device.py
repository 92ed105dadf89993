"""A BACnet device that says what a test tells it to, one property at a time or in ways that no device should."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from broker.wire.bacnet.apdu import (
    ComplexAck,
    ConfirmedRequest,
    ErrorPdu,
    Reject,
    RejectReason,
    UnconfirmedRequest,
    decode_apdu,
    encode_apdu,
)
from broker.wire.bacnet.bvlc import Function, decode_bvlc, encode_bvlc
from broker.wire.bacnet.encoding import (
    application_enumerated,
    application_object,
    application_unsigned,
    closing,
    context_object,
    context_unsigned,
    opening,
)
from broker.wire.bacnet.npdu import Npdu, decode_npdu, encode_npdu
from broker.wire.bacnet.tags import decode_tags
from tests.integration.discover.field_devices import READ_PROPERTY, WHO_IS

I_AM = 0
UNKNOWN_PROPERTY = application_enumerated(2) + application_enumerated(32)
Asked = tuple[int, int, int, int | None]
"""Object type, instance, property, index."""
Says = Callable[["HostileDevice", ConfirmedRequest, Asked], None]


@dataclass
class HostileDevice(asyncio.DatagramProtocol):
    """`says` answers each ReadProperty; `asked` is what was asked for."""

    instance: int
    says: Says
    announced: int = 1
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    peer: Any = None
    transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.peer = addr
        npdu = decode_npdu(decode_bvlc(data).payload)
        if npdu.message is not None:
            return
        apdu = decode_apdu(npdu.payload)
        if isinstance(apdu, UnconfirmedRequest) and apdu.service == WHO_IS:
            for place in range(self.announced):
                self.send(encode_apdu(UnconfirmedRequest(I_AM, self._i_am(self.instance + place))))
        elif isinstance(apdu, ConfirmedRequest) and apdu.service != READ_PROPERTY:
            self.send(encode_apdu(Reject(apdu.invoke, RejectReason.UNRECOGNIZED_SERVICE)))
        elif isinstance(apdu, ConfirmedRequest):
            at = _asked(apdu.parameters)
            self.asked.append(at)
            self.says(self, apdu, at)

    def _i_am(self, instance: int) -> bytes:
        limits = application_unsigned(1476) + application_enumerated(0) + application_unsigned(999)
        return application_object(8, instance) + limits

    def value(self, request: ConfirmedRequest, at: Asked, tags: bytes) -> None:
        """A value, for what was asked."""
        self.send(encode_apdu(ComplexAck(request.invoke, READ_PROPERTY, acknowledged(at, tags))))

    def error(self, request: ConfirmedRequest, numbers: bytes = UNKNOWN_PROPERTY) -> None:
        """An error."""
        self.send(encode_apdu(ErrorPdu(request.invoke, READ_PROPERTY, numbers)))

    def send(self, apdu: bytes) -> None:
        """Any octets as an APDU."""
        self.transport.sendto(encode_bvlc(Function.ORIGINAL_UNICAST, encode_npdu(Npdu(apdu))), self.peer)


def acknowledged(at: Asked, tags: bytes) -> bytes:
    """The parameters of an acknowledgement (15.5)."""
    kind, instance, property, index = at
    head = context_object(0, kind, instance) + context_unsigned(1, property)
    return head + (b"" if index is None else context_unsigned(2, index)) + opening(3) + tags + closing(3)


def _asked(parameters: bytes) -> Asked:
    tags = decode_tags(parameters)
    numbers = [int.from_bytes(tag.content, "big") for tag in tags]
    return numbers[0] >> 22, numbers[0] & 0x3FFFFF, numbers[1], numbers[2] if len(numbers) > 2 else None


@asynccontextmanager
async def hostile(instance: int, says: Says, announced: int = 1) -> AsyncIterator[HostileDevice]:
    """The device, on 127.0.0.1."""
    device = HostileDevice(instance, says, announced)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: device, ("127.0.0.1", 0))
    device.port = transport.get_extra_info("sockname")[1]
    yield device
    transport.close()
