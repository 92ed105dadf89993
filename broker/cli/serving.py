"""Runs a broker until a signal ends it."""

import asyncio
import gc
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from broker.access.losses import losses_only
from broker.cli.config_files import LoadedSettings, load_settings, problems_together, raise_if_any
from broker.cli.file_sources import FileSources
from broker.cli.people.safe_text import escape
from broker.cli.policies import policy_folder
from broker.model.place import Inventory
from broker.settings.broker_file import LoggingSection, Settings
from broker.wiring.broker import Broker
from broker.wiring.inventory_changes import InventoryChange

log = logging.getLogger(__name__)
ALLOCATIONS_TO_COLLECT_AFTER = 50_000
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line, so that nothing in a message can forge a second line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: str(value) for key, value in vars(record).items() if key not in _KNOWN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


class TextLines(logging.Formatter):
    """One line of text; control characters of the message are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line (and an exception's lines below it)."""
        when = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        line = f"{when} {record.levelname.lower():7} {escape(record.getMessage())}"
        if not record.exc_info:
            return line
        return line + "".join(f"\n    {escape(text)}" for text in self.formatException(record.exc_info).splitlines())


def set_up_logging(settings: LoggingSection) -> None:
    """Log to standard error as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.format == "json" else TextLines())
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.access").setLevel(logging.CRITICAL)
    # What fails is logged once where it is tried again, and what comes right is too.
    logging.getLogger("stamina").setLevel(logging.ERROR)


def prepare(loaded: LoadedSettings, organisation_folder: Path | None = None) -> tuple[Broker, FileSources]:
    """Check settings and inventory together and build the broker. Raises ConfigError with all problems."""
    settings = loaded.settings
    state_dir = Path(settings.state_dir)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    listeners = (*settings.modbus_tls, *settings.bacnet_sc, *((settings.https,) if settings.https else ()))
    sources = FileSources(
        state_dir,
        Path(settings.inventory),
        policy_folder(settings),
        Path(settings.ledger_folder),
        organisation_folder,
        tuple(Path(file) for listener in listeners for file in (listener.certificate_file, listener.key_file)),
    )
    wanted = sources.inventory()
    raise_if_any(problems_together(loaded, wanted), "settings_invalid", "settings and inventory")
    last = sources.last_in_force()
    inventory = _first_in_force(settings, sources, wanted, last)
    broker = Broker(settings, sources, inventory)
    broker.reload.begin(InventoryChange(last or inventory, inventory, wanted))
    return broker, sources


def _first_in_force(settings: Settings, sources: FileSources, wanted: Inventory, last: Inventory | None) -> Inventory:
    """At a start losses apply as in a reload, and gains wait for approval unless this is the first start."""
    if last is None or settings.reload.gains == "apply" or sources.approved_revision() == wanted.revision:
        return wanted
    return losses_only(last, wanted)


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """What CPython cannot raise, such as a server name that no text can hold: strangers must not fill the log with
    it.
    """
    log.debug("ignored in %r: %r", unraisable.object, unraisable.exc_value)


async def run_until_signal(broker: Broker, started: Callable[[], Awaitable[None]] | None = None) -> None:
    """Start, run until SIGTERM or SIGINT, stop in order. Raises BrokerError if the start fails."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    sys.unraisablehook = _unraisable
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await broker.start()
        if started is not None:
            await started()
        _collect_seldom()
        await stopping.wait()
    finally:
        await broker.stop()


def _collect_seldom() -> None:
    """A full garbage collection holds everybody up for tens of milliseconds, nearly all of them spent on what was made
    before serving began and stays for ever: let it look at the rest only. And a thousand operations under way are no
    reason to look for garbage among them again and again.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(ALLOCATIONS_TO_COLLECT_AFTER, 10, 10)


def serve(path: str) -> int:
    """`otbroker serve`: exit status 0 after a stop in order. Raises BrokerError."""
    loaded = load_settings(path)
    set_up_logging(loaded.settings.logging)
    broker, _ = prepare(loaded)

    async def tell() -> None:
        at = broker.addresses
        native = ", ".join(at.modbus_tls) or "-", ", ".join(at.bacnet_sc) or "-"
        log.info("serving: modbus_tls %s, bacnet_sc %s, https %s, ops %s", *native, at.https or "-", at.ops)

    run_loop(run_until_signal(broker, tell))
    return 0


def run_loop(main: Awaitable[None]) -> None:
    """Run on uvloop where it is there, else on asyncio's own loop."""

    async def entry() -> None:
        await main

    try:
        import uvloop
    except ImportError:
        asyncio.run(entry())
    else:
        uvloop.run(entry())
