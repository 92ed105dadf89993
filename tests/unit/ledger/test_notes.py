"""Signed notes, cosignatures and checkpoints: a published note, and everything that must be refused."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.errors import IntegrityError
from broker.ledger.checkpoint import Checkpoint, decode_checkpoint, sign_checkpoint, verify_checkpoint
from broker.ledger.merkle import leaf_hash
from broker.ledger.notes import COSIGNATURE, cosign, decode_vkey, sign_note, verifier_of, verify_note
from broker.ledger.proof import encode_proof, verify_proof

# The example of the Go project's package golang.org/x/mod/sumdb/note, from which C2SP signed-note comes.
NEUMANN_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes([2] * 32))
LOG = verifier_of("example.org/log", LOG_KEY)
WITNESS = verifier_of("witness.example/w1", WITNESS_KEY, COSIGNATURE)
HEAD = Checkpoint("example.org/log", 1, leaf_hash(b"{}"))


def test_published_note_verifies_with_its_published_key() -> None:
    verifier = decode_vkey(NEUMANN_VKEY)
    text, signatures = verify_note(NEUMANN_NOTE, [verifier])
    assert text.startswith("If you think") and text.endswith("is.\n")
    assert [s.verifier.name for s in signatures] == ["PeterNeumann"]
    assert verifier.vkey == NEUMANN_VKEY


def test_every_changed_character_of_a_note_is_noticed() -> None:
    for at in range(len(NEUMANN_NOTE)):
        changed = NEUMANN_NOTE[:at] + chr(ord(NEUMANN_NOTE[at]) ^ 1) + NEUMANN_NOTE[at + 1 :]
        with pytest.raises(IntegrityError):
            verify_note(changed, [decode_vkey(NEUMANN_VKEY)])


def test_signatures_of_strangers_are_ignored_and_sixteen_are_accepted() -> None:
    note = sign_note("text\n", "example.org/log", LOG_KEY)
    for number in range(15):
        stranger = sign_note("text\n", f"stranger{number}", Ed25519PrivateKey.generate())
        note += stranger.split("\n\n")[1]
    assert verify_note(note, [LOG])[0] == "text\n"
    with pytest.raises(IntegrityError, match="signed_by_others"):
        verify_note(note, [WITNESS])


def test_a_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    note = sign_note("text\n", "example.org/log", LOG_KEY) + cosign("other\n", WITNESS.name, WITNESS_KEY, 5)
    with pytest.raises(IntegrityError, match="signature_wrong"):
        verify_note(note, [LOG, WITNESS])


def test_text_with_empty_lines_ends_at_the_last_of_them() -> None:
    note = sign_note("a\n\nb\n", "example.org/log", LOG_KEY)
    assert verify_note(note, [LOG])[0] == "a\n\nb\n"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n- name AAAAAAAA\n",
        "text\n\n\u2014 name\n",
        "text\n\n\u2014 na me AAAAAAAAAA==\n",
        "text\n\n\u2014 name AAAA\n",
        "te\x00xt\n\n\u2014 name AAAAAAAAAA==\n",
        "te\rxt\n\n\u2014 name AAAAAAAAAA==\n",
        "x" * 70_000 + "\n\n\u2014 name AAAAAAAAAA==\n",
        "text\n\n" + "\u2014 name AAAAAAAAAA==\n" * 65,
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(IntegrityError):
        verify_note(note, [LOG])


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000+AAAA",
        NEUMANN_VKEY.replace("c74f20a3", "c74f20a4"),
        NEUMANN_VKEY.replace("PeterNeumann", "Peter Neumann"),
        NEUMANN_VKEY[:-4],
        "name+deadbeef+" + base64.b64encode(b"\x06" + bytes(32)).decode(),
    ],
)
def test_what_is_no_key_is_refused(vkey: str) -> None:
    with pytest.raises(IntegrityError):
        decode_vkey(vkey)


def test_cosigned_checkpoint_names_its_witness() -> None:
    note = sign_checkpoint(HEAD, LOG_KEY) + cosign(HEAD.text, WITNESS.name, WITNESS_KEY, 1_790_000_000)
    checkpoint, cosignatures = verify_checkpoint(note, LOG, [WITNESS])
    assert checkpoint == HEAD
    assert [(s.verifier.name, s.timestamp) for s in cosignatures] == [("witness.example/w1", 1_790_000_000)]


def test_checkpoint_needs_the_logs_own_signature_and_origin() -> None:
    only_witness = HEAD.text + "\n" + cosign(HEAD.text, WITNESS.name, WITNESS_KEY, 5)
    with pytest.raises(IntegrityError, match="signature_missing"):
        verify_checkpoint(only_witness, LOG, [WITNESS])
    others = sign_note(HEAD.text, LOG.name, Ed25519PrivateKey.generate()) + only_witness.split("\n\n")[1]
    with pytest.raises(IntegrityError, match="signed_by_others"):
        verify_checkpoint(others, LOG, [WITNESS])
    foreign = sign_note(Checkpoint("other.example", 1, HEAD.root).text, LOG.name, LOG_KEY)
    with pytest.raises(IntegrityError, match="origin_wrong"):
        verify_checkpoint(foreign, LOG)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        "o\n01\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "o\n-1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "o\n\u0661\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "o\n1\nAAAA\n",
        "\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "o\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nextension\n",
        "o\n" + "9" * 30 + "\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        decode_checkpoint(text)


def test_inclusion_proof_file_proves_its_record_and_no_other() -> None:
    proof = encode_proof(0, [], sign_checkpoint(HEAD, LOG_KEY))
    assert proof.startswith("c2sp.org/tlog-proof@v1\nindex 0\n\nexample.org/log\n1\n")
    assert verify_proof(proof, b"{}", LOG) == (0, HEAD)
    with_extra = proof.replace("\nindex", "\nextra AAAA\nindex")
    assert verify_proof(with_extra, b"{}", LOG)[0] == 0
    with pytest.raises(IntegrityError, match="proof_wrong"):
        verify_proof(proof, b"[]", LOG)
    for wrong in (proof.replace("@v1", "@v2"), proof.replace("index 0", "index 00"), proof.replace("index 0", "0"), ""):
        with pytest.raises(IntegrityError):
            verify_proof(wrong, b"{}", LOG)


def test_names_that_notes_cannot_carry_are_refused_before_signing() -> None:
    for name in ("", "a b", "a+b", "a\nb", "a\u00a0b"):
        with pytest.raises(ValueError):
            sign_note("text\n", name, LOG_KEY)
    for text in ("text", "te\x07xt\n"):
        with pytest.raises(ValueError):
            sign_note(text, "name", LOG_KEY)
