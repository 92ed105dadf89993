"""The documents about operations that wait for a person."""

from typing import Annotated, Literal

from pydantic import StrictBool, StringConstraints

from broker.api.models import Asked, Told
from broker.api.readable import READABLE
from broker.model.approval import LONGEST_WHY

Why = Annotated[str, StringConstraints(max_length=LONGEST_WHY), READABLE]


class ApproveCall(Asked):
    """Approving takes nothing but the id; `why` goes into the ledger.

    `without_old`: you know that what is there now could not be read. Only then it is armed where that is so,
    and of that nothing is compared when it is used.
    """

    why: Why = ""
    without_old: StrictBool = False


class RefuseCall(Asked):
    """Why it is refused, for the ledger."""

    why: Annotated[Why, StringConstraints(min_length=1)]


class StepUpCall(Asked):
    """Proving oneself again: by the fresh token of the call itself, or by a code of one's authenticator app."""

    code: Annotated[str, StringConstraints(max_length=16)] = ""


class WaitingPoint(Told):
    """A point that would be written: `old` is what it read when it was asked, null if that could not be had; `new` is
    null if only part of it would be written. Both are null for confidential points.
    """

    name: str
    unit: str
    old: str | None
    new: str | None


class WaitingOperation(Told):
    """One operation, decoded, whole. `raw_values` are registers, coils or BACnet values that no point describes, in
    order, as they would be sent; `facts` what else a BACnet request says, by name.
    """

    action: str
    service: str
    address: str
    priority: int | None
    described: bool
    points: list[WaitingPoint]
    raw_values: list[str]
    facts: dict[str, str]


class ArmingFact(Told):
    """Who has met which obligation, and until when the operation may be done once."""

    obligation: Literal["step_up", "second_person"]
    by: str
    at: str
    until: str


class RestingOn(Told):
    """A grant that it rests on: what it was given for, and the ticket of its access request if it has one."""

    id: str
    reason: str
    ticket: str | None


class ApprovalEntry(Told):
    """An operation that was refused because a person is missing. `needs` are all that it takes, `missing` what nobody
    has met; when none is missing it is `armed`: exactly it, of this subject on this device, may be done once `until`
    then. `rules` are what allows it but for the persons, such as `grant/ID`; `grants` those grants of its subject.
    `old_values`: whether what would be written over was read, or could not be; while it is being read nobody approves.
    """

    id: str
    state: Literal["waiting", "armed", "refused"]
    subject: str
    organisation: str
    device: str
    session: str
    asked_at: str
    until: str
    rules: list[str]
    grants: list[RestingOn]
    needs: list[Literal["step_up", "second_person"]]
    missing: list[Literal["step_up", "second_person"]]
    armings: list[ArmingFact]
    refused_by: str | None
    concealed: bool
    old_values: Literal["being_read", "read", "unreadable"]
    operations: list[WaitingOperation]


class ApprovalEntries(Told):
    """What waits on this broker, the oldest first: all, if you may see all, else at your sites, and your own."""

    scope: Literal["all", "sites", "own"]
    approvals: list[ApprovalEntry]
