"""Which points of a device lie where, indexed once so that no request looks at all of them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from broker.model.operation import Touch
from broker.model.place import Device, ModbusAddress, Point, Table, ValueType
from broker.wire.modbus.values import Conversion, conversion_of, mask_of
from broker.wire.recent import OfDevices

_ALL_BITS = 0xFFFF


class Place(NamedTuple):
    """Where one point lies: addresses `start` to `end` - 1, in registers the bits of `mask`."""

    start: int
    end: int
    mask: int
    table: Table
    value_type: ValueType
    point: Point
    conversion: Conversion
    read_whole: Touch
    read_part: Touch


class _TableIndex:
    """The places of one table by start, and the intervals of addresses that points describe completely."""

    __slots__ = ("_ends_described", "_places", "_starts", "_starts_described", "_widest", "masks")

    def __init__(self, places: Iterable[Place]) -> None:
        self._places = sorted(places, key=lambda place: (place.start, place.end, place.point.id))
        self._starts = [place.start for place in self._places]
        self._widest = max((place.end - place.start for place in self._places), default=0)
        self.masks: dict[int, int] = {}
        for place in self._places:
            for address in range(place.start, place.end):
                self.masks[address] = self.masks.get(address, 0) | place.mask
        described = sorted(address for address, mask in self.masks.items() if mask == _ALL_BITS)
        known = set(described)
        self._starts_described = [address for address in described if address - 1 not in known]
        self._ends_described = [address + 1 for address in described if address + 1 not in known]

    def within(self, start: int, end: int) -> Iterator[Place]:
        first = bisect_left(self._starts, start - self._widest + 1)
        last = bisect_left(self._starts, end)
        return (place for place in self._places[first:last] if place.end > start)

    def describes(self, start: int, end: int) -> bool:
        interval = bisect_right(self._starts_described, start) - 1
        return interval >= 0 and end <= self._ends_described[interval]


class Places:
    """The points of one device by table and address."""

    __slots__ = ("_by_id", "_tables")

    def __init__(self, points: Iterable[Point]) -> None:
        places: dict[Table, list[Place]] = {table: [] for table in Table}
        self._by_id: dict[str, Place] = {}
        for point in points:
            if isinstance(point.address, ModbusAddress):
                self._by_id[point.id] = place = _place_of(point, point.address)
                places[point.address.table].append(place)
        self._tables = {table: _TableIndex(these) for table, these in places.items()}

    def within(self, table: Table, start: int, count: int) -> tuple[Place, ...]:
        """The places that a range touches, by address."""
        return tuple(self._tables[table].within(start, start + count))

    def describes(self, table: Table, start: int, count: int) -> bool:
        """Whether every address of a range, in registers every bit, belongs to some point."""
        return self._tables[table].describes(start, start + count)

    def mask_at(self, table: Table, address: int) -> int:
        """The bits of one register that belong to some point."""
        return self._tables[table].masks.get(address, 0)

    def place_of(self, point: Point) -> Place | None:
        """Where a point of this device lies."""
        return self._by_id.get(point.id)


def _place_of(point: Point, address: ModbusAddress) -> Place:
    return Place(
        address.start,
        address.start + address.count,
        mask_of(address),
        address.table,
        address.value_type,
        point,
        conversion_of(address),
        Touch(point, whole=True),
        Touch(point, whole=False),
    )


_PLACES = OfDevices(lambda device: Places(device.points))


def places_of(device: Device) -> Places:
    """The index of a device, built when it is first asked for. Raises ConfigError for points that cannot be."""
    return _PLACES.of(device)
