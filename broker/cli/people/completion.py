"""`completion`: the words of `otb` for a shell."""

import argparse
from collections.abc import Mapping

from broker.cli.completion import print_completion
from broker.cli.people.arguments import parser
from broker.cli.people.exits import Exit
from broker.cli.people.screen import Screen


def completion(arguments: argparse.Namespace, environment: Mapping[str, str], screen: Screen) -> Exit:
    """Print what the shell reads, whatever the format."""
    print_completion(parser(), arguments.shell)
    return Exit.DONE
