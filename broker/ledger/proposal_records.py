"""Builders of the records about acts that more than one person must want."""

from collections.abc import Mapping, Sequence

from broker.ledger.record_forms import plain, record, stamp, text
from broker.model.proposal import WARRANT_NEEDED
from broker.model.vocabulary import RecordKind


def policy_proposed(time: float, *, revision: str, in_force: str) -> bytes:
    """The policy's files have changed, and wait for people to activate them."""
    return record(
        RecordKind.POLICY_PROPOSED, time, {"revision": revision, "in_force": in_force, "warrant": WARRANT_NEEDED}
    )


def proposal_created(
    time: float, *, proposal: str, act: str, parameters: Mapping[str, str], by: str, until: float, why: str
) -> bytes:
    """Who wants what to be done, exactly; "" for files of a host."""
    told = {"proposal": proposal, "act": act, "parameters": plain(parameters), "by": text(by), "until": stamp(until)}
    return record(RecordKind.PROPOSAL_CREATED, time, told | ({"why": text(why)} if why else {}))


def proposal_approved(time: float, *, proposal: str, act: str, parameters: Mapping[str, str], by: str) -> bytes:
    """One person wants it too."""
    told = {"proposal": proposal, "act": act, "parameters": plain(parameters), "by": text(by)}
    return record(RecordKind.PROPOSAL_APPROVED, time, told)


def proposal_ended(
    time: float, *, proposal: str, act: str, ended_as: str, by: str, approved_by: Sequence[str], why: str
) -> bytes:
    """Enough people want it, and it may be done once; or somebody who may has refused it."""
    told = {"proposal": proposal, "act": act, "as": ended_as, "by": text(by), "approved_by": plain(approved_by)}
    return record(RecordKind.PROPOSAL_ENDED, time, told | ({"why": text(why)} if why else {}))
