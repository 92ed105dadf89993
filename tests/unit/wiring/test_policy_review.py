"""What a broker in review begins with: what was in force, else the files, unless people have decided elsewhere."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from broker.adapters.policy_files import PolicyFiles
from broker.errors import ConfigError, StateUnavailableError
from broker.model.action_rule import ActionRule
from broker.model.proposal import ProposalAct, Warrant
from broker.model.vocabulary import Action
from broker.wiring import policy_review
from broker.wiring.policy_review import PolicyReview

OLD, NEW, FOLDER = "old", "new", "folder"


def files(revision: str) -> PolicyFiles:
    return PolicyFiles({"site.rego": f"package site.{revision}\n"}, {}, revision)


def warrant(revision: str, at: float = 500.0) -> Warrant:
    return Warrant(
        "prp-1", ProposalAct.POLICY_ACTIVATE, (("revision", revision),), "", ("bo", "cy"), at, at + 9, "other/ledger"
    )


@dataclass
class Host:
    """Clock, ledger, engine, files and state of one broker, in one."""

    folder: str = FOLDER
    revision: str = ""
    kept: list[tuple[str, float]] = field(default_factory=list)
    archived: dict[str, PolicyFiles] = field(default_factory=dict)
    warrants: list[Warrant] = field(default_factory=list)
    unproven: bool = False
    away: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)
    classed: list[tuple[ActionRule, ...]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def now(self) -> float:
        return 1000.0

    monotonic = now

    def append(self, record: bytes) -> int:
        self.records.append(orjson.loads(record))
        return len(self.records)

    async def publish(self, modules: object, data: object, revision: str) -> None:
        self.revision = revision

    def policies(self) -> PolicyFiles:
        return replace(files(self.folder), data=self.data)

    def archive_policies(self, found: PolicyFiles) -> None:
        self.archived[found.revision] = found

    def archived_policies(self, revision: str) -> PolicyFiles | None:
        return self.archived.get(revision)

    def policies_in_force(self) -> tuple[tuple[str, float], ...]:
        return tuple(self.kept)

    def remember_policy(self, revision: str, at: float) -> None:
        self.kept.append((revision, at))

    async def proven(self) -> list[Warrant]:
        if self.away:
            raise StateUnavailableError("state_unavailable", "The state cannot be reached.")
        return self.warrants

    async def decided(self) -> bool:
        return bool(await self.proven()) or self.unproven

    def broker(self, review: bool = True) -> PolicyReview:
        me: Any = self
        return PolicyReview(
            me,
            me,
            me,
            me,
            review=review,
            warrants=self.proven,
            decided=self.decided,
            in_force=lambda _: None,
            classify=self.classed.append,
        )


@pytest.fixture(autouse=True)
def checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a policy can be loaded is not the matter here."""

    async def check(modules: object, data: object) -> None:
        return None

    monkeypatch.setattr(policy_review, "check_policy", check)


def begin(host: Host, *then: Callable[[], None], review: bool = True) -> PolicyReview:
    """A start, the first look at the files, and a look at the activations after each of what happens `then`."""

    async def story() -> PolicyReview:
        broker = host.broker(review)
        await broker.start()
        if not host.away:
            await broker.take()
        for happens in then:
            happens()
            await broker.activate()
        return broker

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("host", "review"),
    [
        (Host(), True),
        (Host(warrants=[warrant(FOLDER), warrant(OLD, 400.0)]), True),
        (Host(warrants=[warrant(NEW)]), False),
    ],
    ids=["nobody has decided yet", "for just this", "files decide"],
)
def test_the_files_come_into_force_at_the_first_start(host: Host, review: bool) -> None:
    broker = begin(host, review=review)
    assert (host.revision, broker.waiting, broker.trouble) == (FOLDER, "", "")
    assert broker.history[-1] == (FOLDER, 500.0 if review and host.warrants else 1000.0)
    assert host.records == []


def test_files_that_nobody_approved_do_not_come_into_force_where_people_have_decided() -> None:
    host = Host(warrants=[warrant(NEW), warrant(FOLDER, 400.0)])
    broker = begin(host, lambda: None)
    assert (host.revision, host.kept, broker.waiting) == ("", [], FOLDER)
    assert f"have activated revision {NEW}, and nobody {FOLDER}" in broker.trouble
    assert [(r["kind"], r["revision"], r["in_force"]) for r in host.records] == [("policy_proposed", FOLDER, "")]


def test_what_waits_at_the_first_start_comes_into_force_once_it_is_activated_elsewhere() -> None:
    host = Host(warrants=[warrant(NEW)])
    broker = begin(host, lambda: host.warrants.insert(0, warrant(FOLDER, 600.0)))
    assert (host.revision, broker.waiting, broker.trouble) == (FOLDER, "", "")
    assert host.kept == [(FOLDER, 600.0)]
    assert host.records[-1]["detail"]["warrant"] == {"proposal": "prp-1", "broker": "other/ledger"}


def test_what_was_activated_elsewhere_comes_into_force_once_it_is_in_the_folder() -> None:
    host = Host(warrants=[warrant(NEW)])
    broker = begin(host, lambda: setattr(host, "folder", NEW))
    assert (host.revision, broker.waiting) == (NEW, "")


def test_an_activation_that_cannot_be_believed_lets_nothing_begin_either() -> None:
    host = Host(unproven=True)
    broker = begin(host, lambda: None)
    assert (host.revision, broker.waiting) == ("", FOLDER)
    assert "state.brokers" in broker.trouble


def test_nothing_begins_before_the_state_has_told_whether_people_have_decided() -> None:
    host = Host(away=True)
    broker = begin(host)
    assert (host.revision, broker.trouble) == ("", "no policy is published")
    host.away = False
    asyncio.run(broker.take())
    assert host.revision == FOLDER


def test_an_activation_from_before_what_is_in_force_is_passed_over_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = Host(kept=[(OLD, 900.0)], archived={OLD: files(OLD)}, warrants=[warrant(FOLDER, 899.0)])
    begin(host, lambda: None, lambda: None)
    assert host.revision == OLD
    (told,) = [record.message for record in caplog.records if "stays out of force" in record.message]
    assert f"revision {FOLDER} was activated before {OLD}" in told


def test_what_was_in_force_here_stays_whatever_was_activated_elsewhere() -> None:
    host = Host(kept=[(OLD, 900.0)], archived={OLD: files(OLD)}, warrants=[warrant(NEW)])
    broker = begin(host)
    assert (host.revision, broker.waiting) == (OLD, FOLDER)
    host.away = True
    asyncio.run(broker.activate())
    assert host.revision == OLD


def test_rules_of_policy_authors_hold_from_when_their_policy_does() -> None:
    rule = {"services": ["write-property"], "objects": ["analog-value"], "action": "config"}
    host = Host(data={"bacnet_action_classes": [rule]})
    begin(host, review=False)
    assert host.classed == [(ActionRule(Action.CONFIG, ("write-property",), ("analog-value",)),)]
    host.folder, host.data = NEW, {}
    asyncio.run(host.broker(False).take())
    assert (host.revision, host.classed[-1]) == (NEW, ())


def test_a_policy_whose_rules_cannot_be_read_is_not_published() -> None:
    host = Host(data={"bacnet_action_classes": [{"services": [], "action": "config"}]})
    with pytest.raises(ConfigError):
        begin(host, review=False)
    assert (host.revision, host.classed) == ("", [])
