"""One caller's Modbus/TCP stream, over TLS or in a tunnel: every request of it goes the way of one operation."""

from collections.abc import Callable

from broker.engine.conversation import Asked, Conversation, Malformed, Misaddressed, reply_octets
from broker.engine.events import Finding, Refused
from broker.engine.exchange import exchange
from broker.engine.sessions import Session
from broker.errors import FrameError
from broker.listeners.driver import Driver
from broker.listeners.frame_refusals import FrameRefusals
from broker.listeners.interpreters import Interpreters
from broker.listeners.refusals import DENIED, modbus_reply
from broker.model.place import Device
from broker.model.vocabulary import EndReason, Reason
from broker.wire.modbus.meaning import Interpreter, exception_reply

BACKLOG_OCTETS = 4096
DIRECT_UNITS = frozenset({0, 255})
UNIT_UNKNOWN = "unit_unknown"
Denied = Callable[[Refused], None]
Admit = Callable[[Device, Callable[[Session | Refused], None]], None]


class _Way:
    """Where a unit id leads: device, interpreter and, once it is open, session."""

    __slots__ = ("device", "interpreter", "session")

    def __init__(self, device: Device, interpreter: Interpreter, session: Session | None) -> None:
        self.device = device
        self.interpreter = interpreter
        self.session = session


class ModbusStream:
    """Requests in order, one under way at a time.

    `device_of` says which device a unit id means (None: none of this connection's); `admit` opens the session for a
    device the first time one of its units is named. `write` and `close` reach the caller; `pause`/`resume` hold it
    back.
    """

    __slots__ = (
        "_admit",
        "_asked",
        "_backlog_octets",
        "_busy",
        "_close",
        "_conversation",
        "_denied",
        "_device_of",
        "_driver",
        "_ended",
        "_frame_refusals",
        "_held",
        "_hold",
        "_interpreters",
        "_looping",
        "_lost",
        "_sessions",
        "_way",
        "_write",
    )

    def __init__(
        self,
        driver: Driver,
        interpreters: Interpreters,
        frame_refusals: FrameRefusals,
        *,
        device_of: Callable[[int], Device | None],
        admit: Admit,
        write: Callable[[bytes], None],
        hold: Callable[[bool], None],
        close: Callable[[EndReason], None],
        denied: Denied | None = None,
        backlog_octets: int = BACKLOG_OCTETS,
    ) -> None:
        self._driver = driver
        self._interpreters = interpreters
        self._frame_refusals = frame_refusals
        self._device_of = device_of
        self._admit = admit
        self._write = write
        self._hold = hold
        self._close = close
        self._denied = denied
        self._backlog_octets = backlog_octets
        self._sessions: dict[str, Session] = {}
        self._conversation = Conversation(self._interpreter_of)
        self._way: _Way | None = None
        self._asked: Asked | None = None
        self._busy = False
        self._ended = False
        self._held = False
        self._lost = False
        self._looping = False

    def start(self, device: Device) -> None:
        """Open the session of a connection that leads to one device only, before anything is asked."""
        self._busy = True

        def opened(result: Session | Refused) -> None:
            if isinstance(result, Session):
                self.enter(result)
            else:
                self._tell_denied(result)
            self._busy = False
            self._go_on()

        self._admit(device, opened)

    def received(self, data: bytes | memoryview) -> None:
        """Octets of the caller."""
        waiting = self._conversation.receive(data)
        if not self._busy:
            self._go_on()
        if waiting >= self._backlog_octets and self._busy and self._conversation.waiting >= self._backlog_octets:
            self._held = True
            self._hold(True)

    def ended(self) -> None:
        """The caller will send nothing more; what it asked is still answered."""
        self._ended = True
        if not self._busy:
            self._close(EndReason.PEER_CLOSED)

    def lost(self) -> None:
        """The caller is gone: what is not sent yet will not be."""
        self._lost = True

    def enter(self, session: Session) -> None:
        """Take an open session as the one for its device."""
        self._sessions[session.device_key] = session
        self._way = None

    def _interpreter_of(self, unit: int) -> Interpreter | None:
        """Of the device that is asked for; the way to it is remembered as long as it is the same."""
        device = self._device_of(unit)
        if device is None:
            return None
        way = self._way
        if way is None or way.device is not device:
            way = self._way = _Way(device, self._interpreters.modbus(device), self._sessions.get(device.key))
        return way.interpreter

    def _go_on(self) -> None:
        """Take requests until one has to wait. A loop, not recursion: leased denials are answered many in a row at
        once.
        """
        if self._looping:
            return
        self._looping = True
        try:
            self._take_all()
        finally:
            self._looping = False
        if self._busy or self._lost:
            return
        if self._ended:
            self._close(EndReason.PEER_CLOSED)
        elif self._held:
            self._held = False
            self._hold(False)

    def _take_all(self) -> None:
        while not self._busy and not self._lost:
            try:
                asked = self._conversation.next_request()
            except FrameError as error:
                self._frame_refusals.stream(self._any_session(), error.code)
                self._close(EndReason.FRAME_REFUSED)
                return
            if asked is None:
                return
            self._take(asked)

    def _take(self, asked: Asked | Malformed | Misaddressed) -> None:
        if isinstance(asked, Asked):
            self._busy = True
            self._asked = asked
            way = self._way
            assert way is not None
            if way.session is not None:
                self._driver.run(way.session, exchange(way.session, asked.request), self._answer)
            else:
                self._admit(way.device, self._admitted)
        elif isinstance(asked, Malformed):
            self._frame_refusals.pdu(self._any_session(), self._device_of(asked.unit), asked.code, asked.pdu)
            self._write(asked.reply)
        else:
            self._frame_refusals.pdu(self._any_session(), None, UNIT_UNKNOWN, asked.pdu)
            self._tell_denied(Refused((Reason.DEVICE_UNKNOWN,)))
            self._write(reply_octets(asked, exception_reply(asked.function, DENIED)))

    def _admitted(self, opened: Session | Refused) -> None:
        assert self._asked is not None
        if isinstance(opened, Session):
            self.enter(opened)
            self._driver.run(opened, exchange(opened, self._asked.request), self._answer)
        else:
            self._answer(opened)

    def _answer(self, finding: Finding) -> None:
        """Reply in the caller's ids, then go on; re-entered from a loop that is already running if all was at hand."""
        asked = self._asked
        assert asked is not None
        if isinstance(finding, Refused):
            self._tell_denied(finding)
        if not self._lost:
            self._write(reply_octets(asked, modbus_reply(asked.function, finding)))
        self._busy = False
        self._go_on()

    def _tell_denied(self, refused: Refused) -> None:
        if self._denied is not None:
            self._denied(refused)

    def _any_session(self) -> Session | None:
        return next(iter(self._sessions.values()), None)
