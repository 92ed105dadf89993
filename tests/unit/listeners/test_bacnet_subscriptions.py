"""COV subscriptions of native clients: one at the device for all, each notification decided for each client."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
import pytest

from broker.engine.commands import Decide, LastLook, RecordIntents, RecordOutcomes, Relay
from broker.engine.events import Answered, Finding, Refused
from broker.engine.sessions import Session
from broker.engine.subscriptions import DEVICE_LIFETIME_SECONDS, MOST_INCREMENTS
from broker.listeners.bacnet_subscriptions import CovDesk
from broker.listeners.interpreters import Interpreters
from broker.model.decision import Decision
from broker.model.leave import SUBSCRIPTION_OVER, Errand
from broker.model.operation import BacnetProperty, Relayed, Request
from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import EndReason, Reason, Result
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.cov import CovNotification, encode_cov_subscription
from broker.wire.bacnet.items import Item
from broker.wire.bacnet.services import decode_confirmed
from broker.wire.bacnet.tags import REAL, Tag

SETPOINT = Point("setpoint", BacnetAddress("analog-value", 1))
WAY = BacnetIpWay("127.0.0.1", 47808, 1001)
VAV = Device("plant", "vav-1", "hvac", Protocol.BACNET, WAY, points=(SETPOINT,))
OBJECT = BacnetProperty("analog-value", 1, None)
PROPERTY = BacnetProperty("analog-value", 1, "present-value")
TWENTY = Tag("application", REAL, bytes.fromhex("41a00000"))
FIRST_PROCESS = 700
PROPERTIES = {"present-value": 85, "status-flags": 111, "units": 117}


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
        self.decided: list[str] = []
        self.replies: list[Relayed] = []
        self.requests: list[Request] = []
        self.told: Callable[[CovNotification], bool] | None = None
        self.allow: Callable[[Decide], bool] = lambda decide: True
        self.reason = Reason.NO_GRANT
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
            own_sessions=self,
        )
        self.admits = True
        self.own: list[Session] = []
        self.why: list[tuple[str, str]] = []

    def now(self) -> float:
        return self.time

    def append(self, record: bytes, *, intent: bool = False) -> int:
        self.records.append(orjson.loads(record))
        return len(self.records)

    def settle(self, durable: bool, settled: Any) -> bool:
        return True

    def notifications(self, told: Callable[[CovNotification], bool] | None) -> None:
        self.told = told

    def open_own(self, device: Device, subject: Subject, why: str, opened: Callable[[Session | Refused], None]) -> None:
        if not self.admits:
            opened(Refused((Reason.FREEZE_ACTIVE,)))
            return
        self.own.append(session("own"))
        self.own[-1].errand = Errand("lve-1", subject, why)
        opened(self.own[-1])

    def close_own(self, session: Session) -> None:
        session.end(EndReason.LEAVE_OVER)

    def run(self, session: Session, steps: Any, done: Callable[[Any], None]) -> None:
        self._go_on(steps, None, done)

    def _go_on(self, steps: Any, answer: Any, done: Callable[[Any], None]) -> None:
        try:
            while True:
                command = steps.send(answer)
                answer = self._answer(command)
                if self.hold and isinstance(command, Relay):
                    self.held_back.append(partial(self._go_on, steps, answer, done))
                    return
        except StopIteration as stop:
            found = stop.value
        if self.held_up is None:
            done(found)
        else:
            self.held_up.append(lambda: done(found))

    def _answer(self, command: Any) -> Any:
        if isinstance(command, Decide):
            self.decided.append(command.request.operations[command.place].service)
            return Decision("dec", 1, True) if self.allow(command) else Decision("dec", 1, False, (self.reason,))
        if isinstance(command, Relay):
            payload = command.request.payload
            self.requests.append(command.request)
            self.asked.append(dict(decode_confirmed(payload[1], payload[2:]).facts))
            if command.session.errand is not None:
                self.why.append((command.session.errand.subject.id, command.session.errand.why))
            return self.replies.pop(0) if self.replies else self.relayed
        return {RecordIntents: 5, LastLook: "", RecordOutcomes: True}.get(type(command))

    def subscribe(self, session: Session, client: Client, **terms: Any) -> Finding:
        found: list[Finding] = []
        bare = encode_cov_subscription(terms.pop("process", 1), terms.pop("at", OBJECT), **terms)
        self.desk.take(session, client, Interpreters().bacnet(VAV).interpret(bare), found.append)
        return found[0] if found else Refused(())

    def several(
        self, session: Session, client: Client, *names: str, terms: str = "293c 3905", form: int = 0
    ) -> Finding:
        """What comes of subscribing to properties of the setpoint at once; none with `terms` "": cancelled."""
        references = "".join(f"0e09{PROPERTIES[name]:02x}0f2900" for name in names)
        specified = f"0c008000011e{references}1f" if names else ""
        bare = bytes.fromhex(f"001e092a19{form:02x}{terms}4e{specified}4f".replace(" ", ""))
        found: list[Finding] = []
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


def check(holds: bool) -> None:
    assert holds


def play(test: Callable[[Stage], None], after: Callable[[Stage], None] = lambda stage: None) -> None:
    """The test, and what must hold once all is done that nothing waits for."""

    async def acts() -> None:
        stage = Stage()
        test(stage)
        for _ in range(50):
            await asyncio.sleep(0)
        after(stage)

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
        stage.allow, stage.reason = lambda decide: False, Reason.SESSION_PAUSED
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
        assert stage.own == []

    play(test)


def end(stage: Stage, ended: Session, reason: EndReason = EndReason.GRANT_ENDED) -> None:
    """What the register and the stream do."""
    ended.end(reason)
    assert ended.last_words is not None
    ended.last_words()
    stage.desk.end_session(ended)


def test_the_end_of_the_last_session_has_the_device_cancel_at_once_in_a_session_of_the_brokers_own() -> None:
    def test(stage: Stage) -> None:
        own = session()
        stage.subscribe(own, Client(), lifetime_seconds=600, process=42)
        end(stage, own)

    def after(stage: Stage) -> None:
        assert stage.asked[-1] == {"process-identifier": str(FIRST_PROCESS), "cancels": "true"}
        assert stage.why == [("ana@acme.example", "grant_ended")]
        assert [own.ended for own in stage.own] == [EndReason.LEAVE_OVER]
        assert stage.told is None

    play(test, after)


def test_what_another_session_still_has_is_not_cancelled_by_the_end_of_one() -> None:
    def test(stage: Stage) -> None:
        first = session("ses-1")
        stage.subscribe(first, Client(), lifetime_seconds=600)
        stage.subscribe(session("ses-2"), Client(), lifetime_seconds=600)
        end(stage, first)

    play(test, lambda stage: check(stage.own == [] and stage.change()))


def test_many_of_one_session_are_cancelled_in_one_session_of_the_brokers_own() -> None:
    def test(stage: Stage) -> None:
        own = session()
        for increment in ("1", "2", "3"):
            stage.subscribe(own, Client(), at=PROPERTY, lifetime_seconds=600, increment=increment)
        end(stage, own)

    def after(stage: Stage) -> None:
        cancelled = sorted(asked["process-identifier"] for asked in stage.asked if "cancels" in asked)
        assert cancelled == [str(FIRST_PROCESS + each) for each in range(3)]
        assert len(stage.own) == 1

    play(test, after)


def test_a_device_that_does_not_answer_a_cancellation_is_not_asked_for_the_rest() -> None:
    def test(stage: Stage) -> None:
        own = session()
        for increment in ("1", "2"):
            stage.subscribe(own, Client(), at=PROPERTY, lifetime_seconds=600, increment=increment)
        stage.relayed = Relayed(Result.NO_REPLY)
        end(stage, own)

    def after(stage: Stage) -> None:
        assert sum("cancels" in asked for asked in stage.asked) == 1
        assert [own.ended for own in stage.own] == [EndReason.LEAVE_OVER]
        assert not stage.change()

    play(test, after)


def test_where_the_broker_may_not_the_device_is_left_to_forget() -> None:
    def test(stage: Stage) -> None:
        own = session()
        stage.subscribe(own, Client(), lifetime_seconds=600)
        stage.admits = False
        end(stage, own)

    def after(stage: Stage) -> None:
        assert not any("cancels" in asked for asked in stage.asked)
        assert not stage.change()

    play(test, after)


def test_what_ends_the_brokers_own_session_ends_its_cancellations() -> None:
    def test(stage: Stage) -> None:
        own = session()
        for increment in ("1", "2"):
            stage.subscribe(own, Client(), at=PROPERTY, lifetime_seconds=600, increment=increment)
        stage.allow = lambda decide: decide.session.end(EndReason.LOCKED) or False  # type: ignore[func-returns-value]
        end(stage, own)

    play(test, lambda stage: check(not any("cancels" in asked for asked in stage.asked)))


def test_what_the_policy_denies_now_is_cancelled_at_the_device_though_its_session_goes_on() -> None:
    def test(stage: Stage) -> None:
        stage.subscribe(session(), Client(), lifetime_seconds=600)
        stage.allow = lambda decide: decide.session.errand is not None
        stage.change()

    play(test, lambda stage: check(stage.why == [("ana@acme.example", SUBSCRIPTION_OVER)]))


def test_a_client_that_may_not_even_cancel_has_it_cancelled_by_the_broker() -> None:
    def test(stage: Stage) -> None:
        own, client = session(), Client()
        stage.subscribe(own, client, lifetime_seconds=600)
        stage.allow = lambda decide: decide.session.errand is not None
        assert isinstance(stage.subscribe(own, client), Answered)

    play(test, lambda stage: check(len(stage.why) == 1 and stage.told is None))


def test_more_increments_of_one_property_than_there_is_room_for_are_refused_and_not_asked_for() -> None:
    def test(stage: Stage) -> None:
        terms = {"at": PROPERTY, "lifetime_seconds": 600}
        for each in range(MOST_INCREMENTS):
            finding = stage.subscribe(session(f"ses-{each}"), Client(), increment=str(each + 1), **terms)
            assert isinstance(finding, Answered)
        refused = stage.subscribe(session("ses-9"), Client(), increment="0.5", **terms)
        assert isinstance(refused, Refused)
        assert refused.reasons == (Reason.SUBSCRIPTIONS_EXHAUSTED,)
        assert len(stage.asked) == MOST_INCREMENTS

    play(test)


REFUSED = Relayed(Result.DEVICE_REFUSED, bytes.fromhex("501c91029120"), code="property/unknown-property")


def told_in_several(client: Client) -> list[tuple[int, bool, bool, str | None]]:
    return [(heard.process, heard.multiple, heard.confirmed, heard.items[0].property) for heard in client.heard]


def test_each_of_several_is_decided_and_held_at_the_device_by_itself_and_told_in_the_form_that_was_asked_for() -> None:
    def test(stage: Stage) -> None:
        client = Client()
        finding = stage.several(session(), client, "present-value", "units", form=1)
        assert isinstance(finding, Answered)
        assert finding.relayed.payload == bytes.fromhex("201e")
        assert stage.decided == ["subscribe-cov-property-multiple"] * 2 + ["subscribe-cov-property"] * 2
        assert [asked["process-identifier"] for asked in stage.asked] == [str(FIRST_PROCESS), str(FIRST_PROCESS + 1)]
        assert {request.payload[1] for request in stage.requests} == {28}
        assert len({request.part_of for request in stage.requests}) == 1 and stage.requests[0].part_of
        assert stage.change() and stage.change(FIRST_PROCESS + 1, "units")
        assert told_in_several(client) == [(42, True, True, "present-value"), (42, True, True, "units")]
        assert client.heard[0].remaining_seconds == 60

    play(test)


def test_of_several_nothing_is_told_but_what_was_asked_for() -> None:
    def test(stage: Stage) -> None:
        client = Client()
        stage.several(session(), client, "present-value")
        stage.change(name="status-flags")
        assert client.heard == []

    play(test)


def test_one_that_is_denied_denies_all_and_the_device_is_not_asked_for_any() -> None:
    def test(stage: Stage) -> None:
        stage.allow = lambda decide: decide.place != 1
        finding = stage.several(session(), Client(), "present-value", "units", "status-flags")
        assert isinstance(finding, Refused)
        assert finding.denied_places == (1,)
        assert stage.asked == []

    play(test, lambda stage: check(stage.told is None and stage.own == []))


def test_what_is_sent_for_several_is_decided_as_well() -> None:
    def test(stage: Stage) -> None:
        stage.allow = lambda decide: decide.request.operations[0].service != "subscribe-cov-property"
        finding = stage.several(session(), Client(), "present-value", "units")
        assert isinstance(finding, Refused)
        assert finding.denied_places == (0, 1)
        assert stage.asked == []

    play(test)


def test_the_first_that_the_device_refuses_is_named_and_those_before_it_are_cancelled() -> None:
    def test(stage: Stage) -> None:
        stage.replies = [stage.relayed, REFUSED]
        finding = stage.several(session(), Client(), "present-value", "units", "status-flags")
        assert isinstance(finding, Answered)
        assert finding.relayed.payload == bytes.fromhex("501e 1e 0c00800001 1e0975 1f 2e91029120 2f1f".replace(" ", ""))
        assert len(stage.asked) == 2
        assert not stage.change()

    def after(stage: Stage) -> None:
        assert [asked["process-identifier"] for asked in stage.asked if "cancels" in asked] == [str(FIRST_PROCESS)]
        assert stage.told is None

    play(test, after)


def test_what_a_device_says_that_is_no_error_about_one_is_passed_on_as_it_is() -> None:
    def test(stage: Stage) -> None:
        for relayed in (Relayed(Result.DEVICE_REFUSED, b"\x60\x09", code="reject"), Relayed(Result.NO_REPLY)):
            stage.replies = [relayed]
            finding = stage.several(session(), Client(), "present-value", "units")
            assert isinstance(finding, Answered)
            assert finding.relayed is relayed

    play(test)


def test_several_that_fail_leave_what_the_client_had() -> None:
    def test(stage: Stage) -> None:
        own, client = session(), Client()
        stage.several(own, client, "present-value")
        stage.replies = [stage.relayed, REFUSED]
        stage.several(own, client, "present-value", "units")
        assert stage.change()
        assert told_in_several(client) == [(42, True, False, "present-value")]

    play(test, lambda stage: check(stage.own == [] and stage.change()))


def test_what_the_device_tells_before_all_are_there_is_told_once_they_are() -> None:
    def test(stage: Stage) -> None:
        client, found = Client(), []
        stage.hold = True
        found.append(stage.several(session(), client, "present-value", "units"))
        stage.change(remaining=99)
        assert client.heard == []
        while stage.held_back:
            stage.held_back.pop(0)()
            assert bool(client.heard) == (not stage.held_back)

    play(test)


def test_what_the_device_tells_of_several_that_then_fail_is_told_to_nobody() -> None:
    def test(stage: Stage) -> None:
        client = Client()
        stage.hold, stage.replies = True, [stage.relayed, REFUSED]
        stage.several(session(), client, "present-value", "units")
        stage.change()
        while stage.held_back:
            stage.held_back.pop(0)()
        assert client.heard == []

    play(test)


def test_a_session_that_ends_while_several_are_asked_for_has_none_of_them() -> None:
    def test(stage: Stage) -> None:
        own, client = session(), Client()
        stage.hold = True
        stage.several(own, client, "present-value", "units")
        end(stage, own)
        stage.hold = False
        while stage.held_back:
            stage.held_back.pop(0)()
        assert not stage.change() and not stage.change(FIRST_PROCESS + 1)

    def after(stage: Stage) -> None:
        cancelled = {asked["process-identifier"] for asked in stage.asked if "cancels" in asked}
        assert cancelled == {str(FIRST_PROCESS), str(FIRST_PROCESS + 1)}
        assert stage.told is None

    play(test, after)


@pytest.mark.parametrize(
    ("names", "form", "left"),
    [
        ((), 0, ["present-value"]),
        (("units",), 0, ["present-value", "present-value"]),
        (("units",), 1, ["present-value", "present-value", "units"]),
    ],
)
def test_of_several_those_that_are_named_are_cancelled_or_all_in_that_form(
    names: tuple[str, ...], form: int, left: list[str]
) -> None:
    def test(stage: Stage) -> None:
        own, client = session(), Client()
        stage.several(own, client, "present-value", "units")
        stage.several(own, client, "present-value", form=1)
        stage.subscribe(own, single := Client(), at=PROPERTY, process=42, lifetime_seconds=60)
        assert isinstance(stage.several(own, client, *names, terms="", form=form), Answered)
        stage.change()
        stage.change(FIRST_PROCESS + 1, "units")
        assert [each[3] for each in told_in_several(client)] == left
        assert len(single.heard) == 1

    play(test)


def test_what_is_added_to_several_prolongs_them_all() -> None:
    def test(stage: Stage) -> None:
        own, client = session(), Client()
        stage.several(own, client, "present-value")
        stage.time += 50
        stage.several(own, client, "units")
        stage.time += 50
        assert stage.change()
        assert client.heard[0].remaining_seconds == 10

    play(test)


def test_several_for_which_there_is_no_room_are_none() -> None:
    def test(stage: Stage) -> None:
        for each in range(MOST_INCREMENTS):
            stage.subscribe(session(f"ses-{each}"), Client(), at=PROPERTY, lifetime_seconds=60, increment=str(each + 1))
        finding = stage.several(session("ses-9"), Client(), "units", "present-value")
        assert isinstance(finding, Refused)
        assert finding.reasons == (Reason.SUBSCRIPTIONS_EXHAUSTED,)
        assert len(stage.asked) == MOST_INCREMENTS

    play(test)
