"""The part of `otb`'s command line for those who activate policies and approve what takes more than one person."""

import argparse
from collections.abc import Callable
from typing import Any

MakeCommand = Callable[[Any, str, str, str], argparse.ArgumentParser]
"""Makes a command: below which, its name, its function's place, its help."""


def add_policy(commands: Any, command: MakeCommand) -> None:
    """Add `policy` and what belongs to it."""
    policy = command(commands, "policy", "policies:ls", "see and activate policies that the broker knows")
    parts = policy.add_subparsers(dest="policy_command", metavar="COMMAND", title="commands (default: ls)")
    command(parts, "ls", "policies:ls", "list what is in force, what waits and what was in force before")
    show = command(parts, "show", "policies:show", "print the modules and data of a revision")
    show.add_argument("revision", nargs="?", default="", metavar="REVISION", help="which one (default: in force)")
    diff = command(parts, "diff", "policies:diff", "compare two revisions, line by line")
    diff.add_argument("new", nargs="?", default="", metavar="NEW", help="the later one (default: the one that waits)")
    diff.add_argument("old", nargs="?", default="", metavar="OLD", help="the earlier one (default: in force)")
    activate = command(
        parts,
        "activate",
        "policies:activate",
        "approve exactly this revision; the last approval that it takes activates it",
    )
    activate.add_argument("revision", metavar="REVISION", help="the whole revision, as `otb policy ls` shows it")


def add_proposals(commands: Any, command: MakeCommand, file: Callable[[Any, str, str, str], None]) -> None:
    """Add `proposals` and what belongs to it."""
    text = "propose and approve acts that more than one person must want"
    proposals = command(commands, "proposals", "proposals:ls", text)
    parts = proposals.add_subparsers(dest="proposals_command", metavar="COMMAND", title="commands (default: ls)")
    command(parts, "ls", "proposals:ls", "list proposals, the newest first")
    create = command(parts, "create", "proposals:create", "propose what `otbroker ca … --propose FILE` wrote")
    file(create, "--file", "FILE", "what is proposed")
    create.add_argument("--why", required=True, metavar="TEXT", help="the reason, for those who are to approve")
    show = command(parts, "show", "proposals:show", "show one proposal")
    approve = command(parts, "approve", "proposals:approve", "approve a proposal")
    refuse = command(parts, "refuse", "proposals:refuse", "refuse a proposal for good")
    refuse.add_argument("--why", required=True, metavar="TEXT", help="the reason")
    warrant = command(parts, "warrant", "proposals:warrant", "write the warrant of an approved proposal to a file")
    file(warrant, "--out", "FILE", "for `otbroker ca … --warrant FILE`")
    for part in (show, approve, refuse, warrant):
        part.add_argument("proposal", metavar="PROPOSAL", help="its id, as `otb proposals ls` shows it")
