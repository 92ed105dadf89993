"""What was left as the API tells it, and how somebody takes note of it."""

from broker.api.leave_models import LeaveAnswer, LeaveEntries
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told
from tests.integration.api.test_locks import posted

NOTED = "/v1/leaves/lve-1/acknowledge"


def test_what_was_left_and_what_is_owed_are_listed(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            answer = await told(await client.get("/v1/leaves"))
            LeaveEntries.model_validate(answer)
            (leave,), (debt,) = answer["leaves"], answer["debts"]
            assert (leave["id"], leave["ended"], leave["points"][0]["detail"]) == (
                "lve-1",
                "1970-01-01T00:00:01Z",
                "device_down",
            )
            assert (debt["before"], debt["own"], debt["waits_for"]) == ("18", ["20", "21"], "the end of the access")
            stage.gate.unpermitted = {"leave.read"}
            assert (await told(await client.get("/v1/leaves"), 403))["code"] == "permission_denied"

    run(story())


def test_whoever_takes_note_is_asked_about_the_site_and_named(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            LeaveAnswer.model_validate(await posted(client, NOTED, why="set by hand"))
            assert stage.gate.leaves.noted == [("lve-1", "ana@acme.example", "set by hand")]
            about = {"kind": "leave", "id": "lve-1", "subject": "eve@acme.example"}
            where = {"site": "plant", "device": "plant/ahu-1"}
            assert stage.gate.asked == [("ana@acme.example", "leave.acknowledge", about | where)]
            assert (await posted(client, NOTED, 404))["code"] == "leave_unknown"

    run(story())


def test_nobody_takes_note_without_permission_or_with_words_that_deceive(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            assert (await posted(client, NOTED, 422, why="all well\u202e"))["code"] == "body_invalid"
            stage.gate.unpermitted = {"leave.acknowledge"}
            assert (await posted(client, NOTED, 403))["code"] == "permission_denied"
            assert stage.gate.leaves.noted == []

    run(story())
