"""The words, numbers and datatypes that ASHRAE 135-2020 gives to objects and properties (clauses 12 and 21).

In the file: `enumerations` has the numbers of each enumeration by word; `every_object` and `objects` have the datatype
of each property: a primitive (`real`), an enumeration, a constructed type, `optional T` (or null), `array of T`,
`array 16 of T`, `list of T`. `required` are the properties that every object of a type has beside the common ones.
"""

from importlib.resources import files
from typing import Any

import orjson

_TABLES: dict[str, Any] = orjson.loads(files(__package__).joinpath("bacnet_tables.json").read_bytes())

ENUMERATIONS: dict[str, dict[str, int]] = _TABLES["enumerations"]
"""Numbers by word, by name of the enumeration (`object-type`, `property-identifier`, `error-code`, `binary-pv`)."""

PROPERTIES_OF_EVERY_OBJECT: dict[str, str] = _TABLES["every_object"]
"""Datatypes of the properties that an object of any type may have."""

PROPERTIES_BY_OBJECT_TYPE: dict[str, dict[str, str]] = {
    word: PROPERTIES_OF_EVERY_OBJECT | entry["properties"] for word, entry in _TABLES["objects"].items()
}
"""Datatypes of properties, by object type."""

REQUIRED_BY_OBJECT_TYPE: dict[str, tuple[str, ...]] = {
    word: ("object-identifier", "object-name", "object-type", *entry["required"], "property-list")
    for word, entry in _TABLES["objects"].items()
}
"""The properties that every object of a type has (conformance codes R and W), by object type."""
