"""Every code with which invitations, enrolments, renewals and second factors refuse, and the sentence to it."""

from broker.errors import EnrolmentError
from broker.model.enrolment import InvitationState

ENROLMENT_CODES = {
    "code_malformed": "This is not an enrolment code, or one with a slip of the pen.",
    "code_refused": "This is not a code that this broker gave.",
    "code_used": "The code has been used.",
    "code_revoked": "The invitation was revoked.",
    "code_expired": "The invitation has expired.",
    "code_void": "Whoever made the invitation may not invite any more.",
    "enrolment_unknown": "This is not under way here, or not any more.",
    "factor_missing": "There is no second factor of this person.",
    "factor_refused": "The second factor was not proven.",
    "factor_blocked": "The second factor was refused too often; it is not looked at for a while.",
    "factor_unavailable": "This kind of second factor is not offered here.",
    "renewal_refused": "This certificate cannot be renewed.",
    "renewal_too_often": "This certificate was renewed too often lately.",
    "invitation_refused": "Nobody can be invited like this.",
    "enrolment_unavailable": "This broker issues no certificates for this organisation.",
}

_SPENT = {
    InvitationState.USED: "code_used",
    InvitationState.REVOKED: "code_revoked",
    InvitationState.EXPIRED: "code_expired",
    InvitationState.VOID: "code_void",
}


def enrolment_error(code: str, detail: str = "", *, wait_seconds: float = 0.0) -> EnrolmentError:
    """The error for one of `ENROLMENT_CODES`."""
    return EnrolmentError(code, ENROLMENT_CODES[code], detail, wait_seconds)


def spent_error(state: InvitationState) -> EnrolmentError:
    """The error for an invitation that is no longer open."""
    return enrolment_error(_SPENT[state])
