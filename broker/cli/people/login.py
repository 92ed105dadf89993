"""`login` and `logout`: tokens from an OpenID Provider, and back to it."""

import argparse
import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from broker.cli.people.access import LoginSettings, profile_file, read_profile, read_text
from broker.cli.people.exits import CommandError, Exit
from broker.cli.people.moments import distance, moment
from broker.cli.people.own_files import write_whole
from broker.cli.people.screen import Screen
from broker.cli.people.trouble import token_end

if TYPE_CHECKING:
    from broker.cli.people.openid.id_token import Wish
    from broker.cli.people.openid.kept_login import KeptLogin

_TEXTS = {"issuer": "issuer", "client_id": "client_id", "resource": "resource", "scope": "scope", "api": "api"}
_FILES = {
    "issuer_ca": "issuer_ca",
    "client_secret_file": "client_secret",
    "client_key_file": "client_key",
    "ca": "ca",
    "cert": "certificate",
    "key": "key",
    "token": "token",
}


def log_in(arguments: argparse.Namespace, environment: Mapping[str, str], screen: Screen) -> Exit:
    """Log in as the options say, kept in the profile, or as the profile says."""
    path = _profile(arguments, environment)
    _keep_settings(path, arguments)
    kept = _kept(path)
    from broker.cli.people.openid.id_token import Wish

    wish = Wish(arguments.fresh, arguments.max_age, tuple(arguments.acr))
    asyncio.run(_log_in(kept, wish, _with_browser(arguments, environment), screen))
    return Exit.DONE


def log_out(arguments: argparse.Namespace, environment: Mapping[str, str], screen: Screen) -> Exit:
    """Give back what is kept and delete it, whatever the provider says."""
    kept = _kept(_profile(arguments, environment))
    try:
        asyncio.run(_log_out(kept, arguments.everywhere, screen))
    finally:
        kept.forget()
    screen.document({"issuer": kept.settings.issuer, "logged_out": True})
    screen.say(f"Logged out; {kept.token} is deleted.")
    return Exit.DONE


def _profile(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Path:
    """The profile that is meant. Raises CommandError for a persona of a development folder, which has its token."""
    if getattr(arguments, "dev", None) or getattr(arguments, "persona", None):
        public = "The personas of a development folder have their tokens and do not log in."
        raise CommandError("usage", public, "Name a profile with --profile FILE.", Exit.USAGE)
    return profile_file(environment, getattr(arguments, "profile", None))


def _kept(path: Path) -> "KeptLogin":
    access = read_profile(path) if path.is_file() else None
    if access is None or access.login is None or access.token is None:
        public = f"The profile {path} does not say where you log in."
        raise CommandError("login_unknown", public, "Say it once: `otb login --issuer URL --client-id ID`.")
    from broker.cli.people.openid.kept_login import KeptLogin

    return KeptLogin(access.login, access.token)


def _with_browser(arguments: argparse.Namespace, environment: Mapping[str, str]) -> bool:
    from broker.cli.people.openid.browser_flow import has_browser

    return not arguments.device and has_browser(environment)


async def _log_in(kept: "KeptLogin", wish: "Wish", with_browser: bool, screen: Screen) -> None:
    from broker.cli.people.openid.browser_flow import by_browser
    from broker.cli.people.openid.device_flow import by_device
    from broker.cli.people.openid.kept_login import asked_of, service_grant
    from broker.cli.people.openid.provider import provider_of

    async with provider_of(kept.settings) as provider:
        if kept.settings.service:
            kept.keep(await provider.tokens(service_grant(kept.settings)), {})
            _tell(kept, kept.settings.client_id, None, screen)
            return
        log_in_by = by_browser if with_browser else by_device
        tokens, who = await log_in_by(provider, wish, asked_of(kept.settings), screen)
        kept.keep(tokens, {})
        _tell(kept, who.account, who.authenticated_at, screen)


def _tell(kept: "KeptLogin", account: str, authenticated_at: float | None, screen: Screen) -> None:
    end = token_end(read_text(kept.token, "token"))
    renewed = kept.settings.service or bool(kept.read().get("refresh_token"))
    screen.line(
        {
            "type": "logged_in",
            "issuer": kept.settings.issuer,
            "account": account,
            "authenticated_at": authenticated_at,
            "token": str(kept.token),
            "ends": end,
            "renewed": renewed,
        }
    )
    screen.say(f"Logged in at {kept.settings.issuer} as {account}.", "green")
    told = f"The token ends {moment(end)}, {distance(end)}" if end is not None else "The token does not say its end"
    screen.say(f"{told}; {'`otb` gets fresh ones by itself' if renewed else 'then log in again'}.")


async def _log_out(kept: "KeptLogin", everywhere: bool, screen: Screen) -> None:
    """Tokens go back first; whoever only loses the file leaves them good until their end."""
    from broker.cli.people.openid.kept_login import revoke
    from broker.cli.people.openid.provider import provider_of

    try:
        async with provider_of(kept.settings) as provider:
            page = provider.endpoint("end_session_endpoint", "page to log out at") if everywhere else ""
            await revoke(provider, kept)
    except CommandError as error:
        screen.note(f"Warning: the provider did not take the tokens back: {error.public}")
        page = ""
    if page:
        _open(page, kept.settings, screen)


def _open(page: str, settings: LoginSettings, screen: Screen) -> None:
    """RP-Initiated Logout 1.0, 2; the page asks the person, and the provider tells the broker.

    No ID token goes along: an address is seen by other programs of the machine.
    """
    import webbrowser
    from urllib.parse import urlencode

    address = f"{page}?{urlencode({'client_id': settings.client_id})}"
    screen.say("The browser shows the provider's page; end the login there.")
    if not webbrowser.open(address):
        screen.note(f"No browser could be opened: log out at {address}.")


def _keep_settings(path: Path, arguments: argparse.Namespace) -> None:
    """Put what the options say into the profile, which may not be there yet. Raises CommandError."""
    given = {key: getattr(arguments, name, None) for name, key in _TEXTS.items()}
    files = {key: getattr(arguments, name, None) for name, key in _FILES.items()}
    values = {key: str(text) for key, text in given.items() if text}
    values |= {key: str(Path(file).expanduser().resolve()) for key, file in files.items() if file}
    if not values:
        return
    before = read_text(path, "profile") if path.is_file() else ""
    write_whole(path, with_values(before, values))
    try:
        read_profile(path)
    except CommandError:
        if before:
            write_whole(path, before)
        else:
            path.unlink()
        raise


def with_values(text: str, values: Mapping[str, str]) -> str:
    """A profile's text with these values in place of what it says, or below; everything else stays as it is."""
    import json

    lines = text.splitlines()
    for key, value in values.items():
        line = f"{key} = {json.dumps(value)}"
        places = [place for place, known in enumerate(lines) if re.match(rf"\s*{key}\s*=", known)]
        if places:
            lines[places[0]] = line
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
