"""Where `otb connect` listens: on this machine alone, unless that is asked for."""

import ipaddress

from broker.cli.people.exits import CommandError, Exit


def listen_address(text: str, allow_remote: bool) -> tuple[str, int]:
    """Host and port to listen on. Raises CommandError for what is not loopback, unless that is allowed."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise CommandError("usage", f"{text} is not HOST:PORT.", status=Exit.USAGE)
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise CommandError("usage", f"{host} is not an IP address.", status=Exit.USAGE) from None
    if not loopback and not allow_remote:
        hint = "Whoever reaches the port acts in your name; add --allow-remote if that is what you want."
        raise CommandError("usage", f"{host} is not on this machine alone.", hint, Exit.USAGE)
    return ("127.0.0.1" if host == "localhost" else host), int(port)


def listening_failed(listen: str, error: OSError) -> CommandError:
    """The port cannot be had."""
    public = f"{listen} cannot be listened on: {error.strerror or error}."
    return CommandError("listen_failed", public, "Choose another port with --listen.")


def told_address(address: object) -> str:
    """An address of a socket as people write it."""
    if not isinstance(address, tuple) or len(address) < 2:
        return "this machine"
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
