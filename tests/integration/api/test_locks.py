"""Locks as the API takes and tells them, with a book of locks in memory."""

from dataclasses import replace

import pytest

from broker.api.lock_models import LiftAnswer, LockAnswer
from broker.model.subject import SubjectKind
from tests.integration.api.stage import TOKENS, serving
from tests.unit.api.gate_double import ANA

WHY = "smoke in the plant room"
OF_CERTIFICATE = "0LWGm8PsyKmKkN80SLdLe8ooTkWxRnqZ8jrJ2Tdm5dI"
IN_HEXADECIMAL = "D0:B5:86:9B:C3:EC:C8:A9:8A:90:DF:34:48:B7:4B:7B:CA:28:4E:45:B1:46:7A:99:F2:3A:C9:D9:37:66:E5:D2"


async def posted(client, path, status=200, **body):
    response = await client.post(path, json=body)
    assert response.status == status, await response.text()
    return await response.json()


def test_a_lock_is_set_in_the_callers_name_after_the_policy_was_asked_about_its_target(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            body = {"kind": "device", "target": "plant/ahu-1", "message": WHY, "seconds": 60}
            answer = await posted(client, "/v1/locks", **body)
            LockAnswer.model_validate(answer)
            assert (answer["ended"], answer["shared"]) == (4, True)
            assert answer["lock"]["set_by"] == "ana@acme.example"
            assert answer["lock"]["until"] == "1970-01-01T00:01:02Z"
            about = {"kind": "device", "id": "plant/ahu-1", "site": "plant"}
            assert stage.gate.asked == [("ana@acme.example", "lock.set", about)]

    run(story())


def test_a_device_is_named_with_its_site_where_several_sites_have_it(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            inventory = stage.gate.inventory
            ahu = next(device for device in inventory.devices if device.key == "plant/ahu-1")
            named = {"kind": "device", "target": "ahu-1", "message": WHY}
            answer = await posted(client, "/v1/locks", **named)
            assert answer["lock"]["target"] == "plant/ahu-1"
            assert stage.gate.asked[-1][2] == {"kind": "device", "id": "plant/ahu-1", "site": "plant"}
            stage.gate.inventory = replace(inventory, devices=(*inventory.devices, replace(ahu, site="tower")))
            problem = await posted(client, "/v1/locks", 404, **named)
            assert problem["what_to_do"] == "Say which: plant/ahu-1 or tower/ahu-1; nothing was locked."

    run(story())


@pytest.mark.parametrize("text", [OF_CERTIFICATE, IN_HEXADECIMAL, IN_HEXADECIMAL.replace(":", "").lower()])
def test_a_certificate_is_named_in_either_form(pki, run, text):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            answer = await posted(client, "/v1/locks", kind="certificate", target=text, message=WHY)
            assert answer["lock"]["target"] == OF_CERTIFICATE

    run(story())


@pytest.mark.parametrize("kind", ["subject", "certificate", "organisation", "device", "site", "grant", "session"])
def test_nothing_is_locked_without_permission(pki, run, kind):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.unpermitted = {"lock.set"}
            target = OF_CERTIFICATE if kind == "certificate" else "plant"
            problem = await posted(client, "/v1/locks", 403, kind=kind, target=target, message=WHY)
            assert problem["code"] == "permission_denied"
            assert len(stage.gate.locks.held) == 2

    run(story())


def test_a_site_is_isolated_until_somebody_lifts_it(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            answer = await posted(client, "/v1/sites/plant/isolate", message=WHY)
            assert (answer["lock"]["isolation"], answer["lock"]["until"]) == (True, None)
            assert stage.gate.asked == [("ana@acme.example", "site.isolate", {"kind": "site", "site": "plant"})]
            assert (await posted(client, "/v1/sites/mill/isolate", 404, message=WHY))["code"] == "lock_target_unknown"

    run(story())


def test_the_policy_knows_whose_lock_is_lifted_and_whether_it_isolates(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            LiftAnswer.model_validate(await posted(client, "/v1/locks/lck-2/lift"))
            about = {"kind": "lock", "id": "lck-2", "locks": "site", "target": "plant", "set_by": "bo@plant.example"}
            about |= {"site": "plant", "isolation": "yes"}
            assert stage.gate.asked == [("ana@acme.example", "lock.lift", about)]
            assert (await posted(client, "/v1/locks/lck-2/lift", 404))["code"] == "lock_unknown"
            stage.gate.unpermitted = {"lock.lift"}
            for lock in ("lck-1", "lck-9"):
                assert (await posted(client, f"/v1/locks/{lock}/lift", 403))["code"] == "permission_denied"

    run(story())


def test_without_the_state_locks_are_set_and_not_lifted(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.locks.state = False
            answer = await posted(client, "/v1/locks", kind="subject", target="eve", message=WHY)
            assert answer["shared"] is False
            problem = await posted(client, "/v1/locks/lck-1/lift", 503)
            assert problem["code"] == "state_unavailable"
            assert "postgres.internal" not in str(problem)

    run(story())


def test_an_isolation_takes_another_person_whatever_the_policy_says(pki, run, monkeypatch):
    async def story():
        async with serving(pki) as stage, stage.client() as ana, stage.client("bo", "token-bo") as bo:
            monkeypatch.setitem(TOKENS, "token-ana", replace(ANA, kind=SubjectKind.SERVICE))
            for client in (ana, bo):
                problem = await posted(client, "/v1/locks/lck-2/lift", 403)
                assert [reason["code"] for reason in problem["reasons"]] == ["second_person_needed"]
            assert len(stage.gate.locks.locks()) == 2
            await posted(ana, "/v1/locks/lck-1/lift")

    run(story())
