"""What a ticket system tells: a ticket is over, and with it what was asked for under it."""

from typing import Annotated, Any

from pydantic import StringConstraints

from broker.api.call import Call
from broker.api.models import Asked, Told
from broker.api.readable import READABLE
from broker.api.requests import told
from broker.api.route import DecidedBy, Effect, Route
from broker.model.ticket import TicketState
from broker.model.vocabulary import RecordKind


class TicketEvent(Asked):
    """How the ticket came out, and what its people say of that."""

    state: TicketState
    message: Annotated[str, StringConstraints(max_length=200), READABLE] = ""


class TicketEnded(Told):
    """The ids of the access requests that this ended. `shared` false: on this broker alone, until the state is back."""

    ticket: str
    state: TicketState
    ended: list[str]
    shared: bool


async def ticket_event(call: Call) -> dict[str, Any]:
    """Revoke what was asked for under the ticket and is not over."""
    asked: TicketEvent = call.body
    ticket = call.parameters["ticket"]
    why = f"ticket {ticket} was {asked.state.value}" + (f": {asked.message}" if asked.message else "")
    ended = await told(call.gate.requests.end_all(lambda terms: terms.ticket == ticket, call.subject, why))
    return {
        "ticket": ticket,
        "state": asked.state.value,
        "ended": [view.request.id for view in ended],
        "shared": all(view.shared for view in ended),
    }


TICKET_ROUTES: tuple[Route, ...] = (
    Route(
        name="ticket_event",
        method="POST",
        path="/v1/tickets/{ticket}/events",
        permission="ticket.update",
        decided_by=DecidedBy.ADMIN,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.ADMINISTERED, RecordKind.REQUEST_CHANGED),
        summary="Tell that a ticket was closed or cancelled",
        handler=ticket_event,
        answer=TicketEnded,
        body=TicketEvent,
        resource="ticket",
        problems=("request_changed", "state_unavailable", "ledger_closed"),
        description=(
            "Access requests that cite the ticket and are not over are revoked, whether they wait for review or are in "
            "force; sessions that rest on them are cut. Telling it again changes nothing. If it fails, some may be "
            "revoked and others not: tell it again. For ticket systems: a service of the owner with the role "
            "`ticket-system`."
        ),
    ),
)
