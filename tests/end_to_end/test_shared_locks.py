"""Two brokers on one PostgreSQL: what is locked on one is locked on both, and neither goes on blindly without it."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from broker.cli.building import ANA
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import VENDOR, Development, in_background, token_of, until
from tests.end_to_end.devices import ScriptedDevice, modbus_device, write_inventory
from tests.end_to_end.logging_out import log_out
from tests.end_to_end.modbus_caller import read_registers
from tests.end_to_end.test_locks import CUT_SECONDS, lift, session_of, set_lock
from tests.end_to_end.test_several_brokers import make_key, start_broker
from tests.end_to_end.tunnel_caller import TunnelCaller
from tests.postgresql import Postgresql, running

pytestmark = pytest.mark.prompt

READ = read_registers(10)
REFUSED_READ = b"\x83\x01"
# The state is too old after five seconds; a busy machine gets more before it fails a test.
STALE_SECONDS = 15.0


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Postgresql]:
    yield from running()


@dataclass
class Brokers:
    postgresql: Postgresql
    database: str
    one: Development
    other: Development
    keys: tuple[str, ...]


@pytest.fixture(scope="module")
def brokers(postgresql: Postgresql, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    place = tmp_path_factory.mktemp("brokers")
    inventory = write_inventory(place / "inventory", [modbus_device("ahu-1", ScriptedDevice().port, 1)])
    folders = [place / name for name in ("one", "other")]
    keys = tuple(make_key(folder, f"{folder.name}.example/ledger") for folder in folders)
    for folder in folders:
        settings = {"ledger": {"origin": f"{folder.name}.example/ledger"}, "state": {"brokers": keys}}
        folder.with_name(f"{folder.name}.yaml").write_text(json.dumps(settings))
    state = postgresql.make_database("shared")
    one, other = (start_broker(folder, inventory, state) for folder in folders)
    found = Brokers(postgresql, "shared", one, other, keys)
    try:
        for development in (one, other):
            development.wait()
        yield found
        for development in (one, other):
            development.stop()
    finally:
        for development in (one, other):
            development.kill()


def reads(development: Development) -> Any:
    answer = development.api().read("plant/ahu-1", "supply-temp")
    late = "state_stale" in answer.reasons or answer.body.get("code") == "not_sent"
    assert answer.status == (503 if late else 403 if answer.reasons else 200)
    return answer.reasons or "ok"


def locks(development: Development) -> list[str]:
    return [lock["id"] for lock in development.api("secops-bo").get("/v1/locks").body["locks"]]


def state_part(development: Development) -> tuple[bool, str]:
    """Whether the broker is ready, and the words of the part `state`."""
    status, body = development.ops("/readyz")
    return status == 200, body


def test_a_lock_set_on_one_broker_cuts_on_the_other_and_is_lifted_from_there(brokers: Brokers) -> None:
    with brokers.other.modbus() as caller, TunnelCaller(brokers.other, "vendor-ana", "plant/ahu-1") as tunnel:
        assert caller.ask(READ)[0] == tunnel.ask(READ)[0] == 3
        opened = session_of(brokers.other, caller)
        began = time.monotonic()
        lock = set_lock(brokers.one, "subject", ANA)["lock"]["id"]
        assert caller.closed_within(CUT_SECONDS) < CUT_SECONDS
        assert tunnel.ended(CUT_SECONDS) - began < CUT_SECONDS
        assert tunnel.tells("ending")["reason"] == "locked"
    closed = brokers.other.eventually("session_closed", session=opened["session"])
    assert (closed["reason"], closed["detail"]) == ("locked", lock)
    for development in (brokers.one, brokers.other):
        assert reads(development) == ["locked"]
        (recorded,) = [r for r in development.records("lock_set") if r["lock"]["id"] == lock]
        assert recorded["lock"]["set_by"] == "bo@plant.example"

    assert lift(brokers.other, lock).status == 200
    assert reads(brokers.other) == "ok"
    until(lambda: reads(brokers.one) == "ok")
    assert lift(brokers.one, lock).body["code"] == "lock_unknown"
    assert brokers.one.records("lock_lifted", lock=lock)


def test_a_logout_told_to_one_broker_cuts_on_the_other(brokers: Brokers) -> None:
    token = token_of(brokers.other, ANA, VENDOR, 600, "vendor-ana", {"sid": "everywhere"})
    with TunnelCaller(brokers.other, "vendor-ana", "plant/ahu-1", token) as tunnel:
        assert tunnel.ask(READ)[0] == 3
        began = log_out(brokers.one, VENDOR, login="everywhere")
        assert tunnel.ended(CUT_SECONDS) - began < CUT_SECONDS
        assert tunnel.tells("ending")["reason"] == "logged_out"
    assert brokers.other.api("vendor-ana", token).get("/v1/me").reasons == ["token_logged_out"]
    assert brokers.other.records("logged_out", login="everywhere")


def test_deleting_or_changing_a_row_takes_no_lock_away_and_lifts_none(brokers: Brokers) -> None:
    lock = set_lock(brokers.one, "subject", ANA)["lock"]["id"]
    until(lambda: locks(brokers.other) == [lock])
    brokers.postgresql.query(brokers.database, "DELETE FROM locks")
    brokers.postgresql.query(brokers.database, "SELECT pg_notify('otbroker_state', '')")
    newer = set_lock(brokers.one, "device", "plant/ahu-1")["lock"]["id"]
    until(lambda: locks(brokers.other) == [lock, newer])
    brokers.postgresql.query(brokers.database, f"UPDATE locks SET target = 'nobody', until = 1 WHERE id = '{lock}'")
    assert lift(brokers.one, newer).status == 200
    until(lambda: locks(brokers.other) == [lock])
    assert reads(brokers.one) == reads(brokers.other) == ["locked"]
    forged = f"UPDATE locks SET lifted_by = 'eve', lifted_at = 1, lift = 'x' WHERE id = '{lock}'"
    brokers.postgresql.query(brokers.database, forged)
    until(lambda: bool(brokers.one.records("lift_distrusted", lock=lock)), 20.0)
    assert reads(brokers.one) == reads(brokers.other) == ["locked"]
    assert lift(brokers.other, lock).status == 200
    until(lambda: locks(brokers.one) == [])


def test_without_the_database_locks_hold_where_they_are_set_and_all_sessions_end(brokers: Brokers) -> None:
    with brokers.one.modbus() as caller, brokers.other.modbus("bms-sync") as bystander:
        assert caller.ask(READ)[0] == bystander.ask(READ)[0] == 3
        session, theirs = (session_of(b, c)["session"] for b, c in ((brokers.one, caller), (brokers.other, bystander)))
        brokers.postgresql.stop()
        try:
            taken = set_lock(brokers.one, "subject", ANA)
            assert (taken["shared"], taken["ended"]) == (False, 1)
            assert caller.closed_within(CUT_SECONDS) < CUT_SECONDS
            assert brokers.one.eventually("session_closed", session=session)["reason"] == "locked"
            assert lift(brokers.one, taken["lock"]["id"]).body["code"] == "state_unavailable"
            assert bystander.closed_within(STALE_SECONDS)
            assert brokers.other.eventually("session_closed", session=theirs)["reason"] == "state_stale"
            with brokers.other.modbus("bms-sync") as refused:
                assert refused.ask(READ) == REFUSED_READ
            assert reads(brokers.other) == ["state_stale"]
            ready, told = state_part(brokers.other)
            assert not ready
            assert '"state"' in told
        finally:
            brokers.postgresql.start()
    until(lambda: all(state_part(broker)[0] for broker in (brokers.one, brokers.other)), STALE_SECONDS)
    until(lambda: reads(brokers.other) == ["locked"], STALE_SECONDS)
    with brokers.other.modbus("bms-sync") as again:
        assert again.ask(READ)[0] == 3
    assert lift(brokers.other, taken["lock"]["id"]).status == 200
    until(lambda: reads(brokers.one) == "ok")


def test_a_database_that_says_nothing_holds_up_neither_locks_nor_the_end(brokers: Brokers) -> None:
    with brokers.one.modbus() as caller, brokers.other.modbus("bms-sync") as bystander:
        assert caller.ask(READ)[0] == bystander.ask(READ)[0] == 3
        session = session_of(brokers.other, bystander)["session"]
        brokers.postgresql.hold_up()
        try:
            setting = in_background(lambda: set_lock(brokers.one, "subject", ANA))
            assert caller.closed_within(CUT_SECONDS) < CUT_SECONDS
            assert bystander.closed_within(STALE_SECONDS)
            assert brokers.other.eventually("session_closed", session=session)["reason"] == "state_stale"
            setting.join(STALE_SECONDS)
            assert not setting.is_alive()
        finally:
            brokers.postgresql.go_on()
    until(lambda: reads(brokers.other) == ["locked"], STALE_SECONDS)
    (lock,) = locks(brokers.other)
    assert lift(brokers.other, lock).status == 200
    until(lambda: reads(brokers.one) == "ok")


def test_a_broker_that_starts_without_the_database_waits_for_it(
    brokers: Brokers, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    inventory = write_inventory(tmp_path_factory.mktemp("late"), [modbus_device("ahu-1", ScriptedDevice().port, 1)])
    url = f"postgresql://otbroker@127.0.0.1:{brokers.postgresql.port}/shared"
    settings = inventory.with_suffix(".json")
    settings.write_text(json.dumps({"state": {"brokers": brokers.keys}}))
    brokers.postgresql.stop()
    try:
        late = start("--inventory", str(inventory), "--state", url, "--settings", str(settings))
        assert reads(late) == ["state_stale"]
        lock = set_lock(late, "subject", ANA)
        assert lock["shared"] is False
    finally:
        brokers.postgresql.start()
    until(lambda: reads(late) == ["locked"], STALE_SECONDS)
    until(lambda: reads(brokers.one) == ["locked"], STALE_SECONDS)
    assert lift(brokers.one, lock["lock"]["id"]).status == 200
    until(lambda: reads(late) == "ok")
