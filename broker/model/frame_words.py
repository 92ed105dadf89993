"""Why octets were not forwarded: the codes of `frame_refused` records, in plain sentences."""

FRAME_REFUSALS: dict[str, str] = {
    "framing": "The octets are no frame of the protocol, so what follows could not be told apart either.",
    "malformed": "The message is not what the standard says, octet by octet.",
    "illegal_function": "The function is not one that is relayed.",
    "illegal_value": "A value, place or number is not one that the protocol or the point has.",
    "invalid_datatype": "A value is not of the type that the property has.",
    "unrecognized_service": "The service is not one that the standard has, or is not decoded and so not relayed.",
    "service_not_allowed": "The service is known and never relayed.",
    "priority_not_allowed": "Lists and new objects bring no priorities along: one of them is the device's own.",
    "password_missing": "The service needs a password, and there was none.",
    "lifetime_out_of_range": "A COV subscription was to last for no time, or may be told of later than it lasts.",
    "no_timestamps": "Time stamps of changes were asked for, and the broker does not know when a value changed.",
    "confirmed_broadcast": "A request that wants an answer has one recipient, and this one was for all.",
    "routing_change_refused": "Nobody changes the broker's routing table from outside.",
    "unconfirmed_not_relayed": "A request without reply was for no single device, asked nothing or was one too many.",
    "device_unknown": "There is no device at that address, or none that may be seen.",
    "unit_unknown": "There is no device with that unit id, or none that may be seen.",
    "reply_mismatch": "The reply is not one to what was asked.",
    "unknown_message": "BACnet's network layer has no such message.",
    "sc_malformed": "The octets are no BACnet/SC message.",
    "sc_header_not_understood": "The message has a header option that must be understood, and is not.",
    "sc_origin_foreign": "A BACnet/SC node spoke in the name of another.",
    "sc_destination_foreign": "A BACnet/SC node spoke to another, whom nobody reaches through this hub.",
    "sc_too_long": "The message is longer than the hub said that it takes.",
    "duplicate_vmac": "Another connection has the address (VMAC) that a BACnet/SC node wanted.",
    "uuid_of_another": "A BACnet/SC node said that it is a device which another subject is connected with.",
    "sc_text": "A BACnet/SC connection carries binary messages only.",
    "frame_unmasked": "A frame of the WebSocket is not masked, as a client's has to be.",
    "frame_reserved": "A frame of the WebSocket has bits of an extension that was not agreed on.",
    "frame_opcode": "A frame of the WebSocket is of no known kind.",
    "frame_control": "A control frame of the WebSocket is too long, or in parts.",
    "frame_length": "The length of a WebSocket frame takes more octets than it needs.",
    "frame_order": "Parts of a WebSocket message came out of order.",
    "frame_too_long": "A frame of the WebSocket is longer than any that is taken.",
    "message_too_long": "A message of the WebSocket is longer than is taken there.",
}

_HINTS: dict[str, str] = {
    "unrecognized_service": "Look whether the tool has another way to do it; what is not decoded is not passed on.",
    "service_not_allowed": "Look whether the tool has another way to do it; this service is never passed on.",
    "priority_not_allowed": "Write at a priority of its own, without the array.",
    "password_missing": "Give the tool a password; a device that has none takes any.",
    "invalid_datatype": "Write a value of the type that the property has.",
    "illegal_value": "Write a value that the point can have.",
    "unconfirmed_not_relayed": "Ask one device for it, not all at once.",
}


def frame_refusal_hint(code: str) -> str:
    """What somebody can do whose tool got that; empty where it is the tool's own affair."""
    return _HINTS.get(code, "")


def frame_refusal_text(code: str) -> str:
    """The sentence for a code; nothing for one that says it itself."""
    return FRAME_REFUSALS.get(code, "")
