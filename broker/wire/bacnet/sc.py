"""BVLC-SC messages of BACnet/SC (ASHRAE 135-2020, Annex AB.2): every octet accounted for, every list bounded."""

from collections.abc import Callable
from struct import Struct
from typing import Final

from broker.wire.bacnet.sc_message import (
    BROADCAST,
    NO_VMAC,
    VMAC_OCTETS,
    ErrorCode,
    Function,
    Option,
    OptionType,
    ScFrameError,
    ScMessage,
    wrong,
)
from broker.wire.bacnet.sc_payloads import (
    check_nothing,
    check_npdu,
    decode_advertisement,
    decode_connect,
    decode_proprietary,
    decode_result,
    decode_uris,
)

MAX_OPTIONS: Final = 16
MAX_OPTION_OCTETS: Final = 4_192  # what the longest message leaves beside the longest NPDU and its header
_HEAD = Struct(">BBH")
_ORIGIN, _DESTINATION, _DESTINATION_OPTIONS, _DATA_OPTIONS, _RESERVED = 0x08, 0x04, 0x02, 0x01, 0xF0  # AB.2.2
_MORE, _MUST_UNDERSTAND, _HAS_DATA, _TYPE = 0x80, 0x40, 0x20, 0x1F  # AB.2.3


def decode_sc(octets: bytes) -> ScMessage:
    """One whole message, its payload checked. Raises ScFrameError."""
    if len(octets) < _HEAD.size:
        raise wrong(ErrorCode.MESSAGE_INCOMPLETE, "fewer than four octets")
    function, control, identifier = _HEAD.unpack_from(octets)
    head = ScMessage(function, identifier)
    try:
        head, position = _addresses(octets, control, head)
        return _body(octets, position, control, head)
    except ScFrameError as error:
        error.head = head
        raise


def _addresses(octets: bytes, control: int, head: ScMessage) -> tuple[ScMessage, int]:
    if control & _RESERVED:  # AB.2.2: reserved for future use, shall be zero
        raise wrong(ErrorCode.HEADER_ENCODING_ERROR, "reserved control flags")
    position = _HEAD.size
    needed = position + VMAC_OCTETS * (bool(control & _ORIGIN) + bool(control & _DESTINATION))
    if len(octets) < needed:
        raise wrong(ErrorCode.MESSAGE_INCOMPLETE, "an address is cut short")
    if control & _ORIGIN:
        head = head._replace(origin=octets[position : position + VMAC_OCTETS])
        position += VMAC_OCTETS
    if control & _DESTINATION:
        head = head._replace(destination=octets[position : position + VMAC_OCTETS])
    return head, needed


def _body(octets: bytes, position: int, control: int, head: ScMessage) -> ScMessage:
    rule = _RULES.get(head.function)
    if rule is None:
        raise wrong(ErrorCode.BVLC_FUNCTION_UNKNOWN, f"function {head.function}")
    _check_addresses(head)
    start = position
    destination_options: tuple[Option, ...] = ()
    data_options: tuple[Option, ...] = ()
    if control & _DESTINATION_OPTIONS:
        destination_options, position = _options(octets, position)
    if control & _DATA_OPTIONS:
        if head.function != Function.ENCAPSULATED_NPDU:  # AB.2.4 to AB.2.16: "shall be absent"
            raise wrong(ErrorCode.INCONSISTENT_PARAMETERS, "data options without an NPDU")
        data_options, position = _options(octets, position)
    if position - start > MAX_OPTION_OCTETS:
        raise wrong(ErrorCode.HEADER_ENCODING_ERROR, "header options are too long")
    payload = octets[position:]
    rule(payload)
    return head._replace(payload=payload, destination_options=destination_options, data_options=data_options)


def _check_addresses(head: ScMessage) -> None:
    if head.function in _CONNECTION_FUNCTIONS and (head.origin or head.destination):  # AB.2.10 to AB.2.15
        raise wrong(ErrorCode.HEADER_ENCODING_ERROR, "an address in a message between two peers")
    if head.origin in (BROADCAST, NO_VMAC) or head.destination == NO_VMAC:  # AB.1.5.2: reserved
        raise wrong(ErrorCode.HEADER_ENCODING_ERROR, "a reserved address")


def _options(octets: bytes, position: int) -> tuple[tuple[Option, ...], int]:
    options: list[Option] = []
    more = True
    while more:
        if len(options) == MAX_OPTIONS:
            raise wrong(ErrorCode.HEADER_ENCODING_ERROR, "too many header options")
        if position >= len(octets):  # more were announced than there are
            raise wrong(ErrorCode.MESSAGE_INCOMPLETE, "a header option is missing")
        marker = octets[position]
        option, position = _option(octets, position + 1, marker)
        options.append(option)
        more = bool(marker & _MORE)
    return tuple(options), position


def _option(octets: bytes, position: int, marker: int) -> tuple[Option, int]:
    data = None
    if marker & _HAS_DATA:
        start = position + 2
        end = start + int.from_bytes(octets[position:start], "big")
        if len(octets) < max(start, end):
            raise wrong(ErrorCode.MESSAGE_INCOMPLETE, "a header option is cut short", marker)
        data, position = octets[start:end], end
    option = Option(marker & _TYPE, data, bool(marker & _MUST_UNDERSTAND))
    if option.type == 0 or (option.type == OptionType.SECURE_PATH and data is not None):  # AB.2.3, AB.2.3.1
        raise wrong(ErrorCode.HEADER_ENCODING_ERROR, f"header option {option.type}", marker)
    if option.type == OptionType.PROPRIETARY and len(data or b"") < 3:  # AB.2.3.2: vendor and its own type
        raise wrong(ErrorCode.HEADER_ENCODING_ERROR, "a proprietary header option without vendor", marker)
    return option, position


def not_understood(message: ScMessage) -> Option | None:
    """The first option that must be understood (AB.2.3) and is not: of all there are, we know Secure Path only."""
    for option in message.destination_options:
        if option.must_understand:
            return option
    for option in message.data_options:
        if option.must_understand and option.type != OptionType.SECURE_PATH:
            return option
    return None


def encode_sc(message: ScMessage) -> bytes:
    """The octets of one message."""
    control = (
        (_ORIGIN if message.origin else 0)
        | (_DESTINATION if message.destination else 0)
        | (_DESTINATION_OPTIONS if message.destination_options else 0)
        | (_DATA_OPTIONS if message.data_options else 0)
    )
    head = _HEAD.pack(message.function, control, message.id) + message.origin + message.destination
    return head + _chain(message.destination_options) + _chain(message.data_options) + message.payload


def _chain(options: tuple[Option, ...]) -> bytes:
    octets = b""
    for place, option in enumerate(options, 1):
        octets += bytes((option.marker | (_MORE if place < len(options) else 0),))
        if option.data is not None:
            octets += len(option.data).to_bytes(2, "big") + option.data
    return octets


def encode_npdu_message(identifier: int, npdu: bytes, origin: bytes = b"", destination: bytes = b"") -> bytes:
    """An Encapsulated-NPDU (AB.2.5)."""
    return encode_sc(ScMessage(Function.ENCAPSULATED_NPDU, identifier, npdu, origin, destination))


_CONNECTION_FUNCTIONS = frozenset(range(Function.CONNECT_REQUEST, Function.PROPRIETARY))
_RULES: Final[dict[int, Callable[[bytes], object]]] = {
    Function.RESULT: decode_result,
    Function.ENCAPSULATED_NPDU: check_npdu,
    Function.ADDRESS_RESOLUTION: check_nothing,
    Function.ADDRESS_RESOLUTION_ACK: decode_uris,
    Function.ADVERTISEMENT: decode_advertisement,
    Function.ADVERTISEMENT_SOLICITATION: check_nothing,
    Function.CONNECT_REQUEST: decode_connect,
    Function.CONNECT_ACCEPT: decode_connect,
    Function.DISCONNECT_REQUEST: check_nothing,
    Function.DISCONNECT_ACK: check_nothing,
    Function.HEARTBEAT_REQUEST: check_nothing,
    Function.HEARTBEAT_ACK: check_nothing,
    Function.PROPRIETARY: decode_proprietary,
}
