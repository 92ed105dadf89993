"""What a BACnet client is answered of what was found, from the pieces that the engine brought."""

from collections.abc import Sequence

from broker.engine.events import Explored, Further, Listed, Partly, Refused
from broker.engine.further import First
from broker.listeners.bacnet_refusals import PASSES_BY_ITSELF, failed_reply, refused_reply
from broker.model.decision import Decision
from broker.model.operation import Request
from broker.model.place import Device
from broker.wire.bacnet.composing import Pieces, composed_reply, further_read, results_of
from broker.wire.bacnet.interpreter import READ, READ_MULTIPLE, Interpreter
from broker.wire.bacnet.object_list import encode_list, made_list
from broker.wire.bacnet.replies import Reported


def finding_reply(bare: bytes, device: Device, request: Request, found: Explored) -> bytes:
    """The bare reply for what came of a bare request to a device; `request` is what it means."""
    first = found.first if isinstance(found, Further) else found
    pieces = _pieces(bare, request, first)
    if isinstance(pieces, bytes):
        return pieces
    if pieces.made and request.payload[1] == READ:
        return encode_list(pieces.made[0])
    further = _results(device, found) if isinstance(found, Further) else ()
    return composed_reply(bare, device, pieces._replace(further=further))


def asks_for_more(bare: bytes, request: Request) -> bool:
    """Whether the answer may give reason to ask more: what stands for many has become many in what is sent."""
    return bare[1] == READ_MULTIPLE and bare != request.payload


def further_request(
    interpreter: Interpreter, bare: bytes, device: Device, request: Request, found: First
) -> Request | None:
    """What the answer to a request gives reason to ask as well."""
    pieces = _pieces(bare, request, found)
    further = None if isinstance(pieces, bytes) else further_read(bare, device, pieces)
    return None if further is None else interpreter.interpret(further)


def _results(device: Device, further: Further) -> tuple[Reported, ...]:
    pieces = _pieces(further.request.payload, further.request, further.finding)
    return () if isinstance(pieces, bytes) else results_of(further.request.payload, device, pieces)


def _pieces(bare: bytes, request: Request, found: First) -> Pieces | bytes:
    """What the answer is made of, or the whole answer where there is nothing to make one of."""
    made: dict[int, Reported] = {}
    denied: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    inner = found
    if isinstance(found, Listed):
        made = {place: made_list(request.operations[place], found.points) for place in found.places}
        if found.finding is None:
            return Pieces(made=made)
        inner = found.finding
        if isinstance(inner, Refused):
            denied = tuple(place for place in inner.denied_places if place not in made)
            return Pieces(denied, made=made, late=_late(denied, inner.decisions))
    if isinstance(inner, Partly):
        denied, late, inner = inner.denied_places, _late(inner.denied_places, inner.decisions), inner.finding
    if isinstance(inner, Refused):
        return refused_reply(bare, inner)
    assert not isinstance(inner, Listed | Partly)
    return failed_reply(inner) or Pieces(denied, inner.relayed.payload, made, late=late)


def _late(denied: Sequence[int], decisions: Sequence[Decision]) -> tuple[int, ...]:
    """The places of what was denied for want of a decision in time."""
    return tuple(place for place in denied if not PASSES_BY_ITSELF.isdisjoint(decisions[place].reasons))
