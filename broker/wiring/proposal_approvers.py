"""Whether those who approved a proposal still may: a warrant is worth no more than the people whom it names.

The policy is asked about each of them again, beside the others.
"""

from collections.abc import Iterable
from dataclasses import replace

from broker.adapters.state_people import PersonRows
from broker.engine.ports import Clock
from broker.errors import PolicyUnavailableError
from broker.listeners.authentication import Authenticator
from broker.listeners.decision_desk import DecisionDesk
from broker.model.backer import Backer
from broker.model.enrolment import EnrolledCertificate
from broker.model.proposal import Proposal, ProposalAct, Standing
from broker.model.subject import Subject
from broker.wiring.backers import Backers

APPROVE, APPROVE_POLICY = "proposal.approve", "policy.approve"


class ProposalApprovers:
    """One per broker; the authenticator knows which certificates brokers of this state issued themselves."""

    def __init__(
        self,
        clock: Clock,
        desk: DecisionDesk,
        people: PersonRows,
        authenticator: Authenticator,
        origin: str,
    ) -> None:
        self._clock = clock
        self._authenticator = authenticator
        self._backers = Backers(desk, people, self._known, origin)

    def approver(self, subject: Subject) -> Backer:
        """What an approval keeps of whoever gives it."""
        return self._backers.backer(subject)

    async def counting(self, standing: Standing) -> Standing:
        """A proposal with the approvals of those only who still may approve it.

        Raises StateUnavailableError, or PolicyUnavailableError while nobody can say.
        """
        revoked = await self._backers.revoked(standing.approvers)
        counting = []
        for approver in standing.approvers:
            others = tuple(other for other in standing.approved_by if other != approver.id)
            if approver not in revoked and await self._may(approver, standing.proposal, others):
                counting.append(approver)
        return of_these(standing, counting)

    def _known(self, certificate: str) -> EnrolledCertificate | None:
        return self._authenticator.known(certificate)  # which is given to it once people are known

    async def _may(self, approver: Backer, proposal: Proposal, others: tuple[str, ...]) -> bool:
        permission, about = _question(proposal, others)
        seal = proposal.id, proposal.proposed_at, proposal.until
        may = await self._backers.may(approver, permission, about, self._clock.now(), seal)
        if may is None:
            raise PolicyUnavailableError("policy_unavailable", "The policy does not answer.")
        return may


def of_these(standing: Standing, approvers: Iterable[Backer]) -> Standing:
    """A proposal as if only these had approved it."""
    counting = tuple(sorted(approvers, key=lambda approver: approver.id))
    return replace(standing, approvers=counting, approved_by=tuple(approver.id for approver in counting))


def _question(proposal: Proposal, others: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    """What the policy was asked when he approved."""
    if proposal.act is ProposalAct.POLICY_ACTIVATE:
        about: dict[str, object] = {"kind": "policy", "id": dict(proposal.parameters).get("revision", "")}
        return APPROVE_POLICY, about | {"approved_by": others}
    about = {"kind": "proposal", "id": proposal.id, "act": proposal.act.value, "proposed_by": proposal.proposed_by}
    return APPROVE, about | {"approved_by": others}
