"""Proposals and policies in memory, as far as views of them go."""

from types import SimpleNamespace

from broker.model.proposal import Proposal, ProposalAct, Standing

REVISION = "r" * 43
PROPOSAL = Proposal("dec-abc", ProposalAct.CA_SIGN, (("csr", "d"),), "bo@plant.example", 1_795_000_000.0, 4e9, "why")


class ProposalsDouble:
    async def newest(self):
        return (Standing(PROPOSAL),)

    async def standing(self, identifier):
        return Standing(PROPOSAL) if identifier == PROPOSAL.id else None

    async def of_act(self, act):
        return ()


class PoliciesDouble:
    revision, waiting, review = REVISION, "", False
    history = ((REVISION, 1_795_000_000.0),)

    async def files(self, revision):
        return SimpleNamespace(modules={"a.rego": "package a"}, data={}) if revision == REVISION else None
