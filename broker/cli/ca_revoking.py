"""`otbroker ca revoke`: one certificate with what was renewed from it, or all of one name."""

import argparse
import time
from pathlib import Path

from broker.adapters.authority.folder import AuthorityFolder
from broker.adapters.authority.key_files import Secrets
from broker.adapters.authority.register import locked
from broker.adapters.authority.root import REASONS
from broker.cli.ca_words import tell
from broker.errors import IssuanceError


def add_revoke_arguments(command: argparse.ArgumentParser) -> None:
    """What it takes."""
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("serial", metavar="SERIAL", nargs="?", help="hexadecimal, as `ca issue` prints it")
    which.add_argument("--name", help="every certificate of this mailbox, SPIFFE id or DNS name that is good now")
    command.add_argument("--reason", choices=tuple(REASONS), default="unspecified")


def revoke(arguments: argparse.Namespace, folder: Path, secrets: Secrets) -> int:
    """Revoke and publish, once. Raises IssuanceError if there is nothing of that serial or name."""
    now = time.time()
    with locked(folder):
        authority = AuthorityFolder(folder, secrets)
        asked = [arguments.serial] if arguments.serial else authority.good_of(arguments.name, now)
        if not asked:
            public = f"No certificate of {arguments.name!a} is good."
            raise IssuanceError("name_unknown", public, "names are written as in the certificate")
        revoked = [entry for serial in asked for entry in authority.note_revoked(serial, arguments.reason, now)]
        authority.publish(now)
    serials = tuple(dict.fromkeys(entry.serial for entry in revoked))
    first = serials[:1] if arguments.serial else serials
    told = {"revoked": ", ".join(first), "names": ", ".join(revoked[0].names), "crl": authority.crl}
    then = serials[len(first) :]
    return tell(told | ({"renewed_from_it": ", ".join(then)} if then else {}), arguments.format)
