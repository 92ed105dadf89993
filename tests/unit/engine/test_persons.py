"""Operations that take a person: refused at once and shown, and relayed once only after what was armed is used up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.engine.commands import AskApproval, RecordDenial, RecordIntents, Relay, ShowBefore, UseArming
from broker.engine.events import Answered, Refused
from broker.engine.exchange import exchange, exchange_whole
from broker.model.approval import Approval
from broker.model.decision import Obligation
from broker.model.operation import Relayed
from broker.model.vocabulary import Action, Reason, Result
from tests.unit.engine.playbook import (
    DEVICE,
    DONE,
    READ,
    SUBJECT,
    Playbook,
    allow,
    armed,
    deny,
    request,
    session,
)

SECOND, STEP_UP = Obligation.SECOND_PERSON, Obligation.STEP_UP
BOTH = (SECOND, STEP_UP)


def approval(**changes):
    asked = {"refused_by": "", "before": None} | changes
    return Approval("arm-1", "ses-1", SUBJECT, DEVICE, request(Action.ADJUST), (), (SECOND,), 0.0, 600.0, **asked)


def commands(book, kind):
    return [command for command in book.trace if isinstance(command, kind)]


def relayed_writes(book):
    return [relay for relay in commands(book, Relay) if relay.request.writes]


@pytest.mark.parametrize(
    ("obligations", "reasons"),
    [
        ((SECOND,), (Reason.APPROVAL_NEEDED,)),
        ((STEP_UP,), (Reason.STEP_UP_NEEDED,)),
        (BOTH, (Reason.APPROVAL_NEEDED, Reason.STEP_UP_NEEDED)),
    ],
)
def test_without_the_person_nothing_is_relayed_and_the_denial_names_what_waits(obligations, reasons):
    book = Playbook(Decide=lambda c: allow(*obligations), AskApproval=lambda c: approval(before=()))
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    assert book.names() == ["Decide", "AskApproval", "RecordDenial"]
    assert commands(book, AskApproval)[0].needs == obligations
    denial = commands(book, RecordDenial)[0]
    assert (denial.reasons, denial.code) == (reasons, "arm-1")
    assert finding == Refused(reasons, (allow(*obligations),), "arm-1")


def test_what_is_there_now_is_read_once_as_an_operation_of_its_own_and_shown():
    book = Playbook(
        Decide=lambda c: allow(SECOND) if c.request.writes else allow(),
        AskApproval=lambda c: approval(),
        Relay=lambda c: READ,
    )
    book.play(exchange(session(), request(Action.ADJUST, before=True)))
    assert book.names() == [
        *["Decide", "AskApproval"],
        *["Decide", "RecordIntents", "LastLook", "Relay", "RecordOutcomes"],
        *["ShowBefore", "RecordDenial"],
    ]
    assert relayed_writes(book) == []


@pytest.mark.parametrize(
    "failing",
    [
        {"Decide": lambda c: allow(SECOND) if c.request.writes else deny()},
        {"RecordIntents": lambda c: Reason.LEDGER_CLOSED},
        {"LastLook": lambda c: Reason.ACCESS_CHANGED},
        {"Relay": lambda c: Relayed(Result.NO_REPLY)},
        {"RecordOutcomes": lambda c: False},
    ],
)
def test_a_value_that_cannot_be_had_is_shown_as_none_and_the_operation_waits_all_the_same(failing):
    answers = {"Decide": lambda c: allow(SECOND) if c.request.writes else allow(), **failing}
    book = Playbook(AskApproval=lambda c: approval(), **answers)
    finding = book.play(exchange(session(), request(Action.ADJUST, before=True)))
    assert commands(book, ShowBefore)[0].before == ()
    assert (finding.reasons, finding.approval) == ((Reason.APPROVAL_NEEDED,), "arm-1")
    assert relayed_writes(book) == []


def test_repeating_what_waits_reads_nothing_again():
    book = Playbook(Decide=lambda c: allow(SECOND), AskApproval=lambda c: approval(before=(("setpoint", "19"),)))
    book.play(exchange(session(), request(Action.ADJUST, before=True)))
    assert book.names() == ["Decide", "AskApproval", "RecordDenial"]


def test_what_was_refused_is_refused_with_the_word_for_it():
    refused = approval(refused_by="bo@plant.example")
    book = Playbook(Decide=lambda c: allow(SECOND), AskApproval=lambda c: refused)
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    assert finding.reasons == (Reason.APPROVAL_REFUSED,)
    assert book.names() == ["Decide", "AskApproval", "RecordDenial"]


def test_without_room_for_one_more_it_is_refused_without_an_approval():
    book = Playbook(Decide=lambda c: allow(SECOND), AskApproval=lambda c: None)
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    assert (finding.reasons, finding.approval) == ((Reason.APPROVAL_NEEDED,), "")
    assert book.names()[-1] == "RecordDenial"


@pytest.mark.parametrize("obligations", [(), (SECOND,)], ids=["policy met", "engine meets"])
def test_what_was_armed_is_used_up_before_anything_is_intended(obligations):
    book = Playbook(Decide=lambda c: armed(SECOND, obligations=obligations))
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    assert book.names() == [
        "Decide",
        "UseArming",
        "RecordIntents",
        "LastLook",
        "Relay",
        "SettleDebts",
        "RecordOutcomes",
    ]
    assert isinstance(finding, Answered) and finding.relayed is DONE


def test_of_two_obliged_persons_one_is_not_enough_and_nothing_is_used_up():
    book = Playbook(Decide=lambda c: armed(SECOND, obligations=(STEP_UP,)), AskApproval=lambda c: approval(before=()))
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    assert finding.reasons == (Reason.STEP_UP_NEEDED,)
    assert book.names() == ["Decide", "AskApproval", "RecordDenial"]


def test_an_armed_operation_reads_the_value_before_it_uses_anything_up():
    book = Playbook(
        Decide=lambda c: armed(SECOND, obligations=(Obligation.BEFORE_VALUE,)) if c.request.writes else allow(),
        Relay=lambda c: DONE if c.request.writes else READ,
    )
    book.play(exchange(session(), request(Action.ADJUST, before=True)))
    assert book.names().index("UseArming") == book.names().index("RecordOutcomes") + 1
    book = Playbook(
        Decide=lambda c: armed(SECOND, obligations=(Obligation.BEFORE_VALUE,)) if c.request.writes else deny()
    )
    book.play(exchange(session(), request(Action.ADJUST, before=True)))
    assert commands(book, UseArming) == []


@pytest.mark.parametrize(("read", "told"), [(READ, ()), (Relayed(Result.NO_REPLY), None)])
def test_what_a_second_person_approved_is_read_and_told_though_nothing_obliges_to_read_it(read, told):
    book = Playbook(
        Decide=lambda c: armed(SECOND) if c.request.writes else allow(),
        Relay=lambda c: DONE if c.request.writes else read,
    )
    book.play(exchange(session(), request(Action.ADJUST, before=True)))
    (use,) = commands(book, UseArming)
    assert use.before == told
    assert [command.request.writes for command in commands(book, Relay)] == [False, True]


def test_who_comes_second_waits_again():
    book = Playbook(
        Decide=lambda c: armed(SECOND),
        UseArming=lambda c: Reason.APPROVAL_NEEDED,
        AskApproval=lambda c: approval(before=()),
    )
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    assert book.names() == ["Decide", "UseArming", "AskApproval", "RecordDenial"]
    assert (finding.reasons, finding.approval) == ((Reason.APPROVAL_NEEDED,), "arm-1")


@pytest.mark.parametrize("word", [Reason.SESSION_ENDED, Reason.SESSION_PAUSED, Reason.LEDGER_CLOSED])
def test_what_can_no_longer_be_done_uses_nothing_up_and_intends_nothing(word):
    book = Playbook(Decide=lambda c: armed(SECOND), UseArming=lambda c: word)
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    assert book.names() == ["Decide", "UseArming", "RecordDenial"]
    assert finding.reasons == (word,)


def named(digest, *actions):
    made = request(*actions)
    object.__setattr__(made, "digest", digest)
    return made


def test_a_call_of_several_waits_whole_for_the_one_that_takes_a_person():
    book = Playbook(
        Decide=lambda c: allow(SECOND) if c.request.digest == "second" else allow(),
        AskApproval=lambda c: approval(before=()),
    )
    findings = book.play(exchange_whole(session(), (named("first", Action.ADJUST), named("second", Action.ADJUST))))
    assert "Relay" not in book.names() and "RecordIntents" not in book.names()
    assert [finding.approval for finding in findings] == ["", "arm-1"]
    assert [finding.reasons for finding in findings] == [(), (Reason.APPROVAL_NEEDED,)]


def test_nobody_is_asked_about_a_call_that_is_denied_anyway():
    book = Playbook(Decide=lambda c: allow(SECOND) if c.request.digest == "first" else deny())
    findings = book.play(exchange_whole(session(), (named("first", Action.ADJUST), named("second", Action.ADJUST))))
    assert "AskApproval" not in book.names() and "Relay" not in book.names()
    assert [finding.reasons for finding in findings] == [(), (Reason.NO_GRANT,)]


_DECISIONS = st.sampled_from(
    [
        allow(),
        deny(),
        allow(SECOND),
        allow(*BOTH),
        armed(SECOND),
        armed(SECOND, obligations=BOTH),
        armed(*BOTH, obligations=(*BOTH, Obligation.BEFORE_VALUE)),
    ]
)


@given(data=st.data(), actions=st.lists(st.sampled_from([Action.VIEW, Action.ADJUST]), min_size=1, max_size=3))
def test_whatever_fails_nothing_that_took_a_person_is_intended_unless_it_was_used_up(data, actions):
    asked = st.sampled_from([None, approval(), approval(before=()), approval(refused_by="bo")])
    book = Playbook(
        Decide=lambda c: (
            data.draw(_DECISIONS) if c.request.digest == "write" else data.draw(st.sampled_from([allow(), deny()]))
        ),
        AskApproval=lambda c: data.draw(asked),
        UseArming=lambda c: data.draw(st.sampled_from(["", Reason.APPROVAL_NEEDED, Reason.SESSION_ENDED])),
        Relay=lambda c: data.draw(st.sampled_from([READ, Relayed(Result.UNKNOWN)])),
    )
    used, original = [], book._answer

    def watched(command):
        answer = original(command)
        if isinstance(command, UseArming) and answer == "":
            used.append(command.decisions)
        elif isinstance(command, RecordIntents) and command.request.digest == "write":
            assert not any(decision.lacks for decision in command.decisions)
            assert not any(decision.armed for decision in command.decisions) or command.decisions in used
        return answer

    book._answer = watched
    book.play(exchange(session(), request(*actions, before=True)))
    assert len(used) <= 1
