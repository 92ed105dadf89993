"""The main job told step by step, each step really done and checked; what `make demo` shows."""

import asyncio
import json
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from pymodbus.client import ModbusTlsClient
from pymodbus.exceptions import ModbusException

from broker.adapters.ledger_files_disk import FolderLock
from broker.adapters.ledger_reader import verify_directory
from broker.cli.development import Development
from broker.cli.greeting import otb_program
from broker.cli.people.problem_words import sentences
from broker.cli.serving import run_loop, run_until_signal
from broker.errors import LedgerUnavailableError, UnavailableError
from broker.wiring.broker import Broker

OWN_FOLDER = "walkthrough"
SETPOINT = 10
ILLEGAL_FUNCTION = 1
OTB_SECONDS = 60.0


class StepFailedError(Exception):
    """A step of the story did not come out as told."""


@dataclass(slots=True)
class Story:
    """Tells and checks; `facts` is what `dev.json` says."""

    folder: Path
    facts: dict[str, Any]
    steps: int = 0
    decision_id: str = field(default="")

    def tell(self) -> None:
        """The whole story, in order. Raises StepFailedError."""
        for title, step in self._chapters():
            self.steps += 1
            print(f"\n{self.steps:2}. {title}", flush=True)
            step()
            print("    ok", flush=True)

    def expect(self, holds: bool, seen: object) -> None:
        """Go on if it holds; else raise StepFailedError, which tells in words what was seen instead."""
        if not holds:
            told = "\n".join(line for line, _ in sentences(seen)) if isinstance(seen, dict) else str(seen)
            raise StepFailedError(f"step {self.steps} did not come out as told:\n{told}")

    def _chapters(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        return (
            ("Ana of the vendor sees the devices that she may know of", self._ana_lists),
            ("An ordinary Modbus master (pymodbus) reads ahu-1 over mutual TLS, as Ana", self._ana_reads),
            ("Inside the window Ana sets the supply temperature to 18.5 °C", self._ana_adjusts),
            ("25.0 °C is above the limit: Modbus exception 01, the device sees nothing", self._limit_denied),
            ("The fan is not hers to command: denied", self._fan_denied),
            ("The chiller on the serial line answers too", self._chiller_reads),
            ("BACnet: she sets the zone setpoint of vav-1 at priority 12 and releases it", self._vav_adjusts),
            ("The heat meter's window opens on Saturday: denied, and told when", self._meter_denied),
            ("The building management system may view at any time, and only that", self._bms_only_views),
            ("Without a certificate there is no connection at all", self._stranger_refused),
            ("Why was Ana denied? Ask with the decision's id", self._why),
            ("The auditor verifies the record with files and a public key alone", self._auditor_verifies),
            ("One changed octet in a copy of the record is found", self._tampering_found),
        )

    def _ana_lists(self) -> None:
        seen = {d["device"] for d in self._otb("vendor-ana", "ls")["devices"]}
        self._say(", ".join(sorted(seen)))
        self.expect(seen == {"ahu-1", "chiller-1", "vav-1", "meter-1"}, f"she sees {', '.join(sorted(seen))}")

    def _ana_reads(self) -> None:
        with self._master("vendor-ana") as master:
            reply = master.read_holding_registers(0, count=3, device_id=1)
            self._say(f"registers 0-2: {reply.registers}")
            self.expect(not reply.isError() and len(reply.registers) == 3, reply)

    def _ana_adjusts(self) -> None:
        with self._master("vendor-ana") as master:
            self.expect(not master.write_register(SETPOINT, 185, device_id=1).isError(), "the write was refused")
            seen = master.read_holding_registers(SETPOINT, count=1, device_id=1).registers[0]
        self._say(f"register 10 of the device is now {seen}")
        self.expect(seen == 185, seen)

    def _limit_denied(self) -> None:
        with self._master("vendor-ana") as master:
            reply = master.write_register(SETPOINT, 250, device_id=1)
            seen = master.read_holding_registers(SETPOINT, count=1, device_id=1).registers[0]
        self._say(f"the master got {reply}; register 10 is still {seen}")
        self.expect(reply.isError() and reply.exception_code == ILLEGAL_FUNCTION and seen == 185, reply)

    def _fan_denied(self) -> None:
        denied = self._otb("vendor-ana", "write", "plant/ahu-1", "fan-command=1", status=3)
        self.expect(denied["code"] == "denied", denied)
        self.decision_id = denied["decision_id"]
        self._say(f"{denied['detail']} (decision {self.decision_id})")

    def _chiller_reads(self) -> None:
        seen = self._otb("vendor-ana", "read", "plant/chiller-1", "chilled-water-temp")["points"]["chilled-water-temp"]
        self._say(f"chilled water: {seen['value']} °C")
        self.expect(seen["quality"] == "good", f"its quality is {seen['quality']}")

    def _vav_adjusts(self) -> None:
        vav = "plant/vav-1"
        self._otb("vendor-ana", "write", vav, "zone-setpoint=21.5", "--priority", "12")
        value = self._otb("vendor-ana", "read", vav, "zone-setpoint")["points"]["zone-setpoint"]["value"]
        self._say(f"zone setpoint: {value} °C")
        self.expect(value == 21.5, value)
        self._otb("vendor-ana", "write", vav, "zone-setpoint", "--release", "--priority", "12")

    def _meter_denied(self) -> None:
        denied = self._otb("vendor-ana", "read", "plant/meter-1", "heat-energy", status=3)
        self.expect(denied["code"] == "denied" and denied["next_window"]["id"] == "saturday", denied)
        self._say(f"{denied['detail']} Next window: {denied['next_window']['opens']}")

    def _bms_only_views(self) -> None:
        with self._master("bms-sync") as master:
            read = master.read_holding_registers(SETPOINT, count=1, device_id=1)
            write = master.write_register(SETPOINT, 190, device_id=1)
        self._say(f"read: {read.registers}, write: {write}")
        self.expect(not read.isError() and write.isError() and write.exception_code == ILLEGAL_FUNCTION, write)

    def _stranger_refused(self) -> None:
        with self._master("") as master:
            try:
                refused = master.read_holding_registers(0, count=1, device_id=1).isError()
            except (OSError, ModbusException) as error:
                self._say(f"the master says: {error}")
                refused = True
        self.expect(refused, "a stranger was answered")

    def _why(self) -> None:
        explained = self._otb("vendor-ana", "why", self.decision_id)
        self.expect(self.decision_id in str(explained), "the decision is not explained")
        for line in self._otb_text("vendor-ana", "why", self.decision_id).splitlines():
            self._say(line)

    def _auditor_verifies(self) -> None:
        self._otb("auditor-cy", "audit", "search", "--kind", "outcome", "--limit", "3")
        report = self._verify(self.folder / self.facts["ledger"])
        self._say(f"{report.size} records under {report.checkpoints} checkpoints: {counted(report.counts)}")
        self.expect(report.ok, f"the record does not hold: {report.reason}")

    def _tampering_found(self) -> None:
        copy = self.folder / "tampered"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder / self.facts["ledger"], copy)
        bundle = max((p for p in (copy / "tile" / "entries").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        octets = bytearray(bundle.read_bytes())
        octets[len(octets) // 2] ^= 1
        bundle.write_bytes(octets)
        report = self._verify(copy)
        shutil.rmtree(copy)
        self._say(f"first bad record: {report.first_bad}, {report.reason}")
        self.expect(not report.ok, "the changed octet was not found")

    def _verify(self, folder: Path) -> Any:
        return verify_directory(folder, (self.folder / self.facts["ledger_public_key"]).read_text())

    def _master(self, persona: str) -> ModbusTlsClient:
        """A master that dials an address: the unit id says which device it means."""
        context = ssl.create_default_context(cafile=str(self.folder / self.facts["ca"]))
        context.check_hostname = False  # pymodbus' client gives no name to check; the authority is checked all the same
        if persona:
            files = self.facts["personas"][persona]
            context.load_cert_chain(self.folder / files["certificate"], self.folder / files["key"])
        host, _, port = self.facts["modbus_tls"].rpartition(":")
        return ModbusTlsClient(host, port=int(port), sslctx=context, retries=0, timeout=5)

    def _otb(self, persona: str, *words: str, status: int = 0) -> Any:
        """Show the command, run `otb`, check its exit status, and give what it said as JSON."""
        self._say("$ otb " + " ".join(["--dev", str(self.folder), "--as", persona, *words]))
        told = self._otb_text(persona, *words, "--format", "json", status=status)
        return json.loads(told, parse_float=Decimal)

    def _otb_text(self, persona: str, *words: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "broker.cli.otb", "--dev", str(self.folder), "--as", persona, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=OTB_SECONDS, check=False)
        self.expect(done.returncode == status, in_words(done.stdout, done.stderr))
        return done.stdout

    def _say(self, line: str) -> None:
        print(f"    {line}", flush=True)


def counted(counts: Mapping[str, int]) -> str:
    """Numbers of records by kind, in words."""
    return ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in sorted(counts.items()))


def in_words(said: str, complained: str) -> str:
    """What `otb --format json` said, as it says it to people."""
    try:
        return "\n".join(line for line, _ in sentences(json.loads(said)))
    except (ValueError, AttributeError):
        return said + complained


def emptied(folder: Path) -> Path:
    """A folder for one telling, without what an earlier one left in it.

    Raises UnavailableError while one is told there, or if what is there is of nobody's telling.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if any(folder.iterdir()) and not (folder / "lock").exists():
        public = f"The main job is told in {folder}, and that holds something else: move it away first."
        raise UnavailableError("walkthrough_in_the_way", public)
    try:
        lock = FolderLock(folder)
    except LedgerUnavailableError:
        public = f"The main job is being told in {folder} already: end that with Ctrl-C first."
        raise UnavailableError("walkthrough_running", public) from None
    try:
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    finally:
        lock.release()
    return folder


def walk_through(development: Development, broker: Broker) -> int:
    """Serve and tell; on a terminal the broker then goes on until Ctrl-C. Exit status 1 if a step failed."""
    failed: list[str] = []

    async def started() -> None:
        await development.tell()
        print(f"The building is at {development.folder}; the broker serves on loopback only.")
        threading.Thread(target=_told, args=(development, failed, asyncio.get_running_loop()), daemon=True).start()

    run_loop(run_until_signal(broker, started))
    for line in failed:
        print(f"\nFAILED: {line}", file=sys.stderr)
    return 1 if failed else 0


def _told(development: Development, failed: list[str], loop: asyncio.AbstractEventLoop) -> None:
    story = Story(development.folder, development.facts())
    try:
        story.tell()
        print(f"\nAll {story.steps} steps came out as told. Where next: docs/tutorial/first-hour.md")
    except Exception as error:
        failed.append(str(error))
    if failed or not sys.stdin.isatty():
        loop.call_soon_threadsafe(signal.raise_signal, signal.SIGTERM)
    else:
        print(f"The broker goes on until Ctrl-C. Try: {otb_program()} --dev {development.folder} --as vendor-ana ls")
