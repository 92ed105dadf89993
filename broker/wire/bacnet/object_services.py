"""Services about whole objects: creating, deleting, files, and who is and has what (14, 15.3, 15.4, 16.9, 16.10)."""

from broker.wire.bacnet.items import Contents, Fact, Item, digest_of
from broker.wire.bacnet.parameters import ParameterError, Parameters, out_of_range
from broker.wire.bacnet.property_services import property_values
from broker.wire.bacnet.standard import UNKNOWN_INSTANCE
from broker.wire.bacnet.tags import LARGEST_INSTANCE

MOST_INITIAL_VALUES = 100
MOST_FILE_RECORDS = 1000
_LARGEST_NAME = 1000


def create_object(taken: Parameters) -> Contents:
    """CreateObject (15.3): the object, then each property that is given a value at once."""
    taken.opening(0)
    object_type: str
    instance: int | None
    if taken.comes(0):
        object_type, instance = taken.enumerated(0, "object-type"), None
    else:
        object_type, instance = taken.object(1)
        if instance == UNKNOWN_INSTANCE:
            raise out_of_range("an instance that no object has")
    taken.closing(0)
    values: list[Item] = []
    if taken.comes(1, "opening"):
        values = property_values(taken, 1, object_type, instance, least=0)
    if len(values) > MOST_INITIAL_VALUES:
        raise ParameterError("too-many-arguments", f"more than {MOST_INITIAL_VALUES} initial values")
    return (Item(object_type, instance), *values), ()


def delete_object(taken: Parameters) -> Contents:
    """DeleteObject (15.4)."""
    return (Item(*taken.plain_object()),), ()


def atomic_read_file(taken: Parameters) -> Contents:
    """AtomicReadFile (14.1): octets of a stream or records, from a start."""
    item = Item(*_file(taken))
    number = 0 if taken.comes(0, "opening") else 1
    taken.opening(number)
    start, count = taken.plain_signed(), taken.plain_unsigned()
    taken.closing(number)
    return (item,), (("access", _ACCESS[number]), ("file-start", str(start)), ("file-count", str(count)))


def atomic_write_file(taken: Parameters) -> Contents:
    """AtomicWriteFile (14.2): octets of a stream or records, from a start (-1: behind the end)."""
    item = Item(*_file(taken))
    number = 0 if taken.comes(0, "opening") else 1
    taken.opening(number)
    start = taken.plain_signed()
    if number == 0:
        octets = taken.plain_octets()
        count = len(octets)
    else:
        count = taken.plain_unsigned(MOST_FILE_RECORDS)
        octets = b"".join(taken.plain_octets() for _ in range(count))
    taken.closing(number)
    facts = (("access", _ACCESS[number]), ("file-start", str(start)), ("file-count", str(count)))
    return (item,), (*facts, ("octets", str(len(octets))), ("digest", digest_of(octets)))


_ACCESS = ("stream", "record")


def _file(taken: Parameters) -> tuple[str, int]:
    object_type, instance = taken.plain_object()
    if object_type != "file":  # 14.1.1.1.1
        raise out_of_range(f"a file is no {object_type}")
    return object_type, instance


def who_is(taken: Parameters) -> Contents:
    """Who-Is (16.10): all devices, or those within limits."""
    return (), _limits(taken)


def _limits(taken: Parameters) -> tuple[Fact, ...]:
    low = taken.optional_unsigned(0, LARGEST_INSTANCE)
    if low is None:
        return ()
    high = taken.unsigned(1, LARGEST_INSTANCE)  # 16.10.1.1.1: both or neither
    if low > high:
        raise out_of_range("limits of instances that cannot be")
    return ("low-limit", str(low)), ("high-limit", str(high))


def i_am(taken: Parameters) -> Contents:
    """I-Am (16.10)."""
    device = _device(taken.plain_object())
    most = taken.plain_unsigned()
    segmentation, vendor = taken.plain_enumerated("segmentation"), taken.plain_unsigned(0xFFFF)
    facts = (("max-apdu", str(most)), ("segmentation", segmentation), ("vendor-identifier", str(vendor)))
    return (device,), facts


def who_has(taken: Parameters) -> Contents:
    """Who-Has (16.9): an object by identifier or by name."""
    limits = _limits(taken)
    if taken.comes(2):
        return (Item(*taken.object(2)),), limits
    return (), (*limits, ("object-name", taken.text(3, _LARGEST_NAME)))


def i_have(taken: Parameters) -> Contents:
    """I-Have (16.9): the device and the object."""
    device = _device(taken.plain_object())
    had = Item(*taken.plain_object())
    return (device, had), (("object-name", taken.plain_text(_LARGEST_NAME)),)


def _device(identifier: tuple[str, int]) -> Item:
    if identifier[0] != "device":
        raise out_of_range(f"a device is no {identifier[0]}")
    return Item(*identifier)
