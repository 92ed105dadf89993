"""Proposals through the API: who may not approve stores nothing."""

import pytest

from broker.model.proposal import ProposalAct
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told

PATH = "/v1/proposals"
PROPOSED = {"act": "ca.sign", "parameters": {"csr": "d"}, "why": "rotation"}


@pytest.mark.parametrize("permission", ["proposal.create", "proposal.approve", "ca.sign"])
def test_nothing_is_stored_of_somebody_who_may_not_approve_what_he_proposes(pki, run, permission):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.unpermitted = {permission}
            await told(await client.post(PATH, json=PROPOSED), 403)
            assert stage.gate.proposals.made == []
            stage.gate.unpermitted = set()
            await told(await client.post(PATH, json=PROPOSED))
            made = (ProposalAct.CA_SIGN, (("csr", "d"),), "ana@acme.example", "rotation")
            assert stage.gate.proposals.made == [made]

    run(story())
