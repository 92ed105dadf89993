"""How views of the locks merge, and whom locks concern."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access.locks import LocksInForce, merged
from broker.model.lock import Lock, LockKind
from broker.model.place import Device, Protocol
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.way import ModbusTcpWay

NOW = 1_800_000_000.0
PROOF = Proof(ProofKind.CERTIFICATE, "CN=root", "ana@acme.example", "f" * 43, NOW, NOW + 3600)
ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme", proofs=(PROOF,))
AHU = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502))


def lock(kind: LockKind, target: str, **more: object) -> Lock:
    return replace(Lock("lck-1", kind, target, "why", "bo@plant.example", NOW, "b/ledger"), **more)  # type: ignore[arg-type]


IDS = st.sampled_from(["lck-1", "lck-2", "lck-3", "lck-4"])
VIEWS = st.dictionaries(IDS, st.tuples(st.booleans(), st.sampled_from(["plant", "mill"])))


def view(drawn: dict[str, tuple[bool, str]]) -> list[Lock]:
    return [
        lock(LockKind.SITE, target, id=key, lifted_by="cy" if lifted else "", lifted_at=NOW if lifted else None)
        for key, (lifted, target) in drawn.items()
    ]


@given(st.sets(IDS), VIEWS)
def test_no_lock_is_lost_by_merging_but_by_a_lift_that_the_state_knows(held: set[str], stored: object) -> None:
    mine = [lock(LockKind.SITE, "plant", id=key) for key in sorted(held)]
    theirs = view(stored)  # type: ignore[arg-type]
    lifted = {entry.id for entry in theirs if entry.lifted_at is not None}
    found = merged(mine, theirs)
    assert {key for key, entry in found.items() if entry.holds_at(NOW)} == (held | {t.id for t in theirs}) - lifted
    assert all(found[key].target == "plant" for key in held)


def test_a_row_that_was_changed_weakens_no_lock_that_is_held() -> None:
    mine = lock(LockKind.SUBJECT, ANA.id)
    theirs = replace(mine, target="nobody", until=NOW, kind=LockKind.SESSION, isolation=True)
    assert merged([mine], [theirs]) == {mine.id: mine}


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (LockKind.SUBJECT, ANA.id),
        (LockKind.ORGANISATION, "acme"),
        (LockKind.CERTIFICATE, PROOF.fingerprint),
        (LockKind.DEVICE, "plant/ahu-1"),
        (LockKind.SITE, "plant"),
        (LockKind.SESSION, "ses-1"),
    ],
)
def test_each_kind_refuses_what_it_names_and_nothing_else(kind: LockKind, target: str) -> None:
    assert LocksInForce([lock(kind, target)]).on_session(ANA, AHU, "ses-1") == lock(kind, target)
    for other in LockKind:
        named = target if other is not kind else "something-else"
        assert LocksInForce([lock(other, named)]).on_session(ANA, AHU, "ses-1") is None
    assert bool(LocksInForce([lock(kind, target)]).on_subject(ANA)) is (
        kind in {LockKind.SUBJECT, LockKind.ORGANISATION, LockKind.CERTIFICATE}
    )


def test_an_isolation_is_apart_and_a_lock_on_the_same_site_holds_beside_it() -> None:
    isolation, plain = lock(LockKind.SITE, "plant", isolation=True), lock(LockKind.SITE, "plant", id="lck-2")
    assert LocksInForce([isolation]).on_session(ANA, AHU, "ses-1") is None
    assert LocksInForce([isolation]).isolations("mill") == ()
    both = LocksInForce([plain, isolation])
    assert (both.on_session(ANA, AHU, "ses-1"), both.isolations("plant")) == (plain, (isolation,))


def test_locked_grants_are_named() -> None:
    assert LocksInForce([lock(LockKind.GRANT, "g"), lock(LockKind.SITE, "plant")]).grants == {"g"}


HOLDS: list[tuple[Callable[[Lock], Lock], bool]] = [
    (lambda entry: entry, True),
    (lambda entry: replace(entry, until=NOW + 1), True),
    (lambda entry: replace(entry, until=NOW), False),
    (lambda entry: replace(entry, lifted_at=NOW + 5), False),
]


@pytest.mark.parametrize(("change", "holds"), HOLDS)
def test_a_lock_holds_until_its_end_or_until_it_is_lifted(change: Callable[[Lock], Lock], holds: bool) -> None:
    assert change(lock(LockKind.SITE, "plant")).holds_at(NOW) is holds


def test_of_several_isolations_of_a_site_each_is_one() -> None:
    isolations = [lock(LockKind.SITE, "plant", isolation=True, id=f"lck-{place}") for place in range(3)]
    assert LocksInForce(isolations).isolations("plant") == tuple(isolations)
