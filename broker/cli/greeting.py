"""What `otbroker dev` says when it is ready: where it is, who is there, what to try, and for how long."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from broker.adapters.development_ca import PERSONAS
from broker.calendar.spans import merged_spans
from broker.cli.development import Development
from broker.wiring.broker import Broker


def greeting(development: Development, broker: Broker) -> Iterator[str]:
    """Lines for people; programs read `dev.json`."""
    at, folder = broker.addresses, development.options.folder
    yield f"The development broker is ready; it serves on loopback only. Everything is in {folder}"
    hubs = "".join(f"  BACnet/SC wss://{address}" for address in at.bacnet_sc)
    yield f"  API https://{at.https}  Modbus TLS {at.modbus_tls[0]}{hubs}  health and metrics http://{at.ops}"
    yield "  who is there: " + ", ".join(f"{persona.name} ({persona.subject})" for persona in PERSONAS)
    yield f"  try: {otb_program()} --dev {folder} --as vendor-ana ls"
    yield from _open_windows(broker)
    yield from _edited(development)
    yield "Ctrl-C ends it."


def _edited(development: Development) -> Iterator[str]:
    """What became of generated files that somebody edited."""
    files = development.files
    if files.kept:
        yield f"  kept as you edited it: {', '.join(files.kept)} (delete it, and the next start makes it anew)"
    if files.set_aside:
        yield f"  made anew; what was there is in {', '.join(files.set_aside)}"


def otb_program() -> str:
    """`otb` beside the Python that runs us, as it can be typed here."""
    beside = Path(sys.executable).with_name("otb")
    if not beside.exists():
        return "otb"
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)


def _open_windows(broker: Broker) -> Iterator[str]:
    now = broker.clock.now()
    for window in broker.desk.in_force.inventory.windows:
        for _, closes in merged_spans(window.occurrence, now, now + 1):
            yield f"  window {window.id} closes at {datetime.fromtimestamp(closes, UTC):%Y-%m-%d %H:%M:%S} UTC"
