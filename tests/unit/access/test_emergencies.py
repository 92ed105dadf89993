"""Who may open an emergency, what it gives while it holds, who reviews it, and how often parts are looked at."""

from dataclasses import replace

import pytest

from broker.access.emergencies import EmergenciesInForce, as_grant, opening_refused, signed, signing_refused
from broker.access.opening_pace import BURST, FREE_FAILURES, LONGEST_PAUSE_SECONDS, OpeningPace
from broker.model.emergency import Emergency, EmergencyTerms, OpeningRefusal, Signature, SigningRefusal
from broker.model.place import Organisation
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Action

NOW = 1_800_000_000.0
DI = Subject("di@plant.example", SubjectKind.PERSON, "plant-owner")
OWNER = Organisation("plant-owner", (), (), owner=True)
TERMS = EmergencyTerms(("plant",), (Action.VIEW, Action.ADJUST), 60)
EMERGENCY = Emergency(
    id="emg-1",
    site="plant",
    subject=DI.id,
    organisation="plant-owner",
    why="fire",
    opened_at=NOW - 0.5,
    until=NOW + 60,
    actions=(Action.VIEW, Action.ADJUST),
    broker="b/ledger",
    seal="seal-1",
    parts=(1, 2),
    peer="127.0.0.1:1",
    passes=("lck-1",),
)


@pytest.mark.parametrize(
    ("terms", "subject", "organisation", "site", "minutes", "refused"),
    [
        ({}, {}, {}, "plant", 60, None),
        ({"organisations": ("plant-owner",), "subjects": (DI.id,)}, {}, {}, "plant", 1, None),
        ({}, {}, {}, "plant", 61, OpeningRefusal.TOO_LONG),
        ({}, {}, {}, "other", 1, OpeningRefusal.SITE_NOT_COVERED),
        ({}, {"kind": SubjectKind.SERVICE}, {}, "plant", 1, OpeningRefusal.NOT_ALLOWED),
        ({}, {}, {"owner": False}, "plant", 1, OpeningRefusal.NOT_ALLOWED),
        ({}, {}, {"contract_until": NOW}, "plant", 1, OpeningRefusal.NOT_ALLOWED),
        ({}, {}, {"contract_from": NOW + 1}, "plant", 1, OpeningRefusal.NOT_ALLOWED),
        ({"organisations": ("another-owner",)}, {}, {}, "plant", 1, OpeningRefusal.NOT_ALLOWED),
        ({"subjects": ("bo@plant.example",)}, {}, {}, "plant", 1, OpeningRefusal.NOT_ALLOWED),
    ],
)
def test_the_settings_say_who_may_open_what_for_how_long(terms, subject, organisation, site, minutes, refused) -> None:
    asked = replace(TERMS, **terms), replace(DI, **subject), replace(OWNER, **organisation)
    assert opening_refused(*asked, site, minutes, NOW) is refused


def test_of_an_organisation_that_is_not_known_nobody_opens_anything() -> None:
    assert opening_refused(TERMS, DI, None, "plant", 1, NOW) is OpeningRefusal.NOT_ALLOWED


def test_an_emergency_is_its_holders_at_its_site_until_its_end() -> None:
    held = EmergenciesInForce((EMERGENCY, replace(EMERGENCY, id="emg-2", until=NOW + 90)))
    assert held.of(DI, "plant", NOW).id == "emg-2"
    assert held.of(DI, "other", NOW) is None
    assert held.of(replace(DI, organisation="acme"), "plant", NOW) is None
    assert held.of(replace(DI, id="bo@plant.example"), "plant", NOW) is None
    assert held.of(DI, "plant", NOW + 90) is None
    assert held.anywhere(DI, NOW)
    assert not held.anywhere(DI, NOW + 90)
    assert held.holding("emg-1", NOW) == EMERGENCY
    assert held.holding("emg-1", NOW + 60) is None
    ended = EmergenciesInForce((replace(EMERGENCY, ended_at=NOW),))
    assert ended.of(DI, "plant", NOW) is None


def test_it_passes_only_isolations_in_spite_of_which_it_was_opened() -> None:
    held = EmergenciesInForce((EMERGENCY,))
    assert held.passes("emg-1", "lck-1")
    assert not held.passes("emg-1", "lck-2")
    assert not held.passes("", "lck-1")


def test_what_it_gives_has_begun_the_moment_it_is_opened() -> None:
    grant = as_grant(EMERGENCY)
    assert (grant.id, grant.scope.sites, grant.subjects) == ("emg-1", ("plant",), (DI.id,))
    assert grant.not_before is not None
    assert grant.not_before <= int(EMERGENCY.opened_at)
    assert grant.not_after == EMERGENCY.until


def test_two_others_sign_once_it_has_ended() -> None:
    ended = replace(EMERGENCY, ended_at=NOW)
    assert signing_refused(EMERGENCY, "bo", NOW) is SigningRefusal.STILL_OPEN
    assert signing_refused(EMERGENCY, "bo", EMERGENCY.until) is None
    assert signing_refused(ended, DI.id, NOW) is SigningRefusal.OPENED_IT
    assert signing_refused(ended, "bo", NOW) is None
    once = signed(ended, Signature("bo", NOW, "fine"))
    assert signing_refused(once, "bo", NOW) is SigningRefusal.SIGNED_BEFORE
    twice = signed(once, Signature("cy", NOW, "fine"))
    assert (once.reviewed, twice.reviewed) == (False, True)
    assert signing_refused(twice, "eve", NOW) is SigningRefusal.REVIEWED


def test_after_three_failures_a_subject_waits_longer_each_time_and_others_do_not() -> None:
    pace, waits = OpeningPace(), []
    for _ in range(FREE_FAILURES + 7):
        pace.failed("eve", 0.0)
        waits.append(pace.wait_seconds("eve", 0.0))
    assert waits[: FREE_FAILURES - 1] == [0.0] * (FREE_FAILURES - 1)
    assert waits[FREE_FAILURES - 1 :] == [10, 20, 40, 80, 160, 300, 300, 300]
    assert max(waits) == LONGEST_PAUSE_SECONDS
    assert pace.wait_seconds("di", 0.0) == 0
    assert pace.wait_seconds("eve", 300.0) == 0
    pace.succeeded("eve")
    pace.failed("eve", 300.0)
    assert pace.wait_seconds("eve", 300.0) == 0


def test_all_together_have_so_many_looks_and_get_one_back_every_five_seconds() -> None:
    pace = OpeningPace()
    for _ in range(BURST):
        assert pace.wait_seconds("di", 100.0) == 0
        pace.look(100.0)
    assert pace.wait_seconds("di", 100.0) == pytest.approx(5.0)
    assert pace.wait_seconds("di", 105.0) == 0
