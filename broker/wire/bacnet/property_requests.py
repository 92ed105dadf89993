"""What the broker itself asks for: the parameters of the four property services (15.5, 15.7, 15.9, 15.10)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from broker.model.place import Device
from broker.wire.bacnet.encoding import (
    closing,
    context_object,
    context_property,
    context_unsigned,
    opening,
    under_objects,
)
from broker.wire.bacnet.references import Reference

_NO_MULTIPLE = ("read-property-multiple", "no")


def asked_one_by_one(device: Device) -> bool:
    """Whether a device is asked for one property at a time, because its labels say that it cannot tell several."""
    return _NO_MULTIPLE in device.labels


class Write(NamedTuple):
    """A value (the octets of its tags) for a property, with the priority at which it is written if it has one."""

    at: Reference
    value: bytes
    priority: int | None = None


def encode_read_property(at: Reference) -> bytes:
    """The parameters of ReadProperty (15.5)."""
    return context_object(0, at.object_type, at.instance) + _property(1, at)


def encode_read_property_multiple(ats: Sequence[Reference]) -> bytes:
    """The parameters of ReadPropertyMultiple (15.7); neighbours of one object stand under it together."""
    return under_objects(ats, lambda at: at[:2], lambda at: _property(0, at))


def encode_write_property(write: Write) -> bytes:
    """The parameters of WriteProperty (15.9)."""
    at = write.at
    return context_object(0, at.object_type, at.instance) + _property(1, at) + _written(3, write)


def encode_write_property_multiple(writes: Iterable[Write]) -> bytes:
    """The parameters of WritePropertyMultiple (15.10), in this order."""
    return under_objects(writes, lambda write: write.at[:2], lambda write: _property(0, write.at) + _written(2, write))


def _property(number: int, at: Reference) -> bytes:
    return context_property(number, at.property, at.array_index)


def _written(number: int, write: Write) -> bytes:
    value = opening(number) + write.value + closing(number)
    return value if write.priority is None else value + context_unsigned(number + 1, write.priority)
