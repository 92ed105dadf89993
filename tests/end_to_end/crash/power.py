"""Power loss: from a trace of system calls, what a disk is bound to hold; everything else is taken away.

Content is kept as far as an fsync of the file that was completed covers it, a name as far as one of its folder does.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TRACED = "openat,write,pwrite64,writev,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir"
_LINE = re.compile(r"^(\d+) +(.*)$")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)(?:<(.*?)>)?")
_DESCRIPTOR = re.compile(r"^(?:\d+|AT_FDCWD)<(.*?)>")
_NAMES = re.compile(r'"([^"]*)"')


def tracing(strace: str, log: Path) -> list[str]:
    """The prefix under which a broker's calls are traced into a file, each line there before the caller goes on."""
    return [
        strace,
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-y",
        "-s",
        "0",
        "-e",
        "signal=none",
        "-e",
        f"trace={TRACED}",
        "-o",
        str(log),
    ]


@dataclass(slots=True)
class _Call:
    name: str
    arguments: str
    result: int
    opened: str
    begun: int
    ended: int


@dataclass(slots=True)
class _Stored:
    """A file or folder: how long it is, how much of it is on disk, and whether its name is."""

    length: int = 0
    durable: int = 0
    named: bool = False
    writes: list[tuple[int, int]] = field(default_factory=list)
    """(When a write ended, length then)."""


class Disk:
    """What is on disk below one folder, starting with all that is there now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stored: dict[str, _Stored] = {str(folder): _Stored(named=True)}
        self._named_at: dict[str, int] = {}
        if folder.exists():
            for path in folder.rglob("*"):
                length = path.stat().st_size if path.is_file() else 0
                self._stored[str(path)] = _Stored(length, length, named=True)

    def follow(self, log: Path) -> int:
        """Take in a trace; how many syncs of the journal it holds."""
        syncs = 0
        for call in _calls(log):
            if call.result >= 0:
                self._take(call)
                syncs += call.name == "fdatasync" and "/journal/" in call.arguments
        return syncs

    def lose_power(self, chance: random.Random) -> int:
        """Bring the folder to what may be left; how many octets and names went."""
        lost = 0
        for path in sorted(self._folder.rglob("*"), reverse=True):
            stored = self._stored.get(str(path))
            assert stored is not None, f"{path} is not in the trace"
            if path.is_dir():
                if not stored.named:
                    assert not any(path.iterdir()), f"{path} holds durable names and has none itself"
                    path.rmdir()
            elif not self._reachable(path):
                path.unlink()
                lost += 1
            elif path.name != "lock":
                lost += _cut(path, stored.durable, chance)
        return lost

    def _reachable(self, path: Path) -> bool:
        while path != self._folder:
            stored = self._stored.get(str(path))
            if stored is None or not stored.named:
                return False
            path = path.parent
        return True

    def _take(self, call: _Call) -> None:
        of = _DESCRIPTOR.match(call.arguments)
        path = of.group(1) if of else ""
        if call.name == "openat":
            self._opened(call)
        elif call.name in ("write", "writev", "pwrite64"):
            if (stored := self._stored.get(path)) is not None:
                stored.length += call.result
                stored.writes.append((call.ended, stored.length))
        elif call.name == "ftruncate":
            if (stored := self._stored.get(path)) is not None:
                stored.length = int(call.arguments.rpartition(",")[2])
                stored.durable = min(stored.durable, stored.length)
                stored.writes = [(call.ended, stored.length)]
        elif call.name in ("fsync", "fdatasync"):
            self._synced(path, call.begun)
        else:
            self._renamed_or_removed(call, path)

    def _opened(self, call: _Call) -> None:
        path = call.opened
        if "O_CREAT" not in call.arguments or not path.startswith(str(self._folder)):
            return
        if path not in self._stored:
            self._stored[path] = _Stored()
            self._named_at[path] = call.ended
        if "O_TRUNC" in call.arguments:
            named = self._stored[path].named
            self._stored[path] = _Stored(named=named)

    def _synced(self, path: str, begun: int) -> None:
        stored = self._stored.get(path)
        if stored is None:
            return
        for name, at in tuple(self._named_at.items()):
            if at < begun and str(Path(name).parent) == path:
                self._stored[name].named = True
                del self._named_at[name]
        covered = [length for ended, length in stored.writes if ended < begun]
        if covered:
            stored.durable = max(stored.durable, covered[-1])
            stored.writes = [entry for entry in stored.writes if entry[0] >= begun]

    def _renamed_or_removed(self, call: _Call, at: str) -> None:
        names = [name if name.startswith("/") else f"{at}/{name}" for name in _NAMES.findall(call.arguments)]
        if call.name == "mkdir":
            if names[0].startswith(str(self._folder)):
                self._stored.setdefault(names[0], _Stored(named=names[0] == str(self._folder)))
                self._named_at[names[0]] = call.ended
            return
        stored = self._stored.pop(names[0], None)
        self._named_at.pop(names[0], None)
        if call.name.startswith("rename") and stored is not None:
            replaced = self._stored.get(names[1])
            stored.named = replaced is not None and replaced.named
            self._stored[names[1]] = stored
            self._named_at[names[1]] = call.ended


def _cut(path: Path, durable: int, chance: random.Random) -> int:
    """To what is certain, to a little more, or in a journal with zeros where data never came; the octets that went."""
    length = path.stat().st_size
    if length <= durable:
        return 0
    kept = chance.choice((durable, chance.randint(durable, length)))
    with path.open("r+b") as file:
        file.truncate(kept)
        if path.parent.name == "journal" and chance.random() < 0.5:
            file.truncate(length)
    return length - kept


def _calls(log: Path) -> Iterator[_Call]:
    """Finished calls in the order in which they ended; `begun` and `ended` are line numbers."""
    pending: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(log.read_text(errors="replace").splitlines()):
        parts = _LINE.match(line)
        if parts is None:
            continue
        thread, text, begun = parts.group(1), parts.group(2), number
        if text.endswith(_UNFINISHED):
            pending[thread] = (number, text.removesuffix(_UNFINISHED))
            continue
        if (resumed := _RESUMED.match(text)) is not None:
            if thread not in pending:
                continue
            begun, start = pending.pop(thread)
            text = start + resumed.group(2)
        if (call := _CALL.match(text)) is not None:
            yield _Call(call.group(1), call.group(2), int(call.group(3)), call.group(4) or "", begun, number)
