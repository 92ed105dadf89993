"""Services about properties: reading, writing and lists (ASHRAE 135-2020, 15.1, 15.2, 15.5 and 15.7 to 15.10)."""

from broker.wire.bacnet.items import Contents, Fact, Item
from broker.wire.bacnet.parameters import ParameterError, Parameters, out_of_range
from broker.wire.bacnet.standard import WILDCARDS
from broker.wire.bacnet.tags import DATE, TIME, Tag
from broker.wire.bacnet.values import text_of

MOST_READ = 400
"""Properties that one ReadPropertyMultiple may ask for in all."""

MOST_WRITTEN = 100
"""Properties that one WritePropertyMultiple may write in all."""

_LEAST_URGENT = 16
_LARGEST_COUNT = 0x7FFF  # 15.8.1.1.4: INTEGER16


def read_property(taken: Parameters) -> Contents:
    """ReadProperty (15.5)."""
    return (Item(*taken.object(0), _one_property(taken, 1), taken.optional_unsigned(2)),), ()


def read_property_multiple(taken: Parameters) -> Contents:
    """ReadPropertyMultiple (15.7): one item for each property or wildcard."""
    items: list[Item] = []
    while not taken.at_end or not items:
        object_type, instance = taken.object(0)
        taken.opening(1)
        while True:  # 15.7.3.1: one or more
            name = taken.property(0)
            index = taken.optional_unsigned(1)
            if index is not None and name in WILDCARDS:
                raise out_of_range("an index of many properties")
            items.append(Item(object_type, instance, name, index))
            if len(items) > MOST_READ:
                raise ParameterError("too-many-arguments", f"more than {MOST_READ} properties")
            if not taken.comes(0):
                break
        taken.closing(1)
    return tuple(items), ()


def write_property(taken: Parameters) -> Contents:
    """WriteProperty (15.9)."""
    object_type, instance = taken.object(0)
    name, index = _one_property(taken, 1), taken.optional_unsigned(2)
    return (Item(object_type, instance, name, index, taken.values(3), _priority(taken, 4)),), ()


def write_property_multiple(taken: Parameters) -> Contents:
    """WritePropertyMultiple (15.10): one item for each write."""
    items: list[Item] = []
    while not taken.at_end or not items:
        object_type, instance = taken.object(0)
        items += property_values(taken, 1, object_type, instance)
        if len(items) > MOST_WRITTEN:
            raise ParameterError("too-many-arguments", f"more than {MOST_WRITTEN} writes")
    return tuple(items), ()


def property_values(
    taken: Parameters, number: int, object_type: str, instance: int | None, least: int = 1
) -> list[Item]:
    """So many BACnetPropertyValue (clause 21) or more between an opening and its closing tag."""
    items: list[Item] = []
    taken.opening(number)
    while len(items) < least or taken.comes(0):
        name, index = _one_property(taken, 0), taken.optional_unsigned(1)
        items.append(Item(object_type, instance, name, index, taken.values(2), _priority(taken, 3)))
    taken.closing(number)
    return items


def list_element(taken: Parameters) -> Contents:
    """AddListElement and RemoveListElement (15.1, 15.2)."""
    object_type, instance = taken.object(0)
    name, index = _one_property(taken, 1), taken.optional_unsigned(2)
    elements = taken.values(3)
    if not elements:
        raise ParameterError("missing-required-parameter", "no element of a list")
    return (Item(object_type, instance, name, index, elements),), ()


def read_range(taken: Parameters) -> Contents:
    """ReadRange (15.8): all items, or those around a position, sequence number or time."""
    object_type, instance = taken.object(0)
    name, index = _one_property(taken, 1), taken.optional_unsigned(2)
    return (Item(object_type, instance, name, index),), _range(taken)


def _range(taken: Parameters) -> tuple[Fact, ...]:
    for number, by in ((3, "position"), (6, "sequence-number")):
        if taken.comes(number, "opening"):
            taken.opening(number)
            start = taken.plain_unsigned()
            count = _count(taken)
            taken.closing(number)
            return ("range-by", by), ("range-start", str(start)), ("range-count", str(count))
    if not taken.comes(7, "opening"):
        return ()
    taken.opening(7)
    start_text = date_time(taken)
    count = _count(taken)
    taken.closing(7)
    return ("range-by", "time"), ("range-start", start_text), ("range-count", str(count))


def _count(taken: Parameters) -> int:
    count = taken.plain_signed()
    if not 0 < abs(count) <= _LARGEST_COUNT:
        raise out_of_range("a count of items that cannot be")
    return count


def date_time(taken: Parameters) -> str:
    """Date and time as text (`2026-11-28 08:30:00.00`)."""
    return f"{text_of(Tag('application', DATE, taken.date()))} {text_of(Tag('application', TIME, taken.time()))}"


def _one_property(taken: Parameters, number: int) -> str:
    name = taken.property(number)
    if name in WILDCARDS:  # 15.5.1.1.2, 15.9.1.1.2: they stand for many in ReadPropertyMultiple only
        raise out_of_range(f"{name!r} is no single property")
    return name


def _priority(taken: Parameters, number: int) -> int | None:
    priority = taken.optional_unsigned(number, _LEAST_URGENT)
    if priority == 0:
        raise out_of_range("a priority is 1 to 16")  # 19.2
    return priority
