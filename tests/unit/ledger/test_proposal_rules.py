"""What an auditor's verification holds of proposals: what takes two people is done with a warrant of them alone."""

from collections.abc import Callable

import pytest

from broker.ledger import proposal_records, record_forms, records
from broker.ledger.invariants import Invariants
from broker.ledger.verify import Report, verify_ledger
from broker.model.vocabulary import RecordKind
from tests.unit.ledger.scenes import ORIGIN, MemoryReader, Story, publish
from tests.unit.ledger.test_verify import VKEY

ACTIVATE, WANTED = "policy.activate", {"revision": "new"}

GIVEN = {"warrant": "needed", "proposal": "prp-1", "broker": ORIGIN}


class Review(Story):
    """A history of a broker whose policies wait for people."""

    def __init__(self) -> None:
        super().__init__()
        self.started()

    def waits(self, revision: str = "new") -> "Review":
        self.add(proposal_records.policy_proposed(self.time, revision=revision, in_force="old"))
        return self

    def waited_as_of_old(self) -> "Review":
        """As it was told before warrants were cited."""
        told = {"revision": "new", "in_force": "old"}
        self.add(record_forms.record(RecordKind.POLICY_PROPOSED, self.time, told))
        return self

    def proposed(self, act: str = ACTIVATE, revision: str = "new") -> "Review":
        told = {"proposal": "prp-1", "act": act, "parameters": {"revision": revision}}
        self.add(proposal_records.proposal_created(self.time, **told, by="", until=self.time + 9, why=""))
        return self

    def approved(self, by: str, revision: str = "new") -> "Review":
        told = {"proposal": "prp-1", "act": ACTIVATE, "parameters": {"revision": revision}}
        self.add(proposal_records.proposal_approved(self.time, **told, by=by))
        return self

    def ended(
        self, ended_as: str = "approved", people: tuple[str, ...] = ("bo", "cy"), act: str = ACTIVATE
    ) -> "Review":
        told = {"proposal": "prp-1", "act": act, "ended_as": ended_as, "approved_by": people}
        self.add(proposal_records.proposal_ended(self.time, **told, by="cy", why=""))
        return self

    def in_force(
        self, revision: str = "new", previous: str = "old", proposal: str = "prp-1", broker: str = ORIGIN
    ) -> "Review":
        detail = {"warrant": {"proposal": proposal, "broker": broker}} if proposal else None
        changed = records.changed(
            RecordKind.POLICY_CHANGED, self.time, revision=revision, previous=previous, detail=detail
        )
        self.add(changed)
        return self

    def done(self, command: str = "ca issue", outcome: str = "done", **about: str) -> "Review":
        told = {"id": "cmd-1", "at": self.time, "claimed_by": {"uid": "0"}}
        self.add(records.host_command(self.time, command=command, about=about, outcome=outcome, **told))
        return self

    def warranted(self) -> "Review":
        return self.waits().proposed().approved("bo").approved("cy").ended()


def verify(story: Story) -> Report:
    return verify_ledger(MemoryReader(publish(story.entries)), VKEY)


@pytest.mark.parametrize(
    "write",
    [
        lambda s: s.warranted().in_force(),
        lambda s: s.waited_as_of_old().in_force(proposal=""),
        lambda s: s.proposed("ca.issue").ended(people=("bo",), act="ca.issue"),
        lambda s: s.warranted().in_force().started().waits("newer"),
        lambda s: s.waits().in_force(broker="other.example/ledger"),
        lambda s: s.approved("cy").ended().in_force(),
        lambda s: s.in_force(proposal=""),
        lambda s: s.waits().in_force(previous="", proposal=""),
        lambda s: s.waits().started().in_force(proposal=""),
        lambda s: s.waits().proposed().proposed().approved("bo").ended("refused", ()),
        lambda s: s.proposed("ca.issue").ended(act="ca.issue").done(**GIVEN),
        lambda s: s.done(**GIVEN | {"broker": "other.example/ledger"}),
        lambda s: s.done(warrant="needed", outcome="warrant_missing"),
        lambda s: s.done(profile="person").done("config apply", revision="r"),
        lambda s: s.add(records.host_lines_unreadable(s.time, count=1)),
    ],
    ids=[
        "activated by two",
        "activated before warrants were cited",
        "enough for a policy of one's own",
        "kept over a restart",
        "warranted at another broker",
        "proposed at another broker",
        "files are followed",
        "what was before could not be published at the start",
        "files are followed since a start",
        "told twice and refused",
        "issued by two",
        "issued with a warrant of another broker",
        "not issued",
        "nobody is asked",
        "commands that cannot be read",
    ],
)
def test_what_two_people_wanted_or_nobody_was_asked_about_verifies(write: Callable[[Review], object]) -> None:
    story = Review()
    write(story)
    assert (verify(story).reason, verify(story).ok) == ("", True)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda s: s.waits().in_force(proposal=""), "activated_without_warrant"),
        (lambda s: s.warranted().in_force().in_force("old", "new", proposal=""), "activated_without_warrant"),
        (lambda s: s.waits().in_force(), "warrant_not_recorded"),
        (lambda s: s.waits().proposed().approved("bo").approved("cy").in_force(), "warrant_not_recorded"),
        (lambda s: s.waits().proposed().ended("refused").in_force(), "warrant_not_recorded"),
        (lambda s: s.warranted().in_force("another"), "warrant_for_something_else"),
        (lambda s: s.waits().ended(act="ca.issue").in_force(), "warrant_for_something_else"),
        (lambda s: s.waits().proposed().ended(people=()), "approved_by_nobody"),
        (lambda s: s.proposed().approved("bo", revision="another"), "proposal_of_something_else"),
        (lambda s: s.proposed().proposed(revision="another"), "proposal_of_something_else"),
        (lambda s: s.proposed(act="ca.issue").ended(), "proposal_of_something_else"),
        (lambda s: s.done(warrant="needed"), "done_without_warrant"),
        (lambda s: s.done(**GIVEN), "warrant_not_recorded"),
        (lambda s: s.proposed("ca.issue").ended(act="ca.issue").done("ca sign", **GIVEN), "warrant_for_something_else"),
    ],
)
def test_what_was_done_without_two_people_is_named(write: Callable[[Review], object], reason: str) -> None:
    story = Review()
    write(story)
    report = verify(story)
    assert (report.ok, report.reason, report.first_bad) == (False, reason, len(story.entries) - 1)


def test_a_warrant_whose_records_may_be_pruned_is_taken_as_it_stands() -> None:
    story = Review().waits().in_force()
    pruned = Invariants(minimum=100, origin=ORIGIN)
    for index, entry in enumerate(story.entries, 100):
        pruned.check(index, entry)
