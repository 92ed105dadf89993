"""A lock refuses whatever the policy says; an isolation spares nobody whom the policy does not name."""

from dataclasses import replace
from types import SimpleNamespace

import orjson
import pytest

from broker.access.locks import LocksInForce
from broker.engine.sessions import Session, Situation
from broker.errors import PolicyUnavailableError
from broker.listeners.decision_desk import DecisionDesk
from broker.model.decision import Decision, EntryPoint
from broker.model.lock import Lock, LockKind
from broker.model.place import Device, Grant, GrantKind, Organisation, Protocol
from broker.model.schedule import CalendarState, Scope
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Action
from broker.model.way import ModbusTcpWay

NOW = 1_800_000_000.0
PROOF = Proof(ProofKind.CERTIFICATE, "CN=root", "ana@acme.example", "a" * 43, NOW, NOW + 3600)
ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme", proofs=(PROOF,))
AHU = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502))
GRANT = Grant("g", Scope(), (Action.VIEW,), subjects=(ANA.id,))
YES = b'{"allow":true,"reasons":[],"obligations":[],"valid_until":%d,"rule":"grant/g"}' % (NOW + 50)
NO = b'{"allow":false,"reasons":["role_missing"],"obligations":[],"rule":"denied"}'
LOCK = Lock("lck-1", LockKind.SUBJECT, ANA.id, "why", "bo", NOW, "b/ledger")
ISOLATION = Lock("lck-2", LockKind.SITE, "plant", "why", "bo", NOW, "b/ledger", isolation=True)


class Story:
    """A desk whose policy allows every session; `spares` is what it answers about isolations."""

    def __init__(self, *locks: Lock, spares: bytes | PolicyUnavailableError = NO) -> None:
        self.asked: list[EntryPoint] = []
        self.records: list[dict[str, object]] = []
        self._spares = spares
        calendar = CalendarState((), (), None, NOW + 3600)
        self.desk = DecisionDesk(
            SimpleNamespace(now=lambda: NOW),
            SimpleNamespace(append=lambda record: self.records.append(orjson.loads(record)) or len(self.records)),
            SimpleNamespace(revision="r1", decide=self._decide),
            SimpleNamespace(
                organisation=lambda _subject: Organisation("acme", (), (), allowed=Scope(sites=("plant",))),
                situation=lambda _subject, _device, now: Situation(now, (GRANT,), calendar, None),
            ),
            lambda prefix: f"{prefix}-a",
            SimpleNamespace(),
        )
        self.desk.enforce(LocksInForce(locks))

    def _decide(self, entry_point, question, answered) -> None:
        self.asked.append(entry_point)
        answered(self._spares if entry_point is EntryPoint.ADMIN else YES)

    def session(self) -> Decision:
        found: list[Decision] = []
        self.desk.session(Session("ses-1", ANA, AHU, "modbus_tls", "127.0.0.1:1", NOW), found.append)
        return found[0]


def test_without_locks_the_policy_alone_is_asked() -> None:
    story = Story()
    assert story.session().allow
    assert story.asked == [EntryPoint.SESSION]


def test_a_lock_refuses_without_asking_and_leaves_a_decision_that_names_it() -> None:
    story = Story(LOCK)
    decision = story.session()
    assert (decision.allow, decision.reasons, decision.valid_until) == (False, ("locked",), None)
    assert story.asked == []
    (record,) = story.records
    assert record["answer"]["rule"] == "lock/lck-1"
    assert record["input"]["subject"]["id"] == ANA.id


@pytest.mark.parametrize(
    "spares",
    [NO, b"", b"{}", b'{"allow":true}', PolicyUnavailableError("policy_late", "late")],
    ids=["no", "undefined", "odd", "half", "late"],
)
def test_an_isolation_refuses_unless_the_policy_clearly_spares(spares: bytes | PolicyUnavailableError) -> None:
    story = Story(ISOLATION, spares=spares)
    decision = story.session()
    assert (decision.allow, decision.reasons) == (False, ("site_isolated",))
    assert story.asked == [EntryPoint.ADMIN]
    assert story.records[0]["input"]["resource"] == {"kind": "site", "site": "plant"}


def test_who_is_spared_is_still_decided_about() -> None:
    story = Story(ISOLATION, spares=YES)
    assert story.session().allow
    assert story.asked == [EntryPoint.ADMIN, EntryPoint.SESSION]


def test_who_is_spared_by_an_isolation_is_not_spared_by_a_lock() -> None:
    assert Story(ISOLATION, LOCK, spares=YES).session().reasons == ("locked",)


def test_a_lock_set_while_the_policy_is_asked_about_an_isolation_refuses_all_the_same() -> None:
    class Meanwhile(Story):
        def _decide(self, entry_point, question, answered) -> None:
            if entry_point is EntryPoint.ADMIN:
                self.desk.enforce(LocksInForce((ISOLATION, LOCK)))
            super()._decide(entry_point, question, answered)

    story = Meanwhile(ISOLATION, spares=YES)
    assert story.session().reasons == ("locked",)
    assert story.asked == [EntryPoint.ADMIN]


def test_a_locked_grant_is_not_among_those_that_the_policy_sees() -> None:
    story = Story(Lock("lck-3", LockKind.GRANT, "g", "why", "bo", NOW, "b/ledger"))
    story.session()
    assert story.records[0]["input"]["grants"] == []


def test_every_change_of_the_locks_ends_every_lease() -> None:
    desk = Story(LOCK).desk
    before = desk.epoch
    desk.enforce(LocksInForce())
    assert desk.epoch == before + 1


def test_given_grants_are_among_those_that_the_policy_sees_and_can_be_locked() -> None:
    story = Story()
    given = replace(GRANT, id="req-1", kind=GrantKind.REQUEST)
    before = story.desk.epoch
    story.desk.give("requests", (given,))
    assert story.desk.epoch == before + 1
    story.session()
    assert [grant["id"] for grant in story.records[0]["input"]["grants"]] == ["g", "req-1"]
    story.desk.enforce(LocksInForce((Lock("lck-3", LockKind.GRANT, "req-1", "why", "bo", NOW, "b/ledger"),)))
    story.session()
    assert [grant["id"] for grant in story.records[1]["input"]["grants"]] == ["g"]


def test_what_an_organisation_may_no_longer_ask_for_its_requests_no_longer_give() -> None:
    story = Story()
    story.desk.in_force.organisation = lambda _subject: Organisation("acme", (), (), allowed=Scope(sites=("mill",)))
    emergency = replace(GRANT, id="emg-1", kind=GrantKind.EMERGENCY)
    story.desk.give("all", (replace(GRANT, id="req-1", kind=GrantKind.REQUEST), emergency))
    story.session()
    assert [grant["id"] for grant in story.records[0]["input"]["grants"]] == ["g", "emg-1"]
