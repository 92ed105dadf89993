"""`otbroker discover`: looks at the devices of a site and proposes inventory. It reads, and is recorded."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from broker.adapters.host_journal import LONGEST_TEXT, HostJournal
from broker.cli.config_files import load_inventory, load_settings
from broker.cli.field.arguments import bounds_of, describe
from broker.cli.field.assembly import Assembly
from broker.cli.field.looking import BacnetLook, Looked, ModbusLook, look_at_bacnet, look_at_modbus, tell
from broker.cli.field.register_map import COLUMNS, read_register_map
from broker.errors import ConfigError

SAME, DIFFERS, PARTIAL = 0, 3, 4
_MOST_TOLD_LINES = 4

Subparsers = Any  # argparse names its own type privately
_DESCRIPTION = (
    "Ask the devices of a site what they are and have, and propose inventory. Nothing is written to a device. Exit "
    f"status {SAME}; {DIFFERS} if something differs from --inventory; {PARTIAL} if not everything could be read; 1 "
    "after an error."
)


def add_discover(subparsers: Subparsers) -> None:
    """Add `discover`, which sets `run`, a function of the parsed arguments with the exit status."""
    command = subparsers.add_parser("discover", help="propose inventory from the field", description=_DESCRIPTION)
    describe(command)
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = "\n".join(["columns of --map:", *(f"  {name:<12} {text}" for name, text in COLUMNS.items())])
    command.set_defaults(run=_discover)


def _discover(arguments: argparse.Namespace) -> int:
    points = read_register_map(arguments.map) if arguments.map else ()
    inventory = load_inventory(arguments.inventory) if arguments.inventory else None
    look = _look_of(arguments)
    _require_new(arguments.output)
    with HostJournal(_journal(arguments)).telling("discover", **_asked(arguments, look)) as told:
        looked = look_at_bacnet(look) if isinstance(look, BacnetLook) else look_at_modbus(look)
        told.update(_done(looked))
    proposed = Assembly(arguments.site, arguments.segment, inventory).of(look, looked, points)
    _write(arguments.output, proposed.json() if arguments.format == "json" else proposed.yaml())
    for sentence in (*proposed.beyond, *(difference.sentence() for difference in proposed.differences)):
        tell(sentence)
    for trouble in looked.told_trouble():
        tell(f"not all there is: {trouble}")
    return PARTIAL if looked.partial else DIFFERS if proposed.differences else SAME


def _look_of(arguments: argparse.Namespace) -> BacnetLook | ModbusLook:
    """What the arguments ask for. Raises ConfigError where they do not fit each other."""
    if arguments.interface:
        if arguments.unit or arguments.map:
            raise ConfigError("arguments_apart", "--unit and --map belong to --modbus.")
        if arguments.low > arguments.high:
            raise ConfigError("arguments_apart", "--low is greater than --high.")
        bbmd = f"{arguments.bbmd.host}:{arguments.bbmd.port}" if arguments.bbmd else ""
        devices, networks = tuple(arguments.devices), tuple(arguments.network)
        interface, port = arguments.interface
        bounds = bounds_of(arguments)
        return BacnetLook(interface, port, arguments.low, arguments.high, devices, networks, bbmd, bounds)
    if arguments.devices or arguments.network or arguments.bbmd:
        raise ConfigError("arguments_apart", "--devices, --network and --bbmd belong to --interface.")
    units = arguments.unit or (1,)
    if arguments.map and len(units) > 1:
        raise ConfigError("arguments_apart", "A register map is of one unit: give --unit N.")
    host, port = arguments.modbus
    return ModbusLook(host, port, units, bounds_of(arguments))


def _journal(arguments: argparse.Namespace) -> Path:
    """The folder whose journal the broker reads, or will. Raises ConfigError: unrecorded, nothing is looked at."""
    if arguments.journal:
        return Path(arguments.journal)
    if not Path(arguments.settings).exists():
        hint = (
            "Give the broker's --settings; or --journal DIR, where the record waits for a broker with that state_dir."
        )
        raise ConfigError("journal_unknown", f"{arguments.settings} is not there, so a look cannot be recorded.", hint)
    return Path(load_settings(arguments.settings).settings.state_dir)


def _asked(arguments: argparse.Namespace, look: BacnetLook | ModbusLook) -> dict[str, str]:
    """What the ledger gets before anything is sent."""
    bounds = look.bounds
    told = {"site": arguments.site, "rate": f"{bounds.requests_per_second:g}/s", "most": f"{bounds.total_seconds:g} s"}
    if isinstance(look, ModbusLook):
        return told | {"modbus": f"{look.host}:{look.port}", "units": f"{look.units[0]}-{look.units[-1]}"}
    told |= {"interface": f"{look.interface}:{look.port}", "instances": f"{look.low}-{look.high}"}
    if look.devices:
        told["devices"] = " ".join(f"{device.host}:{device.port}" for device in look.devices)
    if look.networks:
        told["networks"] = " ".join(map(str, look.networks))
    return told | ({"bbmd": look.bbmd} if look.bbmd else {})


def _done(looked: Looked) -> dict[str, str]:
    """What the ledger gets at the end: how much was read of whom."""
    counts = looked.counts()
    told = {"answered": str(len(counts)), "requests": str(sum(requests for _, requests, _ in counts))}
    lines = [""]
    left = 0
    for name, requests, objects in counts:
        word = f"{name}:{requests}/{objects} "
        if len(lines[-1]) + len(word) > LONGEST_TEXT:
            lines.append("")
        if len(lines) > _MOST_TOLD_LINES:
            left += 1
            lines.pop()
        else:
            lines[-1] += word
    told |= {f"read-{number}": line.rstrip() for number, line in enumerate(lines, 1) if line}
    return told | ({"not-listed": str(left)} if left else {}) | ({"partial": "yes"} if looked.partial else {})


def _require_new(path: Path | None) -> None:
    """Nothing is looked at if what is found could not be written."""
    if path is not None and path.exists():
        raise ConfigError("output_there", f"{path} is there already: nothing is written over.")


def _write(path: Path | None, text: str) -> None:
    if path is None:
        sys.stdout.write(text)
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        sys.stdout.write(text)  # it took a while to find
        raise ConfigError("output_unwritable", f"{path} cannot be written: {error.strerror}.") from None
