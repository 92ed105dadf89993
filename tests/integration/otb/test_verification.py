"""`otb audit verify` tells a bad ledger from a wrong key and from a file that is no checkpoint."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.ledger_export import FileDestination
from broker.ledger.checkpoint import split_checkpoints
from broker.ledger.notes import verifier_of
from tests.unit.ledger.scenes import KEY, ORIGIN, publish, whole_story


@pytest.fixture
def folder(tmp_path):
    """A ledger of 86 records with a checkpoint at every fourth, and its public key beside it."""
    for path, octets in publish(whole_story(40).entries, sizes=range(4, 85, 4)).items():
        target = tmp_path / "ledger" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(octets)
    (tmp_path / "ledger.pub").write_text(verifier_of(ORIGIN, KEY).vkey)
    return tmp_path


@pytest.fixture
def verify(otb, folder):
    def run(*options, key="ledger.pub"):
        return otb("audit", "verify", folder / "ledger", "--public-key", folder / key, *options)

    return run


def chained(folder):
    return split_checkpoints((folder / "ledger" / "checkpoints").read_text())


def test_what_an_export_to_a_file_wrote_is_compared_checkpoint_by_checkpoint(folder, verify):
    pushed = folder / "checkpoints.pushed"
    for note in chained(folder)[3:9]:
        asyncio.run(FileDestination(pushed).send(note))
    said = verify("--checkpoint", pushed)
    assert said.status == 0, said.out
    assert "6, the largest of 36 records: the history agrees with each" in said.out
    assert verify("--checkpoint", pushed, "--format", "json").document["saved_checkpoints"] == 6
    forged = publish(whole_story(3).entries[:8])["checkpoint"].decode()
    pushed.write_text(pushed.read_text() + forged)
    assert verify("--checkpoint", pushed).status == 0, "the first 8 records are the same in both stories"
    other = publish([*whole_story(3).entries[:7], whole_story(3).entries[0]])["checkpoint"].decode()
    pushed.write_text(pushed.read_text() + "\n" + other)
    said = verify("--checkpoint", pushed)
    assert said.status == 1 and "history rewritten" in said.out


def test_an_export_of_many_days_is_not_too_large(folder, verify):
    pushed = folder / "checkpoints.pushed"
    pushed.write_text("\n".join(chained(folder) * 20))
    assert pushed.stat().st_size > 65_536
    assert verify("--checkpoint", pushed).status == 0


@pytest.mark.parametrize("content", ["", "nonsense\n", "a\n\nb\n\nc\n", '{"checkpoint": "x"}'])
def test_a_file_that_is_no_checkpoint_is_a_wrong_command_line_and_says_nothing_about_the_ledger(
    folder, verify, content
):
    saved = folder / "saved"
    saved.write_text(content)
    said = verify("--checkpoint", saved)
    assert said.status == 2
    assert f"The saved checkpoint {saved} cannot be read as a checkpoint" in said.err.replace("\n", " ")
    assert "NOT hold" not in said.out + said.err


def test_the_public_key_of_another_ledger_is_named_as_the_likely_mistake(folder, verify):
    (folder / "other.pub").write_text(verifier_of("other.example/ledger", Ed25519PrivateKey.generate()).vkey)
    said = verify(key="other.pub")
    assert said.status == 1
    assert "Is this the right public key?" in said.out and "NOT hold" not in said.out
    assert "signed_by_others" in said.out and "other.example/ledger" in said.out


@pytest.mark.parametrize("option", ["--public-key", "--witness"])
def test_a_file_that_holds_no_public_key_says_nothing_about_the_ledger(folder, verify, option):
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    said = verify(key="ca.pem") if option == "--public-key" else verify(option, folder / "ca.pem")
    assert said.status == 1 and said.out == ""
    assert f"{folder / 'ca.pem'} holds no public key of a" in said.err.replace("\n", " ")
    assert "ledger.pub" in said.err and "NOT hold" not in said.out + said.err


def test_a_saved_checkpoint_of_another_ledger_is_not_held_against_this_one(folder, verify):
    saved = folder / "saved"
    saved.write_text(publish(whole_story().entries, key=Ed25519PrivateKey.generate())["checkpoint"].decode())
    said = verify("--checkpoint", saved)
    assert said.status == 1
    assert "nothing was compared with it" in said.out and "NOT hold" not in said.out


def test_a_head_put_back_fails_and_checkpoints_taken_out_are_told(folder, verify):
    head, notes = folder / "ledger" / "checkpoint", chained(folder)
    newest = head.read_text()
    head.write_text(notes[2])
    said = verify()
    assert said.status == 1 and "head_behind_chain" in said.out
    head.write_text(newest)
    assert "late" not in verify().out
    (folder / "ledger" / "checkpoints").write_text("".join(note + "\n" for note in [*notes[:4], *notes[-4:]]))
    said = verify()
    assert said.status == 0 and "late" in said.out
