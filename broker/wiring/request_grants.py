"""Takes approved requests into force and out of it: what the state says is proven first, and again and again.

A row of the state gives nothing by itself. Its terms must be those that enough reviewers signed, whoever asked must be
eligible, its time must have come; and what this broker once knew to be over stays over, whatever the state says later.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
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
from broker.wiring.kept_file import KeptFile
from broker.wiring.request_approvals import RequestApprovals
from broker.wiring.request_parts import RequestParts
from broker.wiring.request_times import RequestTimes
from broker.wiring.state_follower import StateFollower

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
    """One per broker; what it gives is what `desk.given` has of requests.

    Reading, asking, recording and keeping go on beside each other: a ledger or a disk that hangs keeps nothing from
    being given that was not, and nothing that somebody else ended from ending here.
    """

    def __init__(self, parts: RequestParts) -> None:
        self._parts = parts
        heartbeat = HEARTBEAT_SECONDS if parts.database.shared else OWN_FILE_HEARTBEAT_SECONDS
        self._follower = StateFollower(parts.database, heartbeat, self._read, "requests could not be read")
        self._living: dict[str, AccessRequest] = {}
        self._over: dict[str, Ending] = {}
        self._file = KeptFile[tuple[Ending, ...]]((), self._to_keep, parts.journal.write, "what is over")
        self._given: dict[str, Grant] = {}
        self._proven: dict[str, Terms] = {}
        self._recorded: dict[str, Terms] = {}
        self._held: dict[str, tuple[str, ...]] = {}
        self._approvals = RequestApprovals(parts)
        self._times = RequestTimes(parts.desk)
        self._reading = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._recording = asyncio.Lock()
        self._read_at = float("-inf")
        self._news = asyncio.Event()
        self._asked = asyncio.Event()
        self._due = 0.0
        self._epoch = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    @property
    def readiness(self) -> tuple[bool, str]:
        """Whether requests are followed and what is over is kept, and in what state that is."""
        stale = "not read for more than 5 s, so none gives anything" if self._is_stale else ""
        trouble = "; ".join(filter(None, (stale, self._file.trouble)))
        return not trouble, trouble or f"read, {len(self._given)} give something"

    @property
    def _is_stale(self) -> bool:
        return self._parts.clock.monotonic() - self._read_at > STALE_SECONDS

    async def start(self) -> None:
        """Take what is over from the last run, then what the state has. Raises ConfigError."""
        await self.recall()
        self._watch()
        self._follower.start()
        self._tasks = (
            asyncio.create_task(self._again_and_again(self._ask)),
            asyncio.create_task(self._again_and_again(self._record)),
        )

    async def recall(self) -> None:
        """Take what is over from the last run, then look at the state once. Raises ConfigError."""
        self._file.kept = await asyncio.to_thread(self._parts.journal.read)
        self._over = {ending.request: ending for ending in self._file.kept}
        await self.look()

    async def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        await self._follower.stop()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._file.stop()

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
        await self._file.settled()

    async def look(self) -> None:
        """Read the state, and let all of it take effect."""
        await self._read()
        await self._take_effect()
        await self._bring()
        await self._file.settled()

    async def _read(self) -> None:
        """Read the state; what is over there is over here at once, whatever else has to wait for a ledger or a disk."""
        async with self._reading:
            began, over = self._parts.clock.monotonic(), frozenset(self._over)
            try:
                found = await self._parts.rows.living(LIVING, tuple(self._living))
            except StateUnavailableError as error:
                log.debug("requests cannot be read: %s", error)
            else:
                self._read_at = began
                await self._learn(found, over)
        self._file.wake()
        self._news.set()

    async def _ask(self) -> None:
        """Let what was read, or has changed around it, take effect."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TURN_SECONDS):
                await self._news.wait()
        parts = self._parts
        if self._news.is_set() or parts.clock.now() >= self._due or parts.desk.epoch != self._epoch:
            self._news.clear()
            await self._take_effect()
            self._asked.set()

    async def _record(self) -> None:
        """Bring into force, and write down, what has to be on record first."""
        await self._asked.wait()
        self._asked.clear()
        await self._bring()

    async def _again_and_again(self, turn: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await turn()
            except Exception:
                # Whatever it is: what is in force ends by its own time, by locks, or with the age of what was read.
                log.exception("requests could not be looked at")
                await asyncio.sleep(TURN_SECONDS)

    def _watch(self) -> None:
        """Whatever hangs, what was last read too long ago gives nothing."""
        self._timer = asyncio.get_running_loop().call_later(TURN_SECONDS, self._watch)
        self._hold_if_stale()

    async def _learn(self, found: tuple[AccessRequest, ...], over_before: frozenset[str]) -> None:
        """Take what was read; what ended while it was read is said to go on there, and nobody revived it."""
        for gone in self._living.keys() - {request.id for request in found}:
            self._parts.distrust(gone, "row_missing: the state no longer has it")
        living, revived = {}, []
        for request in found:
            over = self._over.get(request.id)
            if request.standing.state not in LIVING:
                self._note_end(_ending(request))
            elif over is not None and request.id in over_before:
                revived.append((request, over))
            else:
                living[request.id] = request
        self._living = {key: request for key, request in living.items() if key not in self._over}
        ended = {key: (self._over[key].state.value,) for key in self._given if key in self._over}
        self._give([grant for key, grant in self._given.items() if key in self._living], ended)
        for request, over in revived:
            await self._end_again(request, over)

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
        """Give what is proven, due and on record; take away what is not."""
        async with self._asking:
            now, epoch = self._parts.clock.now(), self._parts.desk.epoch
            due = self._are_due(now)
            turns = asyncio.Semaphore(MOST_ASKED_AT_ONCE)
            why = await asyncio.gather(*(self._held_because(request, now, turns) for request in due))
            held = {request.id: reasons for request, reasons in zip(due, why, strict=True)}
            # What was read, and how long ago, may have changed meanwhile.
            if self._is_stale:
                held = dict.fromkeys(held, (Reason.STATE_STALE,))
            proven = {r.id: r.terms for r in due if not held[r.id] and self._is_unchanged(r)}
            self._proven, self._held, self._due = (
                proven,
                held,
                self._times.next_after(now, [r.terms for r in self._living.values()]),
            )
            wanted = [t.grant() for key, t in proven.items() if key in self._given or self._recorded.get(key) == t]
            for unused in self._recorded.keys() - {grant.id for grant in wanted}:
                self._record_withdrawn(unused, held.get(unused, ()))
            self._recorded.clear()
            self._give(wanted, held)
            if self._is_stale or len(wanted) == len(proven):
                self._tell_whether_read()  # else once what is proven has been recorded, and given
            # As it was before: whatever changed meanwhile, what was given too, is looked at once more.
            self._epoch = epoch

    async def _bring(self) -> None:
        """Record what is to come into force, and what the time has changed; that may take as long as a ledger does."""
        async with self._recording:
            for identifier, terms in tuple(self._proven.items()):
                request = self._living.get(identifier)
                if request is not None and identifier not in self._given and await self._record_given(request):
                    self._recorded[identifier] = terms
            if self._recorded:
                # Only what still holds now that it is on record.
                await self._take_effect()
            self._tell_whether_read()
            now = self._parts.clock.now()
            for request in tuple(self._living.values()):
                act = by_the_clock(request.standing, request.terms, now, request.id in self._given)
                if act is not None:
                    await self._by_itself(request, act, now)

    def _are_due(self, now: float) -> list[AccessRequest]:
        return [r for r in self._living.values() if r.standing.state in GRANTED and self._times.is_time(r.terms, now)]

    def _is_unchanged(self, request: AccessRequest) -> bool:
        """Whether it is still what was asked about; only what the time does to it may have changed."""
        known = self._living.get(request.id)
        if known is None or known.standing.state not in GRANTED:
            return False
        return (known.terms, known.notes) == (request.terms, request.notes)

    def _tell_whether_read(self) -> None:
        """Nothing is to be concluded from a grant that is not given only because nobody could read it."""
        unread = self._parts.register.grants_unread
        (unread.add if self._is_stale else unread.discard)(REQUESTS_UNREAD)

    async def _held_because(self, request: AccessRequest, now: float, turns: asyncio.Semaphore) -> tuple[str, ...]:
        if self._is_stale:
            return (Reason.STATE_STALE,)
        found = ineligible_because(request.terms, self._parts.surroundings, now)
        if found:
            return found
        async with turns:
            # Verdicts are verified here: however many somebody forged, others have their turns between.
            await asyncio.sleep(0)
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
            self._follower.wake()
        elif act is RequestAct.EXPIRE:
            self._note_end(_ending(replace(request, standing=standing)))
        elif request.id in self._living:
            self._living[request.id] = replace(request, standing=standing)

    def _note_end(self, ending: Ending) -> None:
        known = self._over.get(ending.request)
        if known is None or (ending.stored and not known.stored):
            self._over[ending.request] = ending
        self._living.pop(ending.request, None)

    def _to_keep(self) -> tuple[Ending, ...]:
        """What is over now, without what the state has and nobody asks for any more."""
        now = self._parts.clock.now()
        self._over = {k: e for k, e in self._over.items() if not e.stored or now < e.ends + REMEMBERED_SECONDS}
        return tuple(self._over.values())


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
