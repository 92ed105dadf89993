"""Whether who made an invitation may still invite: a code is worth no more than the word of whoever gave it out.

The policy is asked as it was when the invitation was made, about the roles that the inventory gives today and those
that a token gave then, which nobody can look up without its bearer. Instead of his proofs there is this broker's seal.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

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
ASKED_AT_ONCE = 8


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

    async def states(self, invitations: Sequence[Invitation]) -> tuple[InvitationState, ...]:
        """Whether their codes can still be used, or why not, the newest first; while the policy does not answer, as far
        as is known.

        Of whoever made several for one organisation, the policy is asked about the newest that is open: how much is
        asked depends on how many invite, not on how much they do. A code that is used is asked about itself.
        """
        now = self._clock.now()
        states = [invitation.state_at(now) for invitation in invitations]
        newest: dict[tuple[Inviter, str], Invitation] = {}
        for invitation, state in zip(invitations, states, strict=True):
            if state is InvitationState.OPEN:
                newest.setdefault(_by(invitation), invitation)
        void = await self._void(newest)
        return tuple(
            InvitationState.VOID if state is InvitationState.OPEN and _by(invitation) in void else state
            for invitation, state in zip(invitations, states, strict=True)
        )

    async def require_standing(self, invitation: Invitation) -> None:
        """That it may still be used because of who made it. Raises EnrolmentError `code_void`, or
        PolicyUnavailableError.
        """
        void = bool(await self._revoked((invitation.inviter,))) or await self._refused(invitation)
        if void is None:
            raise PolicyUnavailableError("policy_unavailable", "The policy does not answer.")
        if void:
            raise spent_error(InvitationState.VOID)

    async def _void(self, newest: Mapping[tuple[Inviter, str], Invitation]) -> frozenset[tuple[Inviter, str]]:
        """Whose invitations are void, for which organisation."""
        revoked = await self._revoked(tuple(inviter for inviter, _ in newest))
        turns = asyncio.Semaphore(ASKED_AT_ONCE)

        async def is_void(invitation: Invitation) -> bool:
            if invitation.inviter in revoked:
                return True
            async with turns:
                return bool(await self._refused(invitation))

        answers = await asyncio.gather(*map(is_void, newest.values()))
        return frozenset(by for by, void in zip(newest, answers, strict=True) if void)

    async def _refused(self, invitation: Invitation) -> bool | None:
        """Whether the policy would not let it be made any more; None while it does not answer."""
        decision = await self._decision(invitation)
        return not decision.allow if NO_ANSWER.isdisjoint(decision.reasons) else None

    async def _revoked(self, inviters: Collection[Inviter]) -> frozenset[Inviter]:
        """Who of them had enrolled himself and was revoked, or whose certificate was by which he was proven."""
        people = await self._people.revoked_among({inviter.id for inviter in inviters})
        return frozenset(inviter for inviter in inviters if inviter.id in people or self._is_gone(inviter.certificate))

    def _is_gone(self, certificate: str) -> bool:
        known = self._known(certificate)
        return known is not None and known.revoked_at is not None

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


def _by(invitation: Invitation) -> tuple[Inviter, str]:
    return invitation.inviter, invitation.organisation
