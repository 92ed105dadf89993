"""Properties of objects in numbers, as they stand on the wire."""

from typing import NamedTuple

from broker.errors import FrameError
from broker.model.operation import BacnetProperty
from broker.model.place import BacnetAddress
from broker.wire.bacnet.standard import number_of, object_type_word, property_word
from broker.wire.bacnet.tags import LARGEST_INSTANCE

LARGEST_INDEX = 0xFFFFFFFF


class Reference(NamedTuple):
    """A property of an object, in numbers."""

    object_type: int
    instance: int
    property: int
    array_index: int | None


def words_of(at: Reference) -> tuple[str, int, str, int | None]:
    """Object type, instance, property and index, in the standard's words."""
    return object_type_word(at.object_type), at.instance, property_word(at.property), at.array_index


def reference_of(at: BacnetAddress | BacnetProperty) -> Reference:
    """The numbers of a property in words. Raises FrameError `illegal_value` if there are none."""
    if at.instance is None or at.property is None or not 0 <= at.instance <= LARGEST_INSTANCE:
        raise FrameError("illegal_value", "no property of an object")
    if at.index is not None and not 0 <= at.index <= LARGEST_INDEX:
        raise FrameError("illegal_value", "no index of an array")
    return Reference(
        number_of("object-type", at.object_type),
        at.instance,
        number_of("property-identifier", at.property),
        at.index,
    )
