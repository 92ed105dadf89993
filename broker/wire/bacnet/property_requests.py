"""What the broker itself asks for: the parameters of the four property services (15.5, 15.7, 15.9, 15.10)."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from broker.wire.bacnet.encoding import closing, context_object, context_unsigned, opening
from broker.wire.bacnet.references import Reference


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
    specifications = (
        context_object(0, *identifier) + opening(1) + b"".join(_property(0, at) for at in of_object) + closing(1)
        for identifier, of_object in groupby(ats, lambda at: at[:2])
    )
    return b"".join(specifications)


def encode_write_property(write: Write) -> bytes:
    """The parameters of WriteProperty (15.9)."""
    at = write.at
    return context_object(0, at.object_type, at.instance) + _property(1, at) + _written(3, write)


def encode_write_property_multiple(writes: Iterable[Write]) -> bytes:
    """The parameters of WritePropertyMultiple (15.10), in this order."""
    specifications = (
        context_object(0, *identifier)
        + opening(1)
        + b"".join(_property(0, write.at) + _written(2, write) for write in of_object)
        + closing(1)
        for identifier, of_object in groupby(writes, lambda write: write.at[:2])
    )
    return b"".join(specifications)


def _property(number: int, at: Reference) -> bytes:
    identifier = context_unsigned(number, at.property)
    return identifier if at.array_index is None else identifier + context_unsigned(number + 1, at.array_index)


def _written(number: int, write: Write) -> bytes:
    value = opening(number) + write.value + closing(number)
    return value if write.priority is None else value + context_unsigned(number + 1, write.priority)
