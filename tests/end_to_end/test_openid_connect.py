"""People of a certified OpenID Provider, with the real `otb`: in by every flow, out when they log out there."""

import json
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.adapters.development_ca import OWNER, create_authority
from broker.cli.people.moments import epoch_of
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Answer, Development, until
from tests.end_to_end.logging_out import logout_token, tell
from tests.end_to_end.modbus_caller import frame, read_registers
from tests.end_to_end.openid_provider import (
    SERVICE,
    SERVICE_SECRET,
    SIGNING_SERVICE,
    OpenIdProvider,
    Otb,
    openid_provider,
)
from tests.end_to_end.test_deadlines import check, who_watches
from tests.end_to_end.ways import API, STREAM, TUNNEL, Ways
from tests.ports import free_port

ANA = "ana@acme.example"


@dataclass
class Plant:
    development: Development
    provider: OpenIdProvider
    folder: Path

    def otb(self, name: str) -> Otb:
        facts = self.development.facts
        return Otb(self.folder / f"{name}.toml", self.provider, facts["api"], self.development.folder / facts["ca"])

    def me(self, token: str) -> Answer:
        """Who a token proves to be, without any certificate."""
        self.development.minted.add(token)
        return self.development.api().call("GET", "/v1/me", token=token, certificate=None)


@pytest.fixture(scope="module")
def shared_plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder, port, now = tmp_path_factory.mktemp("openid"), free_port(), time.time()
    broker = folder / "dev"
    anchor = create_authority(broker / "ca" / OWNER, OWNER, now).anchor
    who_watches(broker / "policies" / "otbroker" / "admin.rego")
    with openid_provider(folder / "provider", now, port, anchor) as provider:
        settings = folder / "over.json"
        https = {"address": "127.0.0.1", "port": port, "requirement": "either"}
        settings.write_text(json.dumps({"https": https, "issuers": [provider.section]}))
        yield Plant(start_shared("--settings", str(settings), name=str(broker)), provider, folder)


@pytest.fixture
def plant(shared_plant: Plant) -> Iterator[Plant]:
    yield shared_plant
    shared_plant.provider.change(
        keys=["one", "two"], lifetime=600, login={"account": "u-4711", "acr": "pwd", "amr": ["pwd"]}
    )


def proof(document: Any) -> Any:
    (found,) = document["proofs"]
    return found


def test_who_logs_in_with_a_browser_is_known_by_groups_and_way_of_logging_in(plant: Plant) -> None:
    otb = plant.otb("browser")
    plant.provider.change(login={"amr": ["pwd", "otp"]})
    status, told, err = otb.log_in(*otb.settings())
    assert (status, told["type"], told["account"], told["renewed"]) == (0, "logged_in", "u-4711", True), err
    for path in (otb.token_file, otb.profile, otb.profile.with_suffix(".login.json")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    status, me, err = otb.run("me")
    assert (status, me["id"], me["kind"], me["organisation"]) == (0, ANA, "person", "acme"), err
    assert me["roles"] == ["hvac-engineer"]
    assert (proof(me)["issuer"], proof(me)["acr"]) == (plant.provider.issuer, "pwd")
    assert proof(me)["methods"] == ["pwd", "otp"]
    first = proof(me)["authenticated_at"]
    assert otb.run("read", "plant/ahu-1", "supply-temp")[0] == 0

    until(lambda: epoch_of(first) < int(time.time()), 3)
    assert otb.log_in()[0] == 0
    assert proof(otb.run("me")[1])["authenticated_at"] == first, "the provider remembers the browser"
    assert otb.log_in("--fresh", "--acr", "phr")[0] == 0
    afresh = proof(otb.run("me")[1])
    assert (afresh["authenticated_at"] > first, afresh["acr"]) == (True, "phr")
    asked = [record["input"]["subject"] for record in plant.development.records("decision")]
    assert [proof(subject)["acr"] for subject in asked if subject["id"] == ANA][-1] == "phr"


def test_who_logs_in_with_a_code_on_another_screen_is_let_in_too(plant: Plant) -> None:
    otb = plant.otb("device")
    status, told, err = otb.log_in("--device", "--fresh", *otb.settings())
    assert (status, told.get("account")) == (0, "u-4711"), (told, err)
    assert otb.run("me")[1]["id"] == ANA


def test_a_service_logs_in_by_its_secret_alone(plant: Plant) -> None:
    otb, secret = plant.otb("service"), plant.folder / "secret"
    secret.write_text(SERVICE_SECRET + "\n")
    plant.provider.change(lifetime=3)
    status, _, err = otb.run("login", *otb.settings(SERVICE), "--client-secret-file", str(secret))
    assert status == 0, err
    first = otb.token
    time.sleep(3)
    status, me, err = otb.run("me")
    assert (status, me["id"], me["kind"], me["roles"]) == (0, SERVICE, "service", []), err
    assert otb.token != first, "a service renews by itself"


def test_a_service_logs_in_by_what_it_signs(plant: Plant) -> None:
    otb = plant.otb("signing")
    key = str(plant.provider.service_key)
    status, _, err = otb.run("login", *otb.settings(SIGNING_SERVICE), "--client-key-file", key)
    assert status == 0, err
    assert otb.run("me")[1]["id"] == SIGNING_SERVICE


def test_a_long_connection_goes_on_with_fresh_tokens(plant: Plant) -> None:
    otb = plant.otb("long")
    plant.provider.change(lifetime=6)
    assert otb.log_in(*otb.settings())[0] == 0
    first, began = otb.token, time.monotonic()
    command = otb.command("connect", "plant/ahu-1", "--listen", "127.0.0.1:0")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(json.loads(process.stdout.readline())["listen"].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 10) as master:
            while time.monotonic() - began < 8:
                master.sendall(frame(read_registers(10), 1))
                assert master.recv(260)[7] == 3
                time.sleep(0.5)
    finally:
        process.terminate()
        process.communicate(timeout=20)
    refused = plant.me(first)
    assert (refused.status, refused.reasons) == (401, ["token_expired"])
    assert otb.run("me")[0] == 0


def test_keys_change_without_an_outage(plant: Plant) -> None:
    otb = plant.otb("rotation")
    assert otb.log_in(*otb.settings())[0] == 0
    old = otb.token
    plant.provider.change(keys=["two", "one"])
    assert otb.log_in()[0] == 0
    assert (plant.me(otb.token).status, plant.me(old).status) == (200, 200)
    plant.provider.change(keys=["two"])
    until(lambda: plant.me(old).reasons == ["token_key_unknown"], 15)
    assert plant.me(otb.token).status == 200
    plant.provider.change(keys=["one", "two"])
    until(lambda: plant.me(old).status == 200, 15)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"--resource": "https://elsewhere.example"}, "token_audience_refused"),
        ({"--client-id": "payroll"}, "token_client_refused"),
    ],
    ids=["another audience", "another application"],
)
def test_a_token_that_is_not_for_the_broker_is_refused(plant: Plant, settings: dict[str, str], code: str) -> None:
    otb = plant.otb(code)
    assert otb.log_in(*otb.settings(**settings))[0] == 0
    status, problem, _ = otb.run("me")
    assert (status, problem["reasons"][0]["code"]) == (4, code)


def test_a_provider_that_is_not_the_one_named_is_not_believed(plant: Plant) -> None:
    otb = plant.otb("odd")
    status, problem, _ = otb.log_in(*otb.settings(**{"--issuer": f"{plant.provider.issuer}/"}))
    assert (status, problem["code"]) == (1, "provider_odd")
    assert "calls itself" in problem["detail"]
    assert not otb.token_file.exists()


def test_who_logs_out_at_the_provider_is_cut_everywhere_and_can_log_in_again(plant: Plant) -> None:
    otb, other = plant.otb("out"), plant.otb("other")
    for each in (otb, other):
        assert each.log_in(*each.settings())[0] == 0
    with Ways(plant.development, "vendor-ana", otb.token) as ways:
        plant.development.minted.add(otb.token)
        began = time.monotonic()
        otb.log_out_in_browser()
        check(ways, began, "logged_out", "token_logged_out", (TUNNEL, API, STREAM), of_subject=True)
    (record,) = plant.development.records("logged_out")[-1:]
    assert (record["issuer"], record["account"]) == (plant.provider.issuer, "u-4711")
    assert plant.development.records("session_closed", reason="logged_out", detail=record["logout"])
    status, problem, _ = otb.run("me")
    assert (status, problem["reasons"][0]["code"]) == (4, "token_logged_out")
    assert "log in again" in problem["reasons"][0]["text"]
    assert other.run("me")[0] == 0, "another log-in of the same person goes on"
    assert otb.log_in()[0] == 0
    assert otb.run("me")[0] == 0


def test_logging_out_with_otb_leaves_nothing_behind(plant: Plant) -> None:
    otb = plant.otb("otb-out")
    assert otb.log_in(*otb.settings())[0] == 0
    refresh = otb.kept["refresh_token"]
    assert otb.run("logout")[0] == 0
    assert not otb.token_file.exists()
    assert refresh not in otb.profile.read_text()
    assert not otb.profile.with_suffix(".login.json").exists()
    assert otb.run("me")[0] != 0


def test_a_logout_token_is_taken_once_and_only_from_the_provider(plant: Plant) -> None:
    once = logout_token(plant.development, OWNER, account="nobody@plant.example")
    assert [tell(plant.development, once), tell(plant.development, once)] == [200, 400]
    assert tell(plant.development, once[:-4] + "AAAA") == 400
    otb = plant.otb("replay")
    assert otb.log_in(*otb.settings())[0] == 0
    assert tell(plant.development, otb.token) == 400
    refused = plant.development.eventually("identity_refused", code="logout_replayed")
    assert refused["listener"] == "https"
