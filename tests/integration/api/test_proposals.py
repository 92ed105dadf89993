"""Proposals through the API: who may not approve stores nothing, and who may approve no more counts for nothing."""

import pytest

from broker.model.proposal import ProposalAct
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told
from tests.unit.api.proposals_double import PROPOSAL

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


def test_what_somebody_approved_who_may_no_more_counts_for_nothing_when_the_warrant_is_made(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            book = stage.gate.proposals
            book.approved_by = ("eve@acme.example", "cy@plant.example")
            book.barred, book.speechless = {"eve@acme.example"}, True
            await told(await client.post(f"{PATH}/{PROPOSAL.id}/approve", json={}), 403)
            assert book.warranted == []
            book.approved_by, book.speechless = book.approved_by[:2], False
            answer = await told(await client.post(f"{PATH}/{PROPOSAL.id}/approve", json={}))
            assert stage.gate.asked[-1][2]["approved_by"] == ("cy@plant.example", "ana@acme.example")
            assert book.warranted == [("cy@plant.example", "ana@acme.example")]
            assert answer["proposal"]["approved_by"] == ["cy@plant.example", "ana@acme.example"]

    run(story())


def test_whoever_approved_asks_again_for_the_warrant_that_could_not_be_kept(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            book, path = stage.gate.proposals, f"{PATH}/{PROPOSAL.id}/approve"
            book.approved_by, book.away = ("cy@plant.example",), True
            await told(await client.post(path, json={}), 503)
            book.away = False
            stage.gate.unpermitted = {"proposal.approve"}  # as the policy says to whoever has approved already
            answer = await told(await client.post(path, json={}))
            both = ("cy@plant.example", "ana@acme.example")
            assert (book.warranted, answer["lacks"], book.approved_by) == ([both], [], both)
            stage.gate.unpermitted = {"proposal.approve", "ca.sign"}
            await told(await client.post(path, json={}), 403)
            assert book.warranted == [both]

    run(story())
