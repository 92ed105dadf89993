"""What both programs have: a version to show, and a quiet end when nobody reads their output any more."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

DEFAULT_SETTINGS = "/etc/otbroker/broker.yaml"


class ShowVersion(argparse.Action):
    """`--version`; the installed package is only asked when somebody wants to know."""

    def __init__(self, option_strings: list[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print the program's name and version."""
        from importlib.metadata import version

        sys.stdout.write(f"{parser.prog} {version('otbroker')}\n")
        parser.exit()


def until_unread(run: Callable[[], int]) -> int:
    """Run a program; exit status 1 without a word once the reader of its output, such as `head`, has left."""
    try:
        try:
            return run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
