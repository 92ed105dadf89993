"""Why a device refused: the parameters of Error PDUs (20.1.7, clause 21 BACnet-Error), strictly."""

from typing import NamedTuple

from broker.wire.bacnet.parameters import Parameters
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.standard import number_of

_ADD_ELEMENT, _REMOVE_ELEMENT, _CREATE, _WRITE_MULTIPLE, _PRIVATE, _SUBSCRIBE_MULTIPLE = 8, 9, 10, 16, 18, 30
_WRAPPED = frozenset((_ADD_ELEMENT, _REMOVE_ELEMENT, _CREATE, _WRITE_MULTIPLE, _PRIVATE, _SUBSCRIBE_MULTIPLE))

Error = tuple[int, int]


class Refusal(NamedTuple):
    """Error class and code, the first write that failed if the device says so, and all parameters again."""

    error: Error
    first_failed: Reference | None
    octets: bytes


def decode_refusal(service: int, octets: bytes) -> Refusal:
    """The parameters of an Error PDU. Raises FrameError.

    Some services wrap class and code and add what it is about; devices are known to answer those plainly, too.
    """
    taken = Parameters(octets)
    failed: Reference | None = None
    if service not in _WRAPPED or taken.comes(9, "application"):
        error = _error(taken)
    elif service == _SUBSCRIBE_MULTIPLE and taken.comes(1, "opening"):
        error = _failed_subscription(taken)
    else:
        error = _wrapped(taken, 0)
        failed = _about(taken, service)
    return Refusal(error, failed, taken.finish())


def _error(taken: Parameters) -> Error:
    error_class = number_of("error-class", taken.plain_enumerated("error-class"))
    return error_class, number_of("error-code", taken.plain_enumerated("error-code"))


def _wrapped(taken: Parameters, number: int) -> Error:
    taken.opening(number)
    error = _error(taken)
    taken.closing(number)
    return error


def _about(taken: Parameters, service: int) -> Reference | None:
    """What is said behind class and code: the write, the element, or the vendor's service that failed."""
    if service == _WRITE_MULTIPLE:
        taken.opening(1)
        reference = _reference(taken)
        taken.closing(1)
        return reference
    if service == _PRIVATE:
        taken.unsigned(1, 0xFFFF)
        taken.unsigned(2)
        if taken.comes(3, "opening"):
            taken.values(3)
    elif service != _SUBSCRIBE_MULTIPLE:
        taken.unsigned(1)
    return None


def _reference(taken: Parameters) -> Reference:
    object_type, instance = taken.object(0)
    name = number_of("property-identifier", taken.property(1))
    return Reference(number_of("object-type", object_type), instance, name, taken.optional_unsigned(2))


def _failed_subscription(taken: Parameters) -> Error:
    """The first subscription that failed of SubscribeCOVPropertyMultiple (13.16.1.3)."""
    taken.opening(1)
    taken.object(0)
    taken.opening(1)
    taken.property(0)
    taken.optional_unsigned(1)
    taken.closing(1)
    error = _wrapped(taken, 2)
    taken.closing(1)
    return error
