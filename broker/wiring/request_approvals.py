"""Whether those who signed for a request may still approve it, by the policy of today."""

from broker.access.requests import groups_suffice
from broker.model.access_request import AccessRequest, Review, Terms, Verdict
from broker.model.decision import ReviewAnswer
from broker.model.vocabulary import NO_ANSWER, Reason
from broker.wiring.request_parts import RequestParts

ANSWERS_SECONDS = 60.0
GRACE_SECONDS = 5.0
# An engine that does not answer again leaves what it said before under the same policy, but for seconds only.


class RequestApprovals:
    """Asks about each approval again when anything that it rests on changes, and each minute."""

    def __init__(self, parts: RequestParts) -> None:
        self._parts = parts
        self._answers: dict[tuple[object, ...], tuple[float, ReviewAnswer]] = {}

    async def missing_because(self, request: AccessRequest) -> tuple[str, ...]:
        """Why what was signed does not approve a request; none if it does."""
        reviews = self._parts.trust.proven(request)
        if any(review.verdict is not Verdict.APPROVE for review in reviews):
            self._parts.distrust(request.id, "denied: it is said to be approved, and somebody signed a denial")
            return (Reason.APPROVALS_MISSING,)
        if not reviews:
            self._parts.distrust(request.id, "no_approval: it is said to be approved, and nobody signed that")
        answers = [await self._answer(request.terms, review) for review in reviews]
        allowing = tuple(answer.groups for answer in answers if answer.allow)
        needed = max((answer.needed for answer in answers), default=1)
        return () if groups_suffice(allowing, needed) else (Reason.APPROVALS_MISSING,)

    async def _answer(self, terms: Terms, review: Review) -> ReviewAnswer:
        parts = self._parts
        if parts.desk.locks.on_request(review.reviewer.id, review.reviewer.organisation, ()) is not None:
            return ReviewAnswer(False, (Reason.LOCKED,))
        key = terms, review.note, parts.review_desk.rests_on
        known, now = self._answers.get(key), parts.clock.monotonic()
        if known is not None and now - known[0] < ANSWERS_SECONDS:
            return known[1]
        most = ANSWERS_SECONDS + GRACE_SECONDS
        self._answers = {k: kept for k, kept in self._answers.items() if now - kept[0] < most}
        answer = (await parts.review_desk.ask(terms, parts.standing(review.reviewer))).answer
        if NO_ANSWER.isdisjoint(answer.reasons):
            self._answers[key] = now, answer
            return answer
        return self._answers[key][1] if key in self._answers else answer
