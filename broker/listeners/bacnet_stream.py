"""One client's native BACnet, in a tunnel or as a spoke of our hub: every service of it goes the way of one operation.

A stream belongs to one subject and one site. It has a session with each device that it asks for, opened when it asks
first; what one session loses, the others keep. A stream without any session ends: who has no access has no way in.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import partial

from broker.engine.bacnet_conversation import Asked, BacnetConversation, Malformed, Station, Told
from broker.engine.commands import Command
from broker.engine.events import Explored, Refused
from broker.engine.further import exchange_further
from broker.engine.in_force import VirtualNetwork
from broker.engine.object_list import list_objects
from broker.engine.partial import exchange_each
from broker.engine.sessions import Session
from broker.errors import FrameError
from broker.listeners.bacnet_answers import asks_for_more, finding_reply, further_request
from broker.listeners.bacnet_device_reads import DeviceReads
from broker.listeners.bacnet_discovery import Discovery
from broker.listeners.bacnet_floor import BacnetFloor
from broker.listeners.bacnet_notices import address_asked
from broker.listeners.bacnet_outside import Outside
from broker.listeners.bacnet_refusals import busy_reply, frame_reply, refused_reply
from broker.listeners.bacnet_turns import Turns
from broker.listeners.bacnet_unanswered import Unanswered
from broker.listeners.cov_requests import SERVICES
from broker.model.operation import Request
from broker.model.place import Device
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason, Reason
from broker.wire.bacnet.cov import CovNotification, encode_cov_notification
from broker.wire.bacnet.interpreter import may_hold_password, narrowed
from broker.wire.bacnet.object_list import asked_for_list, reads_of
from broker.wire.bacnet.services import service_asked

MOST_WAITING_FOR_SESSION = 64
REFUSED_SECONDS = 2.0
"""So long a device to which no session was given is refused without asking again: explorers ask many things at once."""
_ABOUT_THE_SUBJECT = frozenset(
    {Reason.BUDGET_EXHAUSTED, Reason.SESSION_ENDED, Reason.STATE_STALE, Reason.CONTRACT_ENDED}
)
"""Refusals that will be the same at every other device."""
_UNKNOWN = Refused((Reason.DEVICE_UNKNOWN,))
Opened = Callable[[Session | Refused], None]


class _Way:
    """One device as this client reaches it."""

    __slots__ = ("attempt", "opening", "refused", "refused_until", "session", "waiting")

    def __init__(self) -> None:
        self.session: Session | None = None
        self.attempt = 0
        self.opening = False
        self.waiting: list[Opened] = []
        self.refused: Refused | None = None
        self.refused_until = 0.0


@dataclass(frozen=True, slots=True)
class _Subscriber:
    """One station of a stream, as whoever notifies it knows it."""

    stream: "BacnetStream"
    station: Station
    device: Device = field(compare=False)

    def tell(self, notification: CovNotification) -> None:
        """Send it a notification."""
        self.stream.tell(self.station, self.device, notification)


class BacnetStream:
    """Requests of one client side, many under way at a time; each is answered in the client's own ids."""

    def __init__(
        self, floor: BacnetFloor, subject: Subject, where: str, listener: str, peer: str, outside: Outside
    ) -> None:
        """`where` is a site, or a device (`site/device`) that is shown alone."""
        self._floor = floor
        self._subject = subject
        self._where = where
        self._listener = listener
        self._peer = peer
        self._outside = outside
        self._ways: dict[str, _Way] = {}
        self._gone = False
        self._started = False
        self._timer: asyncio.TimerHandle | None = None
        self._turns = Turns(self._begin, self._flush)
        self._loop = asyncio.get_running_loop()
        self._conversation = BacnetConversation(self._network, partial(floor.shares.has_room, subject))
        self.rate = floor.shares.rate_of(subject)
        self._unanswered = Unanswered(floor.driver, floor.interpreters, self.admit, outside)
        self._discovery = Discovery(
            floor.driver,
            self._candidates,
            self.admit,
            self._announce,
            floor.live,
            DeviceReads(
                floor.driver,
                floor.live,
                lambda: self._network().asks_devices,
                lambda device: floor.points_granted(self._subject, device),
            ),
        )

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Those that are open."""
        return tuple(way.session for way in self._ways.values() if way.session is not None)

    def start(self, opened: Callable[[Refused | None], None]) -> None:
        """Open a session with the first device that gives one; `opened` gets None, or why no device does. Who has no
        grant at all is denied at one of them all the same, so that it is on record.
        """
        self._floor.shares.join(self._subject, self._conversation)
        candidates = deque(self._candidates() or [*self._network().devices.values()][:1])
        refusal = Refused((Reason.NO_GRANT,))

        def tried(result: Session | Refused) -> None:
            nonlocal refusal
            if isinstance(result, Session):
                self._started = True
                opened(None)
                return
            refusal = result
            if not _ABOUT_THE_SUBJECT.isdisjoint(result.reasons):
                candidates.clear()
            self._loop.call_soon(go_on)  # not here: what is refused at once would go one call deeper for each device

        def go_on() -> None:
            if candidates:
                self.admit(candidates.popleft(), tried)
            else:
                opened(refusal)

        go_on()

    def received(self, mac: bytes, npdu: bytes) -> None:
        """One NPDU of the client at that address of its network."""
        if self._gone:
            return
        event = self._conversation.receive(mac, npdu, self._loop.time())
        if event is not None:
            self._take(event)
        self._flush()

    def renew(self, subject: Subject) -> None:
        """Go on with fresh proofs of the same subject: the policy is asked again for every session."""
        self._subject = subject
        for session in self.sessions:
            self._floor.register.renew(session, subject)

    def lost(self, reason: EndReason = EndReason.PEER_CLOSED, detail: str = "") -> None:
        """The client is gone, or has to go: what is not sent yet will not be, and its sessions end."""
        if self._gone:
            return
        self._gone = True
        self._turns.clear()
        self._floor.shares.leave(self._subject, self._conversation)
        if self._timer is not None:
            self._timer.cancel()
        for session in self.sessions:
            self._floor.cov.end_session(session)
            self._floor.register.close(session, reason, detail)

    def admit(self, device: Device, opened: Opened) -> None:
        """The session with a device, open already or opened now, or the refusal."""
        way = self._ways.setdefault(device.key, _Way())
        if self._gone:
            opened(Refused((Reason.CALLER_GONE,)))
        elif way.session is not None:
            opened(way.session)
        elif way.refused is not None and self._loop.time() < way.refused_until:
            opened(way.refused)
        elif len(way.waiting) >= MOST_WAITING_FOR_SESSION:
            opened(Refused((Reason.BUDGET_EXHAUSTED,)))
        else:
            way.waiting.append(opened)
            if not way.opening:
                self._open(way, device)

    def _open(self, way: _Way, device: Device) -> None:
        way.opening = True
        way.attempt += 1
        opened = partial(self._opened, way, way.attempt, self._subject)
        self._floor.register.open(
            self._subject, device, self._listener, self._peer, partial(self._cut, way, way.attempt), opened
        )

    def _opened(self, way: _Way, attempt: int, subject: Subject, result: Session | Refused) -> None:
        if attempt != way.attempt or not way.opening:
            if isinstance(result, Session):  # it took so long that nobody waits for it any more
                self._floor.register.close(result, EndReason.PEER_CLOSED)
            return
        way.opening = False
        if isinstance(result, Session):
            if self._gone:
                self._floor.register.close(result, EndReason.PEER_CLOSED)
                result = Refused((Reason.CALLER_GONE,))
            else:
                way.session, way.refused = result, None
                if subject is not self._subject:
                    self._floor.register.renew(result, self._subject)
                result.warn = partial(self._outside.warned, result.device)
        else:
            way.refused, way.refused_until = result, self._loop.time() + REFUSED_SECONDS
        waiting, way.waiting = way.waiting, []
        for opened in waiting:
            opened(result)

    def _cut(self, way: _Way, attempt: int, reason: EndReason) -> None:
        """One session was ended. What ended it may be about to end others, so whether any is left is seen a turn
        later.
        """
        if attempt != way.attempt:
            return
        session, way.session = way.session, None
        if session is not None:
            self._floor.cov.end_session(session)
            self._conversation.end(session.device)
            self._flush()
        if way.opening:
            self._opened(way, attempt, self._subject, Refused((Reason.SESSION_ENDED,)))
        if session is not None and not self._gone:
            self._loop.call_soon(self._after_cut, session.device, reason)

    def _after_cut(self, device: Device, reason: EndReason) -> None:
        if self._gone:
            return
        if self.sessions:
            self._outside.ended(device, reason)
        elif self._started:
            self._outside.close(reason)

    def _network(self) -> VirtualNetwork:
        return self._floor.in_force().virtual_network(self._where)

    def _candidates(self) -> list[Device]:
        """The devices there that any grant of the subject names."""
        return [d for d in self._network().devices.values() if self._floor.has_grants(self._subject, d)]

    def _take(self, event: Asked | Told | Malformed) -> None:
        if isinstance(event, Asked):
            self._take_request(event)
        elif isinstance(event, Told):
            self._take_unconfirmed(event)
        else:
            self._refuse_frame(event.device, event.code, event.octets, whole=True)

    def _take_request(self, asked: Asked) -> None:
        if asked.device is None:
            self._refuse_frame(None, Reason.DEVICE_UNKNOWN, asked.bare)
            self._refuse(asked, _UNKNOWN)
        else:
            self._turns.take(asked, asked.device)

    def _begin(self, asked: Asked, late: bool) -> None:
        assert asked.device is not None
        way = self._ways.get(asked.device.key)
        if late:
            self._conversation.answer(asked, busy_reply(), self._loop.time())
        elif way is not None and way.session is not None:
            self._ask(asked, way.session)
        else:
            self.admit(asked.device, partial(self._admitted, asked))

    def _reply(self, asked: Asked, reply: bytes) -> None:
        self._conversation.answer(asked, reply, self._loop.time())
        if asked.device is not None:
            self._turns.over(asked.device)

    def _admitted(self, asked: Asked, result: Session | Refused) -> None:
        if isinstance(result, Session):
            self._ask(asked, result)
        else:
            self._refuse(asked, result)
        self._flush()

    def _ask(self, asked: Asked, session: Session) -> None:
        """What is asked in words, then the way of one operation."""
        try:
            request = self._floor.interpreters.bacnet(session.device).interpret(asked.bare)
        except FrameError as error:
            self._refuse_frame(session.device, error.code, asked.bare)
            self._reply(asked, frame_reply(asked.bare, error))
            return
        answer = partial(self._answer, asked, session.device, request)
        if request.operations[0].service in SERVICES:
            client = _Subscriber(self, asked.key.station, session.device)
            self._floor.cov.take(session, client, request, answer)
            return
        self._floor.driver.run(session, self._steps(session, request, asked.bare), answer)

    def _steps(self, session: Session, request: Request, bare: bytes) -> Generator[Command, object, Explored]:
        """The way of this request."""
        device = session.device
        if places := asked_for_list(request, device):
            granted = self._floor.points_granted(self._subject, device)
            steps = list_objects(session, request, places, reads_of(device, granted), narrowed)
        else:
            steps = exchange_each(session, request, narrowed)
        if not asks_for_more(bare, request):
            return steps
        further = partial(further_request, self._floor.interpreters.bacnet(device), bare, device, request)
        return exchange_further(session, steps, further, narrowed)

    def _answer(self, asked: Asked, device: Device, request: Request, found: Explored) -> None:
        self._outside.came(device, request, found)
        if not self._gone:
            self._reply(asked, finding_reply(asked.bare, device, request, found))
            self._flush()

    def _refuse(self, asked: Asked, refused: Refused) -> None:
        """A device that is hidden and one that is not there are the same to a person, too."""
        if known := self._known(asked.device):
            self._outside.denied(known, refused, "")
        else:
            self._outside.denied(None, _UNKNOWN, address_asked(asked.key))
        self._reply(asked, refused_reply(asked.bare, refused))

    def _known(self, device: Device | None) -> Device | None:
        """The device, if the subject may be told that it is there."""
        return device if device is not None and self._floor.may_know_of(self._subject, device) else None

    def _take_unconfirmed(self, told: Told) -> None:
        """Who-Is and Who-Has are answered here. Of the others nobody hears whether a hidden device is there."""
        try:
            if not self._discovery.take(told, self._loop.time()):
                self._unanswered.take(replace(told, device=self._known(told.device)), self._loop.time())
        except FrameError as error:
            self._refuse_frame(told.device, error.code, told.bare)

    def _announce(self, told: Told, device: Device, bare: bytes) -> None:
        if not self._gone:
            self._conversation.announce(told.station, device, bare)
            self._flush()

    def tell(self, station: Station, device: Device, notification: CovNotification) -> None:
        """Pass a notification of a device on to who subscribed."""
        if self._gone:
            return
        bare = encode_cov_notification(notification)
        if notification.confirmed:
            self._conversation.notify(station, device, bare, self._loop.time())
        else:
            self._conversation.announce(station, device, bare)
        self._flush()

    def _refuse_frame(self, device: Device | None, code: str, octets: bytes, *, whole: bool = False) -> None:
        """Record it, and say it if these octets are a bare request and not a `whole` message of the network layer."""
        way = None if device is None else self._ways.get(device.key)
        session = (way and way.session) or next(iter(self.sessions), None)
        secret, service = may_hold_password(octets), "" if whole else service_asked(octets)
        self._floor.frame_refusals.pdu(session, device, code, octets, secret=secret, service=service)
        if not whole:
            self._outside.turned_away(self._known(device), code, octets)

    def _flush(self) -> None:
        """Send what there is to send, and be there when a segment is overdue."""
        outgoing = self._conversation.outgoing
        while outgoing:
            self._outside.write(*outgoing.popleft())
        due = self._conversation.wake_at()
        if due is None or self._gone:
            return
        if self._timer is None or self._timer.when() > due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._woken)

    def _woken(self) -> None:
        self._timer = None
        if not self._gone:
            self._conversation.tick(self._loop.time())
            self._flush()
