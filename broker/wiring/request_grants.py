"""Takes approved requests into force and out of it: what the state says is proven first, and again and again.

A row of the state gives nothing by itself. Its terms must be those that enough reviewers signed, whoever asked must be
eligible, its time must have come; and what this broker once knew to be over stays over, whatever the state says later.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from broker.access.eligibility import ineligible_because
from broker.access.requests import GRANTED, LIVING, Party, after, by_the_clock
from broker.errors import LedgerUnavailableError, StateUnavailableError
from broker.ledger import request_records
from broker.ledger.reviews import terms_digest
from broker.listeners.session_register import REQUESTS_UNREAD
from broker.model.access_request import AccessRequest, Ending, RequestAct, RequestState, Terms
from broker.model.place import Grant
from broker.model.vocabulary import EndReason, Reason
from broker.wiring.request_approvals import RequestApprovals
from broker.wiring.request_parts import RequestParts

log = logging.getLogger(__name__)
SOURCE = "requests"
TURN_SECONDS = 0.25
MOST_ASKED_AT_ONCE = 8
HEARTBEAT_SECONDS = 0.5
OWN_FILE_HEARTBEAT_SECONDS = 2.0
STALE_SECONDS = 5.0
REMEMBERED_SECONDS = 86_400.0
BROKER = "broker"


class RequestGrants:
    """One per broker; what it gives is what `desk.given` has of requests."""

    def __init__(self, parts: RequestParts) -> None:
        self._parts = parts
        self._woken = asyncio.Event()
        parts.database.changed.append(self._woken.set)
        self._heartbeat_seconds = HEARTBEAT_SECONDS if parts.database.shared else OWN_FILE_HEARTBEAT_SECONDS
        self._living: dict[str, AccessRequest] = {}
        self._over: dict[str, Ending] = {}
        self._kept: tuple[Ending, ...] = ()
        self._given: dict[str, Grant] = {}
        self._held: dict[str, tuple[str, ...]] = {}
        self._approvals = RequestApprovals(parts)
        self._turn = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._read_at = float("-inf")
        self._keeping_trouble = ""
        self._look_at = 0.0
        self._due = 0.0
        self._epoch = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def readiness(self) -> tuple[bool, str]:
        """Whether requests are followed and what is over is kept, and in what state that is."""
        stale = "not read for more than 5 s, so none gives anything" if self._is_stale else ""
        trouble = "; ".join(filter(None, (stale, self._keeping_trouble)))
        return not trouble, trouble or f"read, {len(self._given)} give something"

    @property
    def _is_stale(self) -> bool:
        return self._parts.clock.monotonic() - self._read_at > STALE_SECONDS

    async def start(self) -> None:
        """Take what is over from the last run, then what the state has. Raises ConfigError."""
        self._kept = await asyncio.to_thread(self._parts.journal.read)
        self._over = {ending.request: ending for ending in self._kept}
        await self.look()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def request(self, identifier: str) -> AccessRequest | None:
        """A request that may still give something, as last read."""
        return self._living.get(identifier)

    def held_because(self, identifier: str) -> tuple[str, ...]:
        """Why an approved request whose time has come gives nothing; none if it does."""
        return self._held.get(identifier, ())

    def is_given(self, identifier: str) -> bool:
        """Whether its grant is in force here."""
        return identifier in self._given

    def is_over(self, identifier: str) -> bool:
        """Whether this broker knows it to be over."""
        return identifier in self._over

    async def end(self, ending: Ending) -> None:
        """It is over, here at once and for good."""
        self._note_end(ending)
        why = {ending.request: (ending.state.value,)}
        self._give([grant for key, grant in self._given.items() if key != ending.request], why)
        await self._keep()

    async def look(self) -> None:
        """Read the state, and let it take effect."""
        async with self._turn:
            began, over = self._parts.clock.monotonic(), frozenset(self._over)
            self._look_at = began + self._heartbeat_seconds
            try:
                found = await self._parts.rows.living(LIVING, tuple(self._living))
            except StateUnavailableError as error:
                log.debug("requests cannot be read: %s", error)
            else:
                self._read_at = began
                await self._learn(found, over)
            await self._take_effect()
        await self._keep()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN_SECONDS):
                    await self._woken.wait()
            self._hold_if_stale()
            try:
                if self._woken.is_set() or self._parts.clock.monotonic() >= self._look_at:
                    self._woken.clear()
                    await self.look()
                elif self._parts.clock.now() >= self._due or self._parts.desk.epoch != self._epoch:
                    async with self._turn:
                        await self._take_effect()
                    await self._keep()
            except Exception:
                # Whatever it is: what is in force ends by its own time, by locks, or with the age of what was read.
                log.exception("requests could not be looked at")

    async def _learn(self, found: tuple[AccessRequest, ...], over_before: frozenset[str]) -> None:
        """Take what was read; what ended while it was read is said to go on there, and nobody revived it."""
        for gone in self._living.keys() - {request.id for request in found}:
            self._parts.distrust(gone, "row_missing: the state no longer has it")
        living = {}
        for request in found:
            over = self._over.get(request.id)
            if request.standing.state not in LIVING:
                self._note_end(_ending(request))
            elif over is not None and request.id in over_before:
                await self._end_again(request, over)
            else:
                living[request.id] = request
        # Some may have ended while others were ended again.
        self._living = {key: request for key, request in living.items() if key not in self._over}
        ended = {key: (self._over[key].state.value,) for key in self._given if key in self._over}
        self._give([grant for key, grant in self._given.items() if key in self._living], ended)

    def _hold_if_stale(self) -> None:
        """Somebody may have revoked what this broker could not read for too long."""
        if not self._is_stale:
            return
        self._tell_whether_read()
        if self._given:
            log.error("requests were last read more than %d seconds ago: they give nothing", STALE_SECONDS)
            self._held |= dict.fromkeys(self._given, (Reason.STATE_STALE,))
            self._give((), self._held)

    async def _end_again(self, request: AccessRequest, over: Ending) -> None:
        """The state does not have yet, or no longer has, that a request is over."""
        if over.stored:
            self._parts.distrust(request.id, f"revived: it was {over.state.value} before")
        ended = replace(
            request.standing,
            state=over.state,
            version=request.standing.version + 1,
            ended_at=over.at,
            ended_by=over.by,
            ended_why=over.why,
        )
        with suppress(StateUnavailableError):
            if await self._parts.rows.change(request.id, request.standing.version, ended, _nothing):
                self._over[request.id] = replace(over, stored=True)

    async def _take_effect(self) -> None:
        """Give what is proven and due, take away what is not, and go on with what the time has changed."""
        parts, now = self._parts, self._parts.clock.now()
        due = [r for r in self._living.values() if r.standing.state in GRANTED and self._is_time(r.terms, now)]
        turns = asyncio.Semaphore(MOST_ASKED_AT_ONCE)
        why = await asyncio.gather(*(self._held_because(request, now, turns) for request in due))
        held = {request.id: reasons for request, reasons in zip(due, why, strict=True)}
        wanted: dict[str, Grant] = {}
        for request in due:
            if not held[request.id] and (request.id in self._given or await self._record_given(request)):
                wanted[request.id] = request.terms.grant()
        self._held = held
        self._give([grant for key, grant in wanted.items() if key in self._living], self._held)
        self._tell_whether_read()
        self._epoch, self._due = parts.desk.epoch, self._next_due(now)
        for request in tuple(self._living.values()):
            act = by_the_clock(request.standing, request.terms, now, request.id in self._given)
            if act is not None:
                await self._by_itself(request, act, now)

    def _tell_whether_read(self) -> None:
        """Nothing is to be concluded from a grant that is not given only because nobody could read it."""
        unread = self._parts.register.grants_unread
        (unread.add if self._is_stale else unread.discard)(REQUESTS_UNREAD)

    def _is_time(self, terms: Terms, now: float) -> bool:
        return terms.starts <= now < terms.ends and (not terms.window or self._opening(terms, now) <= now)

    def _opening(self, terms: Terms, now: float) -> float:
        """When the window that it names is open on one of its devices: before `now`, or next."""
        in_force = self._parts.desk.in_force
        devices = (in_force.device(key) for key in terms.devices)
        found = (
            in_force.occurrence(terms.window, device, terms.organisation, now)
            for device in devices
            if device is not None
        )
        return min((interval.opens for interval in found if interval is not None), default=float("inf"))

    def _next_due(self, now: float) -> float:
        moments: list[float] = []
        for request in self._living.values():
            moments += [request.terms.starts, request.terms.ends]
            if request.terms.window:
                moments.append(self._opening(request.terms, now))
        return min((moment for moment in moments if moment > now), default=float("inf"))

    async def _held_because(self, request: AccessRequest, now: float, turns: asyncio.Semaphore) -> tuple[str, ...]:
        if self._is_stale:
            return (Reason.STATE_STALE,)
        found = ineligible_because(request.terms, self._parts.surroundings, now)
        if found:
            return found
        async with turns:
            return await self._approvals.missing_because(request)

    async def _record_given(self, request: AccessRequest) -> bool:
        """Whether it is on record that the grant comes into force; without, it does not."""
        reviews = [{"ledger": review.broker, "index": review.index} for review in self._parts.trust.approvals(request)]
        terms = request.terms
        record = request_records.grant_given(
            self._parts.clock.now(), grant=terms.id, subject=terms.subject, terms=terms_digest(terms), reviews=reviews
        )
        try:
            await self._parts.recorded(record)
        except LedgerUnavailableError:
            log.error("grant %s does not come into force: that cannot be recorded", terms.id)
            return False
        return True

    def _give(self, grants: Iterable[Grant], why: Mapping[str, tuple[str, ...]]) -> None:
        """These grants are in force from now on; `why` says for what reasons others no longer are."""
        wanted = {grant.id: grant for grant in grants}
        if wanted == self._given:
            return
        # What has run out, such as a window that a grant names, ends sessions for its own reason first.
        self._parts.register.tick(self._parts.clock.now())
        stale = False
        for gone in self._given.keys() - wanted.keys():
            reasons = why.get(gone, ())
            stale = stale or Reason.STATE_STALE in reasons
            self._record_withdrawn(gone, reasons)
        self._given = wanted
        self._parts.register.give(SOURCE, wanted.values(), EndReason.STATE_STALE if stale else EndReason.GRANT_ENDED)

    def _record_withdrawn(self, grant: str, reasons: tuple[str, ...]) -> None:
        """Recorded or not, it is taken away."""
        try:
            record = request_records.grant_withdrawn(self._parts.clock.now(), grant=grant, reasons=reasons)
            self._parts.ledger.append(record)
            self._parts.ledger.settle(False, lambda _: None)
        except LedgerUnavailableError:
            log.error("that grant %s ended was not recorded: the ledger is closed", grant)

    async def _by_itself(self, request: AccessRequest, act: RequestAct, now: float) -> None:
        """What the time has changed, written by the first broker that comes to it."""
        before = request.standing
        standing = replace(before, state=after(before.state, act, Party.BROKER), version=before.version + 1)
        if act is RequestAct.ACTIVATE and before.activated_at is None:
            standing = replace(standing, activated_at=now)
        if act is RequestAct.EXPIRE:
            standing = replace(standing, ended_at=now, ended_by=BROKER)

        async def recorded() -> None:
            await self._parts.recorded(
                request_records.request_changed(
                    self._parts.clock.now(),
                    request=request.id,
                    version=standing.version,
                    act=act.value,
                    by=BROKER,
                    previous=before.state.value,
                    state=standing.state.value,
                )
            )

        try:
            changed = await self._parts.rows.change(request.id, before.version, standing, recorded)
        except (StateUnavailableError, LedgerUnavailableError) as error:
            log.debug("request %s stays %s for now: %s", request.id, before.state.value, error)
            return
        if not changed:
            self._woken.set()
        elif act is RequestAct.EXPIRE:
            self._note_end(_ending(replace(request, standing=standing)))
        elif request.id in self._living:
            self._living[request.id] = replace(request, standing=standing)

    def _note_end(self, ending: Ending) -> None:
        known = self._over.get(ending.request)
        if known is None or (ending.stored and not known.stored):
            self._over[ending.request] = ending
        self._living.pop(ending.request, None)

    async def _keep(self) -> None:
        """Bring the journal to what is over now."""
        async with self._writing:
            now = self._parts.clock.now()
            self._over = {k: e for k, e in self._over.items() if not e.stored or now < e.ends + REMEMBERED_SECONDS}
            over = tuple(self._over.values())
            if over == self._kept:
                return
            try:
                await asyncio.to_thread(self._parts.journal.write, over)
            except OSError as error:
                log.error("the requests that are over cannot be kept: %s", error)
                self._keeping_trouble = f"what is over cannot be kept: {error}"
                return
            self._kept, self._keeping_trouble = over, ""


async def _nothing() -> None:
    """What was recorded already, or is recorded elsewhere."""


def _ending(request: AccessRequest) -> Ending:
    standing = request.standing
    return Ending(
        request.id,
        standing.state if standing.state not in LIVING else RequestState.EXPIRED,
        standing.ended_at or 0.0,
        standing.ended_by,
        standing.ended_why,
        request.terms.ends,
    )
