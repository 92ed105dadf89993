"""C2SP checkpoints (tlog-checkpoint v1.0.0): the signed head of the tree."""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.errors import IntegrityError
from broker.ledger.merkle import decode_hash, encode_hash
from broker.ledger.notes import COSIGNATURE, Signature, Verifier, sign_note, signed_by_others, split_note, verify_note

LONGEST_SIZE = 19


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Which log, how many records, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed: three lines, no extension."""
        return f"{self.origin}\n{self.size}\n{encode_hash(self.root)}\n"


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The signed note; the key's name is the origin."""
    return sign_note(checkpoint.text, checkpoint.origin, key)


def decode_checkpoint(text: str) -> Checkpoint:
    """Read the text of a note that has been verified. Raises IntegrityError; extension lines are refused."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise IntegrityError("checkpoint_malformed", "a checkpoint is three lines: origin, size, root")
    number = lines[1]
    if not (number.isascii() and number.isdigit()) or len(number) > LONGEST_SIZE or str(int(number)) != number:
        raise IntegrityError("checkpoint_malformed", "a checkpoint's size is a decimal number without leading zeros")
    return Checkpoint(lines[0], int(number), decode_hash(lines[2]))


def split_checkpoints(raw_text: str) -> list[str]:
    """The notes of a text that holds one checkpoint or several, empty lines between them, nothing of it proven.

    Raises IntegrityError if anything in it is not a checkpoint.
    """
    parts = [part for part in raw_text.strip("\n").split("\n\n") if part.strip("\n")]
    if not parts or len(parts) % 2:
        raise IntegrityError("checkpoint_malformed", "a checkpoint is a text, an empty line and signature lines")
    notes = []
    for text, signatures in zip(parts[::2], parts[1::2], strict=True):
        note = text.lstrip("\n") + "\n\n" + signatures.strip("\n") + "\n"
        decode_checkpoint(split_note(note)[0])
        notes.append(note)
    return notes


def verify_checkpoint(
    raw_note: str, log: Verifier, witnesses: Iterable[Verifier] = ()
) -> tuple[Checkpoint, tuple[Signature, ...]]:
    """The checkpoint that the log signed, and the cosignatures of known witnesses on it. Raises IntegrityError."""
    text, signatures = verify_note(raw_note, [log, *witnesses])
    if all(signature.verifier != log for signature in signatures):
        if len(split_note(raw_note)[1]) > len(signatures):
            raise signed_by_others(raw_note, [log])
        raise IntegrityError("signature_missing", "the checkpoint is not signed by the log")
    checkpoint = decode_checkpoint(text)
    if checkpoint.origin != log.name:
        raise IntegrityError("origin_wrong", "the checkpoint is of another log", checkpoint.origin)
    return checkpoint, tuple(s for s in signatures if s.verifier.algorithm == COSIGNATURE)
