"""The command line of `otb` about people: enrol and renew oneself, invite and revoke others."""

import argparse
from collections.abc import Callable
from typing import Any, Protocol

Commands = Any  # argparse names its own type privately
AddFile = Callable[[Any, str, str, str], None]


class AddCommand(Protocol):
    """Adds a command that is run by a function named `module:function`."""

    def __call__(
        self, commands: Commands, name: str, place: str, help_text: str, online: bool = True, description: str = ""
    ) -> argparse.ArgumentParser:
        """The command's parser."""


def add_people(commands: Commands, command: AddCommand, file: AddFile, seconds: Callable[[str], int]) -> None:
    """Add the commands, with the means of the whole command line."""
    _add_enrolling(commands, command, file)
    _add_membership(commands, command, seconds)


def _add_enrolling(commands: Commands, command: AddCommand, file: AddFile) -> None:
    enrol = command(
        commands,
        "enrol",
        "enrolling:enrol",
        "use an invitation: make a key, register an authenticator app, get a certificate",
        online=False,
        description="Needs --api and --ca (or --system-trust). The key is made here and stays here. "
        "Writes the profile; other commands work without options then.",
    )
    enrol.add_argument("code", nargs="?", metavar="-", help="read the code from standard input (default: ask for it)")
    file(enrol, "--code-file", "FILE", "read the code from a file")
    enrol.add_argument("--encrypt", action="store_true", help="keep the key under a passphrase")
    file(enrol, "--passphrase-file", "FILE", "read that passphrase from a file")
    enrol.add_argument("--force", action="store_true", help="replace the profile that is there")
    renew = command(
        commands,
        "renew",
        "enrolling:renew",
        "get the next certificate: by a code of your authenticator app, or as a service",
        online=False,
        description="With a new key each time. Works with a certificate that is over, too.",
    )
    renew.add_argument("--service", action="store_true", help="as a service: by the certificate that is good now")
    renew.add_argument("--now", action="store_true", help="as a service: even if more than a third of its time is left")
    file(renew, "--passphrase-file", "FILE", "read the passphrase of the key from a file")


def _add_membership(commands: Commands, command: AddCommand, seconds: Callable[[str], int]) -> None:
    text = "invite people of an organisation to enrol"
    invite = command(commands, "invite", "invitations:ls", text)
    parts = invite.add_subparsers(dest="invite_command", metavar="COMMAND", title="commands (default: ls)")
    made = command(parts, "create", "invitations:create", "invite somebody; shows a code, this once")
    made.add_argument("organisation", metavar="ORGANISATION", help="of which organisation")
    made.add_argument("subject", metavar="MAILBOX", help="whom: a mailbox in the organisation's namespaces")
    made.add_argument(
        "--for", dest="seconds", type=seconds, metavar="TIME", help="the code is good for 30m, 8h or 2d (default: 48h)"
    )
    command(parts, "ls", "invitations:ls", "list invitations, and what became of them")
    revoked = command(parts, "revoke", "invitations:revoke", "let an invitation's code be good for nothing")
    revoked.add_argument("invitation", metavar="INVITATION", help="the id that `otb invite ls` shows")
    text = "list and revoke people who enrolled"
    people = command(commands, "people", "invitations:people", text)
    parts = people.add_subparsers(dest="people_command", metavar="COMMAND", title="commands (default: ls)")
    command(parts, "ls", "invitations:people", "list who has enrolled")
    gone = command(
        parts,
        "revoke",
        "invitations:revoke_person",
        "take away second factor and certificates, and cut sessions",
        description="At once, on every broker. To keep somebody out for a while, lock instead.",
    )
    gone.add_argument("subject", metavar="SUBJECT", help="who, as `otb people ls` shows")
    gone.add_argument("--why", required=True, metavar="TEXT", help="the reason, for the ledger and the list")
