"""The C2SP tlog-tiles v0.1.0 layout: where hashes and records lie, and the right edge of a tree written in it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from broker.errors import IntegrityError
from broker.ledger.merkle import HASH_OCTETS, NodeReader, fold_peaks, subtree_hash

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
    entries: list[bytes] = []
    at = 0
    while len(entries) < width:
        end = at + 2 + int.from_bytes(octets[at : at + 2], "big")
        if end > len(octets) or at + 2 > len(octets):
            raise IntegrityError("bundle_short", "an entry bundle ends too early", f"after {len(entries)} entries")
        entries.append(octets[at + 2 : end])
        at = end
    if width == WIDTH and at != len(octets):
        raise IntegrityError("bundle_long", "an entry bundle holds more than its entries")
    return entries


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
        self._levels: list[list[bytes]] = [list(level) for level in levels]

    @classmethod
    def load(cls, size: int, read: TileReader) -> "Edge":
        """The edge of a stored tree."""
        levels: list[list[bytes]] = []
        while size >> (HEIGHT * len(levels)):
            level = len(levels)
            full, partial = tiles_of(level, size)
            levels.append(split_hashes(read(level, full, partial), partial) if partial else [])
        return cls(size, levels)

    def append(self, leaf: bytes) -> list[Tile]:
        """Add a leaf hash; the tiles that it completed."""
        completed: list[Tile] = []
        self.size += 1
        level = 0
        while True:
            if level == len(self._levels):
                self._levels.append([])
            row = self._levels[level]
            row.append(leaf)
            if len(row) < WIDTH:
                return completed
            number = (self.size >> (HEIGHT * (level + 1))) - 1
            completed.append(Tile(level, number, WIDTH, b"".join(row)))
            leaf, self._levels[level] = subtree_hash(row), []
            level += 1

    def partials(self) -> list[Tile]:
        """The partial tiles that a checkpoint of this size needs."""
        rows = [(level, row) for level, row in enumerate(self._levels) if row]
        return [Tile(level, tiles_of(level, self.size)[0], len(row), b"".join(row)) for level, row in rows]

    def root(self) -> bytes:
        """The Merkle tree hash."""
        peaks: list[bytes] = []
        for row in reversed(self._levels):
            start = 0
            for bit in reversed(range(HEIGHT)):
                if len(row) >> bit & 1:
                    peaks.append(subtree_hash(row[start : start + (1 << bit)]))
                    start += 1 << bit
        return fold_peaks(peaks)
