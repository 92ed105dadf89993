"""What was done under a request is told as of the broker that recorded it."""

import pytest

from broker.api.evidence_ports import Page
from broker.api.request_models import DoneEntries
from broker.model.access_request import AccessRequest, RequestState, Standing
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told
from tests.unit.api.requests_double import TERMS


@pytest.mark.parametrize("activated_at", [None, 1_795_000_000.0])
def test_the_answer_names_the_ledger_that_it_is_out_of(activated_at, pki, run, monkeypatch):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            view = stage.gate.requests.found[TERMS.id]
            view.request = AccessRequest(TERMS, Standing(RequestState.ACTIVE, 4, activated_at))
            monkeypatch.setattr(stage.gate.ledger_view, "search", lambda filters: Page((), None))
            answer = await told(await client.get("/v1/requests/req-1/done"))
            DoneEntries.model_validate(answer)
            assert answer["ledger"] == "broker.example/ledger"

    run(story())
