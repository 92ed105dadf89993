"""What waits for persons, with the real desk, driver and register, and the ledger's own rules over every story."""

import asyncio
import json
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import pytest

from broker.access.locks import LocksInForce
from broker.engine.events import Answered, Refused
from broker.engine.exchange import exchange
from broker.engine.in_force import InForce
from broker.engine.sessions import Session
from broker.errors import LedgerUnavailableError, PolicyUnavailableError
from broker.ledger import records
from broker.ledger.invariants import Invariants
from broker.listeners.approvals import SKEW_SECONDS
from broker.listeners.approvers import Approvers
from broker.listeners.concealment import Concealment
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.denial_quota import DENIALS_PER_MINUTE
from broker.listeners.driver import Driver
from broker.listeners.refusals import modbus_reply
from broker.listeners.session_register import SessionRegister
from broker.listeners.supervision import Supervision
from broker.model.approval import ARMED_SECONDS, FRESH_SECONDS, OPEN_SECONDS, ApprovalState, Approver, OldValues
from broker.model.decision import EntryPoint, Obligation
from broker.model.lock import Lock, LockKind
from broker.model.operation import Relayed
from broker.model.place import Inventory, Organisation
from broker.model.subject import ProofKind
from broker.model.vocabulary import EndReason, Reason, Result
from broker.wire.modbus.meaning import interpret
from tests.unit.listeners.no_debts import NoDebts
from tests.unit.listeners.test_supervision import ANA, DEVICE, GRANT, NOW, PROOF
from tests.unit.listeners.test_supervision import BO as UNPROVEN_BO

BO = replace(UNPROVEN_BO, proofs=(PROOF,))
SECOND, STEP_UP = Obligation.SECOND_PERSON, Obligation.STEP_UP
WRITE, OTHER = (interpret(DEVICE, bytes.fromhex(f"06000a00{value}")) for value in ("c3", "c4"))
REFUSED = bytes((0x86, 1))
ACME, OWNER = Organisation("acme", (), ()), Organisation("plant-owner", (), (), owner=True)
ORGANISATIONS = (ACME, OWNER)
LOCK = Lock("lck-1", LockKind.SUBJECT, ANA.id, "why", BO.id, NOW, "b/ledger")


class Stage:
    """The policy obliges `obliged` of writes, less what is armed; the device reads 200 and takes what it is sent."""

    def __init__(self):
        self.time, self.revision, self.closed = NOW, "r1", False
        self.obliged, self.denied, self.doubts = (SECOND,), (), {}
        self.unpermitted, self.silent, self.there = (), False, 200
        self.entries, self.sent, self.findings, self.questions = [], [], [], []
        self.later = deque()
        inventory = Inventory("i", (), (), (DEVICE,), ORGANISATIONS, (), (), (GRANT,))
        self.desk = DecisionDesk(self, self, self, InForce(inventory), self._id, Concealment(SimpleNamespace()))
        self.register = SessionRegister(self, self, self.desk, self._id, lambda subject, now: subject)
        self.driver = Driver(self, self, self.desk, lambda key: self, self.register.end, NoDebts())
        self.supervision = Supervision(self, self, self.desk, self.register, lambda subject, now: subject)
        self.approvals = self.desk.approvals
        self.approvals.approvers = Approvers(
            self, self.desk.admin, lambda subject, _: self.doubts.get(subject.id, subject)
        )
        self.append(records.broker_started(NOW, version="1", revisions={}))
        self.session = self.open()

    def open(self):
        opened = []
        self.register.open(ANA, DEVICE, "modbus_tls", "127.0.0.1:1", lambda reason: None, opened.append)
        self.settle_all()
        assert isinstance(opened[0], Session)
        return opened[0]

    def _id(self, prefix):
        return f"{prefix}-{len(self.entries)}"

    def now(self):
        return self.time

    def append(self, record, *, intent=False):
        if self.closed:
            raise LedgerUnavailableError("ledger_closed", "")
        self.entries.append(record)
        return len(self.entries) - 1

    def settle(self, durable, settled):
        return True

    def decide(self, entry_point, question, answered):
        asked = json.loads(question)
        self.questions.append(asked)
        if entry_point is EntryPoint.ADMIN:
            self.later.append(lambda: answered(self._permitted(asked)))
            return
        writes = entry_point is EntryPoint.OPERATION and asked["operation"]["writes"]
        met = {arming["kind"] for arming in asked.get("armed", ())}
        obligations = [kind.value for kind in self.obliged if writes and kind.value not in met]
        answer = {"allow": True, "reasons": [], "obligations": obligations, "rule": "grant/look"}
        if writes and self.denied:
            answer |= {"allow": False, "reasons": list(self.denied), "obligations": []}
        encoded = json.dumps(answer | {"valid_until": int(self.time) + 50}).encode()
        self.later.append(lambda: answered(encoded))

    def _permitted(self, asked):
        if self.silent:
            return PolicyUnavailableError("policy_late", "")
        reasons = list(self.unpermitted)
        return json.dumps({"allow": not reasons, "reasons": reasons, "obligations": [], "rule": "admin"}).encode()

    def relay(self, request, relayed, still_allowed=None):
        def turn():
            held_back = still_allowed()
            if held_back:
                relayed(Relayed(Result.NOT_SENT, code=held_back))
                return
            self.sent.append(request)
            payload = request.payload if request.writes else bytes((3, 2)) + self.there.to_bytes(2, "big")
            relayed(Relayed(Result.DONE, payload))

        self.later.append(turn)

    def settle_all(self):
        while self.later:
            self.later.popleft()()

    def ask(self, request=WRITE, session=None):
        session = session or self.session
        self.driver.run(session, exchange(session, request), self.findings.append)

    def asked(self, request=WRITE, session=None):
        self.ask(request, session)
        self.settle_all()
        return self.findings[-1]

    def waiting(self, request=WRITE):
        finding = self.asked(request)
        assert isinstance(finding, Refused)
        return self.approvals.get(finding.approval)

    def arm(self, approval, by=BO, kind=SECOND):
        return self.approvals.arm(approval, Approver(by, kind, "192.0.2.1:5"))

    def written(self):
        return [request for request in self.sent if request.writes]

    def records(self, *kinds):
        found = [json.loads(entry) for entry in self.entries]
        return [record for record in found if not kinds or record["kind"] in kinds]

    def verify(self):
        invariants = Invariants()
        for index, entry in enumerate(self.entries):
            invariants.check(index, entry)
        assert invariants.left_open == 0


@pytest.fixture
def stage():
    story = Stage()
    yield story
    story.verify()


def test_the_write_is_refused_armed_passes_once_and_is_refused_again(stage):
    finding = stage.asked()
    assert (finding.reasons, modbus_reply(6, finding)) == ((Reason.APPROVAL_NEEDED,), REFUSED)
    assert stage.written() == []
    waiting = stage.approvals.get(finding.approval)
    assert (waiting.before, waiting.missing, waiting.until) == ((("setpoint", "200"),), (SECOND,), NOW + OPEN_SECONDS)
    assert stage.asked().approval == waiting.id
    armed = stage.arm(waiting)
    assert (armed.state, armed.until) == (ApprovalState.ARMED, NOW + ARMED_SECONDS)
    assert stage.asked().relayed.result == Result.DONE
    assert stage.written() == [WRITE]
    again = stage.asked()
    assert again.reasons == (Reason.APPROVAL_NEEDED,)
    assert again.approval not in ("", waiting.id)
    assert stage.written() == [WRITE]
    told = stage.records("approval_asked", "operation_armed", "arming_used")
    assert [r["kind"] for r in told] == ["approval_asked", "operation_armed", "arming_used", "approval_asked"]
    assert (told[1]["by"], told[1]["before"], told[1]["obligation"]) == (BO.id, {"setpoint": "200"}, "second_person")
    denied = [r for r in stage.records("outcome") if r["result"] == "denied"]
    assert {r["code"] for r in denied} == {waiting.id, again.approval}


def test_the_policy_is_told_what_is_armed_of_this_operation_and_of_no_other(stage):
    stage.arm(stage.waiting())
    stage.asked(OTHER)
    assert stage.questions[-1 if stage.questions[-1]["operation"]["writes"] else -2]["armed"] == []
    stage.asked()
    told = [q["armed"] for q in stage.questions if q.get("armed")]
    assert [(arming["kind"], arming["by"]) for arming in told[0]] == [("second_person", BO.id)]
    assert OTHER not in stage.sent


def test_of_two_identical_writes_at_once_only_one_passes(stage):
    other = stage.open()
    stage.arm(stage.waiting())
    stage.ask()
    stage.ask(session=other)
    stage.settle_all()
    first, second = stage.findings[-2:]
    assert isinstance(first, Answered)
    assert isinstance(second, Refused) and second.reasons == (Reason.APPROVAL_NEEDED,)
    assert stage.written() == [WRITE]


def test_an_unknown_outcome_uses_it_up_all_the_same(stage):
    stage.arm(stage.waiting())
    read = Relayed(Result.DONE, bytes.fromhex("030200c8"))
    stage.relay = lambda request, relayed, still_allowed=None: stage.later.append(
        lambda: relayed(Relayed(Result.UNKNOWN) if request.writes else read)
    )
    assert stage.asked().relayed.result == Result.UNKNOWN
    assert stage.approvals.all() == ()


def test_an_approval_that_comes_too_late_arms_nothing(stage):
    waiting = stage.waiting()
    stage.time += OPEN_SECONDS
    assert stage.arm(waiting) is None
    stage.approvals.sweep(stage.desk.locks)
    assert stage.approvals.get(waiting.id) is None
    assert stage.arm(waiting) is None
    assert stage.records("approval_ended")[0]["reason"] == "expired"
    assert stage.asked().approval != waiting.id
    assert stage.written() == []


def test_what_is_armed_runs_out_even_while_it_waits_for_its_turn_at_the_device(stage):
    stage.arm(stage.waiting())
    stage.ask()
    while not any(r["kind"] == "arming_used" for r in stage.records()):
        stage.later.popleft()()
    stage.time += ARMED_SECONDS
    stage.settle_all()
    assert (stage.findings[-1].relayed.result, stage.findings[-1].relayed.code) == ("not_sent", "access_changed")
    assert stage.written() == []


def test_what_is_armed_is_not_good_after_its_time(stage):
    stage.arm(stage.waiting())
    stage.time += ARMED_SECONDS
    assert stage.asked().reasons == (Reason.APPROVAL_NEEDED,)
    assert stage.written() == []


def test_a_session_that_ended_meanwhile_sends_nothing_and_another_of_the_same_subject_may(stage):
    waiting = stage.waiting()
    stage.ask()
    stage.arm(waiting)
    stage.register.close(stage.session, EndReason.PEER_CLOSED)
    stage.settle_all()
    assert isinstance(stage.findings[-1], Refused)
    assert stage.written() == []
    stage.session = stage.open()
    assert stage.asked().relayed.result == Result.DONE


def test_a_session_that_ends_between_decision_and_use_leaves_what_is_armed(stage):
    stage.arm(stage.waiting())
    stage.ask()
    stage.register.close(stage.session, EndReason.PEER_CLOSED)
    stage.settle_all()
    assert (stage.written(), stage.records("arming_used")) == ([], [])
    assert len(stage.approvals.all()) == 1


def test_a_pause_between_approval_and_use_refuses_and_uses_nothing_up(stage):
    stage.arm(stage.waiting())
    stage.supervision.pause(stage.session, BO, "")
    assert stage.asked().reasons == (Reason.SESSION_PAUSED,)
    stage.supervision.resume(stage.session, BO, "")
    assert stage.asked().relayed.result == Result.DONE


@pytest.mark.parametrize("swept", [True, False])
def test_a_lock_between_approval_and_use_ends_what_is_armed(stage, swept):
    waiting = stage.waiting()
    stage.arm(waiting)
    if swept:
        stage.register.close(stage.session, EndReason.PEER_CLOSED)
    stage.desk.enforce(LocksInForce((LOCK,)))
    stage.register.enforce_locks()
    stage.approvals.sweep(stage.desk.locks)
    assert stage.approvals.get(waiting.id) is None
    stage.desk.enforce(LocksInForce())
    stage.session = stage.open()
    assert stage.asked().reasons == (Reason.APPROVAL_NEEDED,)
    assert stage.written() == []
    assert stage.records("approval_ended")[0]["reason"] == "locked"


APPROVER_LOCKS = {
    "person": (LockKind.SUBJECT, BO.id),
    "organisation": (LockKind.ORGANISATION, BO.organisation),
    "certificate": (LockKind.CERTIFICATE, "f" * 43),
}


@pytest.mark.parametrize("lock", APPROVER_LOCKS.values(), ids=APPROVER_LOCKS)
def test_a_lock_on_who_armed_it_ends_what_is_armed_in_the_same_step(stage, lock):
    waiting = stage.waiting()
    stage.arm(waiting, replace(BO, proofs=(replace(PROOF, fingerprint="f" * 43),)))
    stage.desk.enforce(LocksInForce((replace(LOCK, kind=lock[0], target=lock[1]),)))
    assert stage.approvals.get(waiting.id) is None
    assert [r["reason"] for r in stage.records("approval_ended")] == ["approver_locked"]
    finding = stage.asked()
    assert (finding.reasons, stage.written()) == ((Reason.APPROVAL_NEEDED,), [])
    assert finding.approval != waiting.id


def test_a_lock_on_who_armed_nothing_leaves_what_is_armed(stage):
    stage.arm(stage.waiting())
    stage.desk.enforce(LocksInForce((replace(LOCK, target="joe@plant.example"),)))
    assert stage.asked().relayed.result == Result.DONE


def _is_doubted(why):
    return lambda stage: stage.doubts.update({BO.id: why})


def _is_not_permitted(reason):
    return lambda stage: setattr(stage, "unpermitted", (reason,))


def _loses_his_organisation(stage):
    stage.desk.in_force = InForce(Inventory("i", (), (), (DEVICE,), (ACME,), (), (), (GRANT,)))


LOST = {
    "his certificate is revoked": _is_doubted(EndReason.CERTIFICATE_REVOKED),
    "nobody can say whether it is": _is_doubted(EndReason.CRL_STALE),
    "he is logged out": _is_doubted(EndReason.LOGGED_OUT),
    "he leaves the inventory": _is_doubted(EndReason.INVENTORY_CHANGED),
    "his organisation leaves it": _loses_his_organisation,
    "his contract ends": _is_not_permitted(Reason.CONTRACT_ENDED),
    "he loses his role": _is_not_permitted(Reason.ROLE_MISSING),
    "the policy finds him no second person": _is_not_permitted(Reason.SECOND_PERSON_NEEDED),
}


@pytest.mark.parametrize("lose", LOST.values(), ids=LOST)
def test_what_somebody_armed_is_worth_nothing_once(stage, lose):
    waiting = stage.waiting()
    stage.arm(waiting)
    lose(stage)
    finding = stage.asked()
    assert (finding.reasons, modbus_reply(6, finding), stage.written()) == ((Reason.APPROVAL_NEEDED,), REFUSED, [])
    assert [r["reason"] for r in stage.records("approval_ended")] == ["approver_lost_access"]
    assert finding.approval not in ("", waiting.id)
    assert stage.records("arming_used") == []


def test_the_policy_is_asked_about_who_armed_it_as_he_was_then_and_as_he_is_proven_now(stage):
    waiting = stage.waiting()
    stage.arm(waiting)
    stage.doubts[BO.id] = replace(BO, roles=("operator",))
    assert stage.asked().relayed.result == Result.DONE
    (question,) = (asked for asked in stage.questions if "permission" in asked)
    assert (question["permission"], question["resource"]) == ("operation.approve", waiting.about)
    assert (question["subject"]["id"], question["subject"]["roles"]) == (BO.id, ["operator"])
    assert question["session"]["peer"] == "192.0.2.1:5"


def test_everybody_who_armed_it_is_asked_about(stage):
    stage.obliged = (STEP_UP, SECOND)
    waiting = stage.waiting()
    stage.arm(waiting, ANA, STEP_UP)
    stage.arm(waiting)
    assert stage.asked().relayed.result == Result.DONE
    asked = [(q["subject"]["id"], q["permission"]) for q in stage.questions if "permission" in q]
    assert asked == [(ANA.id, "operation.step-up"), (BO.id, "operation.approve")]


def test_while_the_policy_says_nothing_of_who_armed_it_nothing_is_sent_and_it_stays_armed(stage):
    waiting = stage.waiting()
    stage.arm(waiting)
    stage.silent = True
    assert stage.asked().reasons == (Reason.POLICY_LATE,)
    assert (stage.written(), stage.records("approval_ended")) == ([], [])
    stage.silent = False
    assert stage.asked().relayed.result == Result.DONE
    assert [r["approval"] for r in stage.records("arming_used")] == [waiting.id]


def test_what_is_refused_while_the_policy_is_asked_about_who_armed_it_is_not_sent(stage):
    waiting = stage.waiting()
    stage.arm(waiting)
    stage.ask()
    while not any("permission" in asked for asked in stage.questions):
        stage.later.popleft()()
    stage.approvals.refuse(waiting, BO, "")
    stage.settle_all()
    assert stage.findings[-1].reasons == (Reason.APPROVAL_REFUSED,)
    assert stage.written() == []


def test_without_anybody_to_ask_about_who_armed_it_nothing_is_sent(stage):
    stage.arm(stage.waiting())
    stage.approvals.approvers = None
    assert stage.asked().reasons == (Reason.APPROVAL_NEEDED,)
    assert stage.written() == []


def test_nothing_is_armed_while_what_is_there_is_being_read(stage):
    stage.ask()
    while not stage.approvals.all():
        stage.later.popleft()()
    (unread,) = stage.approvals.all()
    assert unread.old_values is OldValues.BEING_READ
    assert stage.arm(unread) is None
    assert stage.approvals.arm(unread, Approver(BO, SECOND), without_old=True) is None
    stage.settle_all()
    known = stage.approvals.get(unread.id)
    assert (known.old_values, known.before) == (OldValues.READ, (("setpoint", "200"),))
    assert stage.arm(known).state is ApprovalState.ARMED
    assert stage.asked().relayed.result == Result.DONE


def test_where_what_is_there_could_not_be_read_only_who_knows_that_arms_it(stage):
    relay = stage.relay
    stage.relay = lambda request, relayed, still_allowed=None: stage.later.append(
        lambda: relayed(Relayed(Result.NO_REPLY, code="timeout"))
    )
    waiting = stage.waiting()
    stage.relay = relay
    assert waiting.old_values is OldValues.UNREADABLE
    assert stage.arm(waiting) is None
    assert stage.asked().reasons == (Reason.APPROVAL_NEEDED,)
    assert stage.approvals.arm(waiting, Approver(BO, SECOND), without_old=True).state is ApprovalState.ARMED
    assert stage.asked().relayed.result == Result.DONE


def test_what_was_approved_over_one_value_is_not_written_over_another_and_waits_anew(stage):
    waiting = stage.waiting()
    stage.arm(waiting)
    stage.there = 201
    finding = stage.asked()
    assert (finding.reasons, modbus_reply(6, finding)) == ((Reason.OLD_VALUE_CHANGED,), REFUSED)
    assert (stage.written(), stage.records("arming_used")) == ([], [])
    assert [r["reason"] for r in stage.records("approval_ended")] == ["old_value_changed"]
    anew = stage.waiting()
    assert (anew.id != waiting.id, anew.before) == (True, (("setpoint", "201"),))
    stage.arm(anew)
    assert stage.asked().relayed.result == Result.DONE
    intent = next(r for r in reversed(stage.records("intent")) if r.get("values"))
    assert intent["before"] == {"setpoint": "201"}


def test_while_what_is_there_cannot_be_read_again_nothing_is_sent_and_it_stays_armed(stage):
    waiting, relay = stage.waiting(), stage.relay
    stage.arm(waiting)
    stage.relay = lambda request, relayed, still_allowed=None: stage.later.append(
        lambda: relayed(Relayed(Result.NO_REPLY, code="timeout"))
    )
    assert stage.asked().reasons == (Reason.OBLIGATION_UNMET,)
    assert (stage.written(), stage.records("arming_used")) == ([], [])
    stage.relay = relay
    assert stage.asked().relayed.result == Result.DONE


def test_a_step_up_alone_approves_no_value_and_nothing_is_read_for_it(stage):
    stage.obliged = (STEP_UP,)
    stage.arm(stage.waiting(), ANA, STEP_UP)
    stage.there, reads = 201, len(stage.sent)
    assert stage.asked().relayed.result == Result.DONE
    assert stage.sent[reads:] == [WRITE]


def test_a_policy_that_changed_meanwhile_is_asked_and_what_is_armed_gives_no_right(stage):
    stage.arm(stage.waiting())
    stage.denied, stage.revision = ("freeze_active",), "r2"
    stage.desk.epoch += 1
    assert stage.asked().reasons == ("freeze_active",)
    assert stage.written() == []


def test_a_policy_that_obliges_more_by_then_is_not_met(stage):
    stage.arm(stage.waiting())
    stage.obliged = (SECOND, STEP_UP)
    finding = stage.asked()
    assert finding.reasons == (Reason.STEP_UP_NEEDED,)
    known = stage.approvals.get(finding.approval)
    assert known.missing == (STEP_UP,)
    assert stage.arm(known, ANA, STEP_UP).state is ApprovalState.ARMED
    assert stage.asked().relayed.result == Result.DONE


def test_a_device_that_was_described_anew_waits_anew(stage):
    waiting = stage.waiting()
    stage.arm(waiting)
    stage.session.device = replace(DEVICE, description="another")
    assert stage.asked().approval != waiting.id
    assert stage.records("approval_ended")[0]["reason"] == "inventory_changed"
    assert stage.written() == []


def test_no_lease_comes_of_what_was_armed(stage):
    stage.arm(stage.waiting())
    stage.asked()
    assert all(decision.armed == () for decision in stage.session.leases.values())
    assert WRITE.digest not in stage.session.leases


def test_what_was_refused_stays_refused_and_is_asked_for_again_later(stage):
    waiting = stage.waiting()
    stage.approvals.refuse(waiting, BO, "not now")
    assert stage.arm(waiting) is None
    assert stage.approvals.refuse(waiting, BO, "") is None
    finding = stage.asked()
    assert (finding.reasons, finding.approval) == ((Reason.APPROVAL_REFUSED,), waiting.id)
    stage.time += OPEN_SECONDS
    stage.approvals.sweep(stage.desk.locks)
    assert stage.asked().reasons == (Reason.APPROVAL_NEEDED,)
    assert [(r["reason"], r["by"], r["why"]) for r in stage.records("approval_ended")] == [
        ("refused", BO.id, "not now")
    ]


def test_what_was_armed_can_be_refused_until_it_is_used(stage):
    waiting = stage.waiting()
    stage.arm(waiting)
    stage.approvals.refuse(waiting, BO, "")
    assert stage.asked().reasons == (Reason.APPROVAL_REFUSED,)
    assert stage.written() == []


def test_without_a_record_nothing_is_armed_and_nothing_refused(stage):
    waiting = stage.waiting()
    stage.closed = True
    for act in (lambda: stage.arm(waiting), lambda: stage.approvals.refuse(waiting, BO, "")):
        with pytest.raises(LedgerUnavailableError):
            act()
    stage.closed = False
    assert stage.approvals.get(waiting.id) == waiting
    assert stage.asked().reasons == (Reason.APPROVAL_NEEDED,)


def test_repeating_what_waits_counts_against_the_quota_of_denials(stage):
    waiting = stage.waiting()
    for _ in range(DENIALS_PER_MINUTE + 20):
        stage.asked()
    assert len(stage.records("decision")) < DENIALS_PER_MINUTE + 10
    stage.arm(waiting)
    assert stage.asked().relayed.result == Result.DONE


def test_a_fresh_proof_is_one_from_after_the_operation_was_refused_minutes_ago_at_most(stage):
    def proven(at):
        subject = replace(ANA, proofs=(PROOF, replace(PROOF, kind=ProofKind.TOKEN, authenticated_at=at)))
        return stage.approvals.proven_anew(waiting, subject)

    waiting = stage.waiting()
    asked = stage.time
    assert not stage.approvals.proven_anew(waiting, ANA)
    assert proven(asked + 1)
    assert not proven(asked - SKEW_SECONDS - 1), "the policy knew of that one and wanted another"
    assert not proven(asked + 3600)
    stage.time = asked + FRESH_SECONDS + 2
    assert not proven(asked + 1)
    assert proven(asked + 2)


ACTS = {
    "armed": lambda stage, waiting: stage.arm(waiting),
    "refused": lambda stage, waiting: stage.approvals.refuse(waiting, BO, ""),
    "ended": lambda stage, waiting: stage.register.end(stage.session, EndReason.ENDED_BY_ADMINISTRATOR),
}


@pytest.mark.parametrize("act", ACTS)
def test_who_waits_learns_of_arming_refusal_and_end(stage, act):
    async def story():
        waiting = stage.waiting()
        waiter = asyncio.create_task(stage.approvals.wait([waiting.id], 5))
        await asyncio.sleep(0)
        assert not waiter.done()
        ACTS[act](stage, waiting)
        assert await waiter is True

    asyncio.run(story())


def test_who_waits_does_not_wait_for_ever(stage):
    assert asyncio.run(stage.approvals.wait([stage.waiting().id], 0.01)) is False


@pytest.mark.parametrize("entry_point", [EntryPoint.SESSION, EntryPoint.ADMIN])
def test_what_is_no_operation_cannot_wait_for_a_person_and_is_denied(entry_point):
    stage, found = Stage(), []
    obliging = {"allow": True, "reasons": [], "obligations": ["second_person"], "rule": "r"}
    stage.decide = lambda entry_point, question, answered: answered(json.dumps(obliging).encode())
    if entry_point is EntryPoint.SESSION:
        stage.register.open(ANA, DEVICE, "modbus_tls", "127.0.0.1:1", lambda reason: None, found.append)
    else:
        facts = SimpleNamespace(id="", listener="https", peer="127.0.0.1:1", started=NOW, mfa_at=None, watched_by=())
        stage.desk.admin(ANA, "ledger.read", {}, facts, found.append)
    assert found[0].reasons == (Reason.OBLIGATION_UNMET,)
