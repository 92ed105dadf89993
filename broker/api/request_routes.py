"""Routes: access requests."""

from collections.abc import Awaitable, Callable
from typing import Any

from broker.api import request_done, request_models, requests
from broker.api.call import Call
from broker.api.models import Asked
from broker.api.route import DecidedBy, Effect, Route
from broker.model.vocabulary import RecordKind

_ACTING = ("request_unknown", "request_state", "request_changed", "state_unavailable", "ledger_closed")
_TICKETS = ("ticket_missing", "ticket_malformed", "ticket_refused", "ticket_unchecked")
_ASKING = (
    "device_unknown",
    "point_unknown",
    "value_invalid",
    "value_outside_limits",
    "request_terms",
    "request_time",
    "request_ineligible",
    "report_due",
    "too_many_requests",
    "requests_too_often",
    *_TICKETS,
    "state_unavailable",
    "ledger_closed",
)


def _act(
    name: str,
    permission: str,
    summary: str,
    handler: Callable[[Call], Awaitable[Any]],
    body: type[Asked],
    *,
    problems: tuple[str, ...] = (),
    recorded_as: tuple[RecordKind, ...] = (RecordKind.REQUEST_CHANGED,),
    description: str = "",
) -> Route:
    return Route(
        name=f"{name}_request",
        method="POST",
        path=f"/v1/requests/{{request}}/{name}",
        permission=permission,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=recorded_as,
        summary=summary,
        handler=handler,
        answer=request_models.RequestAnswer,
        body=body,
        problems=tuple(dict.fromkeys((*_ACTING, *problems))),
        description=description,
    )


REQUEST_ROUTES: tuple[Route, ...] = (
    Route(
        name="requests",
        method="GET",
        path="/v1/requests",
        permission=requests.READ,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.PLAIN,
        summary="Access requests: all, or those of your sites and organisations, or your own",
        handler=requests.requests,
        answer=request_models.RequestEntries,
        query=request_models.RequestQuery,
        problems=("state_unavailable",),
        description=(
            "500 at most, first those that are not over, each by when they begin, last first. `more`: there are others "
            "too, so choose a state. Who may not see all is told what concerns him among the first 5000."
        ),
    ),
    Route(
        name="create_request",
        method="POST",
        path="/v1/requests",
        permission=requests.CREATE,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.REQUEST_CHANGED,),
        summary="Ask for access",
        handler=requests.create,
        answer=request_models.RequestAnswer,
        body=request_models.RequestCall,
        problems=_ASKING,
        description=(
            "What is asked for never changes afterwards. With a plan nothing but the planned writes may be written. "
            "Texts, planned ones too, are shown to approvers: line breaks, characters that cannot be seen and words "
            "that mix scripts are refused. Whoever had access and has not reported on it must do that first "
            "(`report_due`)."
        ),
    ),
    Route(
        name="request",
        method="GET",
        path="/v1/requests/{request}",
        permission=requests.READ,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.PLAIN,
        summary="One access request, and whether you may review it",
        handler=requests.request,
        answer=request_models.RequestAnswer,
        problems=("request_unknown", "state_unavailable"),
    ),
    Route(
        name="request_done",
        method="GET",
        path="/v1/requests/{request}/done",
        permission=requests.READ,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.EVIDENCE,
        summary="What was written under a request, out of this broker's ledger",
        handler=request_done.done,
        answer=request_models.DoneEntries,
        problems=("request_unknown", "state_unavailable", "ledger_closed", "deadline_passed"),
        description=(
            "To hold against the plan. Of several brokers each has recorded what it relayed itself: ask all. Looking "
            "is recorded as a view of evidence."
        ),
    ),
    _act(
        "submit",
        requests.SUBMIT,
        "Hand a draft in for review",
        requests.submit,
        request_models.SubmitCall,
        problems=(
            "request_ineligible",
            "request_time",
            "report_due",
            "too_many_requests",
            "requests_too_often",
            *_TICKETS,
        ),
    ),
    _act(
        "review",
        requests.REVIEW,
        "Approve or deny an access request",
        requests.review,
        request_models.ReviewCall,
        problems=("review_refused", "already_reviewed", "request_ineligible"),
        recorded_as=(RecordKind.REQUEST_REVIEWED, RecordKind.REQUEST_CHANGED),
        description=(
            "The policy says who may (`access.review`), and how many of different groups must approve; never whoever "
            "asks. One denial denies. The verdict is signed with the key of this broker's ledger, and proven by every "
            "broker before anything is given for it."
        ),
    ),
    _act(
        "withdraw",
        requests.WITHDRAW,
        "Take a request back that is not active yet",
        requests.withdraw,
        request_models.WithdrawCall,
    ),
    _act(
        "revoke",
        requests.REVOKE,
        "End what was approved",
        requests.revoke,
        request_models.RevokeCall,
        description=(
            "Its sessions are cut before the answer on this broker, and within a second on the others. If the state "
            "cannot be reached it is over on this broker alone (`shared` false) until it can."
        ),
    ),
    _act(
        "extend",
        requests.CREATE,
        "Ask for the same until later",
        requests.extend,
        request_models.ExtendCall,
        problems=_ASKING,
        description="A request of its own, with a review of its own; approved in time, it leaves sessions as they are.",
    ),
    _act(
        "close",
        requests.CLOSE,
        "Give access back with a report, or report on access that is over",
        requests.close,
        request_models.CloseCall,
    ),
)
