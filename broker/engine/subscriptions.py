"""COV subscriptions of one device, sans I/O: what each client has subscribed, and what the broker holds for them.

The broker subscribes at the device once for what many clients have subscribed, under process identifiers of its own,
for a few minutes at a time (ASHRAE 135-2020, 13.1). A client's own lifetime is kept here. Each notification is decided
for each client that it is for, and only counted: a value may change many times a second.

    subscribe -> `Errand` (subscribe at the device, in that client's session) -> kept | failed
    due       -> `Errand`s (renew in the session of a client that is still there; cancel for one who cancels)
    orphans   -> `Errand`s (cancel what nobody needs any more, by the broker's own right)
    receivers -> offer -> let_through -> take -> passed or withheld -> Tally, at the latest every quarter of an hour
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from broker.engine.sessions import NEVER, Session
from broker.engine.subscription import Monitored, Subscription, Tally, tally_of

DEVICE_LIFETIME_SECONDS = 300
RENEW_BEFORE_SECONDS = 120.0
"""Early enough for several attempts; a device that forgets is asked again before clients miss anything for long."""
RETRY_SECONDS = 15.0
TALLY_SECONDS = 900.0
MOST_OF_SESSION = 1000
MOST_OF_DEVICE = 4000
MOST_INCREMENTS = 8
"""Of one property at one device: each is a subscription of its own there, and a client may name any number."""
_LAST_PROCESS = 0xFFFFFFFF  # 13.14: Unsigned32
SPARE = 100
"""So many more for a moment, while what is subscribed again is not yet in the place of what was."""
_Key = tuple[Session, Hashable, int, Monitored, bool | None]


class Errand(NamedTuple):
    """What is to be asked of the device, in the session of `behalf` and decided and recorded there like anything else.

    `lifetime_seconds` None: cancel. `own_right`: in a session of the broker's own, because that of `behalf`, who was
    the last to need it, has ended or is not to be used for it.
    """

    process: int
    monitored: Monitored
    behalf: Subscription
    confirmed: bool = False
    lifetime_seconds: int | None = None
    own_right: bool = False


@dataclass(slots=True, eq=False)
class _Held:
    """What the broker has subscribed at the device, or is about to; `until` when the device forgets it.

    `asking` counts what it was asked and has not answered, which is waited for until `answer_by`. Without clients it is
    remembered until then, `last` being who needed it last; `given_up`: to cancel it failed, so it is left to run out.
    """

    process: int
    monitored: Monitored
    clients: list[Subscription] = field(default_factory=list)
    confirmed: bool = False
    until: float = 0.0
    ask_at: float = NEVER
    asking: int = 0
    answer_by: float = 0.0
    last: Subscription | None = None
    given_up: bool = False

    def asked(self, now: float) -> None:
        """The device is asked something now."""
        self.asking += 1
        self.answer_by = now + DEVICE_LIFETIME_SECONDS

    @property
    def forgotten_at(self) -> float:
        """When there is nothing left to know of it, if it has no clients."""
        return max(self.until, self.answer_by) if self.asking else self.until


class Subscriptions:
    """Those of one device. `first_process` is by chance, so that what an earlier run left there is nobody's."""

    def __init__(
        self, first_process: int, most_of_session: int = MOST_OF_SESSION, most_of_device: int = MOST_OF_DEVICE
    ) -> None:
        self._next_process = first_process
        self._most_of_session = most_of_session
        self._most_of_device = most_of_device
        self._clients: dict[_Key, Subscription] = {}
        self._taken = 0
        self._of_session: dict[Session, set[Subscription]] = {}
        self._held: dict[Monitored, _Held] = {}
        self._processes: dict[int, _Held] = {}
        self._increments: Counter[Monitored] = Counter()
        self._deserted: dict[_Held, None] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def has_room(
        self, session: Session, client: Hashable, process: int, monitored: Monitored, form: bool | None = None
    ) -> bool:
        """Whether this may be subscribed; a renewal of the same needs no room for long."""
        if monitored not in self._held and not self._may_hold(monitored):
            return False
        spare = SPARE if _key_of(session, client, process, monitored, form) in self._clients else 0
        of_session = len(self._of_session.get(session, ()))
        return of_session < self._most_of_session + spare and self._taken < self._most_of_device + spare

    def _may_hold(self, monitored: Monitored) -> bool:
        """Whether the device may be asked for one more; what is being cancelled there still takes its room."""
        return len(self._processes) < self._most_of_device and self._increments[_place(monitored)] < MOST_INCREMENTS

    def subscribe(self, fresh: Subscription) -> tuple[Errand, Tally | None]:
        """Take up or renew a client's subscription, for which there is room: what is now to be asked of the device.

        The device is asked each time, since a client waits for what is there now (13.14). What was counted for one
        of the same context is told.
        """
        errand = self.reserve(fresh)
        return errand, self.enter(fresh, fresh.since)

    def reserve(self, fresh: Subscription) -> Errand:
        """The same without taking the place of one of the same context, before it is known that all of several are
        there: until `enter` or `end`.
        """
        held = self._held.get(fresh.monitored) or self._hold(fresh.monitored)
        held.clients.append(fresh)
        self._of_session.setdefault(fresh.session, set()).add(fresh)
        self._taken += 1
        return self._asking(held, fresh, fresh.since)

    def enter(self, fresh: Subscription, now: float) -> Tally | None:
        """It takes the place of one of the same context; what was counted for that."""
        known = self._clients.get(_key(fresh))
        tally = None if known is None else self._drop(known, now)
        self._clients[_key(fresh)] = fresh
        return tally

    def prolong(self, fresh: Subscription) -> None:
        """What was subscribed several at a time before, in the same context, lasts as long as what is now (13.16)."""
        for one in self._of_session.get(fresh.session, ()):
            if (one.client, one.process, one.form) == (fresh.client, fresh.process, fresh.form):
                one.ends = fresh.ends

    def kept(self, errand: Errand, now: float) -> None:
        """The device has acknowledged."""
        held = self._processes.get(errand.process)
        if held is None:
            return
        held.asking -= 1
        if errand.lifetime_seconds is None:
            held.until = 0.0
            self._forget(held, now)
            return
        held.until, held.given_up = now + errand.lifetime_seconds, False
        if not held.clients:
            self._deserted[held] = None
        held.ask_at = held.until - min(RENEW_BEFORE_SECONDS, errand.lifetime_seconds / 2)

    def failed(self, errand: Errand, now: float, *, tried: bool = True) -> None:
        """It has not, or (not `tried`) was not asked: renewals are tried again, and once what a client may not cancel
        any more. What a client asked for first is for `end`.
        """
        held = self._processes.get(errand.process)
        if held is None:
            return
        held.asking -= 1
        if errand.lifetime_seconds is not None:
            # What one client may not ask for is no reason to ask again for others before it is time.
            held.ask_at = max(now + RETRY_SECONDS, 0.0 if tried else held.until - RENEW_BEFORE_SECONDS)
        else:
            held.given_up = tried or errand.own_right
        self._forget(held, now)

    def cancel(
        self,
        session: Session,
        client: Hashable,
        process: int,
        monitored: Monitored,
        now: float,
        form: bool | None = None,
    ) -> tuple[Errand | None, Tally | None]:
        """A client cancels: what is to be asked of the device, if nobody else needs it, and what was counted. To cancel
        what is not there is no error (13.14).
        """
        known = self._clients.get(_key_of(session, client, process, monitored, form))
        if known is None:
            return None, None
        held = self._held[known.monitored]
        tally = self._drop(known, now)
        if held.clients or held.process not in self._processes:
            return None, tally
        return self._parting(held, known, now), tally

    def orphans(self, now: float) -> tuple[Errand, ...]:
        """What the device has and nobody needs any more, each told once: it is cancelled by the broker's own right."""
        deserted, self._deserted = self._deserted, {}
        errands = []
        for held in deserted:
            if held.clients or held.given_up or now >= held.forgotten_at:
                continue
            if held.asking:
                self._deserted[held] = None
            elif held.last is not None:
                errands.append(self._parting(held, held.last, now, own_right=True))
        return tuple(errands)

    def _parting(self, held: _Held, last: Subscription, now: float, *, own_right: bool = False) -> Errand:
        """Cancel. Who comes next gets another number, lest the cancellation overtake it and end its subscription."""
        if self._held.get(held.monitored) is held:
            del self._held[held.monitored]
        held.asked(now)
        return Errand(held.process, held.monitored, last, own_right=own_right)

    def end(self, subscription: Subscription, now: float) -> Tally | None:
        """It is over, and the device's an orphan if it was the last; what was counted."""
        return None if subscription.over else self._drop(subscription, now)

    def of_several(self, session: Session, client: Hashable, process: int) -> tuple[Subscription, ...]:
        """What a client has subscribed several at a time under one process, in both forms."""
        return tuple(
            one
            for one in self._of_session.get(session, ())
            if (one.client, one.process, one.multiple, one.held_back) == (client, process, True, False)
        )

    def end_session(self, session: Session, now: float, client: Hashable = None) -> tuple[Tally, ...]:
        """All of a session are over, or all of one client in it."""
        ended = [one for one in self._of_session.get(session, ()) if client is None or one.client == client]
        return _told(self._drop(one, now) for one in ended)

    def expire(self, now: float) -> tuple[Tally, ...]:
        """Those whose time is over are over; what was counted for them, and for those counted for long enough."""
        over = [self._drop(one, now) for one in tuple(self._clients.values()) if now >= one.ends]
        for held in tuple(self._processes.values()):
            self._forget(held, now)
        long = (one for one in self._clients.values() if now >= one.since + TALLY_SECONDS)
        return _told((*over, *(tally_of(one, now) for one in long)))

    def due(self, now: float) -> tuple[Errand, ...]:
        """What is to be asked of the device now to keep what clients have; each is asked for once until it is told what
        came of it, or a while has passed.
        """
        errands = []
        for held in self._held.values():
            behalf = next((one for one in reversed(held.clients) if not one.session.barred), None)
            if now < held.ask_at:
                continue
            held.ask_at = now + RETRY_SECONDS
            if behalf is not None:
                errands.append(self._asking(held, behalf, now))
        return tuple(errands)

    def wake_at(self) -> float:
        """When `due` or `expire` have something to say next (epoch seconds)."""
        asks = (held.ask_at if held.clients else held.forgotten_at for held in self._processes.values())
        ends = (min(one.ends, one.since + TALLY_SECONDS) for one in self._clients.values())
        return min((*asks, *ends), default=NEVER)

    def receivers(self, process: int, object_type: str, instance: int, now: float) -> tuple[Subscription, ...]:
        """Whom a notification of the device is for; nobody if it is about what was not subscribed under that number."""
        held = self._processes.get(process)
        if held is None or (held.monitored.object_type, held.monitored.instance) != (object_type, instance):
            return ()
        return tuple(one for one in held.clients if now < one.ends and one.session.ended is None)

    def _asking(self, held: _Held, behalf: Subscription, now: float) -> Errand:
        held.confirmed = any(one.confirmed for one in held.clients)
        held.ask_at = now + RETRY_SECONDS
        held.asked(now)
        return Errand(held.process, held.monitored, behalf, held.confirmed, DEVICE_LIFETIME_SECONDS)

    def _hold(self, monitored: Monitored) -> _Held:
        while self._next_process in self._processes or not 0 < self._next_process <= _LAST_PROCESS:
            self._next_process = self._next_process % _LAST_PROCESS + 1
        held = self._held[monitored] = self._processes[self._next_process] = _Held(self._next_process, monitored)
        self._next_process += 1
        self._increments[_place(monitored)] += 1
        return held

    def _drop(self, subscription: Subscription, now: float) -> Tally | None:
        if self._clients.get(_key(subscription)) is subscription:
            del self._clients[_key(subscription)]
        self._taken -= 1
        of_session = self._of_session[subscription.session]
        of_session.discard(subscription)
        if not of_session:
            del self._of_session[subscription.session]
        subscription.over = True
        subscription.withheld += len(subscription.waiting)
        subscription.waiting.clear()
        held = self._held[subscription.monitored]
        held.clients.remove(subscription)
        held.last = subscription
        if not held.clients:
            self._deserted[held] = None
        self._forget(held, now)
        return tally_of(subscription, now)

    def _forget(self, held: _Held, now: float) -> None:
        if held.clients or now < held.forgotten_at:
            return
        if self._processes.pop(held.process, None) is None:
            return
        place = _place(held.monitored)
        self._increments[place] -= 1
        if not self._increments[place]:
            del self._increments[place]
        if self._held.get(held.monitored) is held:
            del self._held[held.monitored]


def _key(subscription: Subscription) -> _Key:
    one = subscription
    return _key_of(one.session, one.client, one.process, one.monitored, one.form)


def _key_of(session: Session, client: Hashable, process: int, monitored: Monitored, form: bool | None) -> _Key:
    """What tells one subscription of a client from another (13.14, 13.15, 13.16): the increment does not."""
    return session, client, process, _place(monitored), form


def _place(monitored: Monitored) -> Monitored:
    return replace(monitored, increment=None)


def _told(tallies: Iterable[Tally | None]) -> tuple[Tally, ...]:
    return tuple(tally for tally in tallies if tally is not None)
