"""Whether those who approved a proposal still may: a warrant is worth no more than the people whom it names.

The policy is asked about each of them again, beside the others, with the roles that the inventory gives today and those
that a token gave then, which nobody can look up without its bearer. Instead of his proofs there is this broker's seal.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from broker.adapters.state_people import PersonRows
from broker.authz.question import SessionFacts
from broker.engine.ports import Clock
from broker.errors import PolicyUnavailableError
from broker.listeners.authentication import Authenticator
from broker.listeners.decision_desk import DecisionDesk
from broker.model.decision import Decision
from broker.model.proposal import Approver, Proposal, ProposalAct, Standing
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import NO_ANSWER

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
        self._desk = desk
        self._people = people
        self._authenticator = authenticator
        self._origin = origin

    def approver(self, subject: Subject) -> Approver:
        """What an approval keeps of whoever gives it."""
        proof = subject.proof(ProofKind.CERTIFICATE)
        lasting = self._lasting(subject.organisation, subject.id)
        roles = tuple(role for role in subject.roles if role not in lasting)
        certificate = "" if proof is None else proof.fingerprint
        return Approver(subject.id, subject.kind.value, subject.organisation, roles, certificate)

    async def counting(self, standing: Standing) -> Standing:
        """A proposal with the approvals of those only who still may approve it.

        Raises StateUnavailableError, or PolicyUnavailableError while nobody can say.
        """
        revoked = await self._people.revoked_among({approver.id for approver in standing.approvers})
        counting = []
        for approver in standing.approvers:
            others = tuple(other for other in standing.approved_by if other != approver.id)
            gone = approver.id in revoked or self._is_gone(approver.certificate)
            if not gone and await self._may(approver, standing.proposal, others):
                counting.append(approver)
        return of_these(standing, counting)

    async def _may(self, approver: Approver, proposal: Proposal, others: tuple[str, ...]) -> bool:
        decision = await self._decision(approver, proposal, others)
        if not NO_ANSWER.isdisjoint(decision.reasons):
            raise PolicyUnavailableError("policy_unavailable", "The policy does not answer.")
        return decision.allow

    def _is_gone(self, certificate: str) -> bool:
        known = self._authenticator.known(certificate)
        return known is not None and known.revoked_at is not None

    async def _decision(self, approver: Approver, proposal: Proposal, others: tuple[str, ...]) -> Decision:
        decided: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        facts = SessionFacts(id="", listener="https", peer="", started=self._clock.now(), mfa_at=None)
        permission, about = _question(proposal, others)
        self._desk.admin(self._subject(approver, proposal), permission, about, facts, decided.set_result)
        return await asyncio.shield(decided)

    def _subject(self, approver: Approver, proposal: Proposal) -> Subject:
        roles = tuple(dict.fromkeys((*self._lasting(approver.organisation, approver.id), *approver.roles)))
        seal = Proof(
            ProofKind.BROKER, self._origin, proposal.id, approver.certificate, proposal.proposed_at, proposal.until
        )
        return Subject(approver.id, SubjectKind(approver.kind), approver.organisation, roles, proofs=(seal,))

    def _lasting(self, organisation: str, subject: str) -> tuple[str, ...]:
        """The roles that the inventory gives."""
        found = self._desk.in_force.organisation_of(organisation)
        return () if found is None else dict(found.roles).get(subject, ())


def of_these(standing: Standing, approvers: Iterable[Approver]) -> Standing:
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
