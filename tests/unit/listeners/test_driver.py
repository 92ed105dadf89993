"""The driver and the ledger: every recorded intent gets its outcome, whatever the ledger refuses."""

import json
from dataclasses import replace

import pytest

from broker.engine.commands import CountDenial, RecordDenial, RecordIntents, RecordOutcomes, Relay
from broker.engine.events import Answered, Refused
from broker.engine.exchange import exchange
from broker.errors import LedgerUnavailableError
from broker.listeners.denial_quota import DenialQuota
from broker.listeners.driver import Driver
from broker.model.decision import Obligation
from broker.model.operation import Relayed, Request, Touch
from broker.model.vocabulary import Action, Reason, Result
from tests.unit.access.test_debts import SETPOINT
from tests.unit.engine.playbook import DONE, allow, deny, operation, request, session
from tests.unit.listeners.no_debts import NoDebts


class Clock:
    def now(self):
        return 1_795_000_000.0


class Desk:
    """Allows everything; nothing is concealed."""

    concealment = None

    def operation(self, session, request, place, decided):
        return allow()


class Ledger:
    """Refuses intents from the one with that number on."""

    def __init__(self, intents, code):
        self.records = []
        self._left = intents
        self._code = code

    def append(self, record, *, intent=False):
        if intent and self._left == 0:
            raise LedgerUnavailableError(self._code, "")
        self._left -= intent
        self.records.append(json.loads(record))
        return len(self.records) - 1

    def settle(self, durable, settled):
        return True


@pytest.mark.parametrize("reason", [Reason.LEDGER_PAUSED, Reason.LEDGER_CLOSED])
@pytest.mark.parametrize("recorded", [0, 1, 2])
def test_a_request_whose_intents_are_not_all_recorded_is_not_sent_and_leaves_none_open(recorded, reason):
    def nothing_is_sent(device):
        raise AssertionError("an upstream was asked for")

    ledger, findings = Ledger(recorded, reason), []
    driver = Driver(Clock(), ledger, Desk(), nothing_is_sent, lambda session, reason: None, NoDebts())
    driver.run(session(), exchange(session(), request(*[Action.ADJUST] * 3)), findings.append)
    assert findings == [Refused((reason,), (allow(),) * 3)]
    intents = [index for index, record in enumerate(ledger.records) if record["kind"] == "intent"]
    outcomes = [record for record in ledger.records if record["kind"] == "outcome"]
    assert len(intents) == recorded
    assert [outcome["intent"] for outcome in outcomes] == intents
    assert {outcome["result"] for outcome in outcomes} <= {Result.NOT_SENT}


class ReadingBack(Desk):
    """Allows everything and wants to know what was written."""

    def operation(self, session, request, place, decided):
        return allow(Obligation.AFTER_VALUE) if request.writes else allow()

    def still_holds(self, decisions):
        return True


class Device:
    """Answers when it is told to."""

    def __init__(self):
        self.asked = []

    def relay(self, request, relayed, still_allowed=None):
        self.asked.append(relayed)


def test_a_write_that_was_done_keeps_its_outcome_though_its_read_back_cannot_be_recorded():
    ledger, device, findings = Ledger(1, Reason.LEDGER_PAUSED), Device(), []
    driver = Driver(Clock(), ledger, ReadingBack(), lambda key: device, lambda session, reason: None, NoDebts())
    driver.run(session(), exchange(session(), request(Action.ADJUST, before=True)), findings.append)
    (relayed,) = device.asked
    relayed(DONE)
    (finding,) = findings
    assert isinstance(finding, Answered)
    assert (finding.relayed, finding.recorded, finding.after) == (DONE, True, ())
    outcomes = [(record["intent"], record["result"]) for record in ledger.records if record["kind"] == "outcome"]
    assert outcomes == [(0, Result.DONE)]


def test_a_denial_of_what_was_allowed_says_why_in_its_outcome():
    class Obliging(Desk):
        def operation(self, session, request, place, decided):
            return allow(Obligation.BEFORE_VALUE)

    ledger, findings = Ledger(-1, ""), []
    driver = Driver(Clock(), ledger, Obliging(), lambda key: None, lambda session, reason: None, NoDebts())
    driver.run(session(), exchange(session(), request(Action.ADJUST)), findings.append)
    assert [(r["kind"], r.get("code")) for r in ledger.records] == [
        ("intent", None),
        ("outcome", Reason.OBLIGATION_UNMET),
    ]


def test_after_a_bug_of_ours_a_write_that_was_sent_is_not_told_to_be_refused():
    class Faulty(Ledger):
        def settle(self, durable, settled):
            if json.dumps(self.records[-1]).find("outcome") > 0:
                raise RuntimeError("a mistake")
            return True

    ledger, device, findings, ended = Faulty(9, ""), Device(), [], []
    desk = ReadingBack()
    desk.operation = lambda *_: allow()
    driver = Driver(Clock(), ledger, desk, lambda key: device, lambda session, reason: ended.append(reason), NoDebts())
    driver.run(session(), exchange(session(), request(Action.ADJUST)), findings.append)
    device.asked.pop()(DONE)
    (finding,) = findings
    assert isinstance(finding, Answered)
    assert (finding.relayed.result, finding.recorded) == (Result.UNKNOWN, False)
    assert ended == ["broker_fault"]


class Unhurried(Ledger):
    """Counts how often it is asked to bring things to the disk."""

    def __init__(self):
        super().__init__(-1, "")
        self.settled = 0

    def settle(self, durable, settled):
        self.settled += 1
        return True


class Plain(Desk):
    """Allows everything, whatever it is, and finds nothing changed."""

    def still_holds(self, decisions):
        return True


MIDWAY = Relayed(
    Result.DEVICE_REFUSED,
    code="property/write-access-denied",
    each=((Result.DONE, ""), (Result.DEVICE_REFUSED, "property/write-access-denied"), (Result.UNATTEMPTED, "")),
)


def three_points():
    points = [replace(SETPOINT, id=name) for name in ("a", "b", "c")]
    operations = [replace(operation(Action.ADJUST), touches=(Touch(each, True, each.id * 2),)) for each in points]
    return Request(tuple(operations), b"", "digest")


def carried_out(request, decisions, relayed, before=(), after=()):
    """A request on its way with these values around it."""
    asked = session()
    seen = []
    asked.observer = lambda *told: seen.append(told)
    ledger, device = Unhurried(), Device()
    driver = Driver(Clock(), ledger, Plain(), lambda key: device, lambda session, reason: None, NoDebts())

    def steps():
        first = yield RecordIntents(asked, request, decisions, before)
        became = yield Relay(asked, request, decisions)
        yield RecordOutcomes(asked, request, first, became, after)

    driver.run(asked, steps(), lambda found: None)
    device.asked.pop()(relayed)
    return ledger, seen


def test_each_operation_has_its_place_its_own_values_and_its_own_outcome():
    values = (("a", "1"), ("b", "2"), ("c", "3"))
    ledger, seen = carried_out(three_points(), (allow(),) * 3, MIDWAY, before=values, after=values)
    intents, outcomes = ledger.records[:3], ledger.records[3:]
    assert [(each["place"], each["values"], each["before"]) for each in intents] == [
        (0, ["aa"], {"a": "1"}),
        (1, ["bb"], {"b": "2"}),
        (2, ["cc"], {"c": "3"}),
    ]
    assert {each["digest"] for each in intents} == {"digest"}
    assert [(each["intent"], each["result"], each.get("code", "")) for each in outcomes] == [
        (place, *each) for place, each in enumerate(MIDWAY.each)
    ]
    assert [each.get("after") for each in outcomes] == [{"a": "1"}, None, None]
    assert [(told[2], told[5]) for told in seen] == [(Result.DEVICE_REFUSED, MIDWAY.each)]


def test_a_request_of_one_operation_has_no_place():
    ledger, _ = carried_out(request(Action.ADJUST), (allow(),), DONE)
    assert "place" not in ledger.records[0]


def test_a_hundred_operations_are_brought_to_the_disk_together():
    ledger, _ = carried_out(request(*[Action.VIEW] * 100), (allow(),) * 100, DONE)
    assert [record["kind"] for record in ledger.records] == ["intent"] * 100 + ["outcome"] * 100
    assert ledger.settled == 2


def denied(places):
    """What is recorded and told of a request of three whose operations at these places are denied."""
    asked, seen, ledger = session(), [], Unhurried()
    asked.observer = lambda *told: seen.append(told)
    driver = Driver(Clock(), ledger, Plain(), lambda key: None, lambda session, reason: None, NoDebts())

    def steps():
        yield RecordDenial(asked, three_points(), (allow(), deny(), deny(Reason.LOCKED)), places=places)

    driver.run(asked, steps(), lambda found: None)
    return ledger, seen


def test_of_a_request_that_is_denied_in_part_that_part_is_recorded_and_told_at_its_place():
    ledger, ((_, told, result, _, reasons, _),) = denied((1, 2))
    intents = [record for record in ledger.records if record["kind"] == "intent"]
    assert [(each["place"], each["digest"], each["values"]) for each in intents] == [
        (1, "digest", ["bb"]),
        (2, "digest", ["cc"]),
    ]
    assert [record["result"] for record in ledger.records if record["kind"] == "outcome"] == ["denied"] * 2
    assert [each.touches[0].point.id for each in told.operations] == ["b", "c"]
    assert (result, reasons, ledger.settled) == (Result.DENIED, (Reason.NO_GRANT, Reason.LOCKED), 1)


def test_of_a_request_that_is_denied_whole_every_operation_is_recorded():
    ledger, _ = denied(None)
    assert [record["place"] for record in ledger.records if record["kind"] == "intent"] == [0, 1, 2]


def test_what_is_left_of_a_request_says_of_which():
    left = replace(request(Action.VIEW, Action.VIEW), part_of="whole")
    ledger, _ = carried_out(left, (allow(),) * 2, DONE)
    assert [(record["part_of"], record["place"]) for record in ledger.records[:2]] == [("whole", 0), ("whole", 1)]


def test_a_denial_that_is_only_counted_leaves_no_record():
    class Counting(Plain):
        quota = DenialQuota()

    asked, ledger = session(), Unhurried()
    driver = Driver(Clock(), ledger, Counting(), lambda key: None, lambda session, reason: None, NoDebts())
    driver.run(asked, iter_of(CountDenial(asked)), lambda found: None)
    assert (ledger.records, asked.refusals, driver.results[Result.DENIED]) == ([], 1, 1)
    assert Counting.quota.drain()[asked.subject.id][0] == 1


def iter_of(*commands):
    yield from commands
