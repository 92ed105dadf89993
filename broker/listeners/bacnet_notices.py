"""What a person is told in words, beside the replies that the BACnet tool gets: what was denied, and what failed.

A tool shows an error, or nothing. Whoever is to find the click that a notice is about has to be told what was asked.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from broker.engine.bacnet_conversation import Key
from broker.engine.events import Answered, Explored, Further, Listed, Partly, Refused
from broker.model.operation import UNCONFIRMED, Operation, Request
from broker.model.vocabulary import Result

LONGEST_VALUE = 40
LONGEST_TEXT = 160
_FAILED = frozenset({Result.NOT_SENT, Result.NO_REPLY, Result.BAD_REPLY, Result.UNKNOWN})


class Failed(NamedTuple):
    """What was allowed and not answered by the device in a way that can be passed on; `denied`: not even decided."""

    what: str
    result: Result
    code: str


def denials(request: Request, found: Explored) -> Iterator[tuple[Refused, str]]:
    """What was refused of a request, each time with what it was."""
    for operations, finding in _findings(request, found):
        if isinstance(finding, Refused):
            yield finding, text_of(operations)


def failures(request: Request, found: Explored) -> Iterator[Failed]:
    """What failed of a request; what the device itself refused is in its own words in the reply, and whoever sends what
    has no reply expects none.
    """
    for operations, finding in _findings(request, found):
        if isinstance(finding, Answered):
            relayed, written = finding.relayed, any(operation.writes for operation in operations)
            result = Result(relayed.result) if finding.recorded or not written else Result.UNKNOWN
            if result in _FAILED and relayed.code != UNCONFIRMED:
                mixed = finding.recorded and relayed.each
                failed = [each for place, each in enumerate(operations) if not mixed or relayed.of(place)[0] == result]
                yield Failed(text_of(failed), result, relayed.code)


def address_asked(key: Key) -> str:
    """Where no device is, or none that whoever asked may know of."""
    return f"address 0x{key.device_mac.hex()}" if key.device_mac else "the port itself, which is a router"


def text_of(operations: Sequence[Operation]) -> str:
    """`write-property analog-value,1 present-value = 99 @12`, and how many more."""
    if not operations:
        return ""
    first = operations[0]
    at = "" if first.priority is None else f" @{first.priority}"
    more = f" and {len(operations) - 1} more" if len(operations) > 1 else ""
    text = _printable(f"{first.service} {first.address}{_value(first)}", LONGEST_TEXT)
    return f"{text}{at}{more}"


def _value(operation: Operation) -> str:
    """What is written; what a confidential point holds is nobody's to show, not even to whoever wrote it."""
    if not operation.writes or any(touch.point.confidential is not None for touch in operation.touches):
        return ""
    values = [touch.value for touch in operation.touches if touch.value is not None] or operation.raw_values
    return f" = {_printable(' '.join(values), LONGEST_VALUE)}" if values else ""


def _printable(text: str, longest: int) -> str:
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _findings(
    request: Request, found: Explored, answered: Sequence[int] = ()
) -> Iterator[tuple[Sequence[Operation], Refused | Answered]]:
    """What was refused or handed to the device, with its operations; those `answered` the broker answered itself."""
    operations = request.operations
    if isinstance(found, Further):
        yield from _findings(request, found.first)
        yield from _findings(found.request, found.finding)
    elif isinstance(found, Listed):
        if found.finding is not None:
            yield from _findings(request, found.finding, found.places)
    elif isinstance(found, Partly):
        if found.denied_places:
            denied = tuple(found.decisions[place] for place in found.denied_places)
            reasons = dict.fromkeys(reason for each in denied for reason in each.reasons)
            yield [operations[place] for place in found.denied_places], Refused(tuple(reasons), denied)
        done = {*found.denied_places, *answered}
        yield [each for place, each in enumerate(operations) if place not in done], found.finding
    elif isinstance(found, Refused) and found.denied_places:
        yield [operations[place] for place in found.denied_places if place not in answered], found
    else:
        yield operations, found
