"""Which standing grants hold for a subject: every given condition must match, and none given is nobody."""

import pytest

from broker.access import standing
from broker.access.standing import StandingGrants
from broker.model.place import Device, Grant, Protocol
from broker.model.schedule import Scope
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Action
from broker.model.way import ModbusTcpWay

AHU = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502), labels=(("system", "hvac"),))
ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme", ("technician",))
HERE = Scope(devices=("plant/ahu-1",))


def grant(**changes: object) -> Grant:
    given = {"id": "g", "scope": HERE, "actions": (Action.VIEW,), "subjects": (ANA.id,)} | changes
    return Grant(**given)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"subjects": ("bo@acme.example",)}, False),
        ({"subjects": ("ANA@acme.example",)}, False),
        ({"subjects": (), "organisations": ("acme",)}, True),
        ({"subjects": (), "organisations": ("other",)}, False),
        ({"subjects": (), "roles": ("technician", "engineer")}, True),
        ({"subjects": (), "roles": ("engineer",)}, False),
        ({"subjects": (), "organisations": ("acme",), "roles": ("engineer",)}, False),
        ({"organisations": ("other",)}, False),
        ({"roles": ("engineer",)}, False),
        ({"subjects": ()}, False),
        ({"scope": Scope(sites=("other",))}, False),
        ({"scope": Scope(labels=(("system", "hvac"),))}, True),
        ({"scope": Scope(sites=("plant",), organisations=("other",))}, False),
        ({"not_before": 100.0}, True),
        ({"not_before": 100.5}, False),
        ({"not_after": 100.0}, False),
        ({"not_after": 100.5}, True),
    ],
)
def test_a_grant_holds_only_if_all_it_says_matches(changes: dict[str, object], holds: bool) -> None:
    assert bool(StandingGrants([grant(**changes)]).for_(ANA, AHU, 100.0)) is holds


def test_the_answer_changes_when_a_grant_begins_or_ends() -> None:
    grants = StandingGrants([grant(not_before=50.0, not_after=200.0), grant(id="h", not_before=150.0)])
    assert grants.changes_at(ANA, AHU, 100.0) == 150.0
    assert grants.changes_at(ANA, AHU, 150.0) == 200.0
    assert grants.changes_at(ANA, AHU, 200.0) == float("inf")
    assert [g.id for g in grants.for_(ANA, AHU, 150.0)] == ["g", "h"]


def test_a_subject_that_lost_its_role_is_not_answered_from_memory() -> None:
    grants = StandingGrants([grant(subjects=(), roles=("technician",))])
    assert grants.for_(ANA, AHU, 0)
    assert not grants.for_(Subject(ANA.id, ANA.kind, ANA.organisation, ()), AHU, 0)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "_CACHED_ANSWERS", 5)
    grants = StandingGrants([])
    for number in range(50):
        grants.for_(Subject(f"s{number}", SubjectKind.SERVICE, "acme"), AHU, 0)
    assert len(grants._known) <= 5
