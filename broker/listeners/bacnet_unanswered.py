"""Requests that BACnet has no reply to: what asks one device for something is decided and sent, once; nothing else is.

Nobody can be told no, and nobody knows what came of it: the ledger and the person at `otb` are told of a denial, and
the outcome of what was sent is `unknown`.
"""

from functools import partial

from broker.engine.bacnet_conversation import Told
from broker.engine.events import Refused
from broker.engine.exchange import exchange
from broker.engine.rate import Rate
from broker.engine.sessions import Session
from broker.errors import FrameError
from broker.listeners.bacnet_discovery import Admit
from broker.listeners.bacnet_outside import Outside
from broker.listeners.driver import Driver
from broker.listeners.interpreters import Interpreters
from broker.model.operation import Request
from broker.model.place import Device
from broker.wire.bacnet.services import asks_without_reply

BURST = 100.0
PER_SECOND = 5.0
"""A tool may set the clocks of a building at once; what is sent without a reply does not wait for one either."""
NOT_RELAYED = "unconfirmed_not_relayed"


class Unanswered:
    """Those of one client side."""

    __slots__ = ("_admit", "_driver", "_interpreters", "_outside", "_rate")

    def __init__(self, driver: Driver, interpreters: Interpreters, admit: Admit, outside: Outside) -> None:
        self._driver = driver
        self._interpreters = interpreters
        self._admit = admit
        self._outside = outside
        self._rate = Rate(PER_SECOND, BURST)

    def take(self, told: Told, now: float) -> None:
        """One of them. Raises FrameError for what is not passed on, whatever the policy says."""
        if told.device is None or not asks_without_reply(told.bare) or not self._rate.admits(now):
            raise FrameError(NOT_RELAYED, "for no single device, no question, or too many at once")
        request = self._interpreters.bacnet(told.device).interpret(told.bare)
        self._admit(told.device, partial(self._admitted, told.device, request))

    def _admitted(self, device: Device, request: Request, result: Session | Refused) -> None:
        if isinstance(result, Session):
            self._driver.run(result, exchange(result, request), partial(self._outside.came, device, request))
        else:
            self._outside.denied(device, result, "")
