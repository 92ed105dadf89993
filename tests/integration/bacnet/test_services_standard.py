"""The standard's words, numbers and datatypes are those of an implementation that nobody here wrote."""

import struct

import pytest
from bacpypes3 import apdu, basetypes
from bacpypes3.apdu import ReadPropertyMultipleRequest, ReadPropertyRequest, WritePropertyRequest
from bacpypes3.basetypes import PropertyIdentifier, PropertyReference, ReadAccessSpecification
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.constructeddata import Array, List
from bacpypes3.primitivedata import (
    BitString,
    Boolean,
    CharacterString,
    Date,
    Double,
    Enumerated,
    Integer,
    Null,
    ObjectIdentifier,
    ObjectType,
    OctetString,
    Real,
    Time,
    Unsigned,
)
from bacpypes3.vendor import get_vendor_info

from broker.errors import FrameError
from broker.model.bacnet_tables import ENUMERATIONS, PROPERTIES_BY_OBJECT_TYPE, REQUIRED_BY_OBJECT_TYPE
from broker.wire.bacnet.property_requests import (
    Write,
    encode_read_property,
    encode_read_property_multiple,
    encode_write_property,
    encode_write_property_multiple,
)
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.standard import datatype_of, number_of, properties_meant, word_of
from broker.wire.bacnet.tags import DOUBLE, REAL, decode_tags
from broker.wire.bacnet.values import encode_value, text_of_value

MISSPELT = {
    "property-is-not-alist": "property-is-not-a-list",
    "not-abacnet-sc-hub": "not-a-bacnet-sc-hub",
    "http-not-aserver": "http-not-a-server",
    "tle-error": "tls-error",
    "tcp-closed-other": "tcp-closed-by-other",
}
OWN_NAMES = {
    "DeviceCommunicationControlRequestEnableDisable": "enable-disable",
    "ReinitializeDeviceRequestReinitializedStateOfDevice": "reinitialized-state",
    "ConfirmedTextMessageRequestMessagePriority": "message-priority",
    "UnconfirmedTextMessageRequestMessagePriority": "message-priority",
    "GetEnrollmentSummaryRequestAcknowledgmentFilterType": "acknowledgment-filter",
    "GetEnrollmentSummaryRequestEventStateFilterType": "event-state-filter",
    "RejectReason": "reject-reason",
    "AbortReason": "abort-reason",
}
PRIMITIVES = (Null, Boolean, Unsigned, Integer, Real, Double, OctetString, CharacterString, BitString, Enumerated)
PRIMITIVES += (Date, Time, ObjectIdentifier)
ADDED = {("binary-lighting-output", "lighting-command-default-priority")}  # 12.55 has it, the other table has not


def known_enumerations() -> dict[str, type]:
    classes = [*vars(basetypes).values(), apdu.RejectReason, apdu.AbortReason]
    return {
        cls.__name__: cls
        for cls in classes
        if isinstance(cls, type) and issubclass(cls, Enumerated) and cls._enum_map  # type: ignore[attr-defined]
    }


def plain(name: str) -> str:
    return name.replace("-", "").lower()


def test_every_enumeration_has_the_same_words_for_the_same_numbers() -> None:
    names = {plain(name): name for name in ENUMERATIONS}
    met = set()
    for name, cls in known_enumerations().items():
        own = OWN_NAMES.get(name) or names[plain(name)]
        met.add(own)
        numbers = set(cls._enum_map.values())  # type: ignore[attr-defined]
        theirs = {number: str(cls(number)) for number in numbers}
        assert {n: MISSPELT.get(word, word) for n, word in theirs.items()} == {n: word_of(own, n) for n in numbers}
        assert set(ENUMERATIONS[own].values()) == numbers
    assert met == set(ENUMERATIONS)


@pytest.mark.parametrize("word", ["512", "4194303"])
def test_a_proprietary_number_is_its_decimal_and_nothing_else(word: str) -> None:
    assert word_of("property-identifier", number_of("property-identifier", word)) == word


@pytest.mark.parametrize("word", ["85", "0512", "-1", "5 12", "٣", "", "present_value", "Present-Value", "4294967296"])
def test_a_word_that_the_standard_has_not_is_refused(word: str) -> None:
    with pytest.raises(FrameError):
        number_of("property-identifier", word)


def test_every_property_has_the_same_datatype() -> None:
    met = set()
    for word, number in ENUMERATIONS["object-type"].items():
        cls = get_vendor_info(0).get_object_class(ObjectType(number))
        for property_word, property_number in ENUMERATIONS["property-identifier"].items():
            kind = cls.get_property_type(PropertyIdentifier(property_number))
            datatype = datatype_of(word, property_word)
            if kind is None:
                assert datatype is None or (word, property_word) in ADDED
                continue
            assert datatype is not None, (word, property_word)
            met.add((word, property_word))
            assert datatype.many == ("array" if issubclass(kind, Array) else "list" if issubclass(kind, List) else "")
            kind = getattr(kind, "_subtype", kind)
            theirs = next((tag for tag, primitive in enumerate(PRIMITIVES) if issubclass(kind, primitive)), None)
            if word == "large-analog-value" and theirs == REAL:
                theirs = DOUBLE  # 12.42: all its values are doubles; the other table has reals
            if not datatype.optional:
                assert datatype.tag == theirs, (word, property_word)
            if issubclass(kind, Enumerated):
                assert plain(datatype.name) == plain(kind.__name__)
    ours = {(word, name) for word, properties in PROPERTIES_BY_OBJECT_TYPE.items() for name in properties}
    assert ours - ADDED == met


def test_what_objects_must_have_they_may_have_and_wildcards_mean_each_property_once() -> None:
    for word, required in REQUIRED_BY_OBJECT_TYPE.items():
        properties = set(PROPERTIES_BY_OBJECT_TYPE[word])
        assert set(required) <= properties
        needed, others = properties_meant(word, "required"), properties_meant(word, "optional")
        assert set(needed) | set(others) == properties - {"property-list"}
        assert not set(needed) & set(others)
        assert properties_meant(word, "all") == needed + others
    assert properties_meant("700", "all") == ("object-identifier", "object-name", "object-type")


WRITTEN = [
    ("analog-value", "present-value", None, "21.5", Real(21.5)),
    ("analog-value", "priority-array", 8, "21.5", Real(21.5)),
    ("analog-value", "present-value", None, "null", Null(())),
    ("large-analog-value", "present-value", None, "0.1", Double(0.1)),
    ("multi-state-value", "present-value", None, "3", Unsigned(3)),
    ("multi-state-value", "state-text", 2, "on", CharacterString("on")),
    ("integer-value", "present-value", None, "-129", Integer(-129)),
    ("binary-output", "present-value", None, "active", basetypes.BinaryPV("active")),
    ("binary-output", "out-of-service", None, "true", Boolean(True)),
    ("analog-input", "units", None, "degrees-celsius", basetypes.EngineeringUnits("degreesCelsius")),
    ("analog-input", "units", None, "47999", basetypes.EngineeringUnits(47999)),
    ("characterstring-value", "present-value", None, "hé", CharacterString("hé")),
    ("octetstring-value", "present-value", None, "beef", OctetString(b"\xbe\xef")),
    ("bitstring-value", "present-value", None, "01011", BitString([0, 1, 0, 1, 1])),
    ("date-value", "present-value", None, "2026-11-28", Date((126, 11, 28, 255))),
    ("date-value", "present-value", None, "*-*-* monday", Date((255, 255, 255, 1))),
    ("time-value", "present-value", None, "08:30:00.*", Time((8, 30, 0, 255))),
    ("device", "structured-object-list", 1, "analog-value,7", ObjectIdentifier("analog-value,7")),
]


@pytest.mark.parametrize(("object_type", "name", "index", "text", "value"), WRITTEN, ids=range(len(WRITTEN)))
def test_a_text_becomes_the_octets_of_another_implementation_and_comes_back(
    object_type: str, name: str, index: int | None, text: str, value: object
) -> None:
    at = Reference(number_of("object-type", object_type), 1, number_of("property-identifier", name), index)
    octets = encode_value(object_type, name, index, text)
    theirs = WritePropertyRequest(
        objectIdentifier=ObjectIdentifier((at.object_type, 1)),
        propertyIdentifier=PropertyIdentifier(at.property),
        propertyArrayIndex=index,
        propertyValue=AnyValue(value),
        priority=9,
    )
    assert encode_write_property(Write(at, octets, 9)) == bytes(theirs.encode().pduData)
    assert text_of_value(object_type, name, index, decode_tags(octets)) == text


@pytest.mark.parametrize(
    ("object_type", "name", "index", "text"),
    [
        ("analog-value", "present-value", None, "21.50"),
        ("analog-value", "present-value", None, "nan"),
        ("analog-value", "present-value", None, "1e400"),
        ("analog-value", "present-value", None, "0.1000000000001"),
        ("analog-value", "present-value", 3, "21"),
        ("analog-value", "priority-array", None, "21"),
        ("binary-output", "present-value", None, "1"),
        ("binary-output", "present-value", None, "perhaps"),
        ("binary-output", "out-of-service", None, "yes"),
        ("multi-state-value", "present-value", None, "-1"),
        ("multi-state-value", "present-value", None, "+1"),
        ("multi-state-value", "state-text", None, "on"),
        ("network-port", "max-master", None, "256"),
        ("bitstring-value", "present-value", None, "012"),
        ("octetstring-value", "present-value", None, "BEEF"),
        ("date-value", "present-value", None, "2026-1-28"),
        ("date-value", "present-value", None, "2026-11-28 saturday"),
        ("time-value", "present-value", None, "8:30"),
        ("schedule", "weekly-schedule", 1, "x"),
        ("schedule", "present-value", None, "1"),
        ("characterstring-value", "present-value", None, "a\nb"),
        ("analog-value", "600", None, "1"),
        ("700", "present-value", None, "1"),
    ],
)
def test_a_text_that_no_octets_mean_exactly_is_refused(
    object_type: str, name: str, index: int | None, text: str
) -> None:
    with pytest.raises(FrameError) as refused:
        encode_value(object_type, name, index, text)
    assert refused.value.code == "illegal_value"


def test_property_requests_are_encoded_as_another_implementation_does() -> None:
    ats = [Reference(2, 1, 85, None), Reference(2, 1, 87, 3), Reference(900, 4194303, 600, 70000)]
    for at in ats:
        theirs = ReadPropertyRequest(
            objectIdentifier=ObjectIdentifier(at[:2]),
            propertyIdentifier=PropertyIdentifier(at.property),
            propertyArrayIndex=at.array_index,
        )
        assert encode_read_property(at) == bytes(theirs.encode().pduData)
    several = ReadPropertyMultipleRequest(listOfReadAccessSpecs=[_specification(*ats[:2]), _specification(ats[2])])
    assert encode_read_property_multiple(ats) == bytes(several.encode().pduData)
    writes = [
        Write(at, b"\x44" + struct.pack(">f", 1), priority) for at, priority in zip(ats, (8, None, 16), strict=True)
    ]
    theirs = apdu.WritePropertyMultipleRequest(listOfWriteAccessSpecs=[_written(*writes[:2]), _written(writes[2])])
    assert encode_write_property_multiple(writes) == bytes(theirs.encode().pduData)


def _specification(*ats: Reference) -> ReadAccessSpecification:
    properties = [
        PropertyReference(propertyIdentifier=PropertyIdentifier(at.property), propertyArrayIndex=at.array_index)
        for at in ats
    ]
    identifier = ObjectIdentifier(ats[0][:2])
    return ReadAccessSpecification(objectIdentifier=identifier, listOfPropertyReferences=properties)


def _written(*writes: Write) -> basetypes.WriteAccessSpecification:
    values = [
        basetypes.PropertyValue(
            propertyIdentifier=PropertyIdentifier(write.at.property),
            propertyArrayIndex=write.at.array_index,
            value=AnyValue(Real(1)),
            priority=write.priority,
        )
        for write in writes
    ]
    identifier = ObjectIdentifier(writes[0].at[:2])
    return basetypes.WriteAccessSpecification(objectIdentifier=identifier, listOfProperties=values)
