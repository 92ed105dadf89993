"""COV subscriptions of native clients: one at the device for all, each notification decided for each client."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from broker.engine.commands import Decide, LastLook, RecordIntents, RecordOutcomes, Relay
from broker.engine.events import Answered, Finding, Refused
from broker.engine.sessions import Session
from broker.engine.subscriptions import DEVICE_LIFETIME_SECONDS
from broker.listeners.bacnet_subscriptions import CovDesk
from broker.listeners.interpreters import Interpreters
from broker.model.decision import Decision
from broker.model.operation import BacnetProperty, Relayed
from broker.model.place import BacnetAddress, BacnetIpWay, Device, Point, Protocol
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import EndReason, Reason, Result
from broker.wire.bacnet.cov import CovNotification, encode_cov_subscription
from broker.wire.bacnet.items import Item
from broker.wire.bacnet.services import decode_confirmed
from broker.wire.bacnet.tags import REAL, Tag

SETPOINT = Point("setpoint", BacnetAddress("analog-value", 1))
WAY = BacnetIpWay("127.0.0.1", 47808, 1001)
VAV = Device("plant", "vav-1", "hvac", Protocol.BACNET, WAY, points=(SETPOINT,))
OBJECT = BacnetProperty("analog-value", 1, None)
TWENTY = Tag("application", REAL, bytes.fromhex("41a00000"))
FIRST_PROCESS = 700


@dataclass(eq=False)
class Client:
    """Somebody at the other end."""

    heard: list[CovNotification] = field(default_factory=list)

    def tell(self, notification: CovNotification) -> None:
        self.heard.append(notification)


class Stage:
    """Driver, device, clock and ledger around a desk."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.asked: list[dict[str, str]] = []
        self.records: list[dict[str, Any]] = []
        self.told: Callable[[CovNotification], bool] | None = None
        self.allow: Callable[[Decide], bool] = lambda decide: True
        self.why = Reason.NO_GRANT
        self.held_up: list[Callable[[], None]] | None = None
        self.relayed = Relayed(Result.DONE, b"\x20\x05")
        self.hold = False
        self.held_back: list[Callable[[], None]] = []
        self.desk = CovDesk(
            clock=self,  # type: ignore[arg-type]
            ledger=self,  # type: ignore[arg-type]
            driver=self,  # type: ignore[arg-type]
            interpreters=Interpreters(),
            upstream_of=lambda key: self,  # type: ignore[arg-type,return-value]
            first_process=lambda: FIRST_PROCESS,
        )

    def now(self) -> float:
        return self.time

    def append(self, record: bytes, *, intent: bool = False) -> int:
        self.records.append(orjson.loads(record))
        return len(self.records)

    def settle(self, durable: bool, settled: Any) -> bool:
        return True

    def notifications(self, told: Callable[[CovNotification], bool] | None) -> None:
        self.told = told

    def run(self, session: Session, steps: Any, done: Callable[[Any], None]) -> None:
        answer: Any = None
        try:
            while True:
                answer = self._answer(steps.send(answer))
        except StopIteration as stop:
            found = stop.value
        if self.held_up is None:
            done(found)
        else:
            self.held_up.append(lambda: done(found))

    def _answer(self, command: Any) -> Any:
        if isinstance(command, Decide):
            return Decision("dec", 1, True) if self.allow(command) else Decision("dec", 1, False, (self.why,))
        if isinstance(command, Relay):
            payload = command.request.payload
            self.asked.append(dict(decode_confirmed(payload[1], payload[2:]).facts))
            return self.relayed
        return {RecordIntents: 5, LastLook: "", RecordOutcomes: True}.get(type(command))

    def subscribe(self, session: Session, client: Client, **terms: Any) -> Finding:
        found: list[Finding] = []
        bare = encode_cov_subscription(terms.pop("process", 1), OBJECT, **terms)
        self.desk.take(session, client, Interpreters().bacnet(VAV).interpret(bare), found.append)
        return found[0] if found else Refused(())

    def change(self, process: int = FIRST_PROCESS, name: str = "present-value", remaining: int = 100) -> bool:
        """The device tells a change: whether the broker wanted to hear it."""
        items = (Item("analog-value", 1, name, None, (TWENTY, *[TWENTY] * (100 - remaining))),)
        return self.told is not None and self.told(
            CovNotification(process, 1001, "analog-value", 1, remaining, items, confirmed=True)
        )


def session(name: str = "ses-1") -> Session:
    return Session(name, Subject("ana@acme.example", SubjectKind.PERSON, "acme"), VAV, "tunnel", "", 0.0)


def play(test: Callable[[Stage], None]) -> None:
    async def acts() -> None:
        test(Stage())

    asyncio.run(acts())


def test_a_client_is_told_under_its_own_process_id_what_the_device_tells_the_broker() -> None:
    def test(stage: Stage) -> None:
        client = Client()
        finding = stage.subscribe(session(), client, process=42, lifetime_seconds=3600)
        assert isinstance(finding, Answered)
        (asked,) = stage.asked
        assert (asked["process-identifier"], asked["lifetime"]) == (str(FIRST_PROCESS), str(DEVICE_LIFETIME_SECONDS))
        assert stage.change()
        (heard,) = client.heard
        assert (heard.process, heard.confirmed, heard.remaining_seconds) == (42, False, 3600)
        assert [item.property for item in heard.items] == ["present-value"]

    play(test)


def test_two_clients_share_what_is_subscribed_at_the_device() -> None:
    def test(stage: Stage) -> None:
        one, two = Client(), Client()
        stage.subscribe(session("ses-1"), one, lifetime_seconds=600)
        stage.subscribe(session("ses-2"), two, lifetime_seconds=600, confirmed=True)
        assert {asked["process-identifier"] for asked in stage.asked} == {str(FIRST_PROCESS)}
        stage.change()
        assert [heard.confirmed for client in (one, two) for heard in client.heard] == [False, True]

    play(test)


def test_what_the_policy_denies_now_is_not_told_and_ends_the_subscription() -> None:
    def test(stage: Stage) -> None:
        client = Client()
        stage.subscribe(session(), client, lifetime_seconds=600)
        stage.allow = lambda decide: False
        stage.change()
        stage.allow = lambda decide: True
        assert not stage.change()
        assert client.heard == []
        assert [record["withheld"] for record in stage.records] == [1]

    play(test)


def test_what_is_not_reported_by_the_standard_is_not_passed_on() -> None:
    def test(stage: Stage) -> None:
        client = Client()
        stage.subscribe(session(), client, lifetime_seconds=600)
        stage.change(name="description")
        assert client.heard == []

    play(test)


def test_what_nobody_subscribed_is_nobodys() -> None:
    def test(stage: Stage) -> None:
        stage.subscribe(session(), Client(), lifetime_seconds=600)
        assert not stage.change(process=FIRST_PROCESS + 1)

    play(test)


def test_a_subscription_that_the_device_refuses_is_none() -> None:
    def test(stage: Stage) -> None:
        client = Client()
        stage.relayed = Relayed(
            Result.DEVICE_REFUSED, b"\x50\x05\x91\x05\x91\x2d", code="services/cov-subscription-failed"
        )
        stage.subscribe(session(), client, lifetime_seconds=600)
        stage.change()
        assert client.heard == []

    play(test)


def test_a_subscription_that_is_denied_is_not_made_at_the_device() -> None:
    def test(stage: Stage) -> None:
        stage.allow = lambda decide: False
        assert isinstance(stage.subscribe(session(), Client(), lifetime_seconds=600), Refused)
        assert stage.asked == []

    play(test)


def test_the_last_one_who_cancels_ends_it_at_the_device() -> None:
    def test(stage: Stage) -> None:
        client, both = Client(), session()
        stage.subscribe(both, client, process=1, lifetime_seconds=600)
        stage.subscribe(both, client, process=2, lifetime_seconds=600)
        stage.subscribe(both, client, process=1)
        assert not any("cancels" in asked for asked in stage.asked)
        stage.subscribe(both, client, process=2)
        assert stage.asked[-1]["cancels"] == "true"
        assert not stage.change()

    play(test)


def test_the_end_of_a_session_ends_its_subscriptions_and_counts_them() -> None:
    def test(stage: Stage) -> None:
        client, own = Client(), session()
        stage.subscribe(own, client, lifetime_seconds=600)
        stage.change()
        own.end(EndReason.GRANT_ENDED)
        assert own.last_words is not None
        own.last_words()
        stage.desk.end_session(own)
        assert not stage.change()
        assert len(client.heard) == 1
        (record,) = stage.records
        assert (record["kind"], record["passed"], record["withheld"]) == ("cov_counted", 1, 0)

    play(test)


def test_a_notification_that_waits_for_its_decision_is_not_overtaken_by_the_next() -> None:
    def test(stage: Stage) -> None:
        client = Client()
        stage.subscribe(session(), client, lifetime_seconds=600)
        slow: list[Callable[[], None]] = []
        stage.held_up = slow
        stage.change(remaining=99)
        stage.held_up = None
        stage.change(remaining=98)
        assert client.heard == []
        slow.pop()()
        assert [len(heard.items[0].value or ()) for heard in client.heard] == [2, 3]

    play(test)


def test_who_is_paused_misses_what_comes_meanwhile_and_stays_subscribed() -> None:
    def test(stage: Stage) -> None:
        client = Client()
        stage.subscribe(session(), client, lifetime_seconds=600)
        stage.allow, stage.why = lambda decide: False, Reason.SESSION_PAUSED
        assert stage.change()
        stage.allow = lambda decide: True
        assert stage.change()
        assert len(client.heard) == 1

    play(test)


def test_an_answer_that_comes_late_leaves_those_who_subscribed_since_alone() -> None:
    def test(stage: Stage) -> None:
        gone, here, client = session("ses-1"), session("ses-2"), Client()
        stage.hold = True
        stage.subscribe(gone, Client(), lifetime_seconds=600)
        gone.end(EndReason.GRANT_ENDED)
        stage.desk.end_session(gone)
        stage.hold = False
        stage.subscribe(here, client, lifetime_seconds=600)
        for finish in stage.held_back:
            finish()
        assert stage.change()
        assert len(client.heard) == 1

    play(test)
