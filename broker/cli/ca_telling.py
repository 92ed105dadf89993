"""Commands of an authority, told to the broker that reads the journal of its folder."""

import argparse
from contextlib import AbstractContextManager, nullcontext

from broker.adapters.host_journal import HostJournal
from broker.cli.ca_warrants import told_of_warrant

_TOLD = (
    "profile",
    "name",
    "address",
    "modbus_role",
    "serial",
    "reason",
    "csr",
    "request",
    "certificate",
    "revoke",
    "out",
)


def telling(arguments: argparse.Namespace) -> AbstractContextManager[object]:
    """The command told to the broker that reads the folder's journal, if one does."""
    journal = HostJournal(arguments.folder)
    if arguments.ca_command == "status" or not journal.kept:
        return nullcontext()
    given = {name: getattr(arguments, name, None) for name in _TOLD}
    told = {
        name: " ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in given.items()
        if value
    }
    told |= {"folder": str(arguments.folder)} | told_of_warrant(arguments.folder, arguments)
    return journal.telling(f"ca {arguments.ca_command}", **told)
