"""The Merkle tree of RFC 6962, 2.1: hashes, an incremental tree, proofs and their verification."""

import base64
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from broker.errors import IntegrityError

HASH_OCTETS = 32
EMPTY_ROOT = sha256(b"").digest()
LONGEST_PROOF = 64

# The hash of the perfect subtree of height `level` whose first leaf is `index << level`.
NodeReader = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962, 2.1: SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, 2.1: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """The leaf hash of each; for many, a call for each would cost as much as the hashing."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def subtree_hash(hashes: Sequence[bytes]) -> bytes:
    """The root of a perfect subtree over 2^k hashes."""
    row = hashes
    while len(row) > 1:
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def perfect_peaks(hashes: Sequence[bytes]) -> list[bytes]:
    """The roots of the perfect subtrees over any number of hashes, from largest to smallest."""
    peaks, start, count = [], 0, len(hashes)
    for bit in reversed(range(count.bit_length())):
        if count >> bit & 1:
            peaks.append(subtree_hash(hashes[start : start + (1 << bit)]))
            start += 1 << bit
    return peaks


def fold_peaks(peaks: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees from largest to smallest; of none, the root of the empty tree."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def push_peak(peaks: list[bytes], added: bytes, count: int) -> None:
    """Add one hash to the peaks over `count` - 1 hashes of its height, from largest to smallest."""
    while not count & 1:
        added = node_hash(peaks.pop(), added)
        count >>= 1
    peaks.append(added)


class Tree:
    """A tree that grows at its right edge and remembers only its perfect subtrees."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        _require_hash(leaf)
        self.size += 1
        push_peak(self._peaks, leaf, self.size)

    def root(self) -> bytes:
        """The Merkle tree hash over everything appended."""
        return fold_peaks(self._peaks)


def range_hash(start: int, end: int, node: NodeReader) -> bytes:
    """The hash of the subtree over leaves [start, end), where `start` is a multiple of a power of two >= its width."""
    width = end - start
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return _require_hash(node(level, start >> level))
    split = _split(width)
    return node_hash(range_hash(start, start + split, node), range_hash(start + split, end, node))


def inclusion_proof(index: int, size: int, node: NodeReader) -> tuple[bytes, ...]:
    """RFC 6962, 2.1.1, from the leaf's sibling up. Raises IntegrityError if the leaf is not in the tree."""
    if not 0 <= index < size:
        raise IntegrityError("index_outside_tree", "no such record in the tree", f"{index} of {size}")
    start, end = 0, size
    proof: list[bytes] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(range_hash(middle, end, node))
            end = middle
        else:
            proof.append(range_hash(start, middle, node))
            start = middle
    return tuple(reversed(proof))


def consistency_proof(old: int, new: int, node: NodeReader) -> tuple[bytes, ...]:
    """RFC 6962, 2.1.2; empty if `old` is 0 or `new`. Raises IntegrityError if `old` is greater than `new`."""
    if not 0 <= old <= new:
        raise IntegrityError("size_outside_tree", "no such tree size", f"{old} of {new}")
    if old in (0, new):
        return ()
    start, end, whole = 0, new, True
    proof: list[bytes] = []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(range_hash(middle, end, node))
            end = middle
        else:
            proof.append(range_hash(start, middle, node))
            start, whole = middle, False
    if not whole:
        proof.append(range_hash(start, end, node))
    return tuple(reversed(proof))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bytes:
    """RFC 9162, 2.1.3.2: the proven root. Raises IntegrityError."""
    if not 0 <= index < size or len(proof) > LONGEST_PROOF:
        raise IntegrityError("proof_malformed", "the inclusion proof cannot be of this tree", f"{index} of {size}")
    current, last, result = index, size - 1, _require_hash(leaf)
    for sibling in proof:
        if last == 0:
            raise _wrong("inclusion proof too long")
        if current & 1 or current == last:
            result = node_hash(_require_hash(sibling), result)
            while not current & 1 and current:
                current, last = current >> 1, last >> 1
        else:
            result = node_hash(result, _require_hash(sibling))
        current, last = current >> 1, last >> 1
    if last != 0 or result != root:
        raise _wrong("inclusion proof")
    return result


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bytes:
    """RFC 9162, 2.1.4.2: the proven new root. Raises IntegrityError."""
    if not 0 <= old <= new or len(proof) > LONGEST_PROOF:
        raise IntegrityError("proof_malformed", "the consistency proof cannot be of these trees", f"{old} of {new}")
    if old in (0, new):
        return _verify_trivial(old, new, proof, old_root, new_root)
    path = [_require_hash(h) for h in proof]
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise _wrong("consistency proof empty")
    current, last = old - 1, new - 1
    while current & 1:
        current, last = current >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _wrong("consistency proof too long")
        if current & 1 or current == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not current & 1 and current:
                current, last = current >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        current, last = current >> 1, last >> 1
    if last != 0 or first != old_root or second != new_root:
        raise _wrong("consistency proof")
    return second


def _verify_trivial(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bytes:
    if proof or (old == 0 and old_root != EMPTY_ROOT) or (old == new and old_root != new_root):
        raise _wrong("consistency proof of equal or empty trees")
    return new_root


def _split(width: int) -> int:
    """The largest power of two smaller than `width` (RFC 6962, 2.1)."""
    return 1 << ((width - 1).bit_length() - 1)


def _require_hash(octets: bytes) -> bytes:
    if len(octets) != HASH_OCTETS:
        raise IntegrityError("hash_malformed", "a hash is 32 octets", f"{len(octets)} octets")
    return octets


def _wrong(what: str) -> IntegrityError:
    return IntegrityError("proof_wrong", "the proof does not lead to the root", what)


def encode_hash(octets: bytes) -> str:
    """A hash as C2SP formats write it: standard base64 with padding."""
    return base64.b64encode(_require_hash(octets)).decode()


def decode_hash(text: str) -> bytes:
    """Raises IntegrityError for anything that is not exactly one hash in base64."""
    return _require_hash(decode_base64(text))


def decode_base64(text: str) -> bytes:
    """Strict standard base64 (RFC 4648, 4): no other characters, exact padding and bits. Raises IntegrityError."""
    try:
        octets = base64.b64decode(text, validate=True)
    except ValueError:
        octets = b""
    if not octets or base64.b64encode(octets).decode() != text:
        raise IntegrityError("base64_malformed", "not strict base64")
    return octets
