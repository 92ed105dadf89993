"""What is wrong with points that are well-formed each key by itself."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext

from broker.model.place import OnLeave, ValueType
from broker.settings.bacnet_words import COMMANDABLE, OBJECT_TYPES, PROPERTIES
from broker.settings.findings import Finding, did_you_mean
from broker.settings.inventory_points import (
    BIT_TABLES,
    BacnetPointEntry,
    ModbusPointEntry,
    decimal_text,
)

_WRITABLE_TABLES = ("coil", "holding-register")
_FLAGS = (ValueType.BOOL, ValueType.BIT)
_FLOATS = (ValueType.FLOAT32, ValueType.FLOAT64)
_SIGNED = (ValueType.INT16, ValueType.INT32, ValueType.INT64)
_LEAST_PROPRIETARY_OBJECT, _LEAST_PROPRIETARY_PROPERTY = 128, 512
MINIMUM_ON_OFF = 6
"""The priority that ASHRAE 135, 19.2.3 keeps for the device's own minimum on and off times."""


def modbus_point_findings(point: ModbusPointEntry) -> Iterator[Finding]:
    """What is wrong with one Modbus point; paths begin at the point."""
    yield from _limit_findings(point)
    yield from _form_findings(point)
    yield from _leave_findings(point)
    if point.on_leave is OnLeave.RELEASE:
        yield Finding(("on_leave",), "only BACnet has priorities to be released", "on_leave: restore")
    if point.address + point.width > 65536:
        yield Finding(("address",), f"its {point.width} registers reach beyond address 65535")
    if point.action and point.table not in _WRITABLE_TABLES:
        hint = "leave action out, or use holding-register or coil"
        yield Finding(("action",), f"a point in table {point.table} cannot be written", hint)
    if point.value_type in (*_FLAGS, ValueType.STRING):
        for key in ("scale", "offset", "minimum", "maximum"):
            if key in point.model_fields_set:
                yield Finding((key,), f"'{key}' means nothing for type {point.value_type}", "leave it out", at_key=True)
    elif point.scale == 0:
        yield Finding(("scale",), "'scale' cannot be 0: every value would be the offset")
    else:
        yield from _range_findings(point)


def _form_findings(point: ModbusPointEntry) -> Iterator[Finding]:
    """Table, type, count and bit must fit each other."""
    kind, in_bits = point.value_type, point.table in BIT_TABLES
    if in_bits and kind is not ValueType.BOOL:
        yield Finding(("type",), f"a {point.table} is one bit; its type cannot be {kind}", "type: bool, or no type")
    if (point.bit is not None) != (kind is ValueType.BIT):
        yield Finding(("bit",), "type: bit and the key bit belong together", "bit: 0 to 15, with type: bit")
    if kind is ValueType.STRING and point.count is None:
        yield Finding((), "a string needs 'count'", "the number of registers it takes, two characters each")
    if kind is not ValueType.STRING and point.count not in (None, point.width):
        yield Finding(("count",), f"a {kind} takes {point.width}, not {point.count}", "leave count out")


def _range_findings(point: ModbusPointEntry) -> Iterator[Finding]:
    """Limits beyond what the type can hold are mistakes of scale, table or type."""
    if point.value_type in _FLOATS:
        return
    bits = 16 * point.width
    signed = point.value_type in _SIGNED
    raws = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    with localcontext(prec=100):
        least, greatest = sorted(raw * point.scale + point.offset for raw in raws)
    for key in ("minimum", "maximum"):
        limit: Decimal | None = getattr(point, key)
        if limit is not None and not least <= limit <= greatest:
            held = f"{decimal_text(least)} to {decimal_text(greatest)}"
            message = f"'{key}' {limit} is not a value of {point.value_type} with this scale"
            yield Finding((key,), message, f"it holds {held}")


def _limit_findings(point: ModbusPointEntry | BacnetPointEntry) -> Iterator[Finding]:
    if point.minimum is not None and point.maximum is not None and point.minimum > point.maximum:
        yield Finding(("maximum",), f"'maximum' {point.maximum} is less than 'minimum' {point.minimum}")
    if point.action is None:
        for key in ("minimum", "maximum", "allowed"):
            if key in point.model_fields_set:
                hint = "say which class of write it is (action: adjust …), or leave it out"
                message = f"'{key}' limits writes, but the point is read-only"
                yield Finding((key,), message, hint, warning=True, at_key=True)
    for place, value in enumerate(point.allowed):
        yield from (f.under(("allowed", place)) for f in _allowed_findings(point, value))


def _leave_findings(point: ModbusPointEntry | BacnetPointEntry) -> Iterator[Finding]:
    """What is undone must have been writable, and its values must be kept until then."""
    if point.on_leave is OnLeave.KEEP:
        return
    if point.action is None:
        hint = "say which class of write it is (action: adjust …), or leave it out"
        yield Finding(("on_leave",), "nobody writes to a read-only point, so nothing can be undone", hint)
    if point.confidential is not None:
        hint = "on_leave: keep; its values would have to be kept in clear until then"
        yield Finding(("on_leave",), f"'on_leave: {point.on_leave}' cannot be had for a confidential point", hint)


def _allowed_findings(point: ModbusPointEntry | BacnetPointEntry, value: str) -> Iterator[Finding]:
    if isinstance(point, ModbusPointEntry) and point.value_type is ValueType.STRING:
        return
    if isinstance(point, ModbusPointEntry) and point.value_type in _FLAGS:
        if value not in ("true", "false"):
            yield Finding((), f"'{value}' is not a value of a {point.value_type} point", "true or false")
        return
    try:
        number = Decimal(value)
    except ArithmeticError:
        if isinstance(point, ModbusPointEntry):
            yield Finding((), f"'{value}' is not a number")
        return
    below = point.minimum is not None and number < point.minimum
    if below or (point.maximum is not None and number > point.maximum):
        yield Finding((), f"'{value}' lies outside minimum and maximum")


def bacnet_point_findings(point: BacnetPointEntry) -> Iterator[Finding]:
    """What is wrong with one BACnet point; paths begin at the point."""
    yield from _limit_findings(point)
    yield from _leave_findings(point)
    if point.on_leave is OnLeave.RELEASE and point.priority is None:
        yield Finding(
            ("on_leave",), "the point has no priorities to be released", "on_leave: restore, or give priority"
        )
    if point.on_leave is OnLeave.RESTORE and point.priority is not None:
        hint = "on_leave: release"
        yield Finding(("on_leave",), "what is written at a priority is given back, not written over", hint)
    yield from _word_findings("object", point.object, OBJECT_TYPES, _LEAST_PROPRIETARY_OBJECT, 1023)
    yield from _word_findings("property", point.property, PROPERTIES, _LEAST_PROPRIETARY_PROPERTY, 4194303)
    if point.priority is not None:
        yield from (f.under(("priority",)) for f in _priority_findings(point, *point.priority))


def _word_findings(key: str, word: str, known: frozenset[str], least: int, greatest: int) -> Iterator[Finding]:
    proprietary = word.isdecimal() and least <= int(word) <= greatest
    if word not in known and not proprietary:
        hint = did_you_mean(word, known) or f"the standard's word, or {least} to {greatest} for a proprietary one"
        yield Finding((key,), f"'{word}' is no BACnet {'object type' if key == 'object' else key}", hint)


def _priority_findings(point: BacnetPointEntry, lowest: int, highest: int) -> Iterator[Finding]:
    if lowest > highest:
        yield Finding((), "priorities go from the least to the greatest number", f"[{highest}, {lowest}]")
    if MINIMUM_ON_OFF in (lowest, highest):
        yield Finding((), "priority 6 is the device's own (minimum on and off) and never writable", "such as [8, 16]")
    elif lowest < MINIMUM_ON_OFF < highest:
        yield Finding((), "priority 6 within this range stays refused: it is the device's own", warning=True)
    if point.action is None:
        yield Finding((), "the point is read-only and has a priority", "say the class of write: action: adjust …")
    commandable = point.object in COMMANDABLE or point.object not in OBJECT_TYPES
    if not commandable or (point.property != "present-value" and not point.property.isdecimal()):
        hint = "only the present value of outputs and values is"
        yield Finding((), f"{point.property} of {point.object} is not commandable by priority", hint)


def overlap_findings(points: Sequence[ModbusPointEntry | BacnetPointEntry]) -> Iterator[Finding]:
    """Points that lie on each other so that a write to one would be refused, or pass, because of the other."""
    for place, other in _overlaps(points):
        if points[place].confidential != points[other].confidential:
            hint = "a value of one tells the other: correct the address, or give both the same confidential"
            message = f"'{points[place].id}' lies on '{points[other].id}', and they are not equally confidential"
            yield Finding((place,), message, hint)
        elif _conflict(points[place], points[other]):
            hint = "a write to one changes the other: correct the address, or give both the same action and limits"
            yield Finding((place,), f"'{points[place].id}' lies on '{points[other].id}'", hint)


def _overlaps(points: Sequence[ModbusPointEntry | BacnetPointEntry]) -> Iterator[tuple[int, int]]:
    """Places of points that overlap, the later one first; each cell of the device is looked at once."""
    cells: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, point in enumerate(points):
        found = dict.fromkeys(other for cell in _cells(point) for other in cells[cell])
        yield from ((place, other) for other in found if not _apart(point, points[other]))
        for cell in _cells(point):
            cells[cell].append(place)


def _cells(point: ModbusPointEntry | BacnetPointEntry) -> list[tuple[object, ...]]:
    if isinstance(point, ModbusPointEntry):
        return [(point.table, address) for address in range(point.address, point.address + point.width)]
    return [(point.object, point.instance, point.property)]


def _apart(one: ModbusPointEntry | BacnetPointEntry, other: ModbusPointEntry | BacnetPointEntry) -> bool:
    """Whether two points in one cell are different bits of a register, or different elements of an array."""
    if isinstance(one, ModbusPointEntry) and isinstance(other, ModbusPointEntry):
        return one.bit != other.bit and None not in (one.bit, other.bit)
    if isinstance(one, BacnetPointEntry) and isinstance(other, BacnetPointEntry):
        return one.index != other.index and None not in (one.index, other.index)
    return False


def _conflict(one: ModbusPointEntry | BacnetPointEntry, other: ModbusPointEntry | BacnetPointEntry) -> bool:
    if one.action is None and other.action is None:
        return False
    if isinstance(one, ModbusPointEntry) and isinstance(other, ModbusPointEntry) and _bit_in_word(one, other):
        return (one.action is None) != (other.action is None)
    aside = {"id", "unit", "description"}
    return one.model_dump(exclude=aside) != other.model_dump(exclude=aside)


def _bit_in_word(one: ModbusPointEntry, other: ModbusPointEntry) -> bool:
    """Named bits of a register that is itself a point, as status words have them."""
    return (one.bit is None) != (other.bit is None) and one.width == other.width == 1
