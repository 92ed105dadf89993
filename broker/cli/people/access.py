"""Which broker is asked, and with which proofs: options, a development folder, or a profile file, in this order."""

import argparse
import json
import os
import stat
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from broker.cli.people.exits import CommandError, Exit

PROFILE_VARIABLE = "OTB_PROFILE"
MAX_FILE_OCTETS = 65_536
_PATHS = ("ca", "certificate", "key", "token")
_LOGIN_TEXTS = ("issuer", "client_id", "scope", "resource")
_LOGIN_PATHS = ("issuer_ca", "client_secret", "client_key")
_ENOUGH = frozenset({"api", "certificate", "key", "token"})
_KEYS = frozenset({"api", "system_trust", "development", "persona", *_PATHS, *_LOGIN_TEXTS, *_LOGIN_PATHS})


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """Where tokens come from: the provider, as which client, and the file `kept` of what fresh ones come from.

    A client with a `secret` or a private `key` (files) is a service, which logs in by that alone. `ca` None: the
    system's authorities.
    """

    issuer: str
    client_id: str
    kept: Path
    ca: Path | None = None
    scope: str = "openid"
    resource: str = ""
    secret: Path | None = None
    key: Path | None = None

    @property
    def service(self) -> bool:
        """Whether nobody need be there to log in."""
        return self.secret is not None or self.key is not None


@dataclass(frozen=True, slots=True)
class Access:
    """A broker's address and the files of the proofs; `source` says where this came from, `login` where tokens do."""

    api: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: Path | None = None
    system_trust: bool = False
    source: str = "options"
    login: LoginSettings | None = None


def profile_file(environment: Mapping[str, str], chosen: str | None = None) -> Path:
    """The profile file: the chosen one, that of OTB_PROFILE, or the usual place of the operating system."""
    named = chosen or environment.get(PROFILE_VARIABLE)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(environment.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "otb" / "profile.toml"
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "otb" / "profile.toml"


def find_access(options: argparse.Namespace, environment: Mapping[str, str]) -> Access:
    """What the options say, over the development folder or the profile file. Raises CommandError."""
    given: dict[str, Any] = {
        "api": getattr(options, "api", None),
        "ca": _path(getattr(options, "ca", None)),
        "certificate": _path(getattr(options, "cert", None)),
        "key": _path(getattr(options, "key", None)),
        "token": _path(getattr(options, "token", None)),
        "system_trust": getattr(options, "system_trust", None),
    }
    given = {name: value for name, value in given.items() if value is not None}
    access = replace(_base(options, environment, given), **given)
    if not access.api:
        raise CommandError(
            "profile_missing",
            f"There is no profile: {profile_file(environment, getattr(options, 'profile', None))} is not there.",
            "If you were invited, begin with `otb enrol`; with an account at a provider, with `otb login`; with a "
            "development broker, with `otb profile import DIR`. Or name a profile with --profile, or give --api, --ca, "
            "--cert, --key and --token.",
        )
    if getattr(options, "without_token", False):
        access = replace(access, token=None)
    return replace(access, api=checked_api(access.api))


def _base(options: argparse.Namespace, environment: Mapping[str, str], given: Mapping[str, Any]) -> Access:
    """What the options that are given lie over; nothing if they are enough alone. Raises CommandError."""
    folder, persona = getattr(options, "dev", None), getattr(options, "persona", None)
    chosen = getattr(options, "profile", None)
    if folder:
        return _under(development_access(Path(folder), persona), given)
    enough = _ENOUGH - {"token"} if getattr(options, "without_token", False) else _ENOUGH
    if not chosen and not persona and given.keys() >= enough and given.keys() & {"ca", "system_trust"}:
        return Access("")
    path = profile_file(environment, chosen)
    if path.is_file():
        return _under(read_profile(path, persona), given)
    if persona:
        hint = "Add --dev DIR, or write a profile with `otb profile import DIR`."
        raise CommandError("usage", "--as needs a development folder.", hint, Exit.USAGE)
    if chosen or environment.get(PROFILE_VARIABLE):
        raise CommandError("profile_missing", f"The profile {path} is not there.", "Check --profile or OTB_PROFILE.")
    return Access("")


def _under(access: Access, given: Mapping[str, Any]) -> Access:
    """Whoever names a token himself keeps it fresh himself."""
    login = None if "token" in given else access.login
    return replace(access, source=f"options, over {access.source}", login=login) if given else access


def read_profile(path: Path, persona: str | None = None) -> Access:
    """The access that a profile file describes, as `persona` if that is chosen; its paths are relative to it. Raises
    CommandError.
    """
    try:
        values = tomllib.loads(read_text(path, "profile"))
    except tomllib.TOMLDecodeError as error:
        raise CommandError("profile_invalid", f"The profile {path} is not TOML: {error}.") from None
    wrong = sorted(name for name in values if name not in _KEYS)
    wrong += [
        name for name in _KEYS & values.keys() if not isinstance(values[name], bool if name == "system_trust" else str)
    ]
    if wrong:
        known = ", ".join(sorted(_KEYS))
        raise CommandError(
            "profile_invalid", f"The profile {path} has {', '.join(wrong)} wrong.", f"Known are {known}."
        )
    if "development" in values:
        if values.keys() & {*_LOGIN_TEXTS, *_LOGIN_PATHS}:
            public = f"The profile {path} stands for a persona of a development folder, which does not log in."
            raise CommandError("profile_invalid", public, "Use another profile with --profile FILE.")
        folder = path.parent / Path(values["development"]).expanduser()
        return replace(development_access(folder, persona or values.get("persona")), source=str(path))
    if persona:
        public = f"--as needs a development folder, and the profile {path} names none."
        raise CommandError("usage", public, "Leave --as out, or add --dev DIR.", Exit.USAGE)
    files: dict[str, Any] = {name: path.parent / Path(values[name]).expanduser() for name in _PATHS if name in values}
    login = _login_settings(path, values)
    if login is not None:
        files.setdefault("token", path.with_suffix(".token"))
    system_trust = values.get("system_trust", False)
    return Access(values.get("api", ""), system_trust=system_trust, source=str(path), login=login, **files)


def _login_settings(path: Path, values: Mapping[str, Any]) -> LoginSettings | None:
    """Where tokens come from, if the profile says so. Raises CommandError if it says half of it."""
    given = [name for name in (*_LOGIN_TEXTS, *_LOGIN_PATHS) if name in values]
    if not given:
        return None
    missing = [name for name in ("issuer", "client_id") if not values.get(name)]
    if missing:
        public = f"The profile {path} has {', '.join(given)}, but no {' and no '.join(missing)}."
        raise CommandError("profile_invalid", public, "Give both with `otb login --issuer URL --client-id ID`.")
    files = [path.parent / Path(values[name]).expanduser() if name in values else None for name in _LOGIN_PATHS]
    return LoginSettings(
        issuer=values["issuer"],
        client_id=values["client_id"],
        kept=path.with_suffix(".login.json"),
        ca=files[0],
        scope=values.get("scope", "openid"),
        resource=values.get("resource", ""),
        secret=files[1],
        key=files[2],
    )


def development_facts(folder: Path) -> dict[str, object]:
    """What `dev.json` of a development folder says. Raises CommandError."""
    path = folder / "dev.json"
    if not path.is_file():
        raise CommandError(
            "development_missing",
            f"{path} is not there: no development broker runs in this folder.",
            f"Start one with `otbroker dev --dir {folder}`.",
        )
    try:
        facts = json.loads(read_text(path, "development folder"))
    except ValueError:
        raise CommandError("development_invalid", f"{path} is not JSON.") from None
    if not isinstance(facts, dict) or not isinstance(facts.get("personas"), dict):
        raise CommandError("development_invalid", f"{path} does not describe a development broker.")
    return facts


def development_access(folder: Path, persona: str | None, option: str = "--as") -> Access:
    """The access of a persona of a development folder; `option` is what chooses it. Raises CommandError."""
    facts = development_facts(folder)
    personas = facts["personas"]
    assert isinstance(personas, dict)
    if persona is None or not isinstance(personas.get(persona), dict):
        names = ", ".join(map(str, personas))
        public = "No persona is chosen." if persona is None else f"There is no persona {persona}."
        raise CommandError("persona_unknown", public, f"Choose one with {option}: {names}.", Exit.USAGE)
    proofs: dict[str, Any] = {name: folder / str(personas[persona][name]) for name in ("certificate", "key", "token")}
    return Access(str(facts.get("api", "")), ca=folder / str(facts.get("ca", "ca.pem")), source=str(folder), **proofs)


def read_text(path: Path, what: str, most_octets: int = MAX_FILE_OCTETS) -> str:
    """A small text file. Raises CommandError."""
    try:
        with path.open("rb") as file:
            octets = file.read(most_octets + 1)
    except OSError as error:
        public = f"The {what} {path} cannot be read: {error.strerror or error}."
        raise CommandError("file_unreadable", public, "Check the path and its permissions.") from None
    if len(octets) > most_octets:
        raise CommandError("file_too_large", f"The {what} {path} is too large.")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CommandError("file_not_text", f"The {what} {path} is not a text in UTF-8.") from None


def read_token(path: Path) -> str:
    """The token in a file. Raises CommandError, which never shows what is in the file."""
    token = read_text(path, "token file").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CommandError(
            "token_malformed", f"The file {path} does not hold one token.", "Get a fresh token.", Exit.NOT_AUTHENTICATED
        )
    return token


def exposures(access: Access) -> list[str]:
    """Warnings about secrets that others may read."""
    if os.name != "posix":
        return []
    return [
        f"The {what} file {path} can be read by others; `chmod 600` it."
        for what, path in (("key", access.key), ("token", access.token))
        if path is not None and _others_read(path)
    ]


def _others_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()


def checked_api(api: str) -> str:
    """The address without a trailing slash. Raises CommandError unless it is a plain https:// address."""
    try:
        parts = urlsplit(api)
        plain = parts.scheme == "https" and parts.hostname and not (parts.username or parts.query or parts.fragment)
        plain = bool(plain and parts.path in {"", "/"} and (parts.port is None or parts.port > 0))
    except ValueError:
        plain = False
    if not plain:
        hint = "Give https://HOST or https://HOST:PORT."
        raise CommandError("api_invalid", f"{api} is not the address of an API.", hint, Exit.USAGE)
    return api.rstrip("/")
