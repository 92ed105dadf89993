"""Whether who made an invitation may still invite: a code is worth no more than the word of whoever gave it out.

The policy is asked as it was when the invitation was made, about the roles that the inventory gives today and those
that a token gave then, which nobody can look up without its bearer. Instead of his proofs there is this broker's seal.
"""

import asyncio

from broker.adapters.state_people import PersonRows
from broker.authz.question import SessionFacts
from broker.engine.ports import Clock
from broker.errors import PolicyUnavailableError
from broker.identity.enrolment_codes import spent_error
from broker.listeners.decision_desk import DecisionDesk
from broker.model.decision import Decision
from broker.model.enrolment import Invitation, InvitationState, Inviter
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import NO_ANSWER
from broker.wiring.people.known import KnownCertificates

INVITE = "invitation.create"


class Inviters:
    """One per broker. What asks the state raises StateUnavailableError."""

    def __init__(
        self, clock: Clock, desk: DecisionDesk, people: PersonRows, known: KnownCertificates, origin: str
    ) -> None:
        self._clock = clock
        self._desk = desk
        self._people = people
        self._known = known
        self._origin = origin

    def inviter(self, subject: Subject) -> Inviter:
        """What an invitation keeps of whoever makes it."""
        proof = subject.proof(ProofKind.CERTIFICATE)
        lasting = self._lasting(subject.organisation, subject.id)
        roles = tuple(role for role in subject.roles if role not in lasting)
        return Inviter(
            subject.id, subject.kind.value, subject.organisation, roles, "" if proof is None else proof.fingerprint
        )

    async def state(self, invitation: Invitation) -> InvitationState:
        """Whether its code can still be used, or why not; while the policy does not answer, as far as is known."""
        state = invitation.state_at(self._clock.now())
        return InvitationState.VOID if state is InvitationState.OPEN and await self._is_void(invitation) else state

    async def require_standing(self, invitation: Invitation) -> None:
        """That it may still be used because of who made it. Raises EnrolmentError `code_void`, or
        PolicyUnavailableError.
        """
        void = await self._is_void(invitation)
        if void is None:
            raise PolicyUnavailableError("policy_unavailable", "The policy does not answer.")
        if void:
            raise spent_error(InvitationState.VOID)

    async def _is_void(self, invitation: Invitation) -> bool | None:
        """None while the policy does not answer."""
        if await self._revoked(invitation.inviter):
            return True
        decision = await self._decision(invitation)
        return not decision.allow if NO_ANSWER.isdisjoint(decision.reasons) else None

    async def _revoked(self, inviter: Inviter) -> bool:
        """Whether he had enrolled himself and was revoked, or the certificate was by which he was proven."""
        known = self._known(inviter.certificate)
        if known is not None and known.revoked_at is not None:
            return True
        person = await self._people.person(inviter.id)
        return person is not None and person.revoked_at is not None

    async def _decision(self, invitation: Invitation) -> Decision:
        decided: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        facts = SessionFacts(id="", listener="https", peer="", started=invitation.created_at, mfa_at=None)
        self._desk.admin(self._subject(invitation), INVITE, self.about(invitation), facts, decided.set_result)
        return await asyncio.shield(decided)

    def about(self, invitation: Invitation) -> dict[str, object]:
        """What the policy is told, as when it was made."""
        organisation = self._desk.in_force.organisation_of(invitation.organisation)
        told: dict[str, object] = {"kind": "invitation", "organisation": invitation.organisation}
        if organisation is not None and organisation.sponsor:
            told["sponsor"] = organisation.sponsor
        return told | {"invitee": invitation.subject}

    def _subject(self, invitation: Invitation) -> Subject:
        inviter = invitation.inviter
        roles = tuple(dict.fromkeys((*self._lasting(inviter.organisation, inviter.id), *inviter.roles)))
        seal = Proof(
            ProofKind.BROKER,
            self._origin,
            invitation.id,
            inviter.certificate,
            invitation.created_at,
            invitation.expires_at,
        )
        return Subject(inviter.id, SubjectKind(inviter.kind), inviter.organisation, roles, proofs=(seal,))

    def _lasting(self, organisation: str, subject: str) -> tuple[str, ...]:
        """The roles that the inventory gives."""
        found = self._desk.in_force.organisation_of(organisation)
        return () if found is None else dict(found.roles).get(subject, ())
