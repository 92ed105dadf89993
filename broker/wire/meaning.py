"""Which protocol's meaning applies to a device."""

from broker.model.operation import Request
from broker.model.place import Device, Protocol
from broker.wire.bacnet import meaning as bacnet
from broker.wire.modbus import meaning as modbus


def values_of(device: Device, request: Request, payload: bytes) -> tuple[tuple[str, str], ...]:
    """Engineering values by point id, as text, of a reply that the wire accepted."""
    if device.protocol is Protocol.MODBUS:
        return modbus.values_of(device, request, payload)
    return bacnet.values_of(device, request, payload)
