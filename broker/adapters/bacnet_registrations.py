"""Registrations as a foreign device at BBMDs of OT, so that what devices there broadcast reaches the port (J.5.2)."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from broker.adapters.bacnet_peers import UdpPlace
from broker.adapters.bacnet_port import BacnetIpPort
from broker.errors import FrameError
from broker.model.place import Bbmd
from broker.wire.bacnet.bvlc import decode_result, encode_register

log = logging.getLogger(__name__)
_RETRY_SECONDS = 10.0
_LEAST_RENEWAL_SECONDS = 5.0


@dataclass(slots=True)
class Registration:
    """One BBMD: `taken` is what it answered last, None while it has not."""

    bbmd: Bbmd
    taken: bool | None = None
    timer: asyncio.TimerHandle | None = None


class BacnetRegistrations:
    """Keeps the port registered, well within the time that each registration lasts; the port stays open for that."""

    def __init__(self, port: BacnetIpPort) -> None:
        self._port = port
        self._known: dict[UdpPlace, Registration] = {}
        port.result = self._heard

    def replace(self, bbmds: Iterable[Bbmd]) -> None:
        """Be registered at these from now on; a registration that is not renewed ends by itself (J.5.2.2).

        What cannot be had now is tried again when this is called again.
        """
        wanted = {(bbmd.host, bbmd.port): bbmd for bbmd in bbmds}
        for place in [place for place, known in self._known.items() if wanted.get(place) != known.bbmd]:
            gone = self._known.pop(place)
            if gone.timer is not None:
                gone.timer.cancel()
            self._port.leave()
        for place, bbmd in wanted.items():
            if place not in self._known and self._opened(place):
                self._known[place] = Registration(bbmd)
                self._renew(place)
        self._port.bbmds = frozenset(self._known)

    def _opened(self, place: UdpPlace) -> bool:
        try:
            self._port.open()
        except OSError as error:
            log.warning("there is no port for the BBMD %s:%d: %s", *place, error)
            return False
        return True

    def states(self) -> tuple[tuple[str, bool | None], ...]:
        """What each BBMD answered last, by `host:port`."""
        return tuple((f"{host}:{port}", known.taken) for (host, port), known in self._known.items())

    def _renew(self, place: UdpPlace) -> None:
        known = self._known[place]
        sent = self._port.send_octets(encode_register(known.bbmd.ttl_seconds), place)
        if known.taken is None and not sent:
            log.warning("the BBMD %s:%d cannot be reached", *place)
        self._renew_later(place, known)

    def _renew_later(self, place: UdpPlace, known: Registration) -> None:
        # J.5.2.1: a BBMD adds 30 s to the time asked for; renewing after half of it survives a lost datagram.
        due = max(_LEAST_RENEWAL_SECONDS, known.bbmd.ttl_seconds / 2) if known.taken else _RETRY_SECONDS
        known.timer = asyncio.get_running_loop().call_later(due, self._renew, place)

    def _heard(self, place: UdpPlace, payload: bytes) -> None:
        known = self._known.get(place)
        if known is None:
            return
        try:
            taken = decode_result(payload) == 0
        except FrameError:
            return
        if taken is not known.taken:
            log.log(
                logging.INFO if taken else logging.WARNING,
                "the BBMD %s:%d %s this broker as a foreign device",
                *place,
                "has taken" if taken else "does not take",
            )
        first = taken and not known.taken
        known.taken = taken
        if first and known.timer is not None:
            known.timer.cancel()
            self._renew_later(place, known)
