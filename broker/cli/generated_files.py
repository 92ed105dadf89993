"""What `otbroker dev` generates at every start and people edit in between: what somebody changed is never undone."""

from dataclasses import dataclass, field
from pathlib import Path

from broker.adapters.private_files import write_private

REMEMBERED = "generated"


@dataclass(slots=True)
class GeneratedFiles:
    """Files below `folder`; beside them stays what was generated last, which tells an edited one.

    `kept` are the edited ones that were left, `set_aside` those that had to make room, under their new names.
    """

    folder: Path
    kept: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)

    def write(self, name: str, text: str) -> None:
        """Write it, unless somebody edited it: of an edited one only lines that still are as generated change.

        These are the addresses and times that differ from start to start.
        """
        there, generated = _text(self.folder / name), self._generated(name)
        if there is None or there in {generated, text}:
            self._put(name, text, text)
        elif generated is None:  # from before anything was remembered: nobody can say whether it was edited
            self._set_aside(name, there)
            self._put(name, text, text)
        else:
            self.kept.append(name)
            self._put(name, _renewed(there, generated, text), text)

    def replace(self, name: str, text: str) -> None:
        """Write it, and set an edited one aside."""
        there = _text(self.folder / name)
        if there is not None and there not in {self._generated(name) or there, text}:
            self._set_aside(name, there)
        self._put(name, text, text)

    def _generated(self, name: str) -> str | None:
        return _text(self.folder / REMEMBERED / name)

    def _put(self, name: str, text: str, generated: str) -> None:
        write_private(self.folder / name, _octets(text))
        write_private(self.folder / REMEMBERED / name, _octets(generated))

    def _set_aside(self, name: str, text: str) -> None:
        aside = f"{name}.before"
        write_private(self.folder / aside, _octets(text))
        self.set_aside.append(aside)


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _renewed(edited: str, generated: str, text: str) -> str:
    """The edited lines, but those that were generated otherwise than now; none if the lines do not correspond."""
    before, now = generated.split("\n"), text.split("\n")
    if len(before) != len(now):
        return edited
    changed = {old: new for old, new in zip(before, now, strict=True) if old != new}
    return "\n".join(changed.get(line, line) for line in edited.split("\n"))
