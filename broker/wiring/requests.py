"""What people do to access requests. Every act is recorded before it is stored, and stored before it counts.

An act names the version that it is done to: of two at one time, on one broker or on two, one is refused. Revoking
alone takes effect here even while the state cannot be reached.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from broker.access.eligibility import ineligible_because
from broker.access.request_pace import RequestPace
from broker.access.requests import (
    LIVING,
    MOST_REVIEWS,
    Party,
    RefusedActError,
    after,
    debts,
    groups_suffice,
)
from broker.adapters.clock import random_id
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_request_journal import RequestJournal
from broker.adapters.state_use_journal import UseJournal
from broker.engine.ports import Clock, Ledger, PolicyEngine
from broker.errors import BrokerError, RequestRefusedError, StateUnavailableError
from broker.ledger import request_records
from broker.ledger.reviews import sign_review, terms_digest, terms_document
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.review_desk import ReviewDecision, ReviewDesk
from broker.listeners.session_register import SessionRegister
from broker.model.access_request import (
    EVERY_REQUEST,
    AccessRequest,
    Ending,
    RequestAct,
    RequestChoice,
    RequestState,
    Review,
    Reviewer,
    Standing,
    Terms,
    Verdict,
)
from broker.model.decision import ReviewAnswer
from broker.model.subject import Subject
from broker.model.vocabulary import NO_ANSWER
from broker.settings.broker_file import Settings
from broker.wiring.request_grants import BROKER, RequestGrants
from broker.wiring.request_parts import RequestParts, signing
from broker.wiring.request_uses import RequestUses
from broker.wiring.request_views import RequestView
from broker.wiring.tickets import ticket_desk

log = logging.getLogger(__name__)
MOST_LIVING_OF_SUBJECT = 50
MOST_TRIES = 5
MOST_TOLD = 500


class RequestBook:
    """The access requests, for the API. Everything raises StateUnavailableError if the state cannot be reached,
    LedgerUnavailableError if nothing can be recorded, RequestRefusedError for what cannot be done.
    """

    def __init__(self, parts: RequestParts, grants: RequestGrants) -> None:
        self._parts = parts
        self._grants = grants
        self.uses = RequestUses(parts, grants)
        self._pace = RequestPace()
        self._told: dict[tuple[str, Reviewer, tuple[str, str]], ReviewAnswer] = {}

    @property
    def readiness(self) -> tuple[bool, str]:
        """Whether requests are followed, and in what state that is."""
        return self._grants.readiness

    async def start(self) -> None:
        """Take into force what is approved. Raises ConfigError."""
        await self.uses.start()
        await self._grants.start()

    async def stop(self) -> None:
        """Follow the state no more."""
        await self._grants.stop()
        await self._parts.tickets.close()
        await self.uses.settled()

    def new_id(self) -> str:
        """The id of a request to be."""
        return self._parts.chance("req")

    async def requests(self, choice: RequestChoice = EVERY_REQUEST) -> tuple[tuple[RequestView, ...], bool]:
        """Those chosen, first what is not over; and whether there are more."""
        found, more = await self._parts.rows.listed(choice)
        return tuple(self._view(request) for request in found), more

    async def request(self, identifier: str) -> RequestView | None:
        """The request of that id; while the state cannot be reached, one that may still give something."""
        try:
            found = await self._parts.rows.request(identifier)
        except StateUnavailableError:
            found = self._grants.request(identifier)
            if found is None:
                raise
        return None if found is None else self._view(found)

    async def may_review(self, request: AccessRequest, subject: Subject) -> ReviewAnswer:
        """What the policy says to a subject as a reviewer.

        Of who cannot be one any more, or never could, it is asked once for each state of things: those look often, to
        see who is missing, and each question leaves a record.
        """
        reviewer = reviewer_of(subject)
        barred = subject.id == request.terms.subject or any(subject.id == by for by, _ in request.notes)
        key = request.id, reviewer, self._parts.review_desk.rests_on
        if barred and key in self._told:
            return self._told[key]
        answer = (await self._parts.review_desk.ask(request.terms, reviewer)).answer
        if barred and NO_ANSWER.isdisjoint(answer.reasons):
            self._told = dict([*self._told.items(), (key, answer)][-MOST_TOLD:])
        return answer

    async def create(self, terms: Terms, *, submit: bool) -> RequestView:
        """Make a request of its subject's, as a draft or at once for review."""
        await self._require_room(terms)
        if submit:
            await self._parts.tickets.require(terms)
        state = RequestState.PENDING if submit else RequestState.DRAFT
        request = AccessRequest(terms, Standing(state))
        act = "create"

        async def recorded() -> None:
            await self._parts.recorded(self._changed(request, act, terms.subject, "", terms=True))

        await self._parts.rows.add(request, recorded)
        return await self._looked(request)

    async def submit(self, request: AccessRequest, by: Subject) -> RequestView:
        """Hand a draft in for review."""
        await self._require_room(request.terms)
        await self._parts.tickets.require(request.terms)
        return await self._act(request, RequestAct.SUBMIT, Party.REQUESTER, by.id)

    async def review(self, request: AccessRequest, by: Subject, verdict: Verdict, comment: str) -> RequestView:
        """Approve or deny. The last approval that is needed approves the request."""
        parts, terms, reviewer = self._parts, request.terms, reviewer_of(by)
        act = RequestAct.APPROVE if verdict is Verdict.APPROVE else RequestAct.DENY
        state = self._after(request, act, Party.REVIEWER)
        earlier = parts.trust.approvals(request)
        if any(reviewer_id == by.id for reviewer_id, _ in request.notes):
            raise RequestRefusedError("already_reviewed")
        if len(request.notes) >= MOST_REVIEWS:
            raise RequestRefusedError("request_state", "It has as many reviews as it can have.")
        decision = await parts.review_desk.ask(terms, reviewer)
        self._require_allowed(decision)
        if verdict is Verdict.APPROVE:
            self._require_eligible(terms)
            await self._require_reports(terms)
            groups = [
                review_decision.answer.groups for review_decision in [await self._again(terms, r) for r in earlier]
            ]
            if groups_suffice((*groups, decision.answer.groups), decision.answer.needed):
                state = after(state, RequestAct.COMPLETE, Party.BROKER)
        now = parts.clock.now()
        standing = self._next(request, state, by.id, comment)

        async def recorded() -> tuple[str, str]:
            told = request_records.request_reviewed(
                now,
                request=terms.id,
                version=standing.version,
                terms=terms_digest(terms),
                reviewer={"id": reviewer.id, "organisation": reviewer.organisation, "roles": reviewer.roles},
                verdict=verdict.value,
                groups=decision.answer.groups,
                decision=decision.index,
                comment=comment,
            )
            index = await parts.recorded(told)
            if state is not request.standing.state:
                done = (RequestAct.COMPLETE, BROKER) if verdict is Verdict.APPROVE else (act, by.id)
                moved = replace(request, standing=standing)
                await parts.recorded(self._changed(moved, done[0].value, done[1], request.standing.state.value))
            note = sign_review(
                terms,
                parts.signing(reviewer),
                verdict,
                comment=comment,
                groups=decision.answer.groups,
                at=int(now),
                index=index,
                origin=parts.origin,
                key=parts.key,
            )
            return by.id, note

        return await self._store(request, standing, recorded)

    async def withdraw(self, request: AccessRequest, by: Subject, why: str) -> RequestView:
        """Take a request back before it is active."""
        return await self._act(request, RequestAct.WITHDRAW, Party.REQUESTER, by.id, why)

    async def revoke(self, request: AccessRequest, by: Subject, why: str) -> RequestView:
        """End what was approved. It holds here at once, and without the state too."""
        try:
            return await self._act(request, RequestAct.REVOKE, Party.OWNER, by.id, why)
        except StateUnavailableError:
            return await self._revoke_here(request, by, why)

    async def end_all(self, wanted: Callable[[Terms], bool], by: Subject, why: str) -> tuple[RequestView, ...]:
        """Revoke everything that `wanted` holds good for and that is not over; one that cannot be keeps no other.

        Raises RequestRefusedError or StateUnavailableError when all have been tried.
        """
        ended: list[RequestView | None] = []
        failed: list[BrokerError] = []
        for request in await self._parts.rows.living(LIVING, ()):
            if wanted(request.terms):
                try:
                    ended.append(await self._end_soon(request, by, why))
                except (RequestRefusedError, StateUnavailableError) as error:
                    log.warning("request %s is not revoked with what it belongs to: %s", request.id, error.code)
                    failed.append(error)
        if failed:
            raise failed[0]
        return tuple(view for view in ended if view is not None)

    async def _end_soon(self, request: AccessRequest, by: Subject, why: str) -> RequestView | None:
        """Revoke it in whatever version it is; None if it is over. Raises RequestRefusedError."""
        for _ in range(MOST_TRIES):
            try:
                return await self.revoke(request, by, why)
            except RequestRefusedError as error:
                if error.code not in ("request_changed", "request_state"):
                    raise
            found = await self._parts.rows.request(request.id)
            if found is None or found.standing.state not in LIVING or self._grants.is_over(found.id):
                return None
            request = found
        raise RequestRefusedError("request_changed")

    async def _revoke_here(self, request: AccessRequest, by: Subject, why: str) -> RequestView:
        """It is over here at once, and everywhere when the state is back."""
        log.warning("request %s is revoked here, and everywhere when the state is back", request.id)
        standing = self._next(request, self._after(request, RequestAct.REVOKE, Party.OWNER), by.id, why)
        revoked = replace(request, standing=standing)
        at, ends = self._parts.clock.now(), request.terms.ends
        await self._grants.end(Ending(request.id, standing.state, at, by.id, why, ends, stored=False))
        previous = request.standing.state.value
        await self._parts.recorded(self._changed(revoked, RequestAct.REVOKE.value, by.id, previous, why=why))
        return replace(self._view(revoked), shared=False)

    async def close(self, request: AccessRequest, by: Subject, report: str) -> RequestView:
        """Give access back, or say what was done when it is over."""
        return await self._act(request, RequestAct.CLOSE, Party.REQUESTER, by.id, report=report)

    async def _act(
        self, request: AccessRequest, act: RequestAct, party: Party, by: str, why: str = "", report: str = ""
    ) -> RequestView:
        state = self._after(request, act, party)
        standing = replace(self._next(request, state, by, why), report=report or request.standing.report)

        async def recorded() -> None:
            moved = replace(request, standing=standing)
            record = self._changed(moved, act.value, by, request.standing.state.value, why=why or report)
            await self._parts.recorded(record)

        return await self._store(request, standing, recorded)

    async def _store(
        self,
        request: AccessRequest,
        standing: Standing,
        recorded: Callable[[], Awaitable[tuple[str, str] | None]],
    ) -> RequestView:
        if not await self._parts.rows.change(request.id, request.standing.version, standing, recorded):
            raise RequestRefusedError("request_changed")
        if standing.state not in LIVING:
            at = standing.ended_at or self._parts.clock.now()
            ends = request.terms.ends
            await self._grants.end(Ending(request.id, standing.state, at, standing.ended_by, standing.ended_why, ends))
        return await self._looked(request)

    async def _looked(self, request: AccessRequest) -> RequestView:
        """Let it take effect here before the answer, and show what came of it."""
        await self._grants.look()
        found = await self._parts.rows.request(request.id)
        if found is None:
            raise RequestRefusedError("request_unknown")
        return self._view(found)

    def _view(self, request: AccessRequest) -> RequestView:
        grants = self._grants
        reviews = self._parts.trust.proven(request)
        return RequestView(request, reviews, grants.is_given(request.id), grants.held_because(request.id))

    def _after(self, request: AccessRequest, act: RequestAct, party: Party) -> RequestState:
        if self._grants.is_over(request.id) and request.standing.state in LIVING:
            raise RequestRefusedError("request_state", "It is over.")
        try:
            return after(request.standing.state, act, party)
        except RefusedActError as error:
            raise RequestRefusedError("request_state", f"It is {error.state.value}.") from None

    def _next(self, request: AccessRequest, state: RequestState, by: str, why: str) -> Standing:
        standing = replace(request.standing, state=state, version=request.standing.version + 1)
        if state in LIVING or request.standing.ended_at is not None:
            return standing
        return replace(standing, ended_at=self._parts.clock.now(), ended_by=by, ended_why=why)

    async def _again(self, terms: Terms, review: Review) -> ReviewDecision:
        return await self._parts.review_desk.ask(terms, self._parts.standing(review.reviewer))

    def _require_allowed(self, decision: ReviewDecision) -> None:
        if not decision.answer.allow:
            raise RequestRefusedError("review_refused", "", decision.answer.reasons, decision.id, decision.index)

    def _require_eligible(self, terms: Terms) -> None:
        found = ineligible_because(terms, self._parts.surroundings, self._parts.clock.now())
        if found:
            raise RequestRefusedError("request_ineligible", "", found)

    async def _require_room(self, terms: Terms) -> None:
        """Raises RequestRefusedError if the subject owes a report, has too many, asks too often, or for what it cannot
        have.
        """
        self._require_eligible(terms)
        if terms.ends <= self._parts.clock.now():
            raise RequestRefusedError("request_time", "It would be over before it begins.")
        await self._require_reports(terms)
        if await self._parts.rows.count(terms.subject, LIVING) >= MOST_LIVING_OF_SUBJECT:
            raise RequestRefusedError("too_many_requests")
        wait = self._pace.wait_seconds(terms.subject, self._parts.clock.monotonic())
        if wait:
            raise RequestRefusedError("requests_too_often", wait_seconds=wait)

    async def _require_reports(self, terms: Terms) -> None:
        """What is over must be reported on before the next is handed in, and before it is approved."""
        activated = await self._parts.rows.activated(terms.subject)
        owed = [one for one in debts(activated) if one != terms.extends]
        if owed:
            raise RequestRefusedError("report_due", f"Close {', '.join(owed)} with a report first.")

    def _changed(
        self, request: AccessRequest, act: str, by: str, previous: str, *, terms: bool = False, why: str = ""
    ) -> bytes:
        return request_records.request_changed(
            self._parts.clock.now(),
            request=request.id,
            version=request.standing.version,
            act=act,
            by=by,
            previous=previous,
            state=request.standing.state.value,
            terms=terms_document(request.terms) if terms else None,
            why=why,
        )


def request_book(
    settings: Settings,
    clock: Clock,
    ledger: Ledger,
    desk: DecisionDesk,
    register: SessionRegister,
    policy: PolicyEngine,
    database: StateDatabase,
) -> RequestBook:
    """The access requests of a broker with these settings. Raises ConfigError."""
    parts = RequestParts(
        clock,
        ledger,
        desk,
        register,
        ReviewDesk(clock, ledger, policy, desk, random_id),
        random_id,
        database,
        RequestJournal(Path(settings.state_dir) / "requests.json"),
        UseJournal(Path(settings.state_dir) / "uses.json"),
        *signing(settings),
        ticket_desk(settings.tickets, clock, random_id),
    )
    return RequestBook(parts, RequestGrants(parts))


def reviewer_of(subject: Subject) -> Reviewer:
    """A proven subject as somebody who reviews."""
    times = [proof.authenticated_at for proof in subject.proofs if proof.authenticated_at is not None]
    return Reviewer(
        subject.id,
        subject.kind.value,
        subject.organisation,
        subject.roles,
        tuple(dict.fromkeys(proof.kind.value for proof in subject.proofs)),
        int(max(times)) if times else None,
    )
