"""The constant words in plain sentences: ONE table that the command line, the API and the documentation share."""

from dataclasses import dataclass

from broker.model.vocabulary import Action, EndReason, Reason, RecordKind, Result


@dataclass(frozen=True, slots=True)
class Words:
    """What a word means, and what the reader can do about it."""

    text: str
    what_to_do: str


_ASK_FOR_GRANT = "Ask for access with `otb request create`, or ask the owner of the site for a grant that covers this."
_TRY_AGAIN = "Nothing was sent to the device; try again in a moment."
_TELL_OPERATOR = "Tell the operator of the broker; nothing is relayed until this is put right."
_WAIT_FOR_WINDOW = "Wait for the next window, or ask the owner of the site to open one."
_WITHIN_LIMITS = "Write a value within the limits that the list of points shows."
_RENEW_CERTIFICATE = "Get a new certificate from your organisation and connect again."
AFTER_REVOCATION = (
    "It cannot be renewed: ask your sponsor for a new invitation, or whoever issued it for a new certificate."
)
_CONNECT_AGAIN = "Connect again; if you are refused, the answer says why."
_ASK_ABOUT_LOCK = "Ask the owner of the site; nothing helps but that the lock is lifted or ends."
_ASK_ABOUT_ISOLATION = "Ask the owner of the site; nothing helps but that two people end the isolation."
_ASK_SECOND_PERSON = (
    "Ask whoever supervises to look at the approval at this broker (`otb approvals ls`), then do the same again."
)
_STATE_COMES_BACK = "Tell the operator of the broker; sessions are accepted again as soon as the state is there."

REASONS: dict[Reason, Words] = {
    Reason.NO_GRANT: Words("No grant gives you access to this device.", _ASK_FOR_GRANT),
    Reason.ACTION_NOT_GRANTED: Words("Your grant does not include this kind of action.", _ASK_FOR_GRANT),
    Reason.POINT_NOT_GRANTED: Words("Your grant does not include this point.", _ASK_FOR_GRANT),
    Reason.OUTSIDE_PLAN: Words(
        "Your grant has a plan of exact writes, and this is none of them.",
        "Write what was planned; for anything else make a new access request.",
    ),
    Reason.POINT_NOT_DESCRIBED: Words(
        "The inventory describes no point at this address.",
        "Use a point by its name, or ask the owner of the site to describe the address.",
    ),
    Reason.POINT_READ_ONLY: Words("The point can only be read.", "Read it, or choose a point that may be written."),
    Reason.WINDOW_CLOSED: Words("No window is open for this device now.", _WAIT_FOR_WINDOW),
    Reason.FREEZE_ACTIVE: Words(
        "A freeze is in force: nothing may be changed, whatever a window or grant says.", "Wait until the freeze ends."
    ),
    Reason.VALUE_BELOW_LIMIT: Words("The value is below the lowest that the point takes.", _WITHIN_LIMITS),
    Reason.VALUE_ABOVE_LIMIT: Words("The value is above the highest that the point takes.", _WITHIN_LIMITS),
    Reason.VALUE_NOT_ALLOWED: Words("The value is not one that the point takes.", _WITHIN_LIMITS),
    Reason.PRIORITY_NOT_ALLOWED: Words(
        "The write priority is not allowed for this point.",
        "Use a priority within the range that the list of points shows; if it was in it, a rule of the site denies it: "
        "ask the owner of the site.",
    ),
    Reason.SERVICE_NOT_ALLOWED: Words(
        "This service of the protocol is not allowed here.",
        "Use a plain read or write of a point; if it was one, the site itself refuses it: ask the owner of the site.",
    ),
    Reason.CONTRACT_ENDED: Words(
        "The contract of your organisation does not cover this time.", "Ask the owner of the site about the contract."
    ),
    Reason.CRITICALITY_NEEDS_BOTH_PROOFS: Words(
        "A device this critical needs a certificate and a token of the same subject.",
        "Connect through a way that takes both, and present both.",
    ),
    Reason.ROLE_MISSING: Words("You do not have a role that this needs.", "Ask your organisation for the role."),
    Reason.DEVICE_UNKNOWN: Words(
        "There is no such device, or you may not see it.", "Check its name or address against the list of your devices."
    ),
    Reason.POINT_UNKNOWN: Words(
        "The device has no such point.", "Check the name against the list of points of the device."
    ),
    Reason.OBLIGATION_UNMET: Words(
        "What the policy asks for around this operation could not be done.",
        "Nothing was sent; check that your access includes view of the point and that it can be read, then try again.",
    ),
    Reason.POLICY_UNDEFINED: Words("The policy has no answer for this; no answer is a denial.", _TELL_OPERATOR),
    Reason.POLICY_ODD: Words("The policy gave an answer that cannot be used; that is a denial.", _TELL_OPERATOR),
    Reason.POLICY_LATE: Words("The policy did not answer in time; that is a denial.", _TRY_AGAIN),
    Reason.POLICY_UNAVAILABLE: Words("The policy engine is not available; that is a denial.", _TRY_AGAIN),
    Reason.INPUT_INVALID: Words(
        "The operation cannot be put to the policy as it is; that is a denial.", "Check the operation you ask for."
    ),
    Reason.LEDGER_CLOSED: Words("The ledger is closed, and nothing is relayed unrecorded.", _TELL_OPERATOR),
    Reason.LEDGER_PAUSED: Words(
        "The ledger is short of room, and nothing is relayed unrecorded.",
        "Relaying goes on by itself when there is room again; tell the operator of the broker.",
    ),
    Reason.SESSION_ENDED: Words("The session had ended before this was sent.", _CONNECT_AGAIN),
    Reason.SESSION_PAUSED: Words(
        "An administrator has paused this session; nothing was sent to the device.",
        "Stay connected and wait until the session is resumed, or ask the owner of the site.",
    ),
    Reason.ACCESS_CHANGED: Words(
        "What the decision rested on changed before this was sent.", "Try again; it will be decided anew."
    ),
    Reason.CALLER_GONE: Words("You had left before this was sent.", _TRY_AGAIN),
    Reason.BUDGET_EXHAUSTED: Words("The device already has as much to do as it bears.", _TRY_AGAIN),
    Reason.SUBSCRIPTIONS_EXHAUSTED: Words(
        "There is no room for one more COV subscription of this property, session or device.",
        "Cancel one that you do not need, or subscribe with an increment that others use.",
    ),
    Reason.DEVICE_DOWN: Words("The device, or the way to it, is not there.", _TRY_AGAIN),
    Reason.LOCKED: Words("A lock refuses you, or what you want to reach.", _ASK_ABOUT_LOCK),
    Reason.SITE_ISOLATED: Words("The site is isolated: nobody but those named for emergencies.", _ASK_ABOUT_ISOLATION),
    Reason.SECOND_PERSON_NEEDED: Words(
        "It takes another person: whoever set, proposed or approved it already is not a second one.",
        "Ask somebody else who may do this.",
    ),
    Reason.DUTIES_CONFLICT: Words(
        "A role of yours excludes this: auditors change nothing, and who writes the policy approves nothing.",
        "Ask somebody without that role to do it.",
    ),
    Reason.STATE_STALE: Words("The broker does not know which locks hold now, and lets nobody in.", _STATE_COMES_BACK),
    Reason.STEP_UP_NEEDED: Words(
        "You must prove yourself again before this is done; nothing was sent.",
        "Log in again (`otb login --fresh`), call `otb step-up` with the id of the approval, then do the same again.",
    ),
    Reason.APPROVAL_NEEDED: Words(
        "This waits for the approval of a second person; nothing was sent.", _ASK_SECOND_PERSON
    ),
    Reason.APPROVAL_REFUSED: Words(
        "A second person refused exactly this operation; nothing was sent.", "Ask who refused it what to do instead."
    ),
    Reason.OLD_VALUE_CHANGED: Words(
        "A second person approved this while something else was there than is now; nothing was sent.",
        "Read the point; if it is still to be written, do the same again and have it approved anew.",
    ),
    Reason.SUPERVISOR_MISSING: Words(
        "Your grant holds only while a supervisor watches your session, and nobody does.",
        "Stay connected and ask the owner of the site to watch at this broker: `otb sessions watch`.",
    ),
    Reason.REVIEW_OF_ONESELF: Words("Nobody reviews a request of his own.", "Let somebody else review it."),
    Reason.APPROVALS_MISSING: Words(
        "Not enough people who may approve it have approved it.", "Ask those who may to review the request."
    ),
    Reason.OUTSIDE_REACH: Words(
        "Your organisation may not ask for access there.", "Ask your sponsor to have the device added."
    ),
    Reason.GRANT_USED: Words(
        "The grant was for one use, and that has been made.", "Make a new access request if you need to write again."
    ),
    Reason.NOTHING_OWED: Words(
        "What was to be undone there is not: it was put back already, or somebody has written since.",
        "Nothing has to be done; `otb leave ls` lists what the broker still owes.",
    ),
    Reason.SITE_POLICY_ODD: Words("What the site says in its policy cannot be read; that is a denial.", _TELL_OPERATOR),
}

_SPECIFIC_FIRST: dict[Reason, int] = {
    reason: place
    for place, reason in enumerate(
        (
            Reason.POINT_UNKNOWN,
            Reason.POINT_NOT_DESCRIBED,
            Reason.POINT_READ_ONLY,
            Reason.SERVICE_NOT_ALLOWED,
            Reason.PRIORITY_NOT_ALLOWED,
            Reason.VALUE_BELOW_LIMIT,
            Reason.VALUE_ABOVE_LIMIT,
            Reason.VALUE_NOT_ALLOWED,
            Reason.CRITICALITY_NEEDS_BOTH_PROOFS,
            Reason.CONTRACT_ENDED,
            Reason.LOCKED,
            Reason.SITE_ISOLATED,
            Reason.DUTIES_CONFLICT,
            Reason.SECOND_PERSON_NEEDED,
            Reason.APPROVAL_REFUSED,
            Reason.OLD_VALUE_CHANGED,
            Reason.APPROVAL_NEEDED,
            Reason.STEP_UP_NEEDED,
            Reason.SUPERVISOR_MISSING,
            Reason.ROLE_MISSING,
            Reason.NO_GRANT,
            Reason.ACTION_NOT_GRANTED,
            Reason.POINT_NOT_GRANTED,
            Reason.OUTSIDE_PLAN,
            Reason.FREEZE_ACTIVE,
            Reason.WINDOW_CLOSED,
        )
    )
}
"""What the caller can put right in the request, then what no grant overcomes, then grants, then waiting."""

MODBUS_EXCEPTIONS: dict[int, str] = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
"""Exception codes of the Modbus Application Protocol v1.1b3, 7."""

END_REASONS: dict[EndReason, Words] = {
    EndReason.PEER_CLOSED: Words("You closed the connection.", "Nothing needs to be done."),
    EndReason.CONNECTION_CLOSED: Words(
        "Another session on the same connection was ended, and the connection with it.", _CONNECT_AGAIN
    ),
    EndReason.TAKEN_OVER: Words("The same device has connected again.", "Nothing needs to be done."),
    EndReason.WINDOW_CLOSED: Words("The window in which you worked has closed.", _WAIT_FOR_WINDOW),
    EndReason.FREEZE_STARTED: Words("A freeze has begun.", "Wait until the freeze ends."),
    EndReason.GRANT_ENDED: Words("The grant you relied on has ended.", _ASK_FOR_GRANT),
    EndReason.CONTRACT_ENDED: Words(
        "The contract of your organisation has ended.", "Ask the owner of the site about the contract."
    ),
    EndReason.CERTIFICATE_EXPIRED: Words("Your certificate has expired.", _RENEW_CERTIFICATE),
    EndReason.CERTIFICATE_REVOKED: Words("Your certificate has been revoked.", AFTER_REVOCATION),
    EndReason.CRL_STALE: Words(
        "The revocation list of your certificate's issuer is out of date, so nobody of that issuer is let in.",
        "Ask your organisation to publish a fresh revocation list.",
    ),
    EndReason.TOKEN_EXPIRED: Words("Your token has expired.", "Get a fresh token and connect again."),
    EndReason.TOKEN_KEY_WITHDRAWN: Words(
        "The issuer of your token no longer has the key that signed it.", "Get a fresh token and connect again."
    ),
    EndReason.LOGGED_OUT: Words("You have logged out at the provider of your token.", "Log in again: `otb login`."),
    EndReason.POLICY_CHANGED: Words("A new policy no longer allows this session.", _CONNECT_AGAIN),
    EndReason.INVENTORY_CHANGED: Words(
        "The inventory changed, and what the session led to is no longer the same.", _CONNECT_AGAIN
    ),
    EndReason.DENIED: Words("The session was denied.", _CONNECT_AGAIN),
    EndReason.FRAME_REFUSED: Words(
        "What was sent is not the protocol spoken here.", "Check the settings of the program that sent it."
    ),
    EndReason.LIMIT_EXCEEDED: Words(
        "More was asked, or less was read, than the limits of a connection allow.", "Ask more slowly, and read replies."
    ),
    EndReason.IDLE: Words("Nothing was asked for too long.", "Connect again when you need to."),
    EndReason.ENDED_BY_ADMINISTRATOR: Words(
        "An administrator ended the session.", "Ask the owner of the site before you connect again."
    ),
    EndReason.SUPERVISOR_LEFT: Words(
        "Nobody supervises the session any more, and your grant asks for that.",
        "Ask the owner of the site to watch, then connect again.",
    ),
    EndReason.LOCKED: Words("A lock was set on you, or on what the session led to or relied on.", _ASK_ABOUT_LOCK),
    EndReason.SITE_ISOLATED: Words("The site was isolated.", _ASK_ABOUT_ISOLATION),
    EndReason.STATE_STALE: Words(
        "The broker could not learn for some seconds which locks hold, and sessions do not outlive that.",
        _STATE_COMES_BACK,
    ),
    EndReason.CLOCK_STEPPED: Words("The broker's clock was set, and sessions do not outlive that.", _CONNECT_AGAIN),
    EndReason.LEDGER_CLOSED: Words("The ledger is closed, and nothing is relayed unrecorded.", _TELL_OPERATOR),
    EndReason.BROKER_STOPPED: Words("The broker was stopped.", "Connect again when it is back."),
    EndReason.BROKER_FAULT: Words("A fault of the broker ended the session.", _TELL_OPERATOR),
    EndReason.BROKER_KILLED: Words("The broker ended without closing its sessions.", "Connect again when it is back."),
    EndReason.LEAVE_OVER: Words(
        "The broker's own session to undo what somebody left is over.", "`otb leave ls` lists it."
    ),
}

RESULTS: dict[Result, Words] = {
    Result.DONE: Words("Done.", "Nothing needs to be done."),
    Result.DEVICE_REFUSED: Words(
        "The device refused it; nothing was changed.", "Look up the device's own code in its manual."
    ),
    Result.DENIED: Words("Denied; nothing was sent to the device.", "The reasons say what was missing."),
    Result.NOT_SENT: Words("It was allowed, but not sent to the device.", _TRY_AGAIN),
    Result.NO_REPLY: Words("The device did not answer the read in time.", "Try again in a moment."),
    Result.BAD_REPLY: Words(
        "The device's answer is not a proper answer to what was asked.", "Tell whoever looks after the device."
    ),
    Result.UNATTEMPTED: Words(
        "The device did not try it, because it refused what came before it in the same request; nothing was changed.",
        "Look at what the device refused, then ask for this again.",
    ),
    Result.UNKNOWN: Words(
        "It may have been sent and may have taken effect; nobody can say.",
        "Do not repeat it blindly: read the point first, or look at the device.",
    ),
}

ACTIONS: dict[Action, str] = {
    Action.VIEW: "Read values.",
    Action.ADJUST: "Write setpoints.",
    Action.CONTROL: "Give commands.",
    Action.OVERRIDE: "Override the program: BACnet priority 1 to 8, out of service, forcing.",
    Action.CONFIG: "Change the configuration; any write that the inventory does not describe as something else.",
    Action.INSTALL: "Files, firmware, backup and restore.",
    Action.AUTH: "Change who may do what.",
    Action.DISCOVER: "Find devices and ask what they are.",
}

RECORD_KINDS: dict[RecordKind, str] = {
    RecordKind.BROKER_STARTED: "The broker started, with these revisions of inventory, policy and time zones.",
    RecordKind.BROKER_STOPPED: "The broker stopped in order.",
    RecordKind.SESSION_OPENED: "A subject proved itself and was let through to a device.",
    RecordKind.SESSION_CLOSED: "A session ended, for this reason.",
    RecordKind.SESSION_PAUSED: "An administrator paused a session: its operations are refused until it is resumed.",
    RecordKind.SESSION_RESUMED: "An administrator let a paused session go on.",
    RecordKind.SESSION_CUT: "An administrator ended a session; its end follows.",
    RecordKind.IDENTITY_REFUSED: "Somebody proved nobody: sums by source and cause.",
    RecordKind.FRAME_REFUSED: "Octets that are not the protocol were not forwarded.",
    RecordKind.DECISION: "The policy was asked, with this input and this answer.",
    RecordKind.INTENT: "An operation is about to be relayed, or was denied.",
    RecordKind.OUTCOME: "How an intended operation came out.",
    RecordKind.DENIALS_SUPPRESSED: "So many denials of one subject were counted instead of recorded one by one.",
    RecordKind.COV_COUNTED: "So many COV notifications of a subscription were passed on, and so many withheld.",
    RecordKind.AUDIT_LOG_TOLD: "The BACnet audit log of a site was told of so many operations.",
    RecordKind.AUDIT_LOG_MISSED: "The BACnet audit log of a site could not be told of so many operations.",
    RecordKind.SETTINGS_CHANGED: "Changed settings came into force.",
    RecordKind.POLICY_CHANGED: "A changed policy came into force.",
    RecordKind.INVENTORY_CHANGED: "A changed inventory came into force; its gains may be waiting.",
    RecordKind.ACCESS_CHANGED: "Who lost and who gained access by a changed inventory.",
    RecordKind.RELOAD_REFUSED: "Changed files could not be used; the last good state stays.",
    RecordKind.LOCK_SET: "A lock took effect on this broker, wherever it was set.",
    RecordKind.LOCK_LIFTED: "A lock was lifted, and no longer holds on this broker.",
    RecordKind.LIFT_SIGNED: "Somebody lifted a lock at this broker, which signed that for the others.",
    RecordKind.LIFT_DISTRUSTED: "The state says that a lock was lifted, but no known broker signed that; it holds.",
    RecordKind.APPROVAL_ASKED: "An operation was refused until a person arms it.",
    RecordKind.OPERATION_ARMED: "A person armed exactly one operation, once, until then.",
    RecordKind.ARMING_USED: "What persons armed is used up for what is intended next.",
    RecordKind.APPROVAL_ENDED: "An approval ended unused: refused, expired, or its operation is no longer the same.",
    RecordKind.LEAVE_FINISHED: "Somebody's access ended, and what had to be undone was, or is somebody else's by now.",
    RecordKind.LEAVE_UNSETTLED: "Somebody's access ended, and something could not be undone: somebody has to look.",
    RecordKind.LEAVE_ACKNOWLEDGED: "Somebody took note of what could not be undone.",
    RecordKind.LEAVE_DROPPED: "The list of what could not be undone was full: its oldest is listed no more.",
    RecordKind.ADMINISTERED: "An administrator used a function of the broker; how it stands or came out.",
    RecordKind.LOGGED_OUT: "A token issuer told that somebody logged out; earlier tokens are refused from here on.",
    RecordKind.INVITATION_CREATED: "Somebody of an organisation was invited to enrol, until then.",
    RecordKind.INVITATION_REVOKED: "The code of an invitation is good for nothing any more.",
    RecordKind.PERSON_ENROLLED: "Somebody used up an invitation and registered a second factor.",
    RecordKind.PERSON_REVOKED: "Somebody's second factor, certificates and open invitations were taken away.",
    RecordKind.CERTIFICATE_ISSUED: "The broker issued a certificate: at an enrolment, or at a renewal.",
    RecordKind.FACTOR_REFUSED: "Somebody who is enrolled did not prove the second factor, so many times.",
    RecordKind.HOST_COMMAND: "A command on the broker's host, as it told of itself, and who the host says ran it.",
    RecordKind.REQUEST_CHANGED: "An access request went from one state to another.",
    RecordKind.REQUEST_REVIEWED: "Somebody approved or denied an access request.",
    RecordKind.REQUEST_DISTRUSTED: "What the state says of an access request is not what was signed or known before.",
    RecordKind.GRANT_GIVEN: "The grant of an approved request came into force on this broker.",
    RecordKind.GRANT_WITHDRAWN: "The grant of a request gives nothing any more on this broker.",
    RecordKind.GRANT_USED: "A use of a grant for single use is taken up, or given back because it was not carried out.",
    RecordKind.BREAK_GLASS_SEALED: "Parts that open an emergency were sealed; earlier ones open nothing any more.",
    RecordKind.BREAK_GLASS_OPENED: "An emergency was opened with sealed parts, or goes on after a restart.",
    RecordKind.BREAK_GLASS_REFUSED: "Attempts to open an emergency that did not: sums by subject and cause.",
    RecordKind.BREAK_GLASS_ENDED: "An emergency ended; its review is open.",
    RecordKind.BREAK_GLASS_REVIEWED: "Somebody signed the review of an emergency; it takes two people.",
    RecordKind.POLICY_PROPOSED: "The policy's files changed, and wait for people to activate them.",
    RecordKind.PROPOSAL_CREATED: "Somebody proposed an act that more than one person must want.",
    RecordKind.PROPOSAL_APPROVED: "One person approved a proposal.",
    RecordKind.PROPOSAL_ENDED: "Enough people approved a proposal, or somebody refused it.",
    RecordKind.DEVICE_DISPUTED: "Several nodes of a BACnet/SC network say that they are this device: it is not asked.",
    RecordKind.CLOCK_STEPPED: "The clock was set, and all sessions ended.",
    RecordKind.TAIL_HEALED: "The end of the ledger was repaired after a crash.",
    RecordKind.EVIDENCE_VIEWED: "Somebody looked at the evidence.",
    RecordKind.WATCHING_ENDED: "Somebody who watched live sessions watches no more.",
    RecordKind.EVIDENCE_PRUNED: "Old evidence was removed as the retention says.",
}


def reason_text(word: str) -> str:
    """The sentence for a `Reason` word; the word itself if it is not one."""
    return REASONS[Reason(word)].text if word in REASONS else word


def chief_reason(words: tuple[str, ...]) -> Reason | None:
    """The most specific of these `Reason` words: what its reader can put right in the request itself comes first."""
    known = [Reason(word) for word in words if word in REASONS]
    return min(known, key=lambda reason: _SPECIFIC_FIRST.get(reason, len(_SPECIFIC_FIRST)), default=None)


def what_to_do(words: tuple[str, ...]) -> str:
    """What to do about the most specific of these `Reason` words."""
    reason = chief_reason(words)
    return REASONS[reason].what_to_do if reason else ""


def device_code_text(code: str) -> str:
    """A device's own code as people know it: `exception-2` is "exception 02 illegal data address"."""
    number = code.removeprefix("exception-")
    if number == code or not number.isascii() or not number.isdigit():
        return code
    return f"exception {int(number):02} {MODBUS_EXCEPTIONS.get(int(number), '')}".rstrip()
