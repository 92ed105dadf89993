"""The vendor of `otbroker dev` that has no authority of its own: the broker has one in use for it."""

import base64
import os
from pathlib import Path
from typing import Any

from broker.adapters.authority.folder import AuthorityFolder, KeyFacts
from broker.adapters.authority.register import locked
from broker.adapters.authority.root import create_root
from broker.adapters.authority.rotation import create_folder
from broker.adapters.private_files import write_private
from broker.cli.passphrases import GivenSecrets

INVITED = "northwind"
NAMESPACES = ("*@northwind.example", "spiffe://northwind.example/*")
CRL_SECONDS = 7 * 86_400
LOOPBACK = "localhost"


def make_authority(folder: Path, now: float) -> Path:
    """The authority, made if there is none, with fresh lists; its folder."""
    passphrase = folder / "passphrase"
    if not passphrase.exists():
        write_private(passphrase, base64.b64encode(os.urandom(24)) + b"\n")
    secrets = GivenSecrets("issuing authority", str(passphrase))
    with locked(folder):
        if not (folder / "ca.json").exists():
            root = create_root(folder / "root", INVITED, NAMESPACES, secrets, now)
            create_folder(folder, root, KeyFacts(), CRL_SECONDS, secrets, now)
        else:
            AuthorityFolder(folder, secrets).publish(now)
    return folder


def organisation_yaml(authority: Path, sponsor: str, plant: bool) -> str:
    """Its entry in the inventory; whether that has the simulated `plant`, for which it may ask."""
    lines = [
        f"  - id: {INVITED}",
        f'    anchors: ["{authority / "root.pem"}"]',
        f'    crl_files: ["{authority / "crl.pem"}"]',
        "    crl_required: true",
        "    namespaces: [" + ", ".join(f'"{pattern}"' for pattern in NAMESPACES) + "]",
        f"    sponsor: {sponsor}",
        *(["    allowed: {sites: [plant]}"] if plant else []),
    ]
    return "\n".join(lines) + "\n"


def enrolment_settings(authority: Path) -> dict[str, Any]:
    """The broker's settings for it."""
    place = {"organisation": INVITED, "folder": str(authority), "passphrase_file": str(authority / "passphrase")}
    keys = {"relying_party": LOOPBACK, "origins": [f"https://{LOOPBACK}"]}
    return {"authorities": [place], "security_keys": keys}
