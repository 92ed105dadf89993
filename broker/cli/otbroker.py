"""`otbroker`: the server and its operator's commands."""

import argparse
import gc
import importlib
import logging
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from broker.cli.completion import HELP, describe_completion, print_completion
from broker.cli.program import DEFAULT_SETTINGS, ShowVersion, until_unread
from broker.errors import BrokerError, ConfigError

DEFAULT_FOLDER = ".dev"
Commands = Any  # argparse names its own type privately


def _elsewhere(place: str) -> Callable[[Commands], None]:
    """Commands that a function of another module adds, `module:function` below `broker.cli`."""
    module, _, function = place.partition(":")

    def add(commands: Commands) -> None:
        getattr(importlib.import_module(f"broker.cli.{module}"), function)(commands)

    return add


def _add_serve(commands: Commands) -> None:
    serving = commands.add_parser("serve", help="run the broker", description="Run the broker until SIGTERM.")
    serving.add_argument("--config", default=DEFAULT_SETTINGS, metavar="FILE", help="settings (default: %(default)s)")
    serving.set_defaults(run=_serve)


def _add_dev(commands: Commands) -> None:
    dev = commands.add_parser(
        "dev",
        help="a broker with a simulated building, on loopback",
        description="Run a broker with a development authority, six personas and a simulated building; loopback only.",
    )
    dev.add_argument(
        "--dir",
        type=Path,
        default=Path(DEFAULT_FOLDER),
        metavar="DIR",
        help="all state, reusable (%(default)s); edited files of the inventory are kept",
    )
    dev.add_argument("--opa", default="", metavar="URL", help="use this OPA server instead of the embedded engine")
    dev.add_argument("--window-seconds", type=int, metavar="N", help="the open window closes N seconds after start")
    dev.add_argument("--inventory", type=Path, metavar="DIR", help="use the devices, windows and grants of this folder")
    dev.add_argument("--state", default="", metavar="URL", help="a PostgreSQL on loopback that brokers share")
    dev.add_argument("--settings", type=Path, metavar="FILE", help="settings over its own: sections join, lists grow")
    dev.add_argument(
        "--walkthrough",
        action="store_true",
        help="tell the main job step by step and check each step, in a building of its own: DIR/walkthrough, made anew",
    )
    dev.set_defaults(run=_dev)


def _add_api(commands: Commands) -> None:
    api = commands.add_parser("api", help="what the API serves", description="Print what the API serves.")
    api.add_argument("what", choices=("openapi", "reference"), help="OpenAPI 3.1 as JSON, or a page as Markdown")
    api.set_defaults(run=_api)


def _add_completion(commands: Commands) -> None:
    completion = commands.add_parser("completion", help=HELP, description=f"{HELP[0].upper()}{HELP[1:]}.")
    describe_completion(completion, "otbroker")
    completion.set_defaults(run=_completion)


COMMANDS: dict[str, Callable[[Commands], None]] = {
    "serve": _add_serve,
    "dev": _add_dev,
    "config": _elsewhere("config_commands:add_config_commands"),
    "ledger": _elsewhere("ledger_commands:add_ledger_commands"),
    "discover": _elsewhere("field.commands:add_discover"),
    "ca": _elsewhere("ca_commands:add_ca_commands"),
    "notify": _elsewhere("notify_commands:add_notify_commands"),
    "break-glass": _elsewhere("break_glass_commands:add_break_glass_commands"),
    "api": _add_api,
    "completion": _add_completion,
}


def parser(names: Collection[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """The whole command line of `otbroker`, or of these commands only: the code of the others is not loaded."""
    root = argparse.ArgumentParser(prog="otbroker", description="Zero-trust OT access broker.")
    root.add_argument("--version", action=ShowVersion)
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in names:
        COMMANDS[name](commands)
    return root


def _completion(arguments: argparse.Namespace) -> int:
    print_completion(parser(), arguments.shell)
    return 0


def _api(arguments: argparse.Namespace) -> int:
    from broker.api.openapi import openapi_octets
    from broker.api.reference import api_reference

    print(openapi_octets().decode() if arguments.what == "openapi" else api_reference(), end="")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    gc.disable()  # until it serves: what is loaded until then stays, and to look for garbage in it takes a fifth of it
    from broker.cli.serving import serve

    return serve(arguments.config)


def _dev(arguments: argparse.Namespace) -> int:
    gc.disable()  # as for `serve`
    from broker.cli.development import Development, DevelopmentOptions
    from broker.cli.greeting import greeting
    from broker.cli.serving import run_loop, run_until_signal, set_up_logging
    from broker.cli.walkthrough import OWN_FOLDER, emptied, walk_through
    from broker.settings.broker_file import LoggingSection
    from broker.wiring import inventory_changes, policy_review, reload

    set_up_logging(LoggingSection(level="warning"))
    for telling in (reload, inventory_changes, policy_review):  # what comes into force, one line each
        logging.getLogger(telling.__name__).setLevel(logging.INFO)
    if arguments.walkthrough and (arguments.inventory or arguments.window_seconds is not None):
        public = "The walkthrough tells of the simulated building: leave --inventory and --window-seconds out."
        raise ConfigError("walkthrough_alone", public)
    options = DevelopmentOptions(
        emptied(arguments.dir / OWN_FOLDER) if arguments.walkthrough else arguments.dir,
        arguments.opa,
        arguments.window_seconds,
        arguments.inventory,
        arguments.state,
        arguments.settings,
    )
    development = Development(options)
    try:
        broker = development.set_up()
        if arguments.walkthrough:
            return walk_through(development, broker)

        async def tell() -> None:
            await development.tell()
            print("\n".join(greeting(development, broker)), flush=True)

        run_loop(run_until_signal(broker, tell))
        return 0
    finally:
        development.tear_down()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; exit status 0, 1 after an error that is explained on standard error, 2 for wrong usage."""
    return until_unread(lambda: _main(argv))


def _needed(first: str) -> Collection[str]:
    """The commands whose code a command line needs: its own, none for the version, all to help or to complain."""
    if first in COMMANDS:
        return (first,)
    return () if first == "--version" else tuple(COMMANDS)


def _main(argv: Sequence[str] | None) -> int:
    given = sys.argv[1:] if argv is None else argv
    arguments = parser(_needed(given[0] if given else "")).parse_args(given)
    try:
        return int(arguments.run(arguments))
    except ConfigError as error:
        from broker.cli.config_files import describe

        for problem in error.problems:
            print(describe(problem), file=sys.stderr)
        if not error.problems:
            print(f"otbroker: {error.public} {error.detail}".rstrip(), file=sys.stderr)
        return 1
    except BrokerError as error:
        print(f"otbroker: {error.public} {error.detail}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
