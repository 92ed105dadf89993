"""How long a decision about evidence and settings is reused."""

from types import SimpleNamespace

from broker.authz.question import SessionFacts
from broker.listeners.decision_desk import DecisionDesk
from broker.model.decision import Decision
from broker.model.place import Organisation
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind

NOW = 1_800_000_000.0
PROOF = Proof(ProofKind.CERTIFICATE, "CN=root", "cy@plant.example", "a" * 43, NOW, NOW + 3600)
CY = Subject("cy@plant.example", SubjectKind.PERSON, "plant-owner", ("auditor",), proofs=(PROOF,))
ANSWER = b'{"allow":true,"reasons":[],"obligations":[],"valid_until":%d,"rule":"role/auditor"}' % (NOW + 50)


def decided(contract_until: float | None) -> Decision:
    organisation = Organisation("plant-owner", (), (), owner=True, contract_until=contract_until)
    policy = SimpleNamespace(revision="r1", decide=lambda _entry, _question, answered: answered(ANSWER))
    desk = DecisionDesk(
        SimpleNamespace(now=lambda: NOW),
        SimpleNamespace(append=lambda _record: 7),
        policy,
        SimpleNamespace(organisation=lambda _subject: organisation),
        lambda prefix: prefix + "-a",
        SimpleNamespace(),
    )
    decisions: list[Decision] = []
    facts = SessionFacts(id="", listener="https", peer="127.0.0.1:1", started=NOW, mfa_at=None)
    desk.admin(CY, "ledger.read", {"kind": "ledger"}, facts, decisions.append)
    return decisions[0]


def test_no_lease_outlives_the_contract() -> None:
    assert decided(None).valid_until == NOW + 50
    ends = decided(NOW + 5)
    assert (ends.allow, ends.valid_until, ends.holds_until) == (True, NOW + 5, NOW + 5)
