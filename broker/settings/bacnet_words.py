"""The words of ASHRAE 135 that an inventory may use for object types and properties (clauses 12 and 21)."""

from broker.model.bacnet_tables import ENUMERATIONS, PROPERTIES_BY_OBJECT_TYPE

OBJECT_TYPES = frozenset(ENUMERATIONS["object-type"])
"""Object types in the standard's hyphenated words."""

PROPERTIES = frozenset(ENUMERATIONS["property-identifier"])
"""Property identifiers in the standard's hyphenated words."""

COMMANDABLE = frozenset(word for word, of in PROPERTIES_BY_OBJECT_TYPE.items() if "priority-array" in of)
"""Object types whose present value may be written with a priority (19.2)."""
