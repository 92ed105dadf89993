"""A request of three operations that come out differently: every failure at every step, and each settled by its own."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.engine.commands import ClaimUse, GiveBackUse, RecordIntents, RecordOutcomes, Relay, SettleDebts
from broker.engine.events import Answered, Refused
from broker.engine.exchange import exchange, exchange_whole
from broker.model.decision import Obligation
from broker.model.operation import Relayed
from broker.model.vocabulary import Action, Reason, Result
from tests.unit.engine.playbook import READ, Playbook, allow, deny, request, session
from tests.unit.engine.test_undoing import RESTORE

THREE = request(*[Action.ADJUST] * 3, before=True)
CODE = "property/value-out-of-range"
MIDWAY = Relayed(
    Result.DEVICE_REFUSED,
    b"\x50\x10",
    code=CODE,
    each=((Result.DONE, ""), (Result.DEVICE_REFUSED, CODE), (Result.UNATTEMPTED, "")),
)
ONCE = replace(allow(), spends="req-1")
OBLIGED = allow(Obligation.RESTORE)


def play(**answers):
    book = Playbook(**({"Relay": lambda c: MIDWAY if c.request.writes else READ} | answers))
    return book, book.play(exchange(session(), THREE))


def of_kind(book, kind):
    return [command for command in book.trace if isinstance(command, kind)]


def test_what_failed_midway_is_not_done_and_each_operation_keeps_its_own_result():
    book, finding = play()
    (recorded,) = of_kind(book, RecordOutcomes)
    assert recorded.relayed is MIDWAY
    assert isinstance(finding, Answered) and not finding.done
    assert [finding.relayed.of(place) for place in range(3)] == list(MIDWAY.each)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("result", [Result.DEVICE_REFUSED, Result.UNATTEMPTED, Result.UNKNOWN])
def test_a_request_of_which_one_operation_was_not_done_is_not_done(place, result):
    each = [(Result.DONE, "")] * 3
    each[place] = (result, "")
    assert not Relayed(Result.DONE, each=tuple(each)).done
    assert Relayed(Result.DONE, each=((Result.DONE, ""),) * 3).done


def test_where_operations_do_not_differ_each_has_the_result_of_the_whole():
    assert [Relayed(Result.UNKNOWN, code="timeout").of(place) for place in range(3)] == [("unknown", "timeout")] * 3


def test_the_debts_of_each_operation_are_settled_with_what_became_of_it():
    book, _ = play(
        Decide=lambda c: OBLIGED if c.request.writes else allow(), Owe=lambda c: ((RESTORE,), (), (RESTORE,))
    )
    (settled,) = of_kind(book, SettleDebts)
    assert (settled.debts, settled.relayed) == (((RESTORE,), (), (RESTORE,)), MIDWAY)
    assert settled.first_intent == of_kind(book, RecordOutcomes)[-1].first_intent


def test_a_read_before_of_which_the_device_refused_a_part_meets_no_obligation():
    part = replace_each(READ, (Result.DEVICE_REFUSED, "property/unknown-property"))
    book, finding = play(
        Decide=lambda c: allow(Obligation.BEFORE_VALUE) if c.request.writes else allow(),
        Relay=lambda c: MIDWAY if c.request.writes else part,
    )
    assert isinstance(finding, Refused) and finding.reasons == (Reason.OBLIGATION_UNMET,)
    assert not [c for c in of_kind(book, Relay) if c.request.writes]


def replace_each(relayed, *each):
    return Relayed(relayed.result, relayed.payload, code=relayed.code, each=each)


def test_what_was_written_before_it_failed_is_read_back():
    book, _ = play(Decide=lambda c: allow(Obligation.AFTER_VALUE) if c.request.writes else allow())
    assert [c.request.writes for c in of_kind(book, Relay)] == [True, False]
    nothing = replace_each(MIDWAY, (Result.DEVICE_REFUSED, CODE), (Result.UNATTEMPTED, ""), (Result.UNATTEMPTED, ""))
    book, _ = play(
        Decide=lambda c: allow(Obligation.AFTER_VALUE) if c.request.writes else allow(), Relay=lambda c: nothing
    )
    assert len(of_kind(book, Relay)) == 1


def test_only_what_was_not_tried_gives_its_use_back():
    book, _ = play(Decide=lambda c: ONCE)
    (given,) = of_kind(book, GiveBackUse)
    assert (given.operations, given.kept) == (THREE.operations[2:], THREE.operations[:2])


def test_each_grant_is_used_by_the_operations_that_spend_it_and_by_no_others():
    other = replace(allow(), spends="req-2")
    book, _ = play(Decide=lambda c: (ONCE, other, allow())[c.place])
    claims = [(c.grant, c.operations) for c in of_kind(book, ClaimUse)]
    assert claims == [("req-1", THREE.operations[:1]), ("req-2", THREE.operations[1:2])]
    assert not of_kind(book, GiveBackUse)


def test_a_second_grant_that_is_used_up_gives_the_first_back_whole():
    other = replace(allow(), spends="req-2")
    book, finding = play(
        Decide=lambda c: (ONCE, other, other)[c.place],
        ClaimUse=lambda c: Reason.GRANT_USED if c.grant == "req-2" else "",
    )
    (given,) = of_kind(book, GiveBackUse)
    assert (given.grant, given.operations, given.kept) == ("req-1", THREE.operations[:1], ())
    assert isinstance(finding, Refused) and not of_kind(book, RecordIntents)


def test_what_failed_midway_keeps_back_the_requests_behind_it():
    book = Playbook(Relay=lambda c: MIDWAY)
    findings = book.play(exchange_whole(session(), (THREE, THREE)))
    assert isinstance(findings[0], Answered) and findings[1] == Refused((), findings[1].decisions)


@pytest.mark.parametrize("place", range(3))
def test_one_denied_write_denies_all_and_all_are_decided_so_that_every_reason_is_known(place):
    book = Playbook(Decide=lambda c: deny(Reason.VALUE_ABOVE_LIMIT) if c.place >= place else allow())
    finding = book.play(exchange(session(), THREE))
    assert book.names() == ["Decide"] * 3 + ["RecordDenial"]
    assert isinstance(finding, Refused) and finding.denied_places == tuple(range(place, 3))


_RESULTS = st.sampled_from([r for r in Result if r is not Result.DENIED])
_EACH = st.tuples(*[st.tuples(_RESULTS, st.just(""))] * 3)
_DECISIONS = st.sampled_from([allow(), ONCE, OBLIGED, allow(Obligation.AFTER_VALUE), deny()])


@given(data=st.data())
def test_whatever_fails_at_whatever_step_nothing_is_left_open(data):
    """Intents and their outcomes, debts and uses: of what was begun, each is ended exactly once."""
    book = Playbook(
        Decide=lambda c: data.draw(_DECISIONS) if c.request.writes else allow(),
        Owe=lambda c: data.draw(st.sampled_from([((RESTORE,), (), (RESTORE,)), None, Reason.ACCESS_CHANGED])),
        ClaimUse=lambda c: data.draw(st.sampled_from(["", Reason.GRANT_USED])),
        RecordIntents=lambda c: data.draw(st.sampled_from([len(book.trace) * 10, Reason.LEDGER_CLOSED])),
        LastLook=lambda c: data.draw(st.sampled_from(["", Reason.ACCESS_CHANGED])),
        Relay=lambda c: replace_each(Relayed(data.draw(_RESULTS)), *data.draw(_EACH)) if c.request.writes else READ,
        RecordOutcomes=lambda c: data.draw(st.booleans()),
    )
    answers = []
    original = book._answer
    book._answer = lambda command: answers.append(original(command)) or answers[-1]
    book.play(exchange(session(), THREE))
    done = list(zip(book.trace, answers, strict=True))
    intents = [answer for c, answer in done if isinstance(c, RecordIntents) and isinstance(answer, int)]
    assert sorted(intents) == sorted(c.first_intent for c in of_kind(book, RecordOutcomes))
    owed = [answer for c, answer in done if type(c).__name__ == "Owe" and isinstance(answer, tuple)]
    assert owed == [c.debts for c in of_kind(book, SettleDebts) if c.debts]
    relayed = [answer for c, answer in done if isinstance(c, Relay) and c.request.writes]
    claimed = [c.operations for c, answer in done if isinstance(c, ClaimUse) and answer == ""]
    given = [c.operations for c in of_kind(book, GiveBackUse)]
    if not relayed:
        assert given == claimed
    for command in of_kind(book, GiveBackUse) if relayed else ():
        assert {id(each) for each in command.operations}.isdisjoint(id(each) for each in command.kept)
