"""The generated pages of docs/reference: `python -m tests.reference` says which differ, `--write` writes them."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from broker.api.openapi import openapi_octets
from broker.api.reference import api_reference
from broker.cli import otbroker
from broker.cli.people.reference import reference_markdown
from broker.ledger.notices import NOTICES
from broker.listeners.figures import figures_reference
from broker.model.frame_words import FRAME_REFUSALS
from broker.model.notice import BROKER_NOTICES
from broker.model.words import ACTIONS, END_REASONS, REASONS, RECORD_KINDS, RESULTS, Words
from broker.settings.reference import markdown
from tests.bacnet_actions_page import bacnet_actions_reference
from tests.permissions_page import permissions_reference

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"


def pages() -> Mapping[str, Callable[[], str]]:
    """What makes each page, by file name."""
    return {
        "settings.md": lambda: markdown("settings"),
        "inventory.md": lambda: markdown("inventory"),
        "bacnet-actions.md": bacnet_actions_reference,
        "api.md": api_reference,
        "openapi.json": lambda: openapi_octets().decode(),
        "metrics.md": figures_reference,
        "otb.md": reference_markdown,
        "otbroker.md": lambda: command_reference(otbroker.parser()),
        "permissions.md": permissions_reference,
        "vocabulary.md": vocabulary_reference,
    }


def differing() -> list[str]:
    """The pages that are not what is generated."""
    return [name for name, make in pages().items() if _read(FOLDER / name) != make()]


def command_reference(parser: argparse.ArgumentParser) -> str:
    """A command line's page, from its parser: every command with its options."""
    head = f"# {parser.prog}\n\n{parser.description}\n"
    return "\n".join([head, *(_command(command) for command in _commands(parser))])


def _notices() -> Iterator[tuple[str, ...]]:
    """Kinds of records with what is told of them, then the notices that no record is behind."""
    for kind, told in NOTICES.items():
        if told is not None:
            yield kind, told[0].word, ", ".join(f"`{name}`" for name in told[1])
    for notice, text in BROKER_NOTICES.items():
        yield notice, {"part_failed": "alarm or warning", "test": "always"}.get(notice, "warning"), text


def vocabulary_reference() -> str:
    """The constant words and what they mean."""
    sections = [
        "# Vocabulary\n\nThe constant words of answers, sessions and the ledger; nothing else makes one up.\n",
        "## Actions\n\nWhat kind of thing an operation does.\n",
        _table(("action", "meaning"), ACTIONS.items()),
        "## Reasons\n\nWhy something was denied; policies answer with these words and no others.\n",
        _table(("reason", "meaning", "what to do"), _explained(REASONS)),
        "## Ends of sessions\n\nWhy a session ended.\n",
        _table(("reason", "meaning", "what to do"), _explained(END_REASONS)),
        "## Results\n\nHow an intended operation came out; an intent has exactly one.\n",
        _table(("result", "meaning", "what to do"), _explained(RESULTS)),
        "## Refused frames\n\nWhy octets were not forwarded: `code` of a `frame_refused` record.\n",
        _table(("code", "meaning"), FRAME_REFUSALS.items()),
        "## Record kinds\n\nWhat the ledger holds; see [the ledger](../ledger.md).\n",
        _table(("kind", "meaning"), RECORD_KINDS.items()),
        "## Notices\n\nWhat people are told, and how it matters: see [notifications](../how-to/notifications.md).\n",
        _table(("kind", "severity", "told"), _notices()),
    ]
    return "\n".join(sections)


def _explained(words: Mapping[str, Words]) -> Iterator[tuple[str, str, str]]:
    return ((word, explained.text, explained.what_to_do) for word, explained in words.items())


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in rows]
    return "\n".join(lines) + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command that can be run, in order of depth first."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield parser
    for action in inner:
        for command in dict.fromkeys(action.choices.values()):
            yield from _commands(command)


def _command(parser: argparse.ArgumentParser) -> str:
    usage = parser.prog + "".join(f" {part}" for part in _usage(parser))
    lines = [f"## {parser.prog}\n", f"{_sentence(parser.description or '')}\n", f"    {usage}\n"]
    rows = [(_shown(action), _meaning(parser, action)) for action in _arguments(parser)]
    lines += [_table(("argument", "meaning"), rows)] if rows else []
    return "\n".join([*lines, *([f"```\n{parser.epilog}\n```\n"] if parser.epilog else [])])


def _arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]


def _usage(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in _arguments(parser):
        optional = bool(action.option_strings) and not action.required
        yield f"[{_shown(action)}]" if optional or action.nargs == "?" else _shown(action)


def _shown(action: argparse.Action) -> str:
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    value = choices or (action.metavar if isinstance(action.metavar, str) else "") or action.dest.upper()
    if not action.option_strings:
        return value
    return action.option_strings[-1] + ("" if action.nargs == 0 else f" {value}")


def _meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    return formatter._expand_help(action).replace("|", "&#124;") if action.help else ""


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main(arguments: list[str]) -> int:
    """Exit status 1 if a page differs and was not written."""
    stale = differing()
    for name in stale:
        if "--write" in arguments:
            (FOLDER / name).write_text(pages()[name](), encoding="utf-8")
        print(f"docs/reference/{name}: {'written' if '--write' in arguments else 'differs: run `make docs`'}")
    return 1 if stale and "--write" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
