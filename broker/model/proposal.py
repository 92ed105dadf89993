"""Acts that more than one person must want: proposed, approved, and then carried out once."""

from dataclasses import dataclass
from enum import StrEnum

from broker.model.backer import Backer

Parameters = tuple[tuple[str, str], ...]
"""What exactly is to be done, names in order; whoever approves approves just this."""

WARRANT_NEEDED = "needed"
"""What is told as `warrant` of what is done only when enough people want it."""


class ProposalAct(StrEnum):
    """What can be proposed; the word is also the permission that says whether enough people want it."""

    POLICY_ACTIVATE = "policy.activate"
    CA_ISSUE = "ca.issue"
    CA_ROTATE = "ca.rotate"
    CA_SIGN = "ca.sign"
    CA_APPROVERS = "ca.approvers"


class ProposalEnd(StrEnum):
    """How a proposal ended."""

    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal as it was made. Times are epoch seconds; `proposed_by` is "" for files that were changed on a host."""

    id: str
    act: ProposalAct
    parameters: Parameters
    proposed_by: str
    proposed_at: float
    until: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's approval of just these parameters, as record `index` of the ledger `broker` holds it.

    It is good as long as the proposal is open, which is `until`, and he may approve it.
    """

    proposal: str
    act: ProposalAct
    parameters: Parameters
    until: float
    by: Backer
    at: float
    broker: str
    index: int


@dataclass(frozen=True, slots=True)
class Warrant:
    """That enough people have approved: what allows the act, once, until then."""

    proposal: str
    act: ProposalAct
    parameters: Parameters
    proposed_by: str
    approved_by: tuple[str, ...]
    at: float
    until: float
    broker: str


@dataclass(frozen=True, slots=True)
class KnownEnd:
    """How a proposal ended, as a broker learnt it at `learnt_at`; what else the state says of that changes nothing."""

    proposal: str
    ended_as: ProposalEnd
    by: str
    at: float
    learnt_at: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A proposal as it stands: who has approved it (proven), how it ended, and the signed note that is its warrant.

    `approvers` are the same people as they were proven when they did.
    """

    proposal: Proposal
    approved_by: tuple[str, ...] = ()
    ended_as: ProposalEnd | None = None
    ended_by: str = ""
    ended_at: float | None = None
    warrant: str = ""
    approvers: tuple[Backer, ...] = ()

    def open_at(self, now: float) -> bool:
        """Whether it can still be approved or refused."""
        return self.ended_as is None and now < self.proposal.until
