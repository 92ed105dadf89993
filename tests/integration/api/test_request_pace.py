"""Whoever asks for access too often is told when to try again."""

from broker.errors import RequestRefusedError
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told


def test_who_must_wait_is_told_how_long(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.requests.refusal = RequestRefusedError("requests_too_often", wait_seconds=41.2)
            response = await client.post("/v1/requests/req-1/submit", json={})
            assert (await told(response, 429))["code"] == "requests_too_often"
            assert response.headers["Retry-After"] == "42"
            stage.gate.requests.refusal = RequestRefusedError("too_many_requests")
            response = await client.post("/v1/requests/req-1/submit", json={})
            assert (await told(response, 429))["code"] == "too_many_requests"
            assert "Retry-After" not in response.headers

    run(story())
