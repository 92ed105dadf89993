"""What the API needs of policies and proposals, named by role."""

from collections.abc import Mapping
from typing import Protocol

from broker.model.proposal import Parameters, ProposalAct, Standing
from broker.model.subject import Subject


class PolicyText(Protocol):
    """A policy: module texts by file name, and data."""

    @property
    def modules(self) -> Mapping[str, str]:
        """The modules."""

    @property
    def data(self) -> Mapping[str, object]:
        """The data."""


class Policies(Protocol):
    """The policy in force, the one that waits, and those before."""

    @property
    def review(self) -> bool:
        """Whether people activate what the files say."""

    @property
    def revision(self) -> str:
        """What is in force; "" if nothing is."""

    @property
    def waiting(self) -> str:
        """The revision of the files that wait; "" if none do."""

    @property
    def history(self) -> tuple[tuple[str, float], ...]:
        """Revisions that came into force and when (epoch seconds), the newest last."""

    def may_be_activated(self, revision: str) -> bool:
        """Only what waits, or was in force before, and not what is."""

    async def files(self, revision: str) -> PolicyText | None:
        """What was archived under that revision."""

    async def activate(self) -> None:
        """Bring into force what people have activated. Raises BrokerError."""


class Proposals(Protocol):
    """Proposals. What asks the state raises StateUnavailableError, what acts also LedgerUnavailableError."""

    async def newest(self) -> tuple[Standing, ...]:
        """The newest proposals."""

    async def standing(self, identifier: str) -> Standing | None:
        """One proposal as it stands."""

    async def of_act(self, act: ProposalAct) -> tuple[Standing, ...]:
        """The newest proposals of an act."""

    async def create(self, act: ProposalAct, parameters: Parameters, by: Subject, why: str) -> Standing:
        """Propose an act; the proposer is the first who approves it."""

    async def open_for(self, act: ProposalAct, parameters: Parameters) -> Standing:
        """The open proposal of what files of a host propose."""

    async def approve(self, standing: Standing, by: Subject) -> Standing:
        """Approve as a person; once, however often."""

    async def counting(self, standing: Standing) -> Standing:
        """A proposal with the approvals of those only who still may approve it. Raises PolicyUnavailableError."""

    async def warrant(self, standing: Standing, by: str) -> Standing | None:
        """Enough people want it: let it be done once. None if it has ended meanwhile."""

    async def refuse(self, standing: Standing, by: str, why: str) -> Standing | None:
        """Refuse it for good. None if it has ended meanwhile."""
