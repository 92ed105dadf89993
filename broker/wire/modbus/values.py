"""Octets to engineering values and back, exactly: engineering value = raw * scale + offset.

Engineering values are text: a decimal without exponent, trailing zeros or negative zero, `true`/`false`, or a string.
Octets are those of a point alone: one octet (0 or 1) for a coil, two for each register.
"""

import re
from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from math import isfinite
from struct import Struct
from typing import Protocol

from broker.errors import ConfigError, FrameError, LimitError
from broker.model.place import ModbusAddress, Order, Table, ValueType
from broker.wire.modbus.fields import illegal_value

Value = str | int | float | bool | Decimal

BIT_TABLES = frozenset((Table.COIL, Table.DISCRETE_INPUT))
_INTEGERS = {
    ValueType.UINT16: (1, False),
    ValueType.INT16: (1, True),
    ValueType.UINT32: (2, False),
    ValueType.INT32: (2, True),
    ValueType.UINT64: (4, False),
    ValueType.INT64: (4, True),
}
_FLOATS = {ValueType.FLOAT32: Struct(">f"), ValueType.FLOAT64: Struct(">d")}
_LONGEST_STRING = 125
_LITTLE = Order.LITTLE
_FLAGS: dict[str, Value] = {"true": 1, "false": 0}

# Enough digits for any number that is accepted, with any scale and offset: nothing is ever rounded.
_EXACT = Context(prec=2000, traps=[Inexact, Overflow, InvalidOperation, DivisionByZero])
_ROUNDING = Context(prec=2000)
_QUOTIENT = Context(prec=40)
_MOST_DIGITS = 30
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_MOST_INTEGER_BITS = 1300


class Conversion(Protocol):
    """How the octets of one point become its engineering value, and back."""

    def engineering(self, octets: bytes) -> str:
        """The engineering value. Raises FrameError if the octets are no value of the type."""

    def octets(self, value: Value) -> bytes:
        """The octets. Raises FrameError or LimitError if the type cannot hold exactly this value."""


def canonical(number: Decimal) -> str:
    """A finite number without exponent, trailing zeros or negative zero."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def shown(address: ModbusAddress, number: str) -> str:
    """A canonical number as people see it: with the decimals of one raw step, 19.0 of a register scaled by 0.1.

    Only for people: decisions and the ledger compare and keep the canonical form. Floats have no step.
    """
    if address.value_type not in _INTEGERS:
        return number
    decimals = max(len(canonical(step).partition(".")[2]) for step in (address.scale, address.offset))
    whole, _, part = number.partition(".")
    return f"{whole}.{part.ljust(decimals, '0')}" if part or decimals else whole


def number_of(value: Value) -> Decimal:
    """The number meant by a value of a caller. Raises FrameError."""
    if isinstance(value, bool) or (isinstance(value, int) and value.bit_length() > _MOST_INTEGER_BITS):
        raise illegal_value("not a number that a point can hold")
    text = value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
    if _NUMBER.fullmatch(text) is None:
        raise illegal_value("not a finite decimal number")
    return Decimal(text)


def flag_of(value: Value) -> bool:
    """The truth meant by a value of a caller: a boolean, `true`, `false`, 1 or 0. Raises FrameError."""
    if isinstance(value, bool):
        return value
    number = number_of(_FLAGS.get(value, value) if isinstance(value, str) else value)
    if number not in (0, 1):
        raise illegal_value("neither true nor false")
    return number == 1


def _ordered(octets: bytes, address: ModbusAddress) -> bytes:
    """Octets most significant first, from the device's order; the same again turns them back."""
    if address.word_order is _LITTLE:
        octets = octets[::-1]
    if address.word_order is not address.byte_order:
        swapped = bytearray(octets)
        swapped[0::2], swapped[1::2] = octets[1::2], octets[0::2]
        octets = bytes(swapped)
    return octets


@dataclass(frozen=True, slots=True)
class _Flag:
    """A coil, or a register that is 0 or 1."""

    address: ModbusAddress
    width: int

    def engineering(self, octets: bytes) -> str:
        raw = int.from_bytes(_ordered(octets, self.address) if self.width == 2 else octets, "big")
        if raw > 1:
            raise illegal_value(f"{raw} is neither 0 nor 1")
        return "true" if raw else "false"

    def octets(self, value: Value) -> bytes:
        octets = flag_of(value).to_bytes(self.width, "big")
        return _ordered(octets, self.address) if self.width == 2 else octets


@dataclass(frozen=True, slots=True)
class _Bit:
    """One bit of a register; the octets it becomes have all other bits clear."""

    mask: int

    def engineering(self, octets: bytes) -> str:
        return "true" if int.from_bytes(octets, "big") & self.mask else "false"

    def octets(self, value: Value) -> bytes:
        return (self.mask if flag_of(value) else 0).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class _Integer:
    """A whole number of 1, 2 or 4 registers; engineering value = (raw * factor + summand) / unit.

    The three are whole numbers, and `unit` is 10 to the power of `decimals`.
    """

    address: ModbusAddress
    signed: bool
    decimals: int
    unit: int
    factor: int
    summand: int

    @classmethod
    def of(cls, address: ModbusAddress, signed: bool) -> "_Integer":
        scale, offset = address.scale, address.offset
        decimals = max(0, -_exponent(scale), -_exponent(offset))
        factor, summand = (int(_EXACT.scaleb(number, decimals)) for number in (scale, offset))
        return cls(address, signed, decimals, 10**decimals, factor, summand)

    def engineering(self, octets: bytes) -> str:
        raw = int.from_bytes(_ordered(octets, self.address), "big", signed=self.signed)
        units = raw * self.factor + self.summand
        if not self.decimals:
            return str(units)
        whole, part = divmod(abs(units), self.unit)
        text = f"{whole}.{part:0{self.decimals}d}".rstrip("0") if part else str(whole)
        return f"-{text}" if units < 0 else text

    def octets(self, value: Value) -> bytes:
        number = number_of(value)
        raw = self._raw(number)
        try:
            octets = raw.to_bytes(2 * self.address.count, "big", signed=self.signed)
        except OverflowError:
            kind = self.address.value_type.value
            raise LimitError("illegal_value", f"{number} does not fit {kind} with a scale of {self._scale}") from None
        return _ordered(octets, self.address)

    def _raw(self, number: Decimal) -> int:
        units = _EXACT.scaleb(number, self.decimals)
        raw, rest = divmod(int(units) - self.summand, self.factor)
        if rest or units != int(units):
            beyond = f" from {canonical(self.address.offset)}" if self.address.offset else ""
            raise illegal_value(f"{number} is not a multiple of {self._scale}{beyond}")
        return raw

    @property
    def _scale(self) -> str:
        return canonical(abs(self.address.scale))


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent


@dataclass(frozen=True, slots=True)
class _Float:
    """An IEEE 754 number, scaled; its decimal form is the shortest that is the same number in that width."""

    address: ModbusAddress
    layout: Struct

    def engineering(self, octets: bytes) -> str:
        return canonical(self._number(_ordered(octets, self.address)))

    def octets(self, value: Value) -> bytes:
        number = number_of(value)
        difference = _EXACT.subtract(number, self.address.offset)
        try:
            octets = self.layout.pack(float(_QUOTIENT.divide(difference, self.address.scale)))
            held = self._number(octets)
        except (OverflowError, FrameError):
            kind = self.address.value_type.value
            raise LimitError("illegal_value", f"the value does not fit {kind}") from None
        if not _agree(held, number):
            raise illegal_value(f"{number} cannot be held exactly, the nearest value is {held}")
        return _ordered(octets, self.address)

    def _number(self, octets: bytes) -> Decimal:
        (raw,) = self.layout.unpack(octets)
        if not isfinite(raw):
            raise illegal_value("not a finite number")
        shortest = Decimal(_shortest32(raw) if self.layout.size == 4 else repr(raw))
        return _EXACT.fma(shortest, self.address.scale, self.address.offset)


def _agree(held: Decimal, asked: Decimal) -> bool:
    """Whether a number is the one asked for to every digit that was asked for."""
    asked = Decimal(canonical(asked))
    return _ROUNDING.quantize(held, asked) == asked


def _shortest32(number: float) -> str:
    """The shortest decimal that is this number in 32 bits; nine digits always are (IEEE 754-2008, 5.12.2)."""
    layout = _FLOATS[ValueType.FLOAT32]
    octets = layout.pack(number)
    texts = (f"{number:.{digits}g}" for digits in range(6, 10))
    return next((text for text in texts if layout.pack(float(text)) == octets), repr(number))


@dataclass(frozen=True, slots=True)
class _Text:
    """UTF-8 padded with NUL. Only printable characters: control and direction marks deceive who reads a record."""

    address: ModbusAddress

    def engineering(self, octets: bytes) -> str:
        try:
            text = _ordered(octets, self.address).rstrip(b"\x00").decode()
        except UnicodeDecodeError:
            raise illegal_value("not text") from None
        if not text.isprintable():
            raise illegal_value("text with unprintable characters")
        return text

    def octets(self, value: Value) -> bytes:
        if not isinstance(value, str) or not value.isprintable():
            raise illegal_value("not printable text")
        octets = value.encode()
        longest = 2 * self.address.count
        if len(octets) > longest:
            raise LimitError("illegal_value", f"text of {len(octets)} octets where {longest} fit")
        return _ordered(octets.ljust(longest, b"\x00"), self.address)


def mask_of(address: ModbusAddress) -> int:
    """The bits that a point has in each of its registers, as they are on the wire."""
    if address.bit is None:
        return 0xFFFF
    return 1 << (address.bit if address.byte_order is Order.BIG else address.bit ^ 8)


def conversion_of(address: ModbusAddress) -> Conversion:
    """The conversion for an address. Raises ConfigError if type, table and width cannot go together."""
    kind = address.value_type
    in_bits = address.table in BIT_TABLES
    if address.count != _width(address) or (in_bits and kind is not ValueType.BOOL):
        raise ConfigError(
            "point_impossible", f"no {kind.value} of width {address.count} in table {address.table.value}"
        )
    if not address.scale or not _usable(address.scale) or not _usable(address.offset):
        raise ConfigError("point_impossible", f"scale or offset has no use: {address.scale}, {address.offset}")
    if kind is ValueType.BOOL:
        return _Flag(address, 1 if in_bits else 2)
    if kind is ValueType.BIT:
        return _Bit(mask_of(address))
    if kind is ValueType.STRING:
        return _Text(address)
    if kind in _FLOATS:
        return _Float(address, _FLOATS[kind])
    return _Integer.of(address, _INTEGERS[kind][1])


def _usable(number: Decimal) -> bool:
    """Whether a scale or offset is finite and within 30 digits on either side of the point."""
    return number.is_finite() and _exponent(number) >= -_MOST_DIGITS and number.adjusted() <= _MOST_DIGITS


def _width(address: ModbusAddress) -> int:
    """The count that an address must have, or 0 if none is right."""
    kind = address.value_type
    if kind is ValueType.STRING:
        return address.count if 1 <= address.count <= _LONGEST_STRING else 0
    if kind is ValueType.BIT:
        return 1 if address.bit in range(16) else 0
    if kind in _FLOATS:
        return _FLOATS[kind].size // 2
    return _INTEGERS.get(kind, (1, False))[0]
