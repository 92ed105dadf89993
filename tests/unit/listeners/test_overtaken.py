"""What changes while something is under way, and takes nothing from whoever asked, refuses no read and no session."""

from collections.abc import Callable

import pytest

from broker.access.locks import LocksInForce
from broker.engine.events import Answered, Refused
from broker.engine.sessions import Session
from broker.model.lock import Lock, LockKind
from broker.model.vocabulary import Reason, Result
from tests.unit.listeners.test_supervision import ANA, DEVICE, NOW, Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


def moves_on(stage: Stage) -> None:
    """Some other grant, lock or list comes into force."""
    stage.desk.give("others", ())


def opening(stage: Stage, *changes: Callable[[Stage], None]) -> Session | Refused:
    """A session is asked for, and each change comes while the policy is asked about it."""
    found: list[Session | Refused] = []
    stage.register.open(ANA, DEVICE, "modbus_tls", "127.0.0.1:1", stage.cuts.append, found.append)
    for change in changes:
        change(stage)
        stage.later.popleft()()
    stage.settle_all()
    (outcome,) = found
    return outcome


def test_a_change_while_the_policy_is_asked_about_a_session_has_it_asked_again(stage: Stage) -> None:
    assert isinstance(opening(stage, moves_on), Session)


def test_a_session_is_not_asked_about_without_end(stage: Stage) -> None:
    refused = opening(stage, moves_on, moves_on)
    assert isinstance(refused, Refused)
    assert refused.reasons == (Reason.ACCESS_CHANGED,)


def test_a_lock_that_comes_while_the_policy_is_asked_opens_no_session(stage: Stage) -> None:
    lock = Lock("lck-1", LockKind.SUBJECT, ANA.id, "why", "bo", NOW, "b/ledger")
    refused = opening(stage, lambda stage: stage.desk.enforce(LocksInForce((lock,))))
    assert isinstance(refused, Refused)
    assert refused.reasons == (Reason.LOCKED,)


@pytest.mark.parametrize("moment", ["while the policy is asked", "while it waits for its turn at the device"])
def test_a_read_that_a_change_overtakes_is_decided_again_and_answered(stage: Stage, moment: str) -> None:
    stage.ask()
    if moment != "while the policy is asked":
        stage.later.popleft()()
    moves_on(stage)
    stage.settle_all()
    (finding,) = stage.findings
    assert isinstance(finding, Answered)
    assert finding.relayed.result == Result.DONE
    assert len(stage.sent) == 1
    outcomes = [record["result"] for record in stage.records if record["kind"] == "outcome"]
    assert outcomes == [Result.NOT_SENT, Result.DONE]
