"""Names of devices and points: short names where they are enough, and suggestions where a name is wrong."""

import difflib
from urllib.parse import quote

from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Exit, ProblemError
from broker.cli.people.problem_words import entries


async def device_key(client: Client, name: str) -> str:
    """`SITE/DEVICE` for a name with or without its site. Raises CommandError or ProblemError."""
    return name if "/" in name else await _full_name(client, name)


def path_of(key: str) -> str:
    """The path of a device. Raises CommandError if it is not SITE/DEVICE."""
    site, _, device = key.partition("/")
    if not site or not device or "/" in device:
        raise CommandError("usage", f"{key} is not a device: write SITE/DEVICE or DEVICE.", status=Exit.USAGE)
    return f"/v1/devices/{quote(site, safe='')}/{quote(device, safe='')}"


def site_path(site: str) -> str:
    """The path of a site. Raises CommandError if it is none's name."""
    if not site:
        raise CommandError("usage", "Nothing is not a site.", status=Exit.USAGE)
    return f"/v1/sites/{quote(site, safe='')}"


async def _full_name(client: Client, name: str) -> str:
    try:
        keys = await _keys(client)
    except ProblemError as error:
        if error.code != "credentials_missing":
            raise
        # In an emergency the certificate alone does for a device, and not for the list of them.
        public = f"Without a token, a device is named with its site: SITE/{name}."
        raise CommandError("device_name", public, status=Exit.USAGE) from None
    found = [key for key in keys if key.partition("/")[2] == name]
    if len(found) > 1:
        hint = f"Say which: {', '.join(found)}."
        raise CommandError("device_ambiguous", f"Several of your devices are called {name}.", hint, Exit.USAGE)
    if not found:
        raise unknown_device(name, keys)
    return found[0]


async def with_suggestion(
    client: Client, problem: ProblemError, device: str, points: list[str]
) -> ProblemError | CommandError:
    """The problem, with a name that was perhaps meant if it is about a name."""
    try:
        if problem.code == "device_unknown":
            return unknown_device(device, await _keys(client))
        if problem.code == "point_unknown":
            known = [str(p.get("id")) for p in entries((await client.get(path_of(device) + "/points")).get("points"))]
            return _unknown_points([name for name in points if name not in known], known, device)
    except (ProblemError, CommandError):
        return problem
    return problem


async def with_site_suggestion(client: Client, problem: ProblemError, site: str) -> ProblemError | CommandError:
    """The problem, with a site that was perhaps meant if there is none of this name."""
    if problem.code != "site_unknown":
        return problem
    try:
        return unknown_site(site, await _keys(client))
    except (ProblemError, CommandError):
        return problem


def unknown_site(name: str, keys: list[str]) -> CommandError:
    """There is no such site, or nothing of it may be seen; perhaps another was meant, or a device."""
    sites = sorted({key.partition("/")[0] for key in keys})
    close = difflib.get_close_matches(name, sites, 3)
    devices = [key for key in keys if key.partition("/")[2] == name]
    hint = f"Did you mean {' or '.join(close)}?" if close else "`otb ls` lists your devices with their sites."
    if devices:
        hint = f"{name} is a device: write {' or '.join(devices)} for it alone, or its site for all that are there."
    return CommandError("site_unknown", f"There is no site {name}, or you may not see it.", hint)


def unknown_device(name: str, keys: list[str]) -> CommandError:
    """There is no such device, or it may not be seen; perhaps another was meant, or all of a site."""
    if any(key.partition("/")[0] == name for key in keys):
        hint = f"`otb ls` lists its devices; `otb connect {name} --bacnet` opens its BACnet network."
        return CommandError("device_unknown", f"{name} is a site, not a device.", hint)
    by_short_name = {key.partition("/")[2]: key for key in keys}
    close = difflib.get_close_matches(name, keys, 3) + [
        by_short_name[short] for short in difflib.get_close_matches(name.partition("/")[2] or name, by_short_name, 3)
    ]
    meant = list(dict.fromkeys(close))
    hint = f"Did you mean {' or '.join(meant)}?" if meant else "`otb ls` lists your devices."
    return CommandError("device_unknown", f"There is no device {name}, or you may not see it.", hint)


def _unknown_points(wrong: list[str], known: list[str], device: str) -> CommandError:
    meant = [match for name in wrong for match in difflib.get_close_matches(name, known, 1)]
    hint = f"Did you mean {', '.join(meant)}?" if meant else f"`otb points {device}` lists its points."
    return CommandError("point_unknown", f"{device} has no point {', '.join(wrong) or 'of this name'}.", hint)


async def unit_of(client: Client, key: str) -> int | None:
    """The unit id of a Modbus device; None if that cannot be learned."""
    try:
        devices = entries((await client.get("/v1/devices")).get("devices"))
    except (ProblemError, CommandError):
        return None
    unit = next((device.get("unit_id") for device in devices if device.get("id") == key), None)
    return unit if isinstance(unit, int) else None


async def _keys(client: Client) -> list[str]:
    return [str(entry.get("id", "")) for entry in entries((await client.get("/v1/devices")).get("devices"))]
