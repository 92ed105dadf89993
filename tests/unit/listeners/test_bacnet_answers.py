"""What a tool is answered of several properties, of which some were denied."""

import pytest

from broker.engine.events import Answered, Partly
from broker.listeners.bacnet_answers import finding_reply
from broker.model.decision import Decision
from broker.model.operation import BacnetProperty, Relayed
from broker.model.place import Device, Protocol
from broker.model.vocabulary import Reason, Result
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.interpreter import interpret
from broker.wire.bacnet.property_requests import encode_read_property_multiple
from broker.wire.bacnet.references import reference_of, words_of
from broker.wire.bacnet.replies import Reported, decode_read_property_multiple_ack, encode_read_property_multiple_ack
from broker.wire.bacnet.tags import decode_tags

DEVICE = Device("plant", "vav-1", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, 1001))
VALUE = decode_tags(bytes.fromhex("4441ac0000"))
REQUIRED = b"\x00\x0e" + encode_read_property_multiple([reference_of(BacnetProperty("analog-value", 1, "required"))])
ALLOWED, NOT_GRANTED = Decision("a", 1, True), Decision("d", 2, False, (Reason.POINT_NOT_GRANTED,))


def told(found: Partly) -> dict[str, bool]:
    """The properties that are told, and whether with a value."""
    reply = finding_reply(REQUIRED, DEVICE, interpret(DEVICE, REQUIRED), found)
    assert reply[:2] == b"\x30\x0e"
    results = decode_read_property_multiple_ack(reply[2:])
    return {str(words_of(each.reference)[2]): each.error is None for each in results}


@pytest.mark.parametrize("reason", [Reason.POLICY_LATE, Reason.POLICY_UNAVAILABLE, Reason.STATE_STALE])
def test_of_a_wildcard_only_what_may_not_be_read_is_left_out_and_not_what_nobody_decided_in_time(
    reason: Reason,
) -> None:
    request = interpret(DEVICE, REQUIRED)
    addresses = [each.address for each in request.operations if isinstance(each.address, BacnetProperty)]
    names = [str(each.property) for each in addresses]
    late, hidden = names.index("event-state"), names.index("units")
    decisions = [ALLOWED] * len(names)
    decisions[late], decisions[hidden] = Decision("l", 3, False, (reason,)), NOT_GRANTED
    results = [Reported(reference_of(each), VALUE) for place, each in enumerate(addresses) if decisions[place].allow]
    relayed = Relayed(Result.DONE, b"\x30\x0e" + encode_read_property_multiple_ack(results))
    rest = Answered(relayed, (ALLOWED,) * len(results))
    found = told(Partly(rest, tuple(sorted((late, hidden))), tuple(decisions)))
    assert found == {name: name != "event-state" for name in names if name != "units"}
