"""An authority that asks two people does what they approved, exactly and once; taking away needs nobody."""

import json
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.host_journal import HostJournal
from broker.ledger.approvals import sign
from broker.ledger.notes import verifier_of
from broker.model.proposal import ProposalAct, Warrant
from tests.integration.authority.test_ca_commands import Desk
from tests.integration.authority.test_ca_commands import desk as desk

KEY = Ed25519PrivateKey.generate()
ORIGIN = "broker.example/ledger"


def warrant(desk: Desk, number: int = 1, **changes: object) -> list[object]:
    """What `otb proposals warrant` writes for what the command proposed last."""
    asked = json.loads((desk.folder / "proposed.json").read_text())
    now = time.time()
    made = Warrant(
        f"prp-{number}",
        ProposalAct(asked["act"]),
        tuple(sorted(asked["parameters"].items())),
        "bo@acme.example",
        ("bo@acme.example", "cy@acme.example"),
        now,
        now + 900,
        ORIGIN,
    )
    path = desk.folder / "warrant.note"
    path.write_text(sign(replace(made, **changes), KEY))
    return ["--warrant", path]


@pytest.fixture
def guarded(desk: Desk) -> Desk:
    (desk.folder / "ledger.pub").write_text(verifier_of(ORIGIN, KEY).vkey + "\n")
    for place in (desk.ca, desk.folder / "root"):
        assert otbroker_ca_approvers(desk, place) == {"approvers": 1}
    return desk


def otbroker_ca_approvers(desk: Desk, place: object, *words: object) -> object:
    return json.loads(
        desk.run("approvers", place, "--public-key", desk.folder / "ledger.pub", "--format", "json", *words)
    )


def propose(desk: Desk, command: str, *words: object, root: bool = False) -> None:
    desk.run(command, *words, "--propose", desk.folder / "proposed.json", root=root)


def issue(desk: Desk, *words: object, status: int = 0) -> str:
    said: str = desk.issue(*words, status=status)
    return said


def test_a_certificate_takes_a_warrant_for_exactly_it_and_only_once(guarded: Desk) -> None:
    desk = guarded
    assert "only when two people want it" in issue(desk, status=1)
    issue(desk, "--propose", desk.folder / "proposed.json")
    assert not (desk.folder / "ana.key").exists()
    for changes, why in (
        ({"act": ProposalAct.CA_ROTATE}, "something else"),
        ({"until": time.time() - 1}, "run out"),
        ({"parameters": (("profile", "person"),)}, "something else"),
    ):
        assert why in issue(desk, *warrant(desk, **changes), status=1)
    assert "something else" in issue(desk, "--lifetime", "2h", *warrant(desk), status=1)
    assert not (desk.folder / "ana.pem").exists()
    given = warrant(desk)
    issue(desk, *given)
    (desk.folder / "ana.key").unlink()
    assert "has been used" in issue(desk, *given, status=1)
    used = [json.loads(line) for line in (desk.ca / "register.jsonl").read_text().splitlines()]
    assert [entry["approved_by"] for entry in used if entry["event"] == "warranted"] == [
        "bo@acme.example, cy@acme.example"
    ]


def test_the_broker_is_told_which_warrant_an_act_was_given(guarded: Desk) -> None:
    desk, journal = guarded, HostJournal(guarded.ca)
    journal.make()
    issue(desk, status=1)
    issue(desk, "--propose", desk.folder / "proposed.json")
    forged = warrant(desk)
    path = desk.folder / "warrant.note"
    path.write_text(path.read_text().replace("cy@acme.example", "di@acme.example"))
    issue(desk, *forged, status=1)
    issue(desk, *warrant(desk))
    desk.run("crl", desk.ca)
    taken = journal.take()
    assert taken is not None
    given = {"warrant": "needed", "proposal": "prp-1", "broker": ORIGIN}
    told = [{name: command.about[name] for name in given if name in command.about} for command in taken.commands]
    refused, nothing = [{"warrant": "needed"}] * 2, [{}] * 2
    assert told == [*refused, *nothing, *refused, given, given, *nothing]


def test_what_another_key_signed_is_no_warrant(guarded: Desk) -> None:
    desk = guarded
    issue(desk, "--propose", desk.folder / "proposed.json")
    given = warrant(desk)
    path = given[1]
    text = path.read_text()  # type: ignore[attr-defined]
    path.write_text(text.replace("cy@acme.example", "di@acme.example"))  # type: ignore[attr-defined]
    assert issue(desk, *given, status=1)
    path.write_text("nothing")  # type: ignore[attr-defined]
    assert issue(desk, *given, status=1)
    assert not (desk.folder / "ana.pem").exists()


def test_revoking_and_lists_need_nobody(desk: Desk) -> None:
    issued = json.loads(issue(desk, "--format", "json"))
    (desk.folder / "ledger.pub").write_text(verifier_of(ORIGIN, KEY).vkey)
    otbroker_ca_approvers(desk, desk.ca)
    desk.run("revoke", desk.ca, issued["serial"])
    desk.run("crl", desk.ca)
    assert "1 revoked" in desk.run("status", desk.ca)


def test_rotation_and_the_root_s_signature_each_take_a_warrant(guarded: Desk) -> None:
    desk, root = guarded, guarded.folder / "root"
    request, answer = desk.folder / "next.csr", desk.folder / "next.pem"
    assert "two people" in desk.run("rotate", desk.ca, "--root", root, root=True, status=1)
    desk.run("rotate", desk.ca, "--request", request)
    signing = ("sign", root, "--csr", request, "--out", answer)
    assert "two people" in desk.run(*signing, root=True, status=1)
    propose(desk, *signing, root=True)
    desk.run(*signing, *warrant(desk, 1), root=True)
    taking = ("rotate", desk.ca, "--certificate", answer)
    assert "two people" in desk.run(*taking, status=1)
    propose(desk, *taking)
    assert "something else" in desk.run(*taking, "--issue-after", "2h", *warrant(desk, 2), status=1)
    desk.run(*taking, *warrant(desk, 2))
    assert "issuing 2: waiting" in desk.run("status", desk.ca)


def test_asking_nobody_any_more_takes_two_people_too(guarded: Desk) -> None:
    desk = guarded
    assert "two people" in desk.run("approvers", desk.ca, status=1)
    propose(desk, "approvers", desk.ca)
    desk.run("approvers", desk.ca, *warrant(desk))
    issue(desk)


def test_a_warrant_is_for_one_authority_and_of_no_use_at_the_root_above_it(guarded: Desk) -> None:
    desk, root = guarded, guarded.folder / "root"
    propose(desk, "approvers", desk.ca)
    given = warrant(desk)
    assert "for another authority" in desk.run("approvers", root, *given, status=1)
    desk.run("approvers", desk.ca, *given)
    assert "for another authority" in desk.run("approvers", root, *given, status=1)
    assert "two people" in desk.run("approvers", root, status=1), "it still asks for a warrant"
    propose(desk, "approvers", root)
    desk.run("approvers", root, *warrant(desk, 2))


def test_a_warrant_that_was_used_is_of_no_use_after_the_register_is_gone(guarded: Desk) -> None:
    desk = guarded
    issue(desk, "--propose", desk.folder / "proposed.json")
    given = warrant(desk)
    issue(desk, *given)
    (desk.folder / "ana.key").unlink()
    (desk.ca / "register.jsonl").unlink()
    assert "for another authority" in issue(desk, *given, status=1)
