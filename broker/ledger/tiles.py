"""The C2SP tlog-tiles v0.1.0 layout: where hashes and records lie, and the right edge of a tree written in it."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from broker.errors import IntegrityError
from broker.ledger.merkle import HASH_OCTETS, NodeReader, fold_peaks, perfect_peaks, push_peak, subtree_hash

WIDTH = 256
HEIGHT = 8
LARGEST_ENTRY = 65535

# The octets of a tile, at least as many hashes as asked for: (tile level, number, width) -> octets.
TileReader = Callable[[int, int, int], bytes]


@dataclass(frozen=True, slots=True)
class Tile:
    """One hash tile; `width` hashes in `octets`."""

    level: int
    number: int
    width: int
    octets: bytes

    @property
    def path(self) -> str:
        """Relative to the log's folder."""
        return tile_path(self.level, self.number, self.width)


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """`tile/<L>/<N>[.p/<W>]`."""
    return f"tile/{level}/{_number_path(number)}{_partial(width)}"


def bundle_path(number: int, width: int = WIDTH) -> str:
    """`tile/entries/<N>[.p/<W>]`."""
    return f"tile/entries/{_number_path(number)}{_partial(width)}"


def _number_path(number: int) -> str:
    digits = str(number)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    return "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])


def _partial(width: int) -> str:
    return "" if width == WIDTH else f".p/{width}"


def tiles_of(level: int, size: int) -> tuple[int, int]:
    """For a tree of that size: how many full tiles a level has, and the width of its partial one (0: none)."""
    return divmod(size >> (HEIGHT * level), WIDTH)


def width_at(level: int, number: int, size: int) -> int:
    """The width of that tile in a tree of that size."""
    full, partial = tiles_of(level, size)
    return WIDTH if number < full else partial


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries, each behind its length in two octets. Entries longer than 65,535 octets are a bug of the caller."""
    parts: list[bytes] = []
    for entry in entries:
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def decode_bundle(octets: bytes, width: int) -> list[bytes]:
    """The first `width` entries. Raises IntegrityError if there are fewer, or if a full bundle holds anything else."""
    entries, end = split_entries(octets, width)
    if width == WIDTH and end != len(octets):
        raise IntegrityError("bundle_long", "an entry bundle holds more than its entries")
    return entries


def split_entries(octets: bytes, count: int) -> tuple[list[bytes], int]:
    """The first `count` entries and where they end. Raises IntegrityError if there are fewer."""
    entries: list[bytes] = []
    at = 0
    with contextlib.suppress(IndexError):
        for _ in range(count):
            start = at + 2
            at = start + (octets[at] << 8 | octets[at + 1])
            entries.append(octets[start:at])
    whole = len(entries) - (at > len(octets))
    if whole < count:
        raise IntegrityError("bundle_short", "an entry bundle ends too early", f"after {whole} entries")
    return entries, at


def split_hashes(octets: bytes, width: int) -> list[bytes]:
    """The first `width` hashes of a tile. Raises IntegrityError if it is shorter."""
    if len(octets) < width * HASH_OCTETS:
        raise IntegrityError("tile_short", "a hash tile is shorter than its width", f"{len(octets)} octets")
    return [octets[i : i + HASH_OCTETS] for i in range(0, width * HASH_OCTETS, HASH_OCTETS)]


def node_reader(size: int, read: TileReader) -> NodeReader:
    """Nodes of a tree of that size, computed from the tiles that hold them."""

    def node(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, HEIGHT)
        start, count = index << height, 1 << height
        number, offset = divmod(start, WIDTH)
        octets = read(tile_level, number, width_at(tile_level, number, size))
        return subtree_hash(split_hashes(octets, offset + count)[offset:])

    return node


class Edge:
    """The right edge of a tiled tree: per tile level, the hashes of the tile that is not full yet."""

    def __init__(self, size: int = 0, levels: Sequence[Sequence[bytes]] = ()) -> None:
        self.size = size
        self._levels: list[list[bytes]] = [list(level) for level in levels] or [[]]
        # Of the full tiles; those of the leaves behind them are computed when a root is asked for.
        self._peaks = [peak for row in reversed(self._levels[1:]) for peak in perfect_peaks(row)]

    @classmethod
    def load(cls, size: int, read: TileReader) -> "Edge":
        """The edge of a stored tree."""
        levels: list[list[bytes]] = []
        while size >> (HEIGHT * len(levels)):
            level = len(levels)
            full, partial = tiles_of(level, size)
            levels.append(split_hashes(read(level, full, partial), partial) if partial else [])
        return cls(size, levels)

    def extend(self, leaves: Sequence[bytes]) -> list[Tile]:
        """Add leaf hashes; the tiles that they completed."""
        completed: list[Tile] = []
        while leaves:
            row = self._levels[0]
            taken = leaves[: WIDTH - len(row)]
            row += taken
            self.size += len(taken)
            leaves = leaves[len(taken) :]
            if len(row) == WIDTH:
                completed += self._complete()
        return completed

    def _complete(self) -> list[Tile]:
        """The lowest tile, which has become full, and those above that it fills."""
        completed: list[Tile] = []
        level = 0
        while len(row := self._levels[level]) == WIDTH:
            completed.append(Tile(level, (self.size >> (HEIGHT * (level + 1))) - 1, WIDTH, b"".join(row)))
            top, self._levels[level] = subtree_hash(row), []
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append(top)
            if level == 0:
                push_peak(self._peaks, top, self.size >> HEIGHT)
            level += 1
        return completed

    def partials(self) -> list[Tile]:
        """The partial tiles that a checkpoint of this size needs."""
        rows = [(level, row) for level, row in enumerate(self._levels) if row]
        return [Tile(level, tiles_of(level, self.size)[0], len(row), b"".join(row)) for level, row in rows]

    def root(self) -> bytes:
        """The Merkle tree hash."""
        return fold_peaks([*self._peaks, *perfect_peaks(self._levels[0])])
