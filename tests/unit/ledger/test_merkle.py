"""The tree, its proofs and their verification against published vectors and the definition of RFC 6962."""

from hashlib import sha256

import pytest

from broker.errors import IntegrityError
from broker.ledger.merkle import (
    EMPTY_ROOT,
    NodeReader,
    Tree,
    consistency_proof,
    decode_hash,
    inclusion_proof,
    leaf_hash,
    node_hash,
    range_hash,
    verify_consistency,
    verify_inclusion,
)

# The reference inputs of the Certificate Transparency project's test suites, and the roots over the first 1 to 8.
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LARGEST = 64
LEAVES = [leaf_hash(b"%d" % i) for i in range(LARGEST)]


def defined_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


def node(level: int, index: int) -> bytes:
    return defined_root(LEAVES[index << level : (index + 1) << level])


@pytest.fixture(scope="module")
def roots() -> list[bytes]:
    return [defined_root(LEAVES[:size]) for size in range(LARGEST + 1)]


def test_published_roots() -> None:
    tree = Tree()
    assert (
        tree.root() == EMPTY_ROOT == bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    )
    for entry, root in zip(INPUTS, ROOTS, strict=True):
        tree.append(leaf_hash(entry))
        assert tree.root().hex() == root


def test_published_inclusion_and_consistency_proofs() -> None:
    # From the same suites: leaf 1 of 8, leaf 6 of 8, leaf 3 of 3, leaf 2 of 5; consistency 1-8, 6-8, 2-5.
    leaves = [leaf_hash(entry) for entry in INPUTS]

    def stored(level: int, index: int) -> bytes:
        return defined_root(leaves[index << level : (index + 1) << level])

    assert [h.hex() for h in inclusion_proof(0, 8, stored)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [h.hex() for h in inclusion_proof(2, 3, stored)] == [
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    ]
    assert [h.hex() for h in consistency_proof(6, 8, stored)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_tree_is_the_definition_at_every_size(roots: list[bytes]) -> None:
    tree = Tree()
    for size, leaf in enumerate(LEAVES, start=1):
        tree.append(leaf)
        assert tree.root() == roots[size] == range_hash(0, size, node)


def test_every_inclusion_proof_verifies_and_no_altered_one(roots: list[bytes]) -> None:
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, node)
            assert verify_inclusion(LEAVES[index], index, size, proof, roots[size]) == roots[size]
            for wrong in altered(proof):
                with pytest.raises(IntegrityError):
                    verify_inclusion(LEAVES[index], index, size, wrong, roots[size])
            with pytest.raises(IntegrityError):
                verify_inclusion(LEAVES[(index + 1) % LARGEST], index, size, proof, roots[size])


def test_every_consistency_proof_verifies_and_no_altered_one(roots: list[bytes]) -> None:
    for new in range(LARGEST + 1):
        for old in range(new + 1):
            proof = consistency_proof(old, new, node)
            assert verify_consistency(old, new, proof, roots[old], roots[new]) == roots[new]
            for wrong in altered(proof):
                with pytest.raises(IntegrityError):
                    verify_consistency(old, new, wrong, roots[old], roots[new])
            with pytest.raises(IntegrityError):
                verify_consistency(old, new, proof, sha256(roots[old]).digest(), roots[new])


def altered(proof: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    """One hash too many, one too few, one wrong."""
    wrong = [(*proof, bytes(32))]
    if proof:
        wrong += [proof[:-1], proof[1:], (sha256(proof[0]).digest(), *proof[1:])]
    return wrong


def test_nothing_but_32_octets_is_a_hash() -> None:
    short: NodeReader = lambda level, index: b"x"  # noqa: E731
    with pytest.raises(IntegrityError):
        Tree().append(b"short")
    with pytest.raises(IntegrityError):
        range_hash(0, 2, short)
    with pytest.raises(IntegrityError):
        verify_inclusion(b"", 0, 1, (), b"")
    for text in ("", "AAAA", "!" * 44, "A" * 43 + "B"):
        with pytest.raises(IntegrityError):
            decode_hash(text)


def test_proofs_of_what_is_not_there_are_refused() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(IntegrityError):
            inclusion_proof(index, size, node)
        with pytest.raises(IntegrityError):
            verify_inclusion(LEAVES[0], index, size, (), LEAVES[0])
    with pytest.raises(IntegrityError):
        consistency_proof(6, 5, node)
    with pytest.raises(IntegrityError):
        verify_consistency(6, 5, (), LEAVES[0], LEAVES[0])


def test_a_node_is_not_taken_for_a_leaf() -> None:
    assert node_hash(LEAVES[0], LEAVES[1]) != leaf_hash(LEAVES[0] + LEAVES[1])
