"""The driver and the ledger: every recorded intent gets its outcome, whatever the ledger refuses."""

import json

import pytest

from broker.engine.events import Refused
from broker.engine.exchange import exchange
from broker.errors import LedgerUnavailableError
from broker.listeners.driver import Driver
from broker.model.vocabulary import Action, Reason, Result
from tests.unit.engine.playbook import allow, request, session


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
    driver = Driver(Clock(), ledger, Desk(), nothing_is_sent, lambda session, reason: None)
    driver.run(session(), exchange(session(), request(*[Action.ADJUST] * 3)), findings.append)
    assert findings == [Refused((reason,), (allow(),) * 3)]
    intents = [index for index, record in enumerate(ledger.records) if record["kind"] == "intent"]
    outcomes = [record for record in ledger.records if record["kind"] == "outcome"]
    assert len(intents) == recorded
    assert [outcome["intent"] for outcome in outcomes] == intents
    assert {outcome["result"] for outcome in outcomes} <= {Result.NOT_SENT}
