"""How a command can end: exit statuses, and errors that carry one."""

from enum import IntEnum
from typing import Any

from broker.errors import BrokerError

Document = dict[str, Any]


class Exit(IntEnum):
    """The exit status of `otb`."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    DENIED = 3
    NOT_AUTHENTICATED = 4
    DEVICE = 5
    UNKNOWN = 6
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.DONE: "done",
    Exit.ERROR: "an error, explained on standard error",
    Exit.USAGE: "the command line is wrong",
    Exit.DENIED: "denied: the reasons say what was missing",
    Exit.NOT_AUTHENTICATED: "not authenticated: certificate or token is missing or refused",
    Exit.DEVICE: "the device refused or did not answer, or the request could not be relayed",
    Exit.UNKNOWN: "the outcome of a write is unknown: it may have taken effect",
    Exit.INTERRUPTED: "ended by Ctrl-C (`otb connect` and `otb sessions watch` end with 0 then)",
}

_DENIED = (
    "break_glass_refused",
    "denied",
    "partly_denied",
    "permission_denied",
    "origin_refused",
    "proof_not_fresh",
    "review_refused",
)
_NOT_AUTHENTICATED = (
    "credentials_missing",
    "credentials_refused",
    "subjects_differ",
    "code_refused",
    "code_used",
    "code_revoked",
    "code_expired",
    "code_void",
    "factor_missing",
    "factor_refused",
    "factor_blocked",
    "renewal_refused",
)
_DEVICE = (
    "device_refused",
    "bad_reply",
    "device_down",
    "budget_exhausted",
    "not_sent",
    "no_reply",
    "deadline_passed",
    "ledger_closed",
    "ledger_paused",
    "state_unavailable",
    "ticket_unchecked",
    "unavailable",
    "enrolment_unavailable",
)
_EXITS: dict[str, Exit] = {
    **dict.fromkeys(_DENIED, Exit.DENIED),
    **dict.fromkeys(_NOT_AUTHENTICATED, Exit.NOT_AUTHENTICATED),
    **dict.fromkeys(_DEVICE, Exit.DEVICE),
    "outcome_unknown": Exit.UNKNOWN,
}


def exit_of(code: object) -> Exit:
    """The exit status for a code of the API's problems."""
    return _EXITS.get(code, Exit.ERROR) if isinstance(code, str) else Exit.ERROR


class CommandError(BrokerError):
    """A command cannot go on: why, what the reader can do, and the exit status."""

    def __init__(self, code: str, public: str, what_to_do: str = "", status: Exit = Exit.ERROR) -> None:
        super().__init__(code, public)
        self.what_to_do = what_to_do
        self.status = status

    def document(self) -> Document:
        """The error in the form of the API's problems, for readers of JSON."""
        return {"code": self.code, "detail": self.public, "what_to_do": self.what_to_do}


class ProblemError(BrokerError):
    """The broker answered with a problem (RFC 9457); `document` is what it said."""

    def __init__(self, document: Document) -> None:
        super().__init__(str(document.get("code", "problem_odd")), str(document.get("detail", "")))
        self.document = document

    @property
    def status(self) -> Exit:
        """The exit status."""
        return exit_of(self.code)
