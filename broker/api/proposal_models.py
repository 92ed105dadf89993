"""The documents of the API about policies and proposals."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from broker.api.models import Asked, Told
from broker.api.readable import READABLE
from broker.model.proposal import ProposalAct

Name = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}$")]
Parameter = Annotated[str, StringConstraints(max_length=1000), READABLE]
Why = Annotated[str, StringConstraints(min_length=1, max_length=300), READABLE]


class ApproveProposalCall(Asked):
    """An approval takes nothing but what the path names."""


class RefuseProposalCall(Asked):
    """Why a proposal is refused."""

    why: Why


class ProposeCall(Asked):
    """An act of an authority, with exactly the parameters that `otbroker ca … --propose FILE` wrote."""

    act: Literal[ProposalAct.CA_ISSUE, ProposalAct.CA_ROTATE, ProposalAct.CA_SIGN, ProposalAct.CA_APPROVERS]
    parameters: Annotated[dict[Name, Parameter], Field(min_length=1, max_length=16)]
    why: Why


class ProposalEntry(Told):
    """A proposal. `warrant`, once it is approved, is a signed note that lets the act be done once."""

    id: str
    act: ProposalAct
    parameters: dict[str, str]
    proposed_by: str
    proposed_at: str
    until: str
    why: str
    approved_by: list[str]
    state: Literal["open", "approved", "refused", "expired"]
    ended_by: str
    ended_at: str | None
    warrant: str


class ProposalEntries(Told):
    """The newest proposals, at most 200."""

    proposals: list[ProposalEntry]


class ProposalAnswer(Told):
    """A proposal as it stands now; `lacks` says what is missing if it is not approved yet."""

    proposal: ProposalEntry
    lacks: list[str]


class PolicyInForce(Told):
    """A revision that came into force, and when."""

    revision: str
    since: str


class PolicyOverview(Told):
    """`activation` is `review` if people activate changed files. `before` is what was in force, the newest first."""

    activation: Literal["apply", "review"]
    in_force: str
    waiting: str
    approved_by: list[str]
    before: list[PolicyInForce]


class PolicyDocument(Told):
    """A policy whole: module texts by file name, and data."""

    revision: str
    modules: dict[str, str]
    data: dict[str, Any]


class PolicyAnswer(Told):
    """Who has approved a revision, whether it was activated by that, and what is in force on this broker now."""

    revision: str
    approved_by: list[str]
    activated: bool
    lacks: list[str]
    in_force: str
