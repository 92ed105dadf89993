"""Numbers of ASHRAE 135-2020 to words and back, and the datatypes of properties.

A number that the standard gives no word (proprietary, or of a later revision) is its decimal text.
"""

from functools import lru_cache
from typing import NamedTuple

from broker.errors import FrameError
from broker.model.bacnet_tables import ENUMERATIONS, PROPERTIES_BY_OBJECT_TYPE, REQUIRED_BY_OBJECT_TYPE
from broker.wire.bacnet.tags import (
    BITS,
    BOOLEAN,
    DATE,
    DOUBLE,
    ENUMERATED,
    INTEGER,
    NULL,
    OBJECT,
    OCTETS,
    REAL,
    TEXT,
    TIME,
    UNSIGNED,
)

ALL, REQUIRED, OPTIONAL = "all", "required", "optional"
"""The property identifiers that stand for many in ReadPropertyMultiple (15.7.3.1.2)."""

WILDCARDS = frozenset((ALL, REQUIRED, OPTIONAL))
PROPERTY_LIST = "property-list"
UNKNOWN_INSTANCE = 0x3FFFFF
"""The instance by which a device is asked that does not know its own or whose own is not known (12.11.1)."""

_LARGEST = {"object-type": 0x3FF}  # 20.2.14: ten bits
_LARGEST_ENUMERATED = 0xFFFFFFFF
_PRIMITIVES = {
    "null": NULL,
    "boolean": BOOLEAN,
    "unsigned": UNSIGNED,
    "unsigned8": UNSIGNED,
    "unsigned16": UNSIGNED,
    "integer": INTEGER,
    "real": REAL,
    "double": DOUBLE,
    "octet-string": OCTETS,
    "character-string": TEXT,
    "bit-string": BITS,
    "date": DATE,
    "time": TIME,
    "object-identifier": OBJECT,
}
_LARGEST_UNSIGNED = {"unsigned8": 0xFF, "unsigned16": 0xFFFF}
_LARGEST_UNSIGNED_AT_ALL = 0xFFFFFFFFFFFFFFFF

_WORDS = {name: {number: word for word, number in numbers.items()} for name, numbers in ENUMERATIONS.items()}
_OBJECT_TYPES = _WORDS["object-type"]
_PROPERTIES = _WORDS["property-identifier"]


class Datatype(NamedTuple):
    """What a property, or one element of it, holds: `tag` is the application tag of its primitive values.

    `tag` is None for a constructed type and for one that may be any; `many` is "array", "list" or "".
    """

    name: str
    tag: int | None
    many: str = ""
    optional: bool = False

    @property
    def largest(self) -> int:
        """The largest number that an unsigned may be."""
        return _LARGEST_UNSIGNED.get(self.name, _LARGEST_UNSIGNED_AT_ALL)


def word_of(enumeration: str, number: int) -> str:
    """The word for a number of an enumeration (`binary-pv`), or the number as text."""
    return _WORDS[enumeration].get(number) or str(number)


def number_of(enumeration: str, word: str) -> int:
    """The number that a word stands for; a decimal only where there is no word. Raises FrameError `illegal_value`."""
    number = ENUMERATIONS[enumeration].get(word)
    if number is not None:
        return number
    if word.isascii() and word.isdecimal() and len(word) <= 10:
        number = int(word)
        canonical = str(number) == word and number not in _WORDS[enumeration]
        if canonical and number <= _LARGEST.get(enumeration, _LARGEST_ENUMERATED):
            return number
    raise FrameError("illegal_value", f"no {enumeration} of BACnet", repr(word[:80]))


def object_type_word(number: int) -> str:
    """`analog-value`, or the number of a proprietary object type as text."""
    return _OBJECT_TYPES.get(number) or str(number)


def property_word(number: int) -> str:
    """`present-value`, or the number of a proprietary property as text."""
    return _PROPERTIES.get(number) or str(number)


def error_text(error_class: int, error_code: int) -> str:
    """Class and code of an error as one text (`property/unknown-property`)."""
    return f"{word_of('error-class', error_class)}/{word_of('error-code', error_code)}"


def error_numbers(text: str) -> tuple[int, int]:
    """Class and code of `property/unknown-property`. Raises FrameError `illegal_value`."""
    error_class, _, error_code = text.partition("/")
    return number_of("error-class", error_class), number_of("error-code", error_code)


@lru_cache(maxsize=4096)
def datatype_of(object_type: str, property: str, index: int | None = None) -> Datatype | None:
    """What the standard says a property holds, or with an index one element of it; None if it says nothing.

    Element 0 of an array is its size (12.1.5.1); a priority holds what the present value may be, or null (19.2.1).
    """
    if property == "priority-array" and index:
        present = datatype_of(object_type, "present-value")
        return None if present is None else present._replace(optional=True)
    text = PROPERTIES_BY_OBJECT_TYPE.get(object_type, {}).get(property)
    if text is None:
        return None
    whole = _parsed(text)
    if index is None:
        return whole
    if whole.many != "array":
        return None
    return Datatype("unsigned", UNSIGNED) if index == 0 else whole._replace(many="")


def _parsed(text: str) -> Datatype:
    before, of, name = text.rpartition(" of ")
    many = before.split()[0] if of else ""
    optional = name.startswith("optional ")
    name = name.removeprefix("optional ")
    return Datatype(name, ENUMERATED if name in ENUMERATIONS else _PRIMITIVES.get(name), many, optional)


@lru_cache(maxsize=256)
def properties_meant(object_type: str, wildcard: str) -> tuple[str, ...]:
    """The standard's properties of an object type that ALL, REQUIRED or OPTIONAL stands for (15.7.3.1.2).

    Of a proprietary object type only what every object has is known.
    """
    required = REQUIRED_BY_OBJECT_TYPE.get(object_type, ("object-identifier", "object-name", "object-type"))
    every = PROPERTIES_BY_OBJECT_TYPE.get(object_type, dict.fromkeys(required, ""))
    # 15.7.3.1.2: Property_List is not among them.
    needed = tuple(word for word in required if word != PROPERTY_LIST)
    if wildcard == REQUIRED:
        return needed
    others = tuple(word for word in every if word not in required and word != PROPERTY_LIST)
    return others if wildcard == OPTIONAL else needed + others
