"""The book of what waits for persons: one for an operation, bounded, used once."""

from dataclasses import replace

import pytest

from broker.access.approvals import ApprovalBook
from broker.model.approval import ARMED_SECONDS, OPEN_SECONDS, Approval, ApprovalState, Approver
from broker.model.decision import Obligation
from broker.model.vocabulary import Action
from tests.unit.engine.playbook import DEVICE, SUBJECT, request

NOW = 1_800_000_000.0
ANA, BO = (replace(SUBJECT, id=name) for name in ("ana", "bo"))
SECOND, STEP_UP = Obligation.SECOND_PERSON, Obligation.STEP_UP


def asked(identifier="arm-1", digest="write", subject=SUBJECT, needs=(SECOND,)):
    made = request(Action.ADJUST)
    object.__setattr__(made, "digest", digest)
    return Approval(identifier, "ses-1", subject, DEVICE, made, (), needs, NOW, NOW + OPEN_SECONDS)


def book_of(*approvals):
    book = ApprovalBook()
    for approval in approvals:
        book.add(approval)
    return book


def test_what_is_armed_is_found_by_its_operation_alone():
    book = book_of(asked(), asked("arm-2", "another"))
    book.arm("arm-1", Approver(BO, SECOND), NOW)
    assert [arming.by for arming in book.armed(asked().key, NOW)] == ["bo"]
    assert book.armed(asked("arm-2", "another").key, NOW) == ()
    assert book.armed(asked(subject=replace(SUBJECT, organisation="mill")).key, NOW) == ()


def test_it_is_used_once_and_is_gone():
    book = book_of(asked())
    book.arm("arm-1", Approver(BO, SECOND), NOW)
    armings = book.armed(asked().key, NOW)
    assert book.use(armings, NOW).id == "arm-1"
    assert book.use(armings, NOW) is None
    assert book.of(asked().key) is None
    assert not book


def test_it_is_good_for_its_time_and_no_longer():
    book = book_of(asked())
    book.arm("arm-1", Approver(BO, SECOND), NOW + 10)
    armings = book.armed(asked().key, NOW + 10)
    assert armings[0].until == NOW + 10 + ARMED_SECONDS
    assert book.armed(asked().key, armings[0].until) == ()
    assert book.use(armings, armings[0].until) is None


def test_two_persons_have_the_whole_time_from_when_the_second_of_them_armed_it():
    book = book_of(asked(needs=(SECOND, STEP_UP)))
    assert book.arm("arm-1", Approver(BO, SECOND), NOW).state is ApprovalState.WAITING
    half = book.armed(asked().key, NOW + ARMED_SECONDS + 1)
    assert [arming.kind for arming in half] == [SECOND]
    armed = book.arm("arm-1", Approver(ANA, STEP_UP), NOW + ARMED_SECONDS + 1)
    assert armed.state is ApprovalState.ARMED
    assert {arming.until for arming in armed.armings} == {NOW + 2 * ARMED_SECONDS + 1}
    assert book.use(half, NOW + ARMED_SECONDS + 2) is None
    assert book.use(armed.armings, NOW + ARMED_SECONDS + 2) is not None


def test_what_was_refused_is_armed_for_nobody_and_stays_refused():
    book = book_of(asked(needs=(SECOND, STEP_UP)))
    book.arm("arm-1", Approver(ANA, STEP_UP), NOW)
    refused = book.refuse("arm-1", "bo", NOW + 5)
    assert (refused.state, refused.refused_by) == (ApprovalState.REFUSED, "bo")
    assert book.armed(asked().key, NOW + 6) == ()
    assert book.of(asked().key).until == NOW + 5 + OPEN_SECONDS


def test_there_is_room_for_so_many_of_a_subject_and_of_all():
    book = ApprovalBook(most=3, most_of_subject=2)
    for number in range(2):
        assert book.has_room_for(asked(f"arm-{number}", str(number)))
        book.add(asked(f"arm-{number}", str(number)))
    assert not book.has_room_for(asked("arm-9", "9"))
    other = replace(SUBJECT, id="eve@acme.example")
    assert book.has_room_for(asked("arm-2", "2", other))
    book.add(asked("arm-2", "2", other))
    assert not book.has_room_for(asked("arm-3", "3", replace(SUBJECT, id="joe@acme.example")))
    book.drop("arm-0")
    assert book.has_room_for(asked("arm-9", "9"))


@pytest.mark.parametrize("kind", [SECOND, STEP_UP])
def test_a_policy_that_obliges_more_later_is_not_met_by_what_was_armed(kind):
    book = book_of(asked(needs=(kind,)))
    book.arm("arm-1", Approver(BO, kind), NOW)
    book.need("arm-1", (SECOND, STEP_UP))
    known = book.get("arm-1")
    assert known.state is ApprovalState.WAITING
    assert known.missing == tuple(each for each in (kind, SECOND, STEP_UP) if each is not kind)
