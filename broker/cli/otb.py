"""`otb`: the command line for people."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from broker.cli.people.arguments import parser
from broker.cli.people.exits import CommandError, Exit, ProblemError
from broker.cli.people.screen import Screen
from broker.cli.program import until_unread

_UNTIL_CTRL_C = frozenset({"broker.cli.people.connect:connect", "broker.cli.people.watching:watch"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status, as `otb --help` lists them."""
    return until_unread(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    arguments = parser().parse_args(argv)
    screen = Screen(getattr(arguments, "format", "text") == "json")
    try:
        return int(_run(arguments, screen))
    except (ProblemError, CommandError) as error:
        return _report(error, screen)
    except KeyboardInterrupt:
        return int(Exit.DONE if arguments.target.place in _UNTIL_CTRL_C else Exit.INTERRUPTED)


def _run(arguments: argparse.Namespace, screen: Screen) -> Exit:
    module, _, name = arguments.target.place.partition(":")
    function: Any = getattr(importlib.import_module(module), name)
    if arguments.target.online:
        import asyncio

        return asyncio.run(_online(function, arguments, screen))
    status: Exit = function(arguments, os.environ, screen)
    return status


async def _online(function: Any, arguments: argparse.Namespace, screen: Screen) -> Exit:
    from broker.cli.people.access import exposures, find_access
    from broker.cli.people.client import Client
    from broker.cli.people.fresh_tokens import kept_fresh

    access = find_access(arguments, os.environ)
    for warning in exposures(access):
        screen.note(f"Warning: {warning}")
    async with kept_fresh(access, screen), Client(access) as client:
        status: Exit = await function(arguments, client, screen)
        return status


def _report(error: ProblemError | CommandError, screen: Screen) -> int:
    from broker.cli.people.problem_words import report

    return int(report(error, screen))


if __name__ == "__main__":
    sys.exit(main())
