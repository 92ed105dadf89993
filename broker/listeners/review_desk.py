"""Where it is decided who may review an access request: question -> engine -> strict answer -> ledger record."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from broker.authz import review as reviews
from broker.authz.question import encode
from broker.authz.validation import invalid_because
from broker.engine.ports import Clock, Ledger, PolicyEngine
from broker.errors import LedgerUnavailableError, PolicyUnavailableError
from broker.ledger import records
from broker.listeners.decision_desk import DecisionDesk
from broker.model.access_request import Reviewer, Terms
from broker.model.decision import EntryPoint, ReviewAnswer
from broker.model.vocabulary import Reason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReviewDecision:
    """An answer with its place in the record; `index` is -1 if it could not be recorded, and then it denies."""

    answer: ReviewAnswer
    id: str
    index: int


class ReviewDesk:
    """Nothing of its answers is kept: an approval is decided when it is given, and again when it is used."""

    def __init__(
        self, clock: Clock, ledger: Ledger, policy: PolicyEngine, desk: DecisionDesk, chance: Callable[[str], str]
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._policy = policy
        self._desk = desk
        self._chance = chance

    @property
    def rests_on(self) -> tuple[str, str]:
        """What answers rest on now: the revisions of policy and inventory."""
        return self._policy.revision, self._desk.in_force.inventory.revision

    async def ask(self, terms: Terms, reviewer: Reviewer) -> ReviewDecision:
        """For what this reviewer may stand, and how many are needed; no answer, or an odd one, is nothing."""
        in_force, revision = self._desk.in_force, self._policy.revision
        question = reviews.review_question(
            now=self._clock.now(),
            terms=terms,
            organisation=in_force.organisation_of(terms.organisation),
            devices=tuple(device for key in terms.devices if (device := in_force.device(key)) is not None),
            reviewer=reviewer,
            reviewer_organisation=in_force.organisation_of(reviewer.organisation),
        )
        if invalid_because(EntryPoint.REVIEW, question):
            answer = _denial(Reason.INPUT_INVALID)
        else:
            answer = await self._answer(encode(question), revision)
        return self._record(question, answer, revision)

    async def _answer(self, question: bytes, revision: str) -> ReviewAnswer:
        answered: asyncio.Future[bytes | PolicyUnavailableError] = asyncio.get_running_loop().create_future()
        self._policy.decide(EntryPoint.REVIEW, question, answered.set_result)
        raw = await asyncio.shield(answered)
        if isinstance(raw, PolicyUnavailableError):
            late = raw.code == Reason.POLICY_LATE
            return _denial(Reason.POLICY_LATE if late else Reason.POLICY_UNAVAILABLE)
        if self._policy.revision != revision:
            return _denial(Reason.POLICY_UNAVAILABLE)
        return reviews.read_review_answer(raw)

    def _record(self, question: dict[str, object], answer: ReviewAnswer, revision: str) -> ReviewDecision:
        decision_id = self._chance("dec")
        record = records.decision(
            self._clock.now(),
            id=decision_id,
            session="",
            entry_point=EntryPoint.REVIEW.value,
            input=question,
            answer=reviews.review_document(answer),
            revision=revision,
            allow=answer.allow,
            reasons=answer.reasons,
        )
        try:
            return ReviewDecision(answer, decision_id, self._ledger.append(record))
        except LedgerUnavailableError:
            return ReviewDecision(_denial(Reason.LEDGER_CLOSED), "", -1)


def _denial(reason: Reason) -> ReviewAnswer:
    return ReviewAnswer(False, (reason,))
