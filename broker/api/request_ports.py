"""What the API needs of the broker's access requests, named by role."""

from collections.abc import Callable
from typing import Protocol

from broker.model.access_request import EVERY_REQUEST, AccessRequest, RequestChoice, Review, Terms, Verdict
from broker.model.decision import ReviewAnswer
from broker.model.subject import Subject


class RequestView(Protocol):
    """An access request with what is proven of it on this broker."""

    @property
    def request(self) -> AccessRequest:
        """As the state has it."""

    @property
    def reviews(self) -> tuple[Review, ...]:
        """The verdicts whose signatures are proven."""

    @property
    def in_force(self) -> bool:
        """Whether its grant is given now."""

    @property
    def held_because(self) -> tuple[str, ...]:
        """Why not, though it is approved and its time has come: `Reason` words."""

    @property
    def shared(self) -> bool:
        """Whether the state that brokers share has it so."""


class RequestBook(Protocol):
    """The access requests. Acts raise StateUnavailableError, LedgerUnavailableError, or RequestRefusedError."""

    def new_id(self) -> str:
        """The id of a request to be."""

    async def requests(self, choice: RequestChoice = EVERY_REQUEST) -> tuple[tuple[RequestView, ...], bool]:
        """Those chosen, first what is not over; and whether there are more."""

    async def request(self, identifier: str) -> RequestView | None:
        """The request of that id."""

    async def may_review(self, request: AccessRequest, subject: Subject) -> ReviewAnswer:
        """What the policy says to a subject as a reviewer."""

    async def create(self, terms: Terms, *, submit: bool) -> RequestView:
        """Make a request, as a draft or for review."""

    async def submit(self, request: AccessRequest, by: Subject) -> RequestView:
        """Hand a draft in."""

    async def review(self, request: AccessRequest, by: Subject, verdict: Verdict, comment: str) -> RequestView:
        """Approve or deny."""

    async def withdraw(self, request: AccessRequest, by: Subject, why: str) -> RequestView:
        """Take it back before it is active."""

    async def revoke(self, request: AccessRequest, by: Subject, why: str) -> RequestView:
        """End what was approved."""

    async def end_all(self, wanted: Callable[[Terms], bool], by: Subject, why: str) -> tuple[RequestView, ...]:
        """Revoke everything that `wanted` holds good for and that is not over."""

    async def close(self, request: AccessRequest, by: Subject, report: str) -> RequestView:
        """Give access back, or report when it is over."""
