"""Invitations and people: who invites whom, who has enrolled, and who is gone."""

from typing import Any

from broker.api.call import Call
from broker.api.enrolment import people_of, refused
from broker.api.people_models import InviteCall, RevokePersonCall
from broker.api.people_ports import Membership
from broker.api.problems import KINDS, Problem, timestamp
from broker.api.requests import told
from broker.errors import PeerError
from broker.model.enrolment import Invitation, InvitationState, Person
from broker.model.place import Organisation

INVITE, INVITATIONS, UNINVITE = "invitation.create", "invitation.read", "invitation.revoke"
PEOPLE, REVOKE = "people.read", "people.revoke"


async def invite(call: Call) -> dict[str, Any]:
    """Invite somebody, if the policy lets the caller; the code is in this answer and nowhere else."""
    asked: InviteCall = call.body
    membership = people_of(call).membership
    about = _about("invitation", asked.organisation, _sponsor(membership, asked.organisation))
    await call.require(INVITE, about | {"invitee": asked.subject})
    seconds = asked.seconds or membership.longest_seconds
    if seconds > membership.longest_seconds:
        detail = f"The code may be good for {membership.longest_seconds} seconds at most."
        raise Problem("invitation_refused", detail, members={"what_to_do": "Let it be good for less long."})
    await _require_known(call, membership, asked.organisation)
    try:
        membership.require_invitable(asked.subject, asked.organisation)
        invitation, code = await membership.invite(asked.subject, asked.organisation, seconds, call.subject)
    except PeerError as error:
        problem = refused(error)
        said = "" if error.public == KINDS[problem.code].title else error.public
        raise Problem(problem.code, f"{said} {error.detail}".strip(), problem.reasons) from None
    return {"invitation": _invitation(invitation, InvitationState.OPEN), "code": code}


async def invitations(call: Call) -> dict[str, Any]:
    """The invitations of those organisations whose invitations the caller may see."""
    membership = people_of(call).membership
    found = [
        invitation
        for organisation in await _visible(call, membership, "invitation", INVITATIONS)
        for invitation in await membership.invitations(organisation.id)
    ]
    found.sort(key=lambda invitation: -invitation.created_at)
    states = await membership.states(found)
    return {"invitations": [_invitation(known, state) for known, state in zip(found, states, strict=True)]}


async def revoke_invitation(call: Call) -> dict[str, Any]:
    """Let an invitation's code be good for nothing."""
    membership = people_of(call).membership
    invitation = await membership.invitation(call.parameters["id"])
    organisation = "" if invitation is None else invitation.organisation
    about = _about("invitation", organisation, _sponsor(membership, organisation))
    await call.require(UNINVITE, about | {"id": call.parameters["id"]})
    if invitation is None or not await membership.revoke_invitation(invitation, call.subject.id):
        raise Problem("invitation_unknown")
    revoked = await membership.invitation(invitation.id) or invitation
    (state,) = await membership.states((revoked,))
    return {"invitation": _invitation(revoked, state)}


async def people(call: Call) -> dict[str, Any]:
    """The people of those organisations whose people the caller may see."""
    membership = people_of(call).membership
    found = [
        person
        for organisation in await _visible(call, membership, "people", PEOPLE)
        for person in await membership.people(organisation.id)
    ]
    return {"people": [_person(person, membership) for person in found]}


async def revoke_person(call: Call) -> dict[str, Any]:
    """Take away what somebody enrolled and what he asked for, and cut his sessions."""
    asked: RevokePersonCall = call.body
    membership = people_of(call).membership
    person = await membership.person(asked.subject)
    organisation = "" if person is None else person.organisation
    about = _about("people", organisation, _sponsor(membership, organisation))
    await call.require(REVOKE, about | {"person": asked.subject})
    if person is None:
        raise Problem("person_unknown")
    revoked = await membership.revoke(person, call.subject.id, asked.why)
    why = f"{person.subject} was revoked" + (f": {asked.why}" if asked.why else "")
    ended = await told(call.gate.requests.end_all(lambda terms: terms.subject == person.subject, call.subject, why))
    if not revoked and not ended:
        raise Problem("person_unknown")
    return {"person": _person(await membership.person(asked.subject) or person, membership)}


async def _require_known(call: Call, membership: Membership, name: str) -> None:
    """That people of this organisation can be invited. Raises Problem, which names those the caller may know of."""
    if any(known.id == name for known in membership.organisations):
        return
    there = any(known.id == name for known in call.gate.inventory.organisations)
    about = {known.id: _about("invitation", known.id, known.sponsor) for known in membership.organisations}
    named = ", ".join([known for known in about if (await call.permission(INVITATIONS, about[known])).allow])
    hint = f"It does for {named}; for others, tell the operator of the broker." if there else f"There are: {named}."
    raise Problem(
        "enrolment_unavailable" if there else "organisation_unknown",
        f"The broker issues no certificates for {name}." if there else f"There is no organisation {name}.",
        members={"what_to_do": hint} if named else {},
    )


async def _visible(call: Call, membership: Membership, kind: str, permission: str) -> list[Organisation]:
    """The organisations about which the policy lets the caller know. Raises Problem if it is none of several."""
    allowed, last = [], None
    for organisation in membership.organisations:
        about = _about(kind, organisation.id, organisation.sponsor)
        decision = await call.permission(permission, about)
        last = about
        if decision.allow:
            allowed.append(organisation)
    if last is not None and not allowed:
        await call.require(permission, last)
    return allowed


def _about(kind: str, organisation: str, sponsor: str) -> dict[str, Any]:
    """What the policy is told: of which organisation, and who answers for that."""
    told = {"kind": kind, "organisation": organisation}
    return told | ({"sponsor": sponsor} if sponsor else {})


def _sponsor(membership: Membership, organisation: str) -> str:
    return next((known.sponsor for known in membership.organisations if known.id == organisation), "")


def _invitation(invitation: Invitation, state: InvitationState) -> dict[str, Any]:
    return {
        "id": invitation.id,
        "organisation": invitation.organisation,
        "subject": invitation.subject,
        "created_by": invitation.created_by,
        "created_at": timestamp(invitation.created_at),
        "expires_at": timestamp(invitation.expires_at),
        "state": state.value,
        "revoked_by": invitation.revoked_by,
    }


def _person(person: Person, membership: Membership) -> dict[str, Any]:
    until = max((known.not_after for known in membership.certificates(person.subject)), default=None)
    return {
        "subject": person.subject,
        "organisation": person.organisation,
        "invitation": person.invitation,
        "invited_by": person.invited_by,
        "enrolled_at": timestamp(person.enrolled_at),
        "certificate_until": None if until is None else timestamp(until),
        "revoked_at": None if person.revoked_at is None else timestamp(person.revoked_at),
        "revoked_by": person.revoked_by,
        "why": person.why,
    }
