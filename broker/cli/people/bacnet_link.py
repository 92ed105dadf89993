"""One tunnel to the BACnet network of a site: datagrams of a client's address and an NPDU, both ways."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from broker.cli.people.exits import Document
from broker.cli.people.problem_words import entries
from broker.cli.people.tunnel_link import TunnelLink
from broker.errors import FrameError
from broker.wire.bacnet.tunnelled import decode_datagrams

SUBPROTOCOL = "otb.bacnet.v1"
REPEATED_SECONDS = 10.0
MOST_TOLD = 64
"""So many different ones in that time: a walk over a device that is denied each object is not to drown the rest."""
MOST_KINDS = 256
_SAME = ("type", "device", "what", "result", "code")
Deliver = Callable[[bytes, bytes], None]


@dataclass(slots=True)
class BacnetLink(TunnelLink):
    """An open tunnel to one site; `deliver(mac, npdu)` reaches the client of that address, or all.

    An explorer asks again and again for what it is denied: the same of the same object is told once in a while, with
    their number.
    """

    deliver: Deliver = lambda mac, npdu: None
    sent: int = 0
    received: int = 0
    failures: int = 0
    _left_out: int = 0
    _lately: deque[float] = field(default_factory=deque)
    _told: dict[tuple[str, ...], tuple[float, int]] = field(default_factory=dict)

    async def send(self, datagrams: list[bytes]) -> None:
        """Send what clients said, as one message. Raises ConnectionError."""
        await self.socket.send_bytes(b"".join(datagrams))
        self.sent += len(datagrams)

    async def take(self, octets: bytes) -> None:
        """Pass the datagrams of one message on to their clients."""
        try:
            datagrams = decode_datagrams(octets)
        except FrameError:
            return  # as a datagram that was damaged on its way
        self.received += len(datagrams)
        for mac, npdu in datagrams:
            self.deliver(mac, npdu)

    def counts(self) -> Document:
        """Datagrams both ways, denials, and what failed."""
        told = {"sent": self.sent, "received": self.received, "denials": self.denials}
        return told | ({"failures": self.failures} if self.failures else {})

    def denied(self, told: Document) -> None:
        """The broker denied something; tell it, unless the same was told just now."""
        self.denials += 1
        self._tell_seldom(told)

    def failed(self, told: Document) -> None:
        """What it allowed failed; as of denials."""
        self.failures += 1
        self._tell_seldom(told)

    def _tell_seldom(self, told: Document) -> None:
        now = time.monotonic()
        kind = (
            *(str(told.get(name, "")) for name in _SAME),
            *(str(reason.get("code")) for reason in entries(told.get("reasons"))),
        )
        since, repeated = self._told.get(kind, (-REPEATED_SECONDS, 0))
        if now < since + REPEATED_SECONDS:
            self._told[kind] = since, repeated + 1
            return
        while self._lately and now >= self._lately[0] + REPEATED_SECONDS:
            self._lately.popleft()
        if len(self._lately) >= MOST_TOLD:
            self._left_out += 1
            return
        if len(self._told) >= MOST_KINDS:
            self._told.clear()
        self._told[kind] = now, 0
        self._lately.append(now)
        left_out, self._left_out = self._left_out, 0
        self.tell(told | ({"repeated": repeated} if repeated else {}) | ({"left_out": left_out} if left_out else {}))
