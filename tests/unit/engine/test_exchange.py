"""The way of one operation, with every failure at every step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.engine.commands import Decide, RecordIntents, RecordOutcomes, Relay
from broker.engine.events import Answered, Refused
from broker.engine.exchange import exchange, exchange_whole
from broker.engine.sessions import Session
from broker.model.decision import Obligation
from broker.model.operation import Relayed
from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.model.vocabulary import Action, Reason, Result
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.meaning import compose_write
from tests.unit.engine.playbook import DONE, READ, SUBJECT, Playbook, allow, deny, request, session


def test_an_allowed_request_goes_the_whole_way_in_order():
    book = Playbook()
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    assert book.names() == ["Decide", "RecordIntents", "LastLook", "Relay", "SettleDebts", "RecordOutcomes"]
    assert isinstance(finding, Answered) and finding.relayed is DONE and finding.recorded


def test_every_operation_of_a_request_is_decided_before_anything_is_recorded_or_relayed():
    book = Playbook()
    book.play(exchange(session(), request(Action.ADJUST, Action.VIEW)))
    assert book.names()[:3] == ["Decide", "Decide", "RecordIntents"]
    assert [c.place for c in book.trace if isinstance(c, Decide)] == [0, 1]


def test_one_denied_operation_refuses_the_request_and_nothing_is_relayed():
    book = Playbook(Decide=lambda c: allow() if c.place == 0 else deny(Reason.WINDOW_CLOSED))
    finding = book.play(exchange(session(), request(Action.ADJUST, Action.VIEW)))
    assert book.names() == ["Decide", "Decide", "RecordDenial"]
    assert isinstance(finding, Refused) and finding.reasons == (Reason.WINDOW_CLOSED,)


@pytest.mark.parametrize("reason", [Reason.LEDGER_CLOSED, Reason.LEDGER_PAUSED, Reason.SESSION_ENDED])
def test_without_a_recorded_intent_nothing_is_relayed(reason):
    book = Playbook(RecordIntents=lambda c: reason)
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    assert "Relay" not in book.names() and "RecordOutcomes" not in book.names()
    assert isinstance(finding, Refused) and finding.reasons == (reason,)


@pytest.mark.parametrize("reason", [Reason.ACCESS_CHANGED, Reason.SESSION_ENDED])
def test_what_changed_before_the_last_look_is_not_sent_and_recorded_as_not_sent(reason):
    book = Playbook(LastLook=lambda c: reason)
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    outcome = book.trace[-1]
    assert "Relay" not in book.names()
    assert isinstance(outcome, RecordOutcomes) and outcome.relayed.result == Result.NOT_SENT
    assert isinstance(finding, Refused) and finding.reasons == (reason,)


_HELD_BACK = Relayed(Result.NOT_SENT, code=Reason.ACCESS_CHANGED)


@pytest.mark.parametrize("overtaken_at", ["LastLook", "Relay"])
def test_a_read_that_was_overtaken_is_decided_by_what_holds_now_once(overtaken_at):
    words = {"LastLook": (Reason.ACCESS_CHANGED, ""), "Relay": (_HELD_BACK, READ)}
    at_each_turn = iter(words[overtaken_at])
    book = Playbook(**{"Relay": lambda c: READ, overtaken_at: lambda c: next(at_each_turn)})
    finding = book.play(exchange(session(), request(Action.VIEW)))
    assert [name for name in book.names() if name in ("Decide", "RecordIntents", "RecordOutcomes")] == [
        *("Decide", "RecordIntents", "RecordOutcomes"),
        *("Decide", "RecordIntents", "RecordOutcomes"),
    ]
    assert isinstance(finding, Answered) and finding.relayed is READ


def test_a_read_that_is_overtaken_twice_is_refused():
    book = Playbook(LastLook=lambda c: Reason.ACCESS_CHANGED)
    finding = book.play(exchange(session(), request(Action.VIEW)))
    assert book.names().count("Decide") == 2 and "Relay" not in book.names()
    assert isinstance(finding, Refused) and finding.reasons == (Reason.ACCESS_CHANGED,)


def test_a_read_that_may_not_be_any_more_is_denied_the_second_time():
    decisions = iter([allow(), deny(Reason.WINDOW_CLOSED)])
    book = Playbook(Decide=lambda c: next(decisions), LastLook=lambda c: Reason.ACCESS_CHANGED)
    finding = book.play(exchange(session(), request(Action.VIEW)))
    assert isinstance(finding, Refused) and finding.reasons == (Reason.WINDOW_CLOSED,)


@pytest.mark.parametrize("held_back", [{"LastLook": lambda c: Reason.ACCESS_CHANGED}, {"Relay": lambda c: _HELD_BACK}])
def test_a_write_that_was_overtaken_is_left_to_whoever_asked(held_back):
    book = Playbook(**held_back)
    book.play(exchange(session(), request(Action.ADJUST)))
    assert book.names().count("Decide") == 1


@pytest.mark.parametrize("result", [r for r in Result if r is not Result.DENIED])
def test_whatever_the_relay_gives_is_recorded_as_it_is(result):
    book = Playbook(Relay=lambda c: Relayed(result))
    finding = book.play(exchange(session(), request(Action.ADJUST)))
    outcome = book.trace[-1]
    assert isinstance(outcome, RecordOutcomes) and outcome.relayed.result == result
    assert isinstance(finding, Answered) and finding.relayed.result == result


def test_an_outcome_that_cannot_be_recorded_is_not_reported_as_recorded():
    finding = Playbook(RecordOutcomes=lambda c: False).play(exchange(session(), request(Action.ADJUST)))
    assert isinstance(finding, Answered) and not finding.recorded


def test_a_before_value_is_read_as_an_operation_of_its_own_and_goes_into_the_intent():
    book = Playbook(
        Decide=lambda c: allow(Obligation.BEFORE_VALUE) if c.request.writes else allow(),
        Relay=lambda c: DONE if c.request.writes else READ,
    )
    book.play(exchange(session(), request(Action.ADJUST, before=True)))
    assert book.names() == [
        *["Decide"],
        *["Decide", "RecordIntents", "LastLook", "Relay", "RecordOutcomes"],
        *["RecordIntents", "LastLook", "Relay", "SettleDebts", "RecordOutcomes"],
    ]


@pytest.mark.parametrize(
    "failing",
    [
        {"Decide": lambda c: allow(Obligation.BEFORE_VALUE) if c.request.writes else deny()},
        {"Relay": lambda c: Relayed(Result.NO_REPLY)},
        {"RecordIntents": lambda c: Reason.LEDGER_CLOSED},
        {"RecordOutcomes": lambda c: False},
    ],
)
def test_an_obligation_that_cannot_be_met_keeps_the_write_back(failing):
    answers = {"Decide": lambda c: allow(Obligation.BEFORE_VALUE) if c.request.writes else allow(), **failing}
    book = Playbook(**answers)
    finding = book.play(exchange(session(), request(Action.ADJUST, before=True)))
    assert not [c for c in book.trace if isinstance(c, Relay) and c.request.writes]
    assert isinstance(finding, Refused) and finding.reasons == (Reason.OBLIGATION_UNMET,)


@pytest.mark.parametrize(("held", "kept_back"), [("4441ac0000", False), ("447fc00000", True), ("", False)])
def test_a_before_value_that_cannot_be_told_keeps_the_write_back(held, kept_back):
    zone = Point("zone", BacnetAddress("analog-value", 1, priority_lowest=8, priority_highest=16), Action.ADJUST)
    vav = Device("plant", "vav-1", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, 1), (zone,))
    reply = Relayed(Result.DONE, bytes.fromhex(f"300c0c0080000119553e{held}3f"))
    book = Playbook(
        Decide=lambda c: allow(Obligation.BEFORE_VALUE) if c.request.writes else allow(),
        Relay=lambda c: DONE if c.request.writes else reply,
    )
    finding = book.play(exchange(Session("ses-1", SUBJECT, vav, "api", "", 0.0), compose_write(vav, zone, "20", 10)))
    assert isinstance(finding, Refused) is kept_back


def test_a_call_of_several_requests_is_decided_whole_before_any_is_relayed():
    book = Playbook(Decide=lambda c: deny() if c.request.digest == "second" else allow())
    first, second = request(Action.ADJUST), request(Action.ADJUST)
    object.__setattr__(second, "digest", "second")
    findings = book.play(exchange_whole(session(), (first, second)))
    assert "Relay" not in book.names() and "RecordIntents" not in book.names()
    assert all(isinstance(finding, Refused) for finding in findings)


@pytest.mark.parametrize("result", [Result.UNKNOWN, Result.DEVICE_REFUSED, Result.NOT_SENT])
def test_the_first_request_of_a_call_that_is_not_done_keeps_back_all_after_it(result):
    book = Playbook(Relay=lambda c: Relayed(result))
    findings = book.play(exchange_whole(session(), (request(Action.ADJUST), request(Action.ADJUST))))
    assert book.names().count("Relay") == 1
    assert isinstance(findings[0], Answered) and findings[0].relayed.result == result
    assert isinstance(findings[1], Refused) and findings[1].reasons == ()


_DECISIONS = st.sampled_from([allow(), allow(Obligation.BEFORE_VALUE), allow(Obligation.AFTER_VALUE), deny()])
_RESULTS = st.sampled_from([Relayed(r) for r in Result if r is not Result.DONE] + [READ])


@given(data=st.data(), actions=st.lists(st.sampled_from([Action.VIEW, Action.ADJUST]), min_size=1, max_size=3))
def test_whatever_fails_no_relay_lacks_an_intent_and_no_intent_lacks_its_one_outcome(data, actions):
    numbers = iter(range(0, 10_000, 10))
    book = Playbook(
        Decide=lambda c: data.draw(_DECISIONS),
        RecordIntents=lambda c: data.draw(st.sampled_from([next(numbers), Reason.LEDGER_CLOSED])),
        LastLook=lambda c: data.draw(st.sampled_from(["", Reason.ACCESS_CHANGED])),
        Relay=lambda c: data.draw(_RESULTS),
        RecordOutcomes=lambda c: data.draw(st.booleans()),
    )
    open_intents: list[int] = []
    original = book._answer

    def watched(command):
        answer = original(command)
        if isinstance(command, RecordIntents) and isinstance(answer, int):
            open_intents.append(answer)
        elif isinstance(command, Relay):
            assert open_intents, "relayed without a recorded intent"
        elif isinstance(command, RecordOutcomes):
            open_intents.remove(command.first_intent)
        return answer

    book._answer = watched
    book.play(exchange(session(), request(*actions, before=True)))
    assert open_intents == []
