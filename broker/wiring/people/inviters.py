"""Whether who made an invitation may still invite: a code is worth no more than the word of whoever gave it out.

The policy is asked as it was when the invitation was made.
"""

import asyncio
from collections.abc import Mapping, Sequence

from broker.adapters.state_people import PersonRows
from broker.engine.ports import Clock
from broker.errors import PolicyUnavailableError
from broker.identity.enrolment_codes import spent_error
from broker.listeners.decision_desk import DecisionDesk
from broker.model.backer import Backer
from broker.model.enrolment import Invitation, InvitationState
from broker.model.subject import Subject
from broker.wiring.backers import Backers
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
        self._backers = Backers(desk, people, known, origin)

    def inviter(self, subject: Subject) -> Backer:
        """What an invitation keeps of whoever makes it."""
        return self._backers.backer(subject)

    async def states(self, invitations: Sequence[Invitation]) -> tuple[InvitationState, ...]:
        """Whether their codes can still be used, or why not, the newest first; while the policy does not answer, as far
        as is known.

        Of whoever made several for one organisation, the policy is asked about the newest that is open: how much is
        asked depends on how many invite, not on how much they do. A code that is used is asked about itself.
        """
        now = self._clock.now()
        states = [invitation.state_at(now) for invitation in invitations]
        newest: dict[tuple[Backer, str], Invitation] = {}
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
        void = bool(await self._backers.revoked((invitation.inviter,))) or await self._refused(invitation)
        if void is None:
            raise PolicyUnavailableError("policy_unavailable", "The policy does not answer.")
        if void:
            raise spent_error(InvitationState.VOID)

    async def _void(self, newest: Mapping[tuple[Backer, str], Invitation]) -> frozenset[tuple[Backer, str]]:
        """Whose invitations are void, for which organisation."""
        revoked = await self._backers.revoked(tuple(inviter for inviter, _ in newest))
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
        made = invitation.created_at
        seal = invitation.id, made, invitation.expires_at
        may = await self._backers.may(invitation.inviter, INVITE, self.about(invitation), made, seal)
        return None if may is None else not may

    def about(self, invitation: Invitation) -> dict[str, object]:
        """What the policy is told, as when it was made."""
        organisation = self._desk.in_force.organisation_of(invitation.organisation)
        told: dict[str, object] = {"kind": "invitation", "organisation": invitation.organisation}
        if organisation is not None and organisation.sponsor:
            told["sponsor"] = organisation.sponsor
        return told | {"invitee": invitation.subject}


def _by(invitation: Invitation) -> tuple[Backer, str]:
    return invitation.inviter, invitation.organisation
