"""The tlog-tiles layout: paths and widths of the specification's examples, and the tree computed from tiles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import IntegrityError
from broker.ledger.merkle import Tree, inclusion_proof, leaf_hash, verify_inclusion
from broker.ledger.tiles import (
    Edge,
    bundle_path,
    decode_bundle,
    encode_bundle,
    node_reader,
    split_hashes,
    tile_path,
    tiles_of,
)


def test_paths_are_those_of_the_specification() -> None:
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(1, 0, 17) == "tile/1/000.p/17"
    assert bundle_path(999) == "tile/entries/999"
    assert bundle_path(1000, 5) == "tile/entries/x001/000.p/5"


def test_a_tree_of_70000_has_the_tiles_that_the_specification_names() -> None:
    assert [tiles_of(level, 70_000) for level in range(4)] == [(273, 112), (1, 17), (0, 1), (0, 0)]
    assert [tiles_of(level, 256) for level in range(3)] == [(1, 0), (0, 1), (0, 0)]


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 70_000])
def test_edge_and_tiles_hold_the_same_tree_as_the_plain_one(size: int) -> None:
    tree, edge, tiles = Tree(), Edge(), {}
    leaves = [leaf_hash(b"%d" % i) for i in range(size)]
    for leaf in leaves:
        tree.append(leaf)
        tiles.update({(t.level, t.number): t.octets for t in edge.extend([leaf])})
    tiles.update({(t.level, t.number): t.octets for t in edge.partials()})
    assert edge.root() == tree.root()

    def read(level: int, number: int, width: int) -> bytes:
        return tiles[level, number]

    loaded = Edge.load(size, read)
    assert loaded.root() == tree.root()
    for index in {0, size // 2, size - 1} if size else ():
        proof = inclusion_proof(index, size, node_reader(size, read))
        verify_inclusion(leaves[index], index, size, proof, tree.root())
    assert {(t.level, t.number, t.width) for t in edge.partials()} == {
        (level, *tiles_of(level, size)) for level in range(4) if tiles_of(level, size)[1]
    }


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_come_back_as_they_went(entries: list[bytes]) -> None:
    octets = encode_bundle(entries)
    assert decode_bundle(octets, len(entries)) == entries
    with pytest.raises(IntegrityError):
        decode_bundle(octets, len(entries) + 1)
    for cut in range(len(octets)):
        with pytest.raises(IntegrityError):
            decode_bundle(octets[:cut], len(entries))


def test_a_full_bundle_holds_nothing_else() -> None:
    with pytest.raises(IntegrityError):
        decode_bundle(encode_bundle([b"x"] * 256) + b"\0", 256)
    with pytest.raises(IntegrityError):
        split_hashes(bytes(31), 1)
