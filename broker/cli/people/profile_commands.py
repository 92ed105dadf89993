"""`profile import` and `profile show`: the file that says which broker is meant, and with which proofs."""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

from broker.cli.people.access import (
    Access,
    development_access,
    development_facts,
    exposures,
    find_access,
    profile_file,
    read_token,
)
from broker.cli.people.exits import CommandError, Exit
from broker.cli.people.moments import distance, epoch_of, moment
from broker.cli.people.own_files import write_whole
from broker.cli.people.screen import Cell, Screen


def import_profile(arguments: argparse.Namespace, environment: Mapping[str, str], screen: Screen) -> Exit:
    """Write a profile that follows a development folder, whatever port its broker has after the next start."""
    folder = Path(arguments.directory).expanduser().resolve()
    personas = development_facts(folder)["personas"]
    assert isinstance(personas, dict)
    persona = arguments.chosen_persona or getattr(arguments, "persona", None) or next(iter(personas), "")
    development_access(folder, persona, "--persona")
    path = profile_file(environment, getattr(arguments, "profile", None))
    if path.exists() and not arguments.force:
        hint = "Add --force to replace it, or name another file with --profile."
        raise CommandError("profile_exists", f"There is a profile already: {path}.", hint)
    text = f"development = {json.dumps(str(folder))}\npersona = {json.dumps(persona)}\n"
    write_whole(path, text)
    screen.document({"profile": str(path), "development": str(folder), "persona": persona})
    screen.say(f"The profile {path} stands for {persona} of {folder}; try `otb ls`.")
    return Exit.DONE


def show_profile(arguments: argparse.Namespace, environment: Mapping[str, str], screen: Screen) -> Exit:
    """What is in force, where it came from, and whether the proofs hold; nothing secret."""
    from broker.cli.people.trouble import certificate_end, token_end

    access = find_access(arguments, environment)
    certificate = certificate_end(access.certificate) if access.certificate and access.certificate.is_file() else None
    token = token_end(read_token(access.token)) if access.token and access.token.is_file() else None
    ends = {"certificate": certificate, "token": token}
    files = {name: getattr(access, name) for name in ("ca", "certificate", "key", "token")}
    screen.document(
        {"source": access.source, "api": access.api, "system_trust": access.system_trust}
        | {name: None if path is None else str(path) for name, path in files.items()}
        | {f"{name}_ends": end for name, end in ends.items()}
        | {name: getattr(access.login, name, None) for name in ("issuer", "client_id")}
        | {"warnings": exposures(access)}
    )
    screen.facts(_rows(access, files, ends))
    return Exit.DONE


def _rows(access: Access, files: Mapping[str, Path | None], ends: Mapping[str, float | None]) -> list[tuple[str, Cell]]:
    rows: list[tuple[str, Cell]] = [("from", access.source), ("api", access.api)]
    rows += [(name, _file(path, ends.get(name))) for name, path in files.items()]
    if access.login is not None:
        rows.append(("logs in at", f"{access.login.issuer} as {access.login.client_id}"))
    return [*rows, ("system trust", "yes" if access.system_trust else "no")]


def _file(path: Path | None, end: float | None) -> Cell:
    if path is None:
        return "none"
    if not path.is_file():
        return f"{path} is not there", "red"
    if end is None:
        return str(path)
    told = f"{path}, ends {moment(end)}, {distance(end)}"
    return (told, "red") if (epoch_of(end) or 0.0) < time.time() else told
