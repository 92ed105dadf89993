"""What can go wrong, once: a code for machines, a sentence for the caller, a detail for the operator.

A denial is not an error (see `model.decision`); an error is something that kept a decision or a relay from happening.
`public` may reach an unauthenticated peer and therefore never names a path, a secret or another subject.
"""

from dataclasses import dataclass


class BrokerError(Exception):
    """The root: `code` is a constant word, `public` is shown to the caller, `detail` goes to the log only."""

    def __init__(self, code: str, public: str, detail: str = "") -> None:
        super().__init__(f"{code}: {public}" + (f" ({detail})" if detail else ""))
        self.code = code
        self.public = public
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file, where (lines and columns count from 1; 0 = the whole file), and what would be right.

    A warning (`warning` True) keeps nothing from loading.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    warning: bool = False


class ConfigError(BrokerError):
    """Settings, inventory or policy files that cannot be used as they are; `problems` are all of them at once."""

    def __init__(self, code: str, public: str, detail: str = "", problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(code, public, detail)
        self.problems = problems


class PeerError(BrokerError):
    """The other side sent something that is not acceptable."""


class FrameError(PeerError):
    """Octets that are not a frame of the protocol; the connection cannot be trusted to stay in step."""


class LimitError(PeerError):
    """The peer asked for more than an explicit limit gives."""


class CertificateError(PeerError):
    """A certificate that does not prove a subject."""


class TokenError(PeerError):
    """A token that does not prove a subject."""


class BindingError(PeerError):
    """Proofs that are valid alone and do not belong together."""


class IssuanceError(PeerError):
    """What our own authority was asked to certify and does not."""


class EnrolmentError(PeerError):
    """An invitation, enrolment, renewal or second factor that does not hold; `wait_seconds`: not before then again."""

    def __init__(self, code: str, public: str, detail: str = "", wait_seconds: float = 0.0) -> None:
        super().__init__(code, public, detail)
        self.wait_seconds = wait_seconds


class UnavailableError(BrokerError):
    """Something that the broker needs is not there; nothing was relayed because of it."""


class PolicyUnavailableError(UnavailableError):
    """No usable answer from the policy engine in time: the operation is denied."""


class LedgerUnavailableError(UnavailableError):
    """The ledger is closed or paused: nothing may be relayed."""


class StateUnavailableError(UnavailableError):
    """The shared state cannot be read or written: what must be in it cannot happen."""


class RequestRefusedError(BrokerError):
    """Something that cannot be done to an access request; `reasons` are `Reason` words, if the policy gave any.

    `decision` is the id of the decision that they are of; `wait_seconds`: not before then again.
    """

    def __init__(
        self,
        code: str,
        public: str = "",
        reasons: tuple[str, ...] = (),
        decision: str = "",
        index: int = -1,
        wait_seconds: float = 0.0,
    ) -> None:
        super().__init__(code, public)
        self.wait_seconds = wait_seconds
        self.reasons = reasons
        self.decision = decision
        self.index = index


class DeviceUnavailableError(UnavailableError):
    """The device or the way to it is not there; the request was not sent."""


class PeerGoneError(BrokerError):
    """The caller left before its operation was relayed."""


class IntegrityError(BrokerError):
    """Evidence that does not hold: a broken tree, signature or invariant."""
