"""BACnet/IP datagrams of property services: encoded by bacpypes3 from a payload, decoded strictly by ourselves."""

import json
import struct
from dataclasses import dataclass
from typing import Any

from bacpypes3.apdu import (
    AbortReason,
    ReadPropertyMultipleRequest,
    ReadPropertyRequest,
    RejectReason,
    WritePropertyRequest,
)
from bacpypes3.basetypes import ErrorClass, ErrorCode, PropertyIdentifier, PropertyReference, ReadAccessSpecification
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.primitivedata import (
    Boolean,
    CharacterString,
    Double,
    Enumerated,
    Integer,
    Null,
    ObjectIdentifier,
    ObjectType,
    Real,
    Unsigned,
)
from bacpypes3.vendor import get_vendor_info

from broker.errors import FrameError
from broker.model.operation import Relayed
from broker.model.vocabulary import Reason, Result
from broker.wire.bacnet.meaning import READ, READ_MULTIPLE, WRITE, canonical
from broker.wire.bacnet.replies import (
    Reference,
    Reported,
    decode_error,
    decode_read_property_ack,
    decode_read_property_multiple_ack,
)
from broker.wire.bacnet.tags import ENUMERATED, OBJECT, Tag, decode_tags
from broker.wire.bacnet.values import RELEASE, text_of

_BVLC_TYPE = 0x81  # Annex J.2
_ORIGINAL_UNICAST = 0x0A  # Annex J.2.11
_NPDU_REQUEST = b"\x01\x04"  # 6.2.2: version 1, a reply is expected
_NPDU_VERSION = 1
_MINIMUM_REPLY = 8
_MAX_APDU_1476 = 0x05  # 20.1.2.5; no segmented reply is accepted, so what does not fit is refused by the device
_SERVICES = {READ: 12, WRITE: 15, READ_MULTIPLE: 14}  # 21.10 confirmed service choices
_SIMPLE_ACK, _COMPLEX_ACK, _ERROR, _REJECT, _ABORT = 2, 3, 5, 6, 7  # 20.1.1 PDU types
_RESERVED_PRIORITY = 6  # 19.2.3: minimum on/off time, never writable
_UNREADABLE = "value/unreadable"
"""Our word for a value that is constructed, no finite number or not printable; its neighbours are still read."""
_REFUSALS = (_ERROR, _REJECT, _ABORT)
_TYPES: tuple[type[Any], ...] = (Real, Double, Unsigned, Integer, Boolean, CharacterString)


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it is asked: the datagram, and what a reply must repeat."""

    datagram: bytes
    invoke: int
    service: str
    references: tuple[Reference, ...]
    words: tuple[dict[str, Any], ...]


class NotEncodableError(ValueError):
    """A request that BACnet has no octets for; nothing was sent, and `code` is what the outcome says."""

    def __init__(self, code: str = "illegal_value") -> None:
        super().__init__(code)
        self.code = code


def encode_question(payload: bytes, invoke: int) -> Question:
    """What goes to the device. Raises NotEncodableError."""
    document = json.loads(payload)
    words = tuple(document["properties"])
    try:
        references = tuple(_reference(word) for word in words)
        parameters = _parameters(document, references)
    except NotEncodableError:
        raise
    except (ValueError, TypeError, AttributeError, OverflowError, struct.error):
        raise NotEncodableError from None
    service = document["service"]
    apdu = bytes((0x00, _MAX_APDU_1476, invoke, _SERVICES[service])) + parameters
    npdu = _NPDU_REQUEST + apdu
    header = bytes((_BVLC_TYPE, _ORIGINAL_UNICAST)) + (len(npdu) + 4).to_bytes(2, "big")
    return Question(header + npdu, invoke, service, references, words)


def _reference(word: dict[str, Any]) -> Reference:
    return Reference(
        int(ObjectType(word["object_type"])),
        word["instance"],
        int(PropertyIdentifier(word["property"])),
        word.get("index"),
    )


def _parameters(document: dict[str, Any], references: tuple[Reference, ...]) -> bytes:
    if document["service"] == READ_MULTIPLE:
        request = ReadPropertyMultipleRequest(listOfReadAccessSpecs=[_specification(at) for at in references])
        return bytes(request.encode().pduData)
    at = references[0]
    where = {
        "objectIdentifier": ObjectIdentifier((at.object_type, at.instance)),
        "propertyIdentifier": PropertyIdentifier(at.property),
        "propertyArrayIndex": at.array_index,
    }
    if document["service"] == READ:
        return bytes(ReadPropertyRequest(**where).encode().pduData)
    priority = document.get("priority")
    if priority == _RESERVED_PRIORITY:
        raise NotEncodableError(Reason.PRIORITY_NOT_ALLOWED)
    value = _value(at, document["value"])
    return bytes(WritePropertyRequest(**where, propertyValue=value, priority=priority).encode().pduData)


def _specification(at: Reference) -> Any:
    reference = PropertyReference(propertyIdentifier=PropertyIdentifier(at.property), propertyArrayIndex=at.array_index)
    return ReadAccessSpecification(
        objectIdentifier=ObjectIdentifier((at.object_type, at.instance)), listOfPropertyReferences=[reference]
    )


def _value(at: Reference, text: str | None) -> Any:
    """The value in the property's own type, if its octets mean exactly the text that was inspected."""
    if text is None:
        return AnyValue(Null(()))
    kind = _type_of(at)
    value = AnyValue(_typed(kind, text))
    tags = decode_tags(bytes(_octets(value)))
    if len(tags) != 1 or _text(at, tags[0]) != text:
        raise NotEncodableError
    return value


def _octets(value: Any) -> bytes:
    """The tags of a value, as they stand inside a request."""
    at = {"objectIdentifier": ObjectIdentifier((8, 0)), "propertyIdentifier": PropertyIdentifier(77)}
    request = WritePropertyRequest(**at, propertyValue=value)
    return bytes(request.encode().pduData)[8:-1]


def _typed(kind: Any, text: str) -> Any:
    if kind is None or not issubclass(kind, (*_TYPES, Enumerated)):
        raise NotEncodableError
    if issubclass(kind, Boolean):
        return kind(text == "true")
    if issubclass(kind, Real | Double):
        return kind(float(text))
    return kind(int(text)) if issubclass(kind, Unsigned | Integer) else kind(text)


def _type_of(at: Reference) -> Any:
    """The standard's type of a property, None if it has none that is known.

    A priority holds what the present value may be (19.2.1).
    """
    described = get_vendor_info(0).get_object_class(ObjectType(at.object_type))
    kept_in_priority = at.property == PropertyIdentifier.priorityArray and at.array_index
    wanted = PropertyIdentifier.presentValue if kept_in_priority else at.property
    return None if described is None else described.get_property_type(PropertyIdentifier(wanted))


def judge_datagram(question: Question, datagram: bytes) -> Relayed | None:
    """What a datagram from the device says about the question; None if it is not about it.

    Raises FrameError if it is about it and cannot be: another service, malformed, something else than was asked.
    """
    apdu = _apdu(datagram)
    if apdu is None:
        return None
    kind = apdu[0] >> 4
    if kind not in (_SIMPLE_ACK, _COMPLEX_ACK, *_REFUSALS) or apdu[1] != question.invoke:
        return None
    if kind in _REFUSALS:
        return Relayed(Result.DEVICE_REFUSED, _refusal_payload(code := _refusal(question, kind, apdu)), code=code)
    if apdu[2] != _SERVICES[question.service] or apdu[0] & 0x0F:
        raise FrameError("reply_mismatch", "another service, or a segment that was not accepted")
    return _acknowledged(question, kind, apdu[3:])


def _apdu(datagram: bytes) -> bytes | None:
    """The APDU of a unicast from a device on its own network, None for anything else."""
    if len(datagram) < _MINIMUM_REPLY or datagram[0] != _BVLC_TYPE or datagram[1] != _ORIGINAL_UNICAST:
        return None
    if int.from_bytes(datagram[2:4], "big") != len(datagram):
        return None
    # 6.2.2: no network message, no destination, no source; priority and "reply expected" say nothing here.
    return datagram[6:] if datagram[4] == _NPDU_VERSION and not datagram[5] & 0xF8 and len(datagram) > 8 else None


def _refusal(question: Question, kind: int, apdu: bytes) -> str:
    if kind == _REJECT:
        return f"reject-{RejectReason(apdu[2])}"
    if kind == _ABORT:
        return f"abort-{AbortReason(apdu[2])}"
    if apdu[2] != _SERVICES[question.service]:
        raise FrameError("reply_mismatch", "an error of another service")
    return _error_text(*decode_error(apdu[3:]))


def _error_text(error_class: int, error_code: int) -> str:
    return f"{ErrorClass(error_class)}/{ErrorCode(error_code)}"


def _refusal_payload(code: str) -> bytes:
    return canonical({"error": code})


def _acknowledged(question: Question, kind: int, parameters: bytes) -> Relayed:
    if question.service == WRITE:
        if kind != _SIMPLE_ACK or parameters:
            raise FrameError("reply_mismatch", "a write is acknowledged by a simple ack")
        return Relayed(Result.DONE, canonical({"results": list(question.words)}))
    if kind != _COMPLEX_ACK:
        raise FrameError("reply_mismatch", "a read is acknowledged by a complex ack")
    if question.service == READ:
        reported: tuple[Reported, ...] = (decode_read_property_ack(parameters),)
    else:
        reported = decode_read_property_multiple_ack(parameters)
    if tuple(each.reference for each in reported) != question.references:
        raise FrameError("reply_mismatch", "other properties than were asked for")
    results = [word | _found(each) for word, each in zip(question.words, reported, strict=True)]
    if question.service == READ and results[0].get("error") == _UNREADABLE:
        raise FrameError("reply_invalid", "a value that cannot be put in words")
    return Relayed(Result.DONE, canonical({"results": results}))


def _found(reported: Reported) -> dict[str, Any]:
    if reported.error is not None:
        return {"error": _error_text(*reported.error)}
    try:
        texts = [_text(reported.reference, tag) for tag in reported.values or ()]
    except FrameError:
        return {"error": _UNREADABLE}
    if reported.values is None:
        return {"error": _UNREADABLE}
    return {"value": texts[0] if len(texts) == 1 else texts}


def _text(at: Reference, tag: Tag) -> str:
    """A primitive value as text, with the standard's word for an enumeration or object type that has one."""
    if tag.number == ENUMERATED:
        kind, number = _type_of(at), int.from_bytes(tag.content, "big")
        kind = getattr(kind, "_subtype", kind)
        return str(kind(number)) if isinstance(kind, type) and issubclass(kind, Enumerated) else str(number)
    if tag.number == OBJECT:
        number = int.from_bytes(tag.content, "big")
        return f"{ObjectType(number >> 22)},{number & 0x3FFFFF}"
    if tag.number == 0:
        return RELEASE
    return text_of(tag)
