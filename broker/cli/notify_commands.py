"""`otbroker notify …`: try the channels of the settings."""

import argparse
import asyncio
import json
from typing import Any

from broker.adapters.clock import SystemClock, random_id
from broker.cli.config_files import load_settings
from broker.cli.people.safe_text import escape
from broker.cli.program import DEFAULT_SETTINGS
from broker.errors import ConfigError
from broker.wiring.notices import try_channels

ANSWER_SECONDS = 20.0

Subparsers = Any  # argparse names its own type privately


def add_notify_commands(subparsers: Subparsers) -> None:
    """Add `notify` and what belongs to it; each sets `run`, a function of the parsed arguments with the exit status."""
    notify = subparsers.add_parser("notify", help="try where notices go")
    commands = notify.add_subparsers(dest="notify_command", required=True, metavar="COMMAND")
    test = commands.add_parser(
        "test",
        help="send a notice through every channel",
        description="Send a notice through every channel and say what came back; exit status 1 if one did not take it.",
    )
    test.add_argument("--settings", metavar="FILE", default=DEFAULT_SETTINGS, help="default: %(default)s")
    test.add_argument("--format", choices=("text", "json"), default="text")
    test.set_defaults(run=_test)


def _test(arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.settings).settings
    if not settings.notifications:
        raise ConfigError("no_channels", "The settings name no channel.", "Add one under notifications.")
    tried = asyncio.run(
        try_channels(settings.notifications, SystemClock(), random_id, settings.ledger.origin, ANSWER_SECONDS)
    )
    if arguments.format == "json":
        rows = [{"name": name, "place": place, "taken": taken, "said": said} for name, place, taken, said in tried]
        print(json.dumps(rows, indent=2))
    for name, place, taken, said in tried if arguments.format == "text" else ():
        print(f"{name}: {'taken' if taken else 'NOT TAKEN'} by {escape(place)}: {escape(said)}")
    return 0 if all(taken for _, _, taken, _ in tried) else 1
