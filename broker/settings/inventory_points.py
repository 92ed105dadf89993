"""Points as the inventory writes them."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from broker.model.place import BacnetAddress, Confidential, ModbusAddress, OnLeave, Order, Point, Table, ValueType
from broker.model.vocabulary import Action
from broker.settings.fields import DnsLabel, Number, RegisterAddress, Section, Text

WritableAction = Literal["adjust", "control", "override", "config", "install"]
BIT_TABLES = (Table.COIL, Table.DISCRETE_INPUT)
WIDTHS = {
    ValueType.BOOL: 1,
    ValueType.BIT: 1,
    ValueType.UINT16: 1,
    ValueType.INT16: 1,
    ValueType.UINT32: 2,
    ValueType.INT32: 2,
    ValueType.FLOAT32: 2,
    ValueType.UINT64: 4,
    ValueType.INT64: 4,
    ValueType.FLOAT64: 4,
}


def decimal_text(number: Decimal) -> str:
    """A number without exponent, trailing zeros or negative zero: the one form in which values are compared."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _allowed(text: str) -> str:
    try:
        number = Decimal(text)
    except ArithmeticError:
        return text
    return decimal_text(number) if number.is_finite() and abs(number.adjusted()) < 40 else text


def pair(raw: object) -> object:
    """One number for both ends of a range."""
    return (raw, raw) if isinstance(raw, str) else raw


AllowedValue = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Priority = Annotated[int, Field(ge=1, le=16)]


class _PointEntry(Section):
    """What every point has."""

    id: DnsLabel
    """Name of the point, unique in its device."""
    unit: Annotated[str, StringConstraints(max_length=32)] = ""
    """Engineering unit."""
    minimum: Number | None = None
    """Least value that may be written, in engineering units."""
    maximum: Number | None = None
    """Greatest value that may be written, in engineering units."""
    allowed: tuple[AllowedValue, ...] = ()
    """The only values that may be written; without it, all within the limits."""
    action: WritableAction | None = None
    """Class of a write to it; without it, the point is read-only."""
    description: Text = ""
    """What it is, for people."""
    confidential: Confidential | None = None
    """Why its values are kept out of the ledger, which gets commitments that can be erased; default: they are not."""
    on_leave: OnLeave = OnLeave.KEEP
    """What becomes of a value somebody wrote when that access ends: `keep`, `restore` the value before, `release` the
    BACnet priority."""

    def _point(self, address: ModbusAddress | BacnetAddress) -> Point:
        return Point(
            id=self.id,
            address=address,
            action=Action(self.action) if self.action else None,
            engineering_unit=self.unit,
            minimum=self.minimum,
            maximum=self.maximum,
            allowed=tuple(sorted({_allowed(value) for value in self.allowed})),
            description=self.description,
            confidential=self.confidential,
            on_leave=self.on_leave,
        )


class ModbusPointEntry(_PointEntry):
    """A point of a Modbus device: value = raw * scale + offset."""

    table: Table
    """Which of the four tables."""
    address: RegisterAddress
    """Zero-based protocol address of its first coil or register (not the 40001 numbering); 0x… is read too."""
    type: ValueType | None = None
    """How its registers are read; default `bool` for coils and discrete inputs, `uint16` for registers."""
    count: Annotated[int, Field(ge=1, le=125)] | None = None
    """Number of registers, for `string` only; other types have a fixed width."""
    bit: Annotated[int, Field(ge=0, le=15)] | None = None
    """Bit in the register, 0 is the least significant; for `bit` only."""
    word_order: Order = Order.BIG
    """Order of the registers in a value of several."""
    byte_order: Order = Order.BIG
    """Order of the octets in a register."""
    scale: Number = Decimal(1)
    """Engineering units for each raw step; exact decimal."""
    offset: Number = Decimal(0)
    """Engineering value of raw 0; exact decimal."""

    @property
    def value_type(self) -> ValueType:
        """The type, with its default."""
        return self.type or (ValueType.BOOL if self.table in BIT_TABLES else ValueType.UINT16)

    @property
    def width(self) -> int:
        """How many coils or registers it takes."""
        return WIDTHS.get(self.value_type) or self.count or 1

    def to_model(self) -> Point:
        """The point as the rest of the broker knows it."""
        return self._point(
            ModbusAddress(
                table=self.table,
                start=self.address,
                count=self.width,
                value_type=self.value_type,
                word_order=self.word_order,
                byte_order=self.byte_order,
                bit=self.bit,
                scale=self.scale,
                offset=self.offset,
            )
        )


class BacnetPointEntry(_PointEntry):
    """A point of a BACnet device: one property of one object."""

    object: Annotated[str, StringConstraints(max_length=64)]
    """Object type in the standard's words, such as `analog-value`; a number from 128 for proprietary types."""
    instance: Annotated[int, Field(ge=0, le=4194302)]
    """Instance of the object."""
    property: Annotated[str, StringConstraints(max_length=64)] = "present-value"
    """Property in the standard's words; a number from 512 for proprietary ones."""
    index: Annotated[int, Field(ge=0, le=4294967295)] | None = None
    """Array index, for array properties only."""
    priority: Annotated[tuple[Priority, Priority], BeforeValidator(pair)] | None = None
    """Priorities that may be written, least and greatest number, such as `[10, 16]`."""

    def to_model(self) -> Point:
        """The point as the rest of the broker knows it."""
        lowest, highest = self.priority or (None, None)
        return self._point(
            BacnetAddress(
                object_type=self.object,
                instance=self.instance,
                property=self.property,
                index=self.index,
                priority_lowest=lowest,
                priority_highest=highest,
            )
        )
