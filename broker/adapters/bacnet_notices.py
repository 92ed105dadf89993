"""What one BACnet device asks or tells of its own accord: notifications of changes (13.1), and what it is (16.10).

All else is refused.
"""

from collections.abc import Callable

from broker.adapters.bacnet_peers import Peer, Port
from broker.errors import FrameError
from broker.wire.bacnet.apdu import (
    Abort,
    AbortReason,
    Apdu,
    ConfirmedRequest,
    ErrorPdu,
    Reject,
    RejectReason,
    SimpleAck,
    UnconfirmedRequest,
    bare,
    encode_apdu,
)
from broker.wire.bacnet.cov import CONFIRMED_NOTIFICATION, CovNotification, decode_cov_notification
from broker.wire.bacnet.device_said import DeviceSaid
from broker.wire.bacnet.encoding import application_enumerated
from broker.wire.bacnet.standard import error_numbers

Told = Callable[[CovNotification], bool]
_UNKNOWN_SUBSCRIPTION = b"".join(map(application_enumerated, error_numbers("services/unknown-subscription")))


class BacnetNotices:
    """Hands notifications of one device on, and acknowledges the confirmed ones; without anybody to hand them to, none.

    `said` is what is known of the device: what it tells in another's name is nobody's. `passed` and `refused` count.
    """

    def __init__(self, said: DeviceSaid, port: Port) -> None:
        self.said = said
        self.passed = 0
        self.refused = 0
        self.port = port
        self._told: Told | None = None

    def listen(self, told: Told | None) -> None:
        """Call `told` with each notification from now on, and keep the port for that. Raises OSError."""
        if self._told is None and told is not None:
            self.port.open()
        elif self._told is not None and told is None:
            self.port.leave()
        self._told = told

    def hear(self, peer: Peer, apdu: ConfirmedRequest | UnconfirmedRequest) -> None:
        """Take what the device asks or tells, and answer what wants an answer."""
        answer = self._answer(apdu)
        if answer is not None:
            self.port.send(peer, encode_apdu(answer), expecting_reply=False)

    def _answer(self, apdu: ConfirmedRequest | UnconfirmedRequest) -> Apdu | None:
        if isinstance(apdu, UnconfirmedRequest):
            if not self._is_i_am(bare(apdu)):
                self._tell(bare(apdu))
            return None
        if apdu.segmented:
            return Abort(apdu.invoke, AbortReason.SEGMENTATION_NOT_SUPPORTED, from_server=True)
        taken = self._tell(bare(apdu))
        if taken is None:
            return Reject(apdu.invoke, RejectReason.UNRECOGNIZED_SERVICE)
        if not taken:
            return ErrorPdu(apdu.invoke, CONFIRMED_NOTIFICATION, _UNKNOWN_SUBSCRIPTION)
        return SimpleAck(apdu.invoke, CONFIRMED_NOTIFICATION)

    def _is_i_am(self, request: bytes) -> bool:
        try:
            return self.said.learn_i_am(request, self.port.clock.monotonic())
        except FrameError:
            return False

    def _tell(self, request: bytes) -> bool | None:
        """Whether somebody wanted a notification; None if it is none that can be read."""
        try:
            notification = decode_cov_notification(request)
        except FrameError:
            notification = None
        if notification is None:
            self.refused += 1
            return None
        own = notification.device_instance == self.said.way.instance
        taken = own and self._told is not None and self._told(notification)
        self.passed += taken
        self.refused += not taken
        return taken
