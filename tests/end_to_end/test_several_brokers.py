"""Two brokers on one PostgreSQL: what people approve at one is given at both, used once, and ends at both."""

import functools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker.adapters.private_files import write_private
from broker.cli.building import ANA, BMS
from broker.ledger.notes import verifier_of
from tests.end_to_end.development import VENDOR, Development, until
from tests.end_to_end.devices import ScriptedDevice, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import write_register
from tests.end_to_end.test_access_requests import act, later, post
from tests.end_to_end.test_break_glass import STALE_SECONDS, opened, read_alone, seal
from tests.end_to_end.test_live_control import watching
from tests.end_to_end.test_locks import session_of
from tests.end_to_end.tunnel_caller import TunnelCaller
from tests.postgresql import Postgresql, running

pytestmark = pytest.mark.prompt

SETPOINT, REFUSED = write_register(10, 190), b"\x86\x01"
CUT_SECONDS = 1.0
DATABASE = "several"
SITE = """package site.operation

obligations contains "second_person" if input.operation.values["supply-temp-setpoint"] == "20.5"
"""
# `override` is grave: the shipped policy asks for somebody of security and an operator.
GRAVE = {"actions": ["view", "adjust", "override"]}


@dataclass
class Brokers:
    postgresql: Postgresql
    device: ScriptedDevice
    one: Development
    other: Development

    @property
    def both(self) -> tuple[Development, Development]:
        return self.one, self.other


def make_key(folder: Path, origin: str) -> str:
    """The key of a ledger to be, in the folder of its broker, beside a policy; the public one."""
    key = Ed25519PrivateKey.generate()
    (folder / "policies").mkdir(mode=0o700, parents=True)
    (folder / "policies" / "site.rego").write_text(SITE)
    write_private(folder / "ledger.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return verifier_of(origin, key).vkey


def start_broker(folder: Path, inventory: Path, state: str) -> Development:
    settings = folder.with_name(f"{folder.name}.yaml")
    return Development(folder, "--inventory", str(inventory), "--state", state, "--settings", str(settings))


def admit_vendor(development: Development) -> None:
    """Let people of the vendor ask for access to the plant."""
    path = development.folder / "organisations" / "organisations.yaml"
    line = f"  - id: {VENDOR}\n"
    path.write_text(path.read_text().replace(line, f"{line}    allowed: {{sites: [plant]}}\n"))
    development.eventually("inventory_changed", seconds=20.0)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Postgresql]:
    yield from running()


@pytest.fixture(scope="module")
def brokers(postgresql: Postgresql, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    device, place = ScriptedDevice(), tmp_path_factory.mktemp("several")
    everywhere = {"sites": ["plant"]}
    grants = [{"id": "view", "subjects": [ANA, BMS], "scope": everywhere, "actions": ["view", "discover"]}]
    inventory = write_inventory(place / "inventory", [modbus_device("ahu-1", device.port, 1)], grants=grants)
    folders = [place / name for name in ("one", "other")]
    keys = [make_key(folder, f"{folder.name}.example/ledger") for folder in folders]
    for folder in folders:
        ledger = {"origin": f"{folder.name}.example/ledger"}
        settings = {"ledger": ledger, "state": {"brokers": keys}, "break_glass": {"sites": ["plant"]}}
        folder.with_name(f"{folder.name}.yaml").write_text(json.dumps(settings))
    state = postgresql.make_database(DATABASE)
    found = Brokers(postgresql, device, *(start_broker(folder, inventory, state) for folder in folders))
    try:
        for development in found.both:
            admit_vendor(development.wait())
        yield found
        for development in found.both:
            development.stop()
    finally:
        for development in found.both:
            development.kill()


def ask(development: Development, **changes: object) -> str:
    asked = {"devices": ["plant/ahu-1"], "actions": ["view", "adjust"], "reason": "balance the supply air"}
    answer = post(development, "vendor-ana", "/v1/requests", {**asked, "until": later(600), **changes})
    assert answer.status == 200, answer
    return str(answer.body["request"]["id"])


def approve(development: Development, request: str, who: str = "secops-bo") -> str:
    return str(act(development, who, request, "review", verdict="approve")["state"])


def in_force(development: Development, request: str) -> bool:
    return bool(development.api().get(f"/v1/requests/{request}").body["request"]["in_force"])


def approved(brokers: Brokers, **changes: object) -> str:
    """Asked for at one broker, approved at the other, given by both."""
    request = ask(brokers.one, **changes)
    approve(brokers.other, request)
    until(lambda: all(in_force(development, request) for development in brokers.both))
    return request


def close(development: Development, request: str) -> None:
    act(development, "vendor-ana", request, "close", report="the air is balanced")


def write(development: Development, value: float = 19) -> tuple[int, list[str]]:
    answer = development.api().write("plant/ahu-1", {"supply-temp-setpoint": value})
    return answer.status, answer.reasons


def test_what_is_asked_at_one_broker_and_approved_at_both_is_given_by_both(brokers: Brokers) -> None:
    request = ask(brokers.one, **GRAVE)
    assert approve(brokers.other, request) == "pending"
    assert [write(development)[1] for development in brokers.both] == [["action_not_granted"]] * 2
    assert approve(brokers.one, request, "duty-di") in ("approved", "active")
    for development in brokers.both:
        until(functools.partial(in_force, development, request))
        with development.modbus() as tool:
            assert tool.ask(SETPOINT) == SETPOINT
        (given,) = development.records("grant_given", grant=request)
        ledgers = {review["ledger"] for review in given["reviews"]}
        assert ledgers == {"one.example/ledger", "other.example/ledger"}
        assert development.records("request_distrusted") == []
    close(brokers.other, request)
    until(lambda: write(brokers.one)[1] == ["action_not_granted"])


def test_a_grant_for_single_use_is_used_once_by_two_brokers_that_race(brokers: Brokers) -> None:
    plan = [{"point": "supply-temp-setpoint", "value": 21}]
    request = approved(brokers, plan=plan, single_use=True)
    seen = len(brokers.device.writes_seen)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda development: write(development, 21), brokers.both * 4))
    assert sorted(status for status, _ in answers) == [200, *[403] * 7]
    assert {reason for _, reasons in answers for reason in reasons} == {"grant_used"}
    assert brokers.device.writes_seen[seen:] == [write_register(10, 210)]
    claims = [r for development in brokers.both for r in development.records("grant_used", grant=request)]
    assert [record["result"] for record in claims] == ["claimed"]
    close(brokers.one, request)


@pytest.mark.parametrize("what", ["revoke", "close"])
def test_what_ends_at_one_broker_is_cut_at_the_other_within_a_second(brokers: Brokers, what: str) -> None:
    request = approved(brokers)
    with TunnelCaller(brokers.other, "vendor-ana", "plant/ahu-1") as tunnel, brokers.other.modbus() as tool:
        assert tunnel.ask(SETPOINT) == tool.ask(SETPOINT) == SETPOINT
        began = time.monotonic()
        if what == "revoke":
            act(brokers.one, "secops-bo", request, "revoke", why="the wrong unit")
        else:
            close(brokers.one, request)
        assert tool.closed_within(CUT_SECONDS) < CUT_SECONDS
        assert tunnel.ended(CUT_SECONDS) - began < CUT_SECONDS
        assert tunnel.tells("ending")["reason"] == "grant_ended"
    assert write(brokers.other)[1] == ["action_not_granted"]
    if what == "revoke":
        close(brokers.other, request)


def test_what_was_withdrawn_at_one_broker_cannot_be_approved_at_the_other(brokers: Brokers) -> None:
    request = ask(brokers.one)
    act(brokers.one, "vendor-ana", request, "withdraw")
    refused = post(brokers.other, "secops-bo", f"/v1/requests/{request}/review", {"verdict": "approve"})
    assert (refused.status, refused.body["code"]) == (409, "request_state")
    assert [development.records("grant_given", grant=request) for development in brokers.both] == [[], []]


def approve_at_both(brokers: Brokers, request: str) -> list[int]:
    """Two people approve at once; what they are answered."""
    path = f"/v1/requests/{request}/review"
    places = ((brokers.one, "secops-bo"), (brokers.other, "duty-di"))
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda place: post(*place, path, {"verdict": "approve"}), places)
        return sorted(answer.status for answer in answers)


def test_of_approvals_at_both_brokers_at_once_one_counts(brokers: Brokers) -> None:
    for request in [ask(brokers.one) for _ in range(4)]:
        assert approve_at_both(brokers, request) == [200, 409]
        changes = [r for development in brokers.both for r in development.records("request_changed", request=request)]
        assert [record["act"] for record in changes].count("complete") == 1, changes
        shown = brokers.one.api("secops-bo").get(f"/v1/requests/{request}").body["request"]
        assert len(shown["reviews"]) == 1
        close(brokers.other, request)


def test_a_row_that_was_forged_in_the_database_gives_nothing_at_either_broker(brokers: Brokers) -> None:
    request = approved(brokers, plan=[{"point": "supply-temp-setpoint", "value": 21}])
    wider = "replace(replace(terms, '210', '220'), 'req-', 'frg-')"
    query = brokers.postgresql.query
    query(DATABASE, f"CREATE TABLE forged AS SELECT * FROM requests WHERE id = '{request}'")
    query(DATABASE, f"UPDATE forged SET id = replace(id, 'req-', 'frg-'), terms = {wider}")
    query(DATABASE, "INSERT INTO requests SELECT * FROM forged; DROP TABLE forged")
    forged = request.replace("req-", "frg-")
    notes = f"SELECT '{forged}', reviewer, note FROM request_reviews WHERE request = '{request}'"
    query(DATABASE, f"INSERT INTO request_reviews {notes}; SELECT pg_notify('otbroker_state', '')")
    for development in brokers.both:
        development.eventually("request_distrusted", request=forged, code="review_of_other_terms", seconds=10.0)
        development.eventually("request_distrusted", request=forged, code="no_approval")
        assert "what cannot be true" in development.logged()
        assert write(development, 22)[1] == ["outside_plan"]
        assert development.records("grant_given", grant=forged) == []
    query(DATABASE, f"DELETE FROM requests WHERE id = '{forged}'")
    close(brokers.one, request)


def test_what_waits_for_a_person_is_at_the_broker_that_was_asked_and_the_other_says_so(brokers: Brokers) -> None:
    request, setpoint = approved(brokers), write_register(10, 205)
    with brokers.one.modbus() as tool:
        assert tool.ask(setpoint) == REFUSED
        (waiting,) = brokers.one.api("secops-bo").get("/v1/approvals").body["approvals"]
        assert brokers.other.api("secops-bo").get("/v1/approvals").body["approvals"] == []
        path = f"/v1/approvals/{waiting['id']}/approve"
        refused = post(brokers.other, "secops-bo", path, {"why": "agreed"})
        assert (refused.status, refused.body["code"]) == (404, "approval_unknown")
        assert "at this broker" in refused.body["title"]
        assert "where it was asked for" in refused.body["what_to_do"]
        assert tool.ask(setpoint) == REFUSED
        assert post(brokers.one, "secops-bo", path, {"why": "agreed"}).status == 200
        assert tool.ask(setpoint) == setpoint
    close(brokers.one, request)


def test_live_sessions_are_seen_ended_and_supervised_at_the_broker_that_serves_them(brokers: Brokers) -> None:
    request = approved(brokers, supervised=True)
    with watching(brokers.other), brokers.one.modbus() as tool:
        assert tool.ask(SETPOINT) == REFUSED
        assert write(brokers.one)[1] == ["supervisor_missing"]
        assert write(brokers.other) == (200, [])
        session = session_of(brokers.one, tool)["session"]
        shown = brokers.other.api("secops-bo").get("/v1/sessions").body["sessions"]
        assert session not in [each["id"] for each in shown]
        refused = post(brokers.other, "secops-bo", f"/v1/sessions/{session}/end", {"why": "enough"})
        assert (refused.status, refused.body["code"]) == (404, "session_unknown")
        assert "at this broker" in refused.body["title"]
        with watching(brokers.one):
            assert tool.ask(SETPOINT) == SETPOINT
            assert post(brokers.one, "secops-bo", f"/v1/sessions/{session}/end", {"why": "enough"}).status == 200
            assert tool.closed_within(CUT_SECONDS) < CUT_SECONDS
    close(brokers.one, request)


def test_what_a_killed_broker_approved_is_given_by_the_other_and_by_it_when_it_is_back(brokers: Brokers) -> None:
    request = ask(brokers.one)
    approve(brokers.other, request)
    brokers.other.kill()
    until(lambda: in_force(brokers.one, request))
    assert write(brokers.one) == (200, [])
    (brokers.other.folder / "dev.json").unlink()
    state = f"postgresql://otbroker@127.0.0.1:{brokers.postgresql.port}/{DATABASE}"
    brokers.other = start_broker(brokers.other.folder, brokers.one.folder.with_name("inventory"), state).wait()
    until(lambda: in_force(brokers.other, request), 20)
    assert write(brokers.other) == (200, [])
    close(brokers.other, request)
    until(lambda: write(brokers.one)[1] == ["action_not_granted"])


def test_without_the_database_no_grant_begins_sessions_end_and_all_of_it_comes_back_by_itself(
    brokers: Brokers, tmp_path: Path
) -> None:
    one = brokers.one
    envelopes = seal(one, tmp_path / "envelopes")
    one.eventually("break_glass_sealed")
    waiting = ask(one)
    given, begins = approved(brokers), time.time() + 12
    later_on = ask(one, **{"from": later(12)})
    approve(brokers.other, later_on)
    with one.modbus() as tool, TunnelCaller(brokers.other, "vendor-ana", "plant/ahu-1") as tunnel:
        assert tool.ask(SETPOINT) == tunnel.ask(SETPOINT) == SETPOINT
        session = session_of(one, tool)["session"]
        brokers.postgresql.stop()
        assert time.time() < begins - 5, "what was read just before may begin for five seconds"
        try:
            refused = post(brokers.other, "secops-bo", f"/v1/requests/{waiting}/review", {"verdict": "approve"})
            assert (refused.status, refused.body["code"]) == (503, "state_unavailable")
            assert tool.closed_within(STALE_SECONDS)
            tunnel.ended(STALE_SECONDS)
            assert tunnel.tells("ending")["reason"] == "state_stale"
            closed = one.eventually("session_closed", session=session)
            assert closed["reason"] == "state_stale"
            for development in brokers.both:
                until(functools.partial(refused_as_stale, development), STALE_SECONDS)
                status, told = development.ops("/readyz")
                assert (status, json.loads(told)["parts"]["state"]["ready"]) == (503, False)
            emergency = opened(one, *envelopes[:2])
            assert read_alone(one).status == 200
            assert read_alone(brokers.other).status == 401, "an emergency is of the broker where it was opened"
            time.sleep(max(0.0, begins + 1 - time.time()))
            assert [development.records("grant_given", grant=later_on) for development in brokers.both] == [[], []]
        finally:
            brokers.postgresql.start()
    for development in brokers.both:
        until(functools.partial(in_force_again, development, given), STALE_SECONDS)
        until(functools.partial(ready, development), STALE_SECONDS)
        assert write(development) == (200, [])
        until(functools.partial(in_force_again, development, later_on), STALE_SECONDS)
        assert development.records("request_distrusted", request=given) == []
    path = f"/v1/break-glass/{emergency['id']}/close"
    assert post(one, "secops-bo", path, {}).status == 200
    for request in (given, later_on):
        close(one, request)
    act(one, "vendor-ana", waiting, "withdraw")


def in_force_again(development: Development, request: str) -> bool:
    """Whether a broker that may still have no database says that the request gives something."""
    answer = development.api().get(f"/v1/requests/{request}")
    return answer.status == 200 and bool(answer.body["request"]["in_force"])


def refused_as_stale(development: Development) -> bool:
    return write(development)[1] == ["state_stale"]


def ready(development: Development) -> bool:
    return development.ops("/readyz")[0] == 200
