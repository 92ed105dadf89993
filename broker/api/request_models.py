"""The documents about access requests."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StringConstraints, WithJsonSchema, model_validator

from broker.api.models import Asked, Name, Reason, Told, Value
from broker.api.readable import READABLE
from broker.model.access_request import RequestState, Verdict
from broker.model.vocabulary import Action, Result

MOST_DEVICES = 64
MOST_PLANNED = 256
LEAST_TOLD = 3


def _telling(text: str) -> str:
    if len(text.strip()) < LEAST_TOLD:
        raise ValueError(f"must have at least {LEAST_TOLD} characters: people go by it, and the ledger keeps it")
    return text


def _distinct(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(items)) != len(items):
        raise ValueError("must not name anything twice")
    return items


Comment = Annotated[str, StringConstraints(max_length=500), READABLE]
Needed = Annotated[
    str,
    StringConstraints(max_length=500),
    AfterValidator(_telling),
    READABLE,
    WithJsonSchema({"type": "string", "minLength": LEAST_TOLD, "maxLength": 500}),
]
Ticket = Annotated[str, StringConstraints(max_length=100), READABLE]
Moment = Annotated[str, StringConstraints(max_length=40)]
Key = Annotated[str, StringConstraints(min_length=3, max_length=127)]
Version = Annotated[StrictInt, Field(ge=1, le=2**31)]


class PlannedValue(Asked):
    """One exact write. `device` may be left out where the request is for one device.

    `priority` is for BACnet: without it the least urgent that the point allows, as a write without it.
    """

    device: Key | None = None
    point: Name
    value: Value
    priority: StrictInt | None = Field(default=None, ge=1, le=16)


class RequestCall(Asked):
    """What is asked for: which devices, points and actions, why, and when.

    Times are RFC 3339 with offset, from now on if `from` is left out; or `window`: its time now or next, within `from`
    and `until` if they are given. Without `points` it is the points of the plan, or without a plan all. Without
    `actions` it is to view, and what the plan's points need. `submit` false keeps it as a draft.
    """

    devices: Annotated[tuple[Key, ...], Field(min_length=1, max_length=MOST_DEVICES), AfterValidator(_distinct)]
    points: Annotated[tuple[Name, ...], Field(max_length=256), AfterValidator(_distinct)] = ()
    actions: Annotated[tuple[Action, ...], Field(max_length=8), AfterValidator(_distinct)] = ()
    plan: tuple[PlannedValue, ...] = Field(default=(), max_length=MOST_PLANNED)
    reason: Needed
    ticket: Ticket = ""
    starts: Moment = Field(default="", alias="from")
    until: Moment = ""
    window: Annotated[str, StringConstraints(max_length=63)] = ""
    single_use: StrictBool = False
    supervised: StrictBool = False
    submit: StrictBool = True

    @model_validator(mode="after")
    def _ends(self) -> "RequestCall":
        if not self.until and not self.window:
            raise ValueError("give until, or a window")
        return self


class ExtendCall(Asked):
    """A request for the same until later; it needs a new approval, and leaves sessions as they are if it gets it."""

    until: Moment
    reason: Needed
    ticket: Ticket = ""


class SubmitCall(Asked):
    """Handing a draft in; `version` is the one that is meant, if given."""

    version: Version | None = None


class ReviewCall(Asked):
    """A verdict, with a comment that its reader sees and the ledger keeps."""

    verdict: Verdict
    comment: Comment = ""
    version: Version | None = None


class WithdrawCall(Asked):
    """Taking a request back before it is active."""

    why: Comment = ""
    version: Version | None = None


class RevokeCall(Asked):
    """Ending what was approved, and why."""

    why: Needed
    version: Version | None = None


class CloseCall(Asked):
    """Giving access back, or reporting when it is over: what was done."""

    report: Needed
    version: Version | None = None


class RequestQuery(Asked):
    """Which requests to list: in these states, all of them if none is named."""

    state: tuple[RequestState, ...] = Field(default=(), max_length=10)


class PlannedWriteEntry(Told):
    """One exact write; the value as the device's protocol carries it. `used` is there for single use.

    `priority` is the BACnet priority at which it is written: null where the point has none.
    """

    device: str
    point: str
    value: str
    priority: int | None
    used: bool | None


class ReviewEntry(Told):
    """A verdict that a broker signed: record `index` of the ledger `ledger` holds it."""

    reviewer: str
    organisation: str
    groups: list[str]
    verdict: Verdict
    comment: str
    at: str
    ledger: str
    index: int


class RequestEntry(Told):
    """An access request. Its id is also that of the grant that it gives.

    `reviews` are those whose signatures are proven. `in_force`: this broker gives its grant now; `held_because` says
    why not, though it is approved and its time has come. `ends_in_seconds` counts down while it is in force.
    `used` is how many writes of a grant for single use are taken up. `report_due`: its subject must say what was done
    before it asks for anything else. `shared` false: the state cannot be reached, and it is so on this broker alone
    until it can.
    """

    id: str
    state: RequestState
    version: int
    subject: str
    organisation: str
    sponsor: str
    devices: list[str]
    points: list[str]
    actions: list[Action]
    plan: list[PlannedWriteEntry]
    used: int | None
    reason: str
    ticket: str
    starts: str = Field(alias="from")
    until: str
    window: str
    single_use: bool
    supervised: bool
    extends: str
    created_at: str
    reviews: list[ReviewEntry]
    in_force: bool
    held_because: list[Reason]
    ends_in_seconds: int | None
    activated_at: str | None
    ended_at: str | None
    ended_by: str
    ended_why: str
    report: str
    report_due: bool
    shared: bool


class RequestEntries(Told):
    """Access requests: all, those of your sites, or your own. First those that are not over, each by when they begin,
    last first. `more`: there are more than these.
    """

    scope: Literal["all", "sites", "own"]
    requests: list[RequestEntry]
    more: bool


class ReviewOutlook(Told):
    """Whether you may review it, for which groups, and how many groups must approve; else why not.

    `reviewed`: you have. `still_needed` is how many more groups must approve, `missing` which ones would count.
    `needed`, `still_needed` and `missing` are null while the policy does not answer: nobody knows then; `missing` alone
    is null if the policy does not name the groups.
    """

    may: bool
    reviewed: bool
    groups: list[str]
    needed: int | None
    still_needed: int | None
    missing: list[str] | None
    reasons: list[Reason]


class RequestAnswer(Told):
    """A request, and while it is pending, who is still to approve it and what you may do as its reviewer."""

    request: RequestEntry
    review: ReviewOutlook | None


class DoneEntry(Told):
    """One write: the values that were decided (none of confidential points), its result, and the outcome's record.

    `priority` is the BACnet priority at which it was written: null where there is none.
    """

    device: str
    service: str
    values: dict[str, str]
    priority: int | None
    result: Result
    code: str
    at: str
    index: int


class DoneEntries(Told):
    """The writes that rested on a request's grant, oldest first; `more`: there are more than these 256.

    They are those that the broker whose ledger is `ledger` relayed: where several brokers give the grant, ask each.
    """

    ledger: str
    done: list[DoneEntry]
    more: bool
