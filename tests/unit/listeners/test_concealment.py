"""Values of confidential points: the ledger gets commitments, the policy and the device get the values."""

import json
from collections import deque
from dataclasses import replace

import pytest

from broker.engine.exchange import exchange
from broker.engine.in_force import InForce
from broker.errors import LedgerUnavailableError
from broker.ledger.disclosure import commit, verify_disclosure
from broker.listeners.concealment import Concealment
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.driver import Driver
from broker.model.operation import Relayed
from broker.model.place import BacnetAddress, Confidential, Inventory, Point, Protocol, ValueType
from broker.model.vocabulary import Action, Reason, Result
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.meaning import compose_write
from broker.wire.modbus.meaning import interpret
from tests.unit.authz.given import NOW, ORGANISATION, SUBJECT
from tests.unit.engine.playbook import Session
from tests.unit.listeners.no_debts import NoDebts
from tests.unit.wire.modbus.plant import HOLDING, device, point

CODE, NEXT_CODE, PLAIN = 48271, 48272, 31999
PIN = replace(point("door-pin", HOLDING, 10, ValueType.UINT16, Action.ADJUST), confidential=Confidential.SECRET)
FLAG = replace(
    point("guard-present", HOLDING, 30, ValueType.BIT, Action.ADJUST, bit=5), confidential=Confidential.PERSONAL
)
LAMP = point("lamp", HOLDING, 30, ValueType.BIT, Action.ADJUST, bit=1)
SETPOINT = point("setpoint", HOLDING, 11, ValueType.UINT16, Action.ADJUST)
WIDE = replace(point("card", HOLDING, 20, ValueType.UINT32, Action.ADJUST), confidential=Confidential.PERSONAL)
DEVICE = device(PIN, SETPOINT, WIDE, FLAG, LAMP)
ALLOW = {"allow": True, "reasons": [], "obligations": ["before_value", "after_value"], "rule": "r"}


class Disclosures:
    """Keeps them in a dictionary, or is out of order."""

    def __init__(self):
        self.kept = {}
        self.code = ""

    def commit_to(self, value):
        if self.code:
            raise LedgerUnavailableError(self.code, "")
        salt = len(self.kept).to_bytes(32, "big")
        self.kept[commit(value, salt)] = value, salt
        return commit(value, salt)

    def commit_erased(self, value):
        return commit(value, bytes(32))


class Stage:
    """Desk and driver as they are, with a ledger in a list, a policy and a device that answer in the next turn."""

    def __init__(self, answer=ALLOW, place=DEVICE):
        self.disclosures, self.records, self.findings = Disclosures(), [], []
        self.questions, self.sent, self.later = [], [], deque()
        self.revision, self.answer, self.broken_once_sent = "r1", answer, ""
        inventory = Inventory("i", (), (), (place,), (ORGANISATION,), (), (), ())
        self.desk = DecisionDesk(
            self, self, self, InForce(inventory), lambda prefix: prefix, Concealment(self.disclosures)
        )
        self.driver = Driver(self, self, self.desk, lambda key: self, lambda session, reason: None, NoDebts())
        self.session = Session("ses-1", SUBJECT, place, "modbus_tls", "127.0.0.1:1", NOW)

    def now(self):
        return NOW

    def append(self, record, *, intent=False):
        self.records.append(json.loads(record))
        return len(self.records) - 1

    def settle(self, durable, settled):
        return True

    def decide(self, entry_point, question, answered):
        self.questions.append(json.loads(question))
        obliged = {} if self.questions[-1]["operation"]["writes"] else {"obligations": []}
        answer = json.dumps(self.answer | obliged).encode()
        self.later.append(lambda: answered(answer))

    def relay(self, request, relayed, still_allowed=None):
        self.sent.append(request.payload)
        if request.writes:
            self.disclosures.code = self.disclosures.code or self.broken_once_sent
            self.later.append(lambda: relayed(Relayed(Result.DONE, request.payload[:5])))
        else:
            held = (NEXT_CODE if len(self.sent) > 1 else CODE).to_bytes(2, "big")
            self.later.append(lambda: relayed(Relayed(Result.DONE, bytes((3, 2)) + held)))

    def run(self, request):
        self.driver.run(self.session, exchange(self.session, request), self.findings.append)
        while self.later:
            self.later.popleft()()
        return self.findings[-1]

    def of(self, kind, number=-1):
        return [record for record in self.records if record["kind"] == kind][number]

    def concealed(self, kind):
        return (record for record in self.records if record["kind"] == kind and "concealed" in record)

    def told(self):
        return json.dumps(self.records)

    def behind(self, record):
        return json.loads(verify_disclosure(record["concealed"], *self.disclosures.kept[record["concealed"]]))


def write(address, value):
    return interpret(DEVICE, bytes((6,)) + address.to_bytes(2, "big") + value.to_bytes(2, "big"))


def test_the_policy_and_the_device_get_the_value_and_the_ledger_gets_commitments() -> None:
    stage, request = Stage(), write(10, NEXT_CODE)
    finding = stage.run(request)
    assert finding.relayed.result == Result.DONE
    assert stage.questions[0]["operation"]["values"] == {"door-pin": str(NEXT_CODE)}
    assert request.payload in stage.sent
    for hidden in (str(CODE), str(NEXT_CODE), request.digest):
        assert hidden not in stage.told()
    decision = stage.of("decision", 0)
    intent, outcome = (next(stage.concealed(kind)) for kind in ("intent", "outcome"))
    assert stage.behind(decision) == stage.questions[0]["operation"]
    assert stage.behind(intent) == {
        "before": {"door-pin": str(CODE)},
        "digest": request.digest,
        "values": [str(NEXT_CODE)],
    }
    assert stage.behind(outcome) == {"after": {"door-pin": str(NEXT_CODE)}}
    assert "digest" not in intent
    assert decision["input"]["operation"]["points"][0]["name"] == "door-pin"


def test_a_decision_with_what_it_concealed_is_the_question_that_was_asked() -> None:
    stage = Stage()
    stage.run(write(10, CODE))
    record = stage.of("decision", 0)
    assert record["input"] | {"operation": stage.behind(record)} == stage.questions[0]


def test_a_denied_write_conceals_as_well() -> None:
    stage = Stage({"allow": False, "reasons": ["value_above_limit"], "obligations": [], "rule": ""})
    request = write(10, CODE)
    stage.run(request)
    assert stage.sent == []
    assert [r["kind"] for r in stage.records] == ["decision", "intent", "outcome"]
    assert str(CODE) not in stage.told()
    assert request.digest not in stage.told()


def test_what_touches_nothing_confidential_is_recorded_in_clear() -> None:
    stage, request = Stage(), write(11, PLAIN)
    stage.run(request)
    assert not request.conceals
    assert stage.disclosures.kept == {}
    assert [record["values"] for record in stage.records if record.get("digest") == request.digest] == [[str(PLAIN)]]
    assert not list(stage.concealed("decision"))


def test_a_read_has_no_values_to_conceal() -> None:
    stage, request = Stage(), interpret(DEVICE, bytes.fromhex("03000a0001"))
    stage.run(request)
    assert not request.conceals
    assert str(CODE) not in stage.told()
    assert stage.of("intent")["digest"] == request.digest


@pytest.mark.parametrize(
    ("pdu", "why"),
    [
        ("10000a000204bc8f7cff", "one of several registers is the point"),
        ("060014bc8f", "a part of the point"),
        ("16001effdf0020", "its bit by mask"),
        ("16001efffd0002", "another bit, but the register is read back"),
        ("17000b0001000a000102bc8f", "written and read in one"),
    ],
)
def test_whatever_could_tell_the_value_conceals(pdu: str, why: str) -> None:
    assert interpret(DEVICE, bytes.fromhex(pdu)).conceals, why


def test_a_bacnet_write_conceals() -> None:
    zone = Point("visitor", BacnetAddress("characterstring-value", 1), Action.ADJUST, confidential=Confidential.SECRET)
    place = replace(DEVICE, protocol=Protocol.BACNET, way=BacnetIpWay("127.0.0.1", 1, 1), points=(zone,))
    stage = Stage({"allow": False, "reasons": ["no_grant"], "obligations": [], "rule": ""}, place)
    request = compose_write(place, zone, "Zebedee")
    stage.run(request)
    assert stage.questions[0]["operation"]["values"] == {"visitor": "Zebedee"}
    assert "Zebedee" not in stage.told()
    assert request.digest not in stage.told()


@pytest.mark.parametrize("code", [Reason.LEDGER_PAUSED, Reason.LEDGER_CLOSED])
def test_without_disclosures_confidential_points_are_refused_and_others_are_not(code: Reason) -> None:
    stage = Stage()
    stage.disclosures.code = code
    assert stage.run(write(10, CODE)).reasons == (code,)
    assert stage.sent == []
    assert stage.run(write(11, PLAIN)).relayed.result == Result.DONE


def test_an_intent_that_cannot_be_concealed_is_not_relayed() -> None:
    stage = Stage(ALLOW | {"valid_until": int(NOW) + 50, "obligations": []})
    session = stage.session
    session.leases[write(10, CODE).digest] = replace(stage_decision(stage), epoch=stage.desk.epoch)
    session.epoch = stage.desk.epoch
    stage.disclosures.code = Reason.LEDGER_PAUSED
    assert stage.run(write(10, CODE)).reasons == (Reason.LEDGER_PAUSED,)
    assert stage.sent == []


def stage_decision(stage):
    taken = []
    stage.desk.operation(stage.session, write(10, CODE), 0, taken.append)
    while stage.later:
        stage.later.popleft()()
    return taken[0]


def test_what_has_happened_is_recorded_even_if_its_value_cannot_be_kept() -> None:
    stage = Stage()
    stage.broken_once_sent = "ledger_paused"
    finding = stage.run(write(10, NEXT_CODE))
    assert finding.recorded
    outcome = next(stage.concealed("outcome"))
    assert outcome["result"] == Result.DONE
    assert outcome["concealed"] not in stage.disclosures.kept
    assert str(NEXT_CODE) not in stage.told()


def test_records_that_conceal_stay_small() -> None:
    stage = Stage(ALLOW | {"obligations": []})
    pdu = bytes.fromhex("10000a0078f0") + CODE.to_bytes(2, "big") * 120
    stage.run(interpret(DEVICE, pdu))
    intent = stage.of("intent")
    assert len(json.dumps(intent, separators=(",", ":"))) <= 300
    assert stage.behind(intent)["values"] == [str(CODE)] * 120
