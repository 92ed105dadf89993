"""Whether those who armed an operation still may, asked when that is to be used: it is worth no more than they are.

Their proofs are looked at again (revoked, logged out, no longer believed), and the policy is asked about each of them
as it was when he armed it. That a token has run out since ends nothing: it told who he was when he acted.
"""

from collections.abc import Callable
from typing import Protocol

from broker.authz.question import SessionFacts
from broker.engine.ports import Clock
from broker.model.approval import ARMS, Approval, Approver
from broker.model.decision import Decision
from broker.model.subject import Subject
from broker.model.vocabulary import NO_ANSWER, EndReason, Reason

LISTENER = "https"
Told = Callable[[str], None]


class Permits(Protocol):
    """Decides one action that touches no device."""

    def __call__(
        self,
        subject: Subject,
        permission: str,
        resource: dict[str, object],
        about: SessionFacts,
        decided: Callable[[Decision], None],
    ) -> None:
        """`decided` is told, at once or later."""


class Approvers:
    """One per broker. `prove_again` gives a subject as its proofs hold now, or why they no longer do."""

    def __init__(
        self, clock: Clock, permits: Permits, prove_again: Callable[[Subject, float], Subject | EndReason]
    ) -> None:
        self._clock = clock
        self._permits = permits
        self._prove_again = prove_again

    def ask(self, approval: Approval, told: Told) -> None:
        """`told` gets "" if all of them still may, `approval_needed` if one may not, else why nobody can say."""
        self._ask(approval, approval.armed_by, told)

    def _ask(self, approval: Approval, left: tuple[Approver, ...], told: Told) -> None:
        if not left:
            told("")
            return
        approver, now = left[0], self._clock.now()
        proven = self._prove_again(approver.subject, now)
        if isinstance(proven, EndReason):
            told(Reason.APPROVAL_NEEDED)
            return

        def decided(decision: Decision) -> None:
            if decision.allow:
                self._ask(approval, left[1:], told)
            else:
                told(next((word for word in decision.reasons if word in NO_ANSWER), Reason.APPROVAL_NEEDED))

        facts = SessionFacts(id="", listener=LISTENER, peer=approver.peer, started=now, mfa_at=None)
        self._permits(proven, ARMS[approver.kind], dict(approval.about), facts, decided)
