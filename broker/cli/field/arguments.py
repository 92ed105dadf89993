"""The arguments of `otbroker discover`, each checked where it is given."""

import argparse
import re
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from broker.cli.program import DEFAULT_SETTINGS
from broker.model.field import Bounds, FieldAddress
from broker.settings.fields import LABEL

LARGEST_INSTANCE = 4_194_302
BACNET_PORT, MODBUS_PORT = 47808, 502
_PLACE = re.compile(r"([A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?", re.ASCII)

Subparsers = Any  # argparse names its own type privately


def describe(command: argparse.ArgumentParser) -> None:
    """Add them all."""
    bounds = Bounds()
    add = command.add_argument
    add("--site", required=True, type=_label, metavar="SITE", help="the site that the devices are in")
    add(
        "--segment",
        type=_label,
        metavar="SEGMENT",
        help="the segment for new devices (default: the site's only one, or field)",
    )
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--interface",
        type=_interface,
        metavar="ADDRESS/PREFIX[:PORT]",
        help=f"look for BACnet/IP devices from this address of this machine (port {BACNET_PORT})",
    )
    where.add_argument("--modbus", type=_modbus, metavar="HOST[:PORT]", help="ask Modbus units there what they are")
    _describe_bacnet(command)
    add("--unit", type=_units, metavar="N[-N]", help="Modbus: unit ids (default: 1)")
    add("--map", type=Path, metavar="FILE", help="Modbus: CSV of registers that become points of the one unit")
    add("--inventory", metavar="DIR", help="tell what differs from this inventory; its ids are kept")
    add("--format", choices=("yaml", "json"), default="yaml", help="of what is found (default: %(default)s)")
    add("--output", type=Path, metavar="FILE", help="write it to this new file (default: standard output)")
    add("--rate", type=_rate, default=bounds.requests_per_second, metavar="N", help="requests a second (%(default)s)")
    add("--most-seconds", type=_positive, default=bounds.total_seconds, metavar="N", help="at most (%(default)s)")
    add("--wait", type=_wait, default=bounds.response_seconds, metavar="SECONDS", help="for a reply (%(default)s)")
    add("--settings", default=DEFAULT_SETTINGS, metavar="FILE", help="of the broker that records it (%(default)s)")
    add("--journal", metavar="DIR", help="record it here instead, for a broker whose state_dir this becomes")


def _describe_bacnet(command: argparse.ArgumentParser) -> None:
    bounds = Bounds()
    add = command.add_argument
    add("--low", type=_instance, default=0, metavar="N", help="BACnet: least device instance (%(default)s)")
    add(
        "--high",
        type=_instance,
        default=LARGEST_INSTANCE,
        metavar="N",
        help="BACnet: greatest device instance (%(default)s)",
    )
    add(
        "--devices",
        nargs="+",
        type=_device,
        default=[],
        metavar="ADDRESS:PORT",
        help="BACnet: ask only these devices and routers, one or more, without a broadcast",
    )
    add(
        "--network",
        action="append",
        type=_network,
        default=[],
        metavar="N",
        help="BACnet: look behind routers only into this network; repeatable (default: into all that routers name)",
    )
    add("--bbmd", type=_device, metavar="ADDRESS:PORT", help="BACnet: be a foreign device of this BBMD")
    add("--listen", type=_wait, default=bounds.listen_seconds, metavar="SECONDS", help="BACnet: for I-Am (%(default)s)")
    add("--most-devices", type=_count, default=bounds.devices, metavar="N", help="BACnet: at most (%(default)s)")
    add("--most-objects", type=_count, default=bounds.objects, metavar="N", help="BACnet: of a device (%(default)s)")


def bounds_of(arguments: argparse.Namespace) -> Bounds:
    """The bounds that were given."""
    return Bounds(
        requests_per_second=arguments.rate,
        devices=arguments.most_devices,
        objects=arguments.most_objects,
        total_seconds=arguments.most_seconds,
        response_seconds=arguments.wait,
        listen_seconds=arguments.listen,
    )


def _label(text: str) -> str:
    if not re.fullmatch(LABEL, text):
        raise argparse.ArgumentTypeError(f"{text!r} is no id: small letters, digits and hyphens, at most 63")
    return text


def _interface(text: str) -> tuple[str, int]:
    if text.startswith(("ws:", "wss:")):
        raise argparse.ArgumentTypeError("devices behind a BACnet/SC hub cannot be discovered: describe them by hand")
    address, slash, rest = text.partition("/")
    prefix, _, port = rest.partition(":")
    try:
        interface = IPv4Interface(f"{address}/{prefix}") if slash and prefix else None
        number = int(port) if port else BACNET_PORT
    except ValueError:
        interface = None
    if interface is None or not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no ADDRESS/PREFIX[:PORT], such as 192.0.2.10/24")
    return str(interface), number


def _place(text: str, port: int | None) -> tuple[str, int]:
    match = _PLACE.fullmatch(text)
    number = int(match[2]) if match and match[2] else port
    if match is None or number is None or not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT")
    return match[1], number


def _modbus(text: str) -> tuple[str, int]:
    return _place(text, MODBUS_PORT)


def _device(text: str) -> FieldAddress:
    host, port = _place(text, BACNET_PORT)
    try:
        return FieldAddress(str(IPv4Address(host)), port)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no ADDRESS:PORT, such as 192.0.2.20:{BACNET_PORT}") from None


def _between(text: str, least: float, greatest: float, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not least <= number <= greatest:
        raise argparse.ArgumentTypeError(f"{text!r} is no {what} from {least:g} to {greatest:g}")
    return number


def _instance(text: str) -> int:
    return int(_whole(text, 0, LARGEST_INSTANCE, "device instance"))


def _whole(text: str, least: int, greatest: int, what: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no {what} from {least} to {greatest}")
    return int(_between(text, least, greatest, what))


def _network(text: str) -> int:
    return _whole(text, 1, 65534, "network number")


def _count(text: str) -> int:
    return _whole(text, 1, 100_000, "number")


def _rate(text: str) -> float:
    return _between(text, 0.1, 1000, "rate")


def _wait(text: str) -> float:
    return _between(text, 0.1, 60, "time")


def _positive(text: str) -> float:
    return _between(text, 1, 86_400, "time")


def _units(text: str) -> tuple[int, ...]:
    first, _, last = text.partition("-")
    low, high = _whole(first, 0, 255, "unit id"), _whole(last or first, 0, 255, "unit id")
    if low > high:
        raise argparse.ArgumentTypeError(f"{text!r} ends before it begins")
    return tuple(range(low, high + 1))
