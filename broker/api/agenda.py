"""What is to come for a subject, as a calendar file."""

import time

from aiohttp import web
from pydantic import Field

from broker.access.requests import GRANTED
from broker.api.call import Call
from broker.api.models import Asked
from broker.api.problems import Problem
from broker.calendar.ics_export import agenda, encode_calendar
from broker.errors import StateUnavailableError
from broker.model.access_request import RequestChoice
from broker.model.place import Grant

MEDIA_TYPE = "text/calendar"
DAY_SECONDS = 86_400.0


class CalendarQuery(Asked):
    """How many days ahead to look."""

    days: int = Field(default=60, ge=1, le=366)


async def calendar(call: Call) -> web.Response:
    """Windows, freezes and grants with an end. Rules are followed in a worker thread."""
    query: CalendarQuery = call.query
    inventory, now = call.gate.inventory, time.time()
    grants = (*call.gate.grants_of(call.subject), *await _to_come(call, now))
    reached = tuple(d for d in inventory.devices if any(g.scope.covers(d.site, d.key, d.labels) for g in grants))
    organisation, until = call.subject.organisation, now + query.days * DAY_SECONDS

    def compute() -> bytes:
        told = agenda(inventory.windows, inventory.freezes, grants, reached, organisation, now, until)
        return encode_calendar(told, now)

    return web.Response(body=await call.aside(compute), headers={"Content-Type": f"{MEDIA_TYPE}; charset=utf-8"})


async def _to_come(call: Call, now: float) -> list[Grant]:
    """What was approved and is not given yet. Raises Problem."""
    try:
        found, _ = await call.gate.requests.requests(RequestChoice(call.subject.id, GRANTED))
    except StateUnavailableError:
        raise Problem("state_unavailable") from None
    approved = (view.request for view in found if not view.in_force)
    return [request.terms.grant() for request in approved if now < request.terms.ends]
