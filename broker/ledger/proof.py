"""C2SP tlog-proof v1: one record's inclusion, provable from the record, the proof and public keys alone."""

from collections.abc import Iterable, Sequence

from broker.errors import IntegrityError
from broker.ledger.checkpoint import Checkpoint, verify_checkpoint
from broker.ledger.merkle import LONGEST_PROOF, decode_hash, encode_hash, leaf_hash, verify_inclusion
from broker.ledger.notes import LARGEST_NOTE, Verifier

HEADER = "c2sp.org/tlog-proof@v1"
LONGEST_INDEX = 19


def encode_proof(index: int, hashes: Sequence[bytes], note: str) -> str:
    """The proof's text; no `extra` line."""
    lines = [HEADER, f"index {index}", *[encode_hash(h) for h in hashes]]
    return "\n".join(lines) + "\n\n" + note


def verify_proof(
    raw_proof: str, entry: bytes, log: Verifier, witnesses: Iterable[Verifier] = ()
) -> tuple[int, Checkpoint]:
    """The index at which the entry is proven to stand, and the checkpoint that says so. Raises IntegrityError."""
    head, separator, note = raw_proof[: 2 * LARGEST_NOTE].partition("\n\n")
    lines = head.split("\n")
    if not separator or lines[0] != HEADER:
        raise _malformed("no proof header")
    if len(lines) > 1 and lines[1].startswith("extra "):
        del lines[1]
    if len(lines) < 2 or len(lines) - 2 > LONGEST_PROOF:
        raise _malformed("no index or too many hashes")
    index = _decode_index(lines[1])
    hashes = [decode_hash(line) for line in lines[2:]]
    checkpoint, _ = verify_checkpoint(note, log, witnesses)
    verify_inclusion(leaf_hash(entry), index, checkpoint.size, hashes, checkpoint.root)
    return index, checkpoint


def _decode_index(line: str) -> int:
    digits = line.removeprefix("index ")
    if digits == line or len(digits) > LONGEST_INDEX or not (digits.isascii() and digits.isdigit()):
        raise _malformed("no index line")
    if str(int(digits)) != digits:
        raise _malformed("index with leading zeros")
    return int(digits)


def _malformed(detail: str) -> IntegrityError:
    return IntegrityError("proof_malformed", "not an inclusion proof", detail)
