"""Proposals and policies in memory, as far as views of them go."""

from dataclasses import replace
from types import SimpleNamespace

from broker.errors import PolicyUnavailableError, StateUnavailableError
from broker.model.proposal import Proposal, ProposalAct, ProposalEnd, Standing

REVISION = "r" * 43
PROPOSAL = Proposal("dec-abc", ProposalAct.CA_SIGN, (("csr", "d"),), "bo@plant.example", 1_795_000_000.0, 4e9, "why")


class ProposalsDouble:
    """One proposal, which those in `approved_by` approved; what was `made` and `warranted` is kept. While it is `away`
    nothing is warranted; approvals of those in `barred` do not count, and nobody knows of any while it is `speechless`.
    """

    def __init__(self):
        self.approved_by = ()
        self.made, self.warranted = [], []
        self.away = self.speechless = False
        self.barred = set()

    async def create(self, act, parameters, by, why):
        self.made.append((act, parameters, by.id, why))
        return Standing(replace(PROPOSAL, act=act, parameters=parameters, proposed_by=by.id), (by.id,))

    async def approve(self, standing, by):
        self.approved_by = (*self.approved_by, by.id)
        return replace(standing, approved_by=self.approved_by)

    async def counting(self, standing):
        if self.speechless:
            raise PolicyUnavailableError("policy_unavailable", "The policy does not answer.")
        return replace(standing, approved_by=tuple(by for by in standing.approved_by if by not in self.barred))

    async def warrant(self, standing, by):
        if self.away:
            raise StateUnavailableError("state_unavailable", "The state cannot be reached.")
        self.warranted.append(standing.approved_by)
        return replace(standing, ended_as=ProposalEnd.APPROVED, ended_by=by, ended_at=1_795_000_000.0, warrant="note")

    async def newest(self):
        return (Standing(PROPOSAL),)

    async def standing(self, identifier):
        return Standing(PROPOSAL, self.approved_by) if identifier == PROPOSAL.id else None

    async def of_act(self, act):
        return ()


class PoliciesDouble:
    revision, waiting, review = REVISION, "", False
    history = ((REVISION, 1_795_000_000.0),)

    async def files(self, revision):
        return SimpleNamespace(modules={"a.rego": "package a"}, data={}) if revision == REVISION else None
