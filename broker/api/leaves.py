"""What is undone when somebody's access ends: what could not be, and what is owed."""

from dataclasses import asdict
from typing import Any

from broker.api.call import Call
from broker.api.problems import Problem, timestamp
from broker.model.leave import Debt, Leave
from broker.model.place import OnLeave

READ, ACKNOWLEDGE = "leave.read", "leave.acknowledge"


async def leaves(call: Call) -> dict[str, Any]:
    """What nobody has taken note of, and what is owed now: all if the policy says so, else at the sites of which it
    says so.
    """
    sites = await call.sites(READ, "leaves", call.gate.inventory.sites)
    if not sites and sites is not None:
        await call.require(READ, {"kind": "leaves"})
    book = call.gate.leaves
    return {
        "leaves": [_leave(leave) for leave in book.unsettled if sites is None or leave.site in sites],
        "debts": [_debt(debt, why) for debt, why in book.debts() if sites is None or debt.site in sites],
    }


async def acknowledge(call: Call) -> dict[str, Any]:
    """Take note of a leave, if the policy lets the caller."""
    wanted = call.parameters["id"]
    leave = next((leave for leave in call.gate.leaves.unsettled if leave.id == wanted), None)
    about = {} if leave is None else {"subject": leave.subject, "site": leave.site, "device": leave.device}
    await call.require(ACKNOWLEDGE, {"kind": "leave", "id": wanted} | about)
    if leave is None:
        raise Problem("leave_unknown")
    await call.gate.leaves.acknowledge(leave, call.subject.id, call.body.why)
    return {"leave": _leave(leave)}


def _leave(leave: Leave) -> dict[str, Any]:
    times = {"ended": timestamp(leave.ended), "finished": timestamp(leave.finished)}
    return asdict(leave) | times


def _debt(debt: Debt, waits_for: str) -> dict[str, Any]:
    return {
        "subject": debt.subject.id,
        "device": debt.device,
        "point": debt.point,
        "undo": debt.undo,
        "priority": debt.priority,
        "before": debt.before if debt.undo is OnLeave.RESTORE else None,
        "own": sorted(debt.own),
        "session": debt.session,
        "written_at": timestamp(debt.at),
        "waits_for": waits_for,
    }
