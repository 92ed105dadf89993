"""Where results go: standard output as text or JSON, remarks to standard error; nothing is printed unescaped."""

import sys
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, TextIO

from broker.cli.people.safe_text import encode_document, escape

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Cell = str | tuple[str, str]
"""Text, or text with a style."""
_WIDE = 4000


class Screen:
    """Prints what a command has to say. With `as_json` only documents, else only sentences and tables."""

    def __init__(self, as_json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.as_json = as_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        for stream in (self._out, self._err):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    def document(self, document: object) -> None:
        """Print a document, in JSON only."""
        if self.as_json:
            self._out.write(encode_document(document) + "\n")

    def line(self, document: object) -> None:
        """Print a document in one line, in JSON only, at once."""
        if self.as_json:
            self._out.write(encode_document(document, indented=False) + "\n")
            self._out.flush()

    def say(self, text: str, style: str = "") -> None:
        """Print a sentence, in text only."""
        if not self.as_json:
            self._print(self._out, text, style)

    def note(self, text: str, style: str = "yellow") -> None:
        """Print a remark to standard error, whatever the format."""
        self._print(self._err, text, style)

    def facts(self, rows: Iterable[tuple[str, Cell]]) -> None:
        """Print names and values below each other, in text only."""
        self.table((), [((name, "bold"), cell) for name, cell in rows])

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]], right: Sequence[int] = ()) -> None:
        """Print aligned columns, in text only; `right` are the columns that are aligned to the right."""
        if self.as_json or not rows:
            return
        from rich.table import Table

        table = Table(box=None, show_header=bool(columns), header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for place in range(len(rows[0])):
            heading = columns[place] if columns else ""
            table.add_column(heading, justify="right" if place in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_text(cell) for cell in row))
        self._write_table(table)

    def _write_table(self, table: object) -> None:
        if self._out.isatty():
            self._console(self._out).print(table)
            return
        plain = StringIO()
        self._console(plain).print(table)
        self._out.writelines(line.rstrip() + "\n" for line in plain.getvalue().splitlines())

    def _print(self, stream: TextIO, text: str, style: str) -> None:
        if style and stream.isatty():
            self._console(stream).print(_text((text, style)), soft_wrap=True, highlight=False)
        else:
            stream.write(escape(text) + "\n")
        stream.flush()

    def _console(self, stream: TextIO) -> "Console":
        from rich.console import Console

        width = None if stream.isatty() else _WIDE
        return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def _text(cell: Cell) -> "Text":
    from rich.text import Text

    text, style = cell if isinstance(cell, tuple) else (cell, "")
    return Text(escape(text), style)
