"""What a stream of native BACnet calls of the way in that carries it: a tunnel, or a spoke of our hub."""

from collections.abc import Callable
from dataclasses import dataclass

from broker.engine.events import Answered, Explored, Refused
from broker.listeners.bacnet_notices import Failed, denials, failures
from broker.model.operation import Request
from broker.model.place import Device
from broker.model.vocabulary import EndReason, Reason, Result
from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.services import asks_without_reply, service_asked


@dataclass(slots=True)
class Outside:
    """`write(mac, npdu)` reaches a client (`BROADCAST`: all of its side); `close` ends the way.

    In words: `denied` tells what was denied (the text is empty where it is the device as a whole) and why, `failed`
    what was allowed and came to nothing, or nobody knows what; `ended` that the session with one device has ended while
    others go on, `warned` that it soon will. The device is None where something was for none that there is, or for all.
    """

    write: Callable[[bytes, bytes], None]
    close: Callable[[EndReason], None]
    denied: Callable[[Device | None, Refused, str], None]
    failed: Callable[[Device | None, Failed], None]
    ended: Callable[[Device, EndReason], None]
    warned: Callable[[Device, float, EndReason], None]

    def turned_away(self, device: Device | None, code: str, octets: bytes) -> None:
        """Tell in words why a bare request was refused before anything was decided, unless it asks for nothing: what
        tools say to all when they start is no affair of a person.
        """
        asks = octets[0] == Kind.CONFIRMED_REQUEST or asks_without_reply(octets)
        if asks and code != Reason.DEVICE_UNKNOWN:  # that is denied as well
            self.failed(device, Failed(service_asked(octets) or f"service {octets[1]}", Result.DENIED, code))

    def came(self, device: Device, request: Request, found: Explored) -> None:
        """Tell in words what came of a request that the reply says in BACnet's; of what was done there is nothing."""
        if isinstance(found, Answered) and found.done:
            return
        for refused, what in denials(request, found):
            self.denied(device, refused, what)
        for failed in failures(request, found):
            self.failed(device, failed)
