"""What must hold between the records of proposals, and of what is done only when more than one person wants it."""

from typing import Any

from broker.errors import IntegrityError
from broker.model.proposal import WARRANT_NEEDED, ProposalAct, ProposalEnd

Record = dict[str, Any]
_DONE = "done"
_OF_AUTHORITY = {
    "ca issue": ProposalAct.CA_ISSUE,
    "ca rotate": ProposalAct.CA_ROTATE,
    "ca sign": ProposalAct.CA_SIGN,
    "ca approvers": ProposalAct.CA_APPROVERS,
}


class Proposals:
    """Proposals as the ledger `origin` tells them; `may_predate`: records of some may have been pruned.

    Brokers of one state each record what was approved at them, so that an approval or a warrant may be in the ledger
    of another; of that broker's own warrants nothing is believed that is not in this ledger.
    """

    def __init__(self, origin: str, may_predate: bool) -> None:
        self._origin = origin
        self._may_predate = may_predate
        self._proposed: dict[str, tuple[str, Record]] = {}
        self._warranted: dict[str, str] = {}
        self._review = False

    def began(self) -> None:
        """The broker starts: whether policies wait for people is said anew."""
        self._review = False

    def created(self, record: Record) -> None:
        """Proposed; again only if it could not be kept, and then the same."""
        self._same(record)

    def approved(self, record: Record) -> None:
        """One person wants just what was proposed."""
        self._same(record)

    def ended(self, record: Record) -> None:
        """Warranted by enough people, or refused."""
        identifier, act = record["proposal"], record["act"]
        known = self._proposed.get(identifier)
        if known is not None and known[0] != act:
            raise _broken("proposal_of_something_else", identifier)
        if record["as"] != ProposalEnd.APPROVED.value:
            return
        if not record["approved_by"]:  # how many it takes is the policy's to say
            raise _broken("approved_by_nobody", identifier)
        self._warranted[identifier] = act

    def policy_waits(self, record: Record) -> None:
        """A changed policy waits for people, so that none comes into force without them from here on. Earlier versions
        neither said so nor cited the warrant.
        """
        self._review = record.get("warrant") == WARRANT_NEEDED

    def policy_changed(self, record: Record) -> None:
        """A policy came into force; the first after a start that could publish none is the one from before."""
        warrant = record["detail"].get("warrant")
        if warrant is not None:
            self._require(warrant, ProposalAct.POLICY_ACTIVATE, {"revision": record["revision"]})
        elif self._review and record["previous"]:
            raise _broken("activated_without_warrant", record["revision"])

    def host_command(self, record: Record) -> None:
        """A command of an authority that asks two people was given the warrant of such an act.

        For which parameters is in the authority's own register; the ledger has their digests in the proposal alone.
        """
        act = _OF_AUTHORITY.get(record["command"])
        if act is None or record["outcome"] != _DONE or record["about"].get("warrant") != WARRANT_NEEDED:
            return
        if "proposal" not in record["about"]:
            raise _broken("done_without_warrant", record["id"])
        self._require(record["about"], act)

    def _require(self, warrant: Record, act: ProposalAct, parameters: Record | None = None) -> None:
        """That a warrant of this broker is one, for just that."""
        identifier = warrant["proposal"]
        if warrant["broker"] != self._origin:
            return
        known, warranted = self._proposed.get(identifier), self._warranted.get(identifier)
        if warranted is None and not self._may_predate:
            raise _broken("warrant_not_recorded", identifier)
        of_act = warranted in (None, act.value) and (known is None or known[0] == act.value)
        if not of_act or (parameters is not None and known is not None and known[1] != parameters):
            raise _broken("warrant_for_something_else", identifier)

    def _same(self, record: Record) -> None:
        told = (record["act"], record["parameters"])
        if self._proposed.setdefault(record["proposal"], told) != told:
            raise _broken("proposal_of_something_else", record["proposal"])


def _broken(code: str, detail: str) -> IntegrityError:
    return IntegrityError(code, code.replace("_", " "), detail)
