"""`otbroker dev`: a development authority, six personas, a simulated building and a broker in front of it; loopback
only.
"""

import asyncio
import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from broker.adapters.development_ca import (
    NAMESPACES,
    OWNER,
    PERSONAS,
    VENDOR,
    Authority,
    Credential,
    create_authority,
    issue_client,
    issue_server,
)
from broker.adapters.development_tokens import AUDIENCE, CLIENT, TokenIssuer, create_token_issuer, mint_token
from broker.adapters.ledger_files_disk import FolderLock
from broker.adapters.private_files import write_private
from broker.cli.building import NOTHING_YET, OPEN_SECONDS, Building, access_yaml, devices_yaml
from broker.cli.config_files import load_inventory, load_settings
from broker.cli.development_people import INVITED, enrolment_settings, make_authority, organisation_yaml
from broker.cli.generated_files import REMEMBERED, GeneratedFiles
from broker.cli.policies import shipped_policies
from broker.cli.serving import prepare
from broker.cli.yaml_documents import read_file
from broker.errors import UnavailableError
from broker.ledger.notes import verifier_of
from broker.model.place import Device, Inventory, Organisation, Protocol
from broker.model.way import BacnetIpWay, BacnetScWay, ModbusTcpWay, RtuOverTcpWay
from broker.wiring.broker import Broker

ISSUERS = {OWNER: "https://issuer.plant.example", VENDOR: "https://issuer.acme.example"}
ORIGIN = "otbroker.dev/ledger"
SPONSOR = "bo@plant.example"
ROLES = {
    "bo@plant.example": ["security"],
    "cy@plant.example": ["auditor"],
    "di@plant.example": ["operator"],
    "eli@plant.example": ["operator"],
}
TOKEN_SECONDS = 3600
TOKEN_REFRESH_SECONDS = 600
SIMULATOR_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class DevelopmentOptions:
    """What `otbroker dev` was asked for."""

    folder: Path
    opa_url: str = ""
    window_seconds: int | None = None
    inventory: Path | None = None
    state_url: str = ""
    settings: Path | None = None


class Development:
    """One development broker and everything around it, in one folder that can be used again."""

    def __init__(self, options: DevelopmentOptions) -> None:
        self.options = options
        self.folder = options.folder.resolve()
        self._now = time.time()
        self._lock: FolderLock | None = None
        self._simulators: subprocess.Popen[str] | None = None
        self._credentials: dict[str, Credential] = {}
        self._issuers: dict[str, TokenIssuer] = {}
        self._refresh: asyncio.Task[None] | None = None
        self.files = GeneratedFiles(self.folder)
        self.broker: Broker | None = None

    def set_up(self) -> Broker:
        """Make everything that is not there yet and build the broker. Raises BrokerError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = FolderLock(self.folder)
        (self.folder / "dev.json").unlink(missing_ok=True)
        if self.options.inventory is None:
            self._start_simulators()
        authorities = {name: create_authority(self.folder / "ca" / name, name, self._now) for name in (OWNER, VENDOR)}
        self._issue(authorities)
        key = self._make_ledger_key()
        self._copy_policies()
        if self.options.inventory is None:
            self._write_building(self._simulated())
        invited = make_authority(self.folder / "ca" / INVITED, self._now)
        self._write_organisations(authorities, invited)
        self._write_settings()
        loaded = load_settings(self.folder / "broker.yaml")
        self._write_public_key(key, loaded.settings.ledger.origin)
        organisations = None if self.options.inventory is None else self.folder / "organisations"
        self.broker, _ = prepare(loaded, organisations)
        return self.broker

    async def tell(self) -> None:
        """Once the broker serves: write `dev.json` and keep the personas' tokens fresh."""
        self._mint_tokens()
        self._refresh = asyncio.create_task(self._keep_tokens_fresh())
        write_private(self.folder / "dev.json", json.dumps(self.facts(), indent=2).encode() + b"\n")

    def tear_down(self) -> None:
        """End the simulated devices."""
        if self._lock is None:
            return
        (self.folder / "dev.json").unlink(missing_ok=True)
        if self._simulators is not None:
            assert self._simulators.stdin is not None
            with suppress(BrokenPipeError):
                self._simulators.stdin.close()
            try:
                self._simulators.wait(5)
            except subprocess.TimeoutExpired:
                self._simulators.kill()
                self._simulators.wait()

    def facts(self) -> dict[str, Any]:
        """What `dev.json` says; paths are relative to the folder."""
        assert self.broker is not None
        at = self.broker.addresses
        return {
            "api": f"https://{at.https}",
            "modbus_tls": at.modbus_tls[0],
            "bacnet_sc": [f"wss://{address}" for address in at.bacnet_sc],
            "ops": f"http://{at.ops}",
            "ca": "ca.pem",
            "pid": os.getpid(),
            "ledger": "ledger",
            "ledger_public_key": "ledger.pub",
            "policies": "policies",
            "personas": {
                persona.name: {
                    "certificate": f"personas/{persona.name}.pem",
                    "key": f"personas/{persona.name}.key",
                    "token": f"personas/{persona.name}.token",
                }
                for persona in PERSONAS
            },
            "devices": {d.key: _device_facts(d, self.folder) for d in self.broker.desk.in_force.inventory.devices},
        }

    def _issue(self, authorities: dict[str, Authority]) -> None:
        for persona in PERSONAS:
            authority = authorities[persona.organisation]
            self._credentials[persona.name] = issue_client(
                authority, persona.subject, self.folder / "personas" / persona.name, self._now
            )
        owner = authorities[OWNER]
        devices = [f"{name}.plant" for name in ("ahu-1", "chiller-1", "vav-1", "meter-1")]
        issue_server(owner, ["localhost", *devices], self.folder / "server", self._now)
        write_private(self.folder / "ca.pem", owner.anchor.read_bytes())
        for name, issuer in ISSUERS.items():
            self._issuers[name] = create_token_issuer(self.folder / "issuers" / name, issuer)

    def _make_ledger_key(self) -> Ed25519PrivateKey:
        path = self.folder / "ledger.key"
        if path.exists():
            key = load_pem_private_key(path.read_bytes(), None)
            assert isinstance(key, Ed25519PrivateKey)
        else:
            key = Ed25519PrivateKey.generate()
            write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self._write_public_key(key, ORIGIN)
        return key

    def _write_public_key(self, key: Ed25519PrivateKey, origin: str) -> None:
        write_private(self.folder / "ledger.pub", verifier_of(origin, key).vkey.encode() + b"\n")

    def _copy_policies(self) -> None:
        """The shipped library, to be edited, without what is fixed; what is there already is left as it is."""
        source = shipped_policies()
        for path in sorted(source.rglob("*.rego")):
            target = self.folder / "policies" / path.relative_to(source)
            if not target.exists() and not path.name.endswith(("_test.rego", "emergency.rego")):
                write_private(target, path.read_bytes())

    @property
    def _tty(self) -> Path:
        return self.folder / "chiller-1.tty"

    @property
    def _last_building(self) -> Path:
        return self.folder / REMEMBERED / "building.json"

    def _start_simulators(self) -> None:
        """Where they were at the last start, if they can: who may do what does not change by a restart then."""
        self._tty.unlink(missing_ok=True)
        last = _building_in(self._last_building)
        command = [sys.executable, "-m", "broker.adapters.simulators", "--elsewhere", "--rtu", str(self._tty)]
        command += ["--plc", str(last.ahu_port), "--meter", str(last.meter_port), "--bacnet", str(last.vav_port)]
        self._simulators = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _simulated(self) -> Building:
        assert self._simulators is not None
        assert self._simulators.stdout is not None
        ready_in_time, _, _ = select.select([self._simulators.stdout], [], [], SIMULATOR_START_SECONDS)
        line = self._simulators.stdout.readline() if ready_in_time else ""
        if not line:
            raise UnavailableError("simulators", "The simulated devices did not start.")
        ready = json.loads(line)
        return Building(ready["plc"][0], ready["meter"][0], ready["bacnet"][0], self._opened())

    def _opened(self) -> int:
        """When the open window began: as at the last start while half of it is to come, unless its end is given."""
        last = _building_in(self._last_building).opened
        lasts = self.options.window_seconds is None and 0 <= self._now - last < OPEN_SECONDS / 2
        return last if lasts else int(self._now)

    def _write_building(self, building: Building) -> None:
        self.files.write("inventory/devices.yaml", devices_yaml(building, str(self._tty)))
        self.files.write("inventory/access.yaml", access_yaml(building.opened, self.options.window_seconds))
        write_private(self._last_building, json.dumps(asdict(building)).encode() + b"\n")

    def _write_organisations(self, authorities: dict[str, Authority], invited: Path) -> None:
        place = "inventory" if self.options.inventory is None else "organisations"
        lines = ["organisations:"]
        for name, authority in authorities.items():
            roles = {p.subject: ROLES[p.subject] for p in PERSONAS if p.organisation == name and p.subject in ROLES}
            lines += [
                f"  - id: {name}",
                f"    owner: {'true' if name == OWNER else 'false'}",
                f"    anchors: [{json.dumps(str(authority.anchor))}]",
                f"    crl_files: [{json.dumps(str(authority.crl))}]",
                "    crl_required: true",
                f"    namespaces: {json.dumps(NAMESPACES[name])}",
                f"    roles: {json.dumps(roles)}",
            ]
            if name == VENDOR and self.options.inventory is None:
                lines += [f"    sponsor: {SPONSOR}", "    allowed: {sites: [plant]}"]
        text = "\n".join(lines) + "\n" + organisation_yaml(invited, SPONSOR, self.options.inventory is None)
        self.files.write(f"{place}/organisations.yaml", text)

    def _organisations(self) -> tuple[Organisation, ...]:
        return load_inventory(self.folder / "organisations").organisations

    def _inventory(self) -> Inventory:
        folder = self.options.inventory or self.folder / "inventory"
        return load_inventory(folder, () if self.options.inventory is None else self._organisations())

    def _write_settings(self) -> None:
        units: dict[int, str] = {}
        inventory = self._inventory()
        for device in inventory.devices:
            if device.protocol is Protocol.MODBUS:
                units.setdefault(device.unit_id, device.key)
        listener = {"address": "127.0.0.1", "port": 0, "certificate_file": "server.pem", "key_file": "server.key"}
        issuers = [
            {
                "issuer": issuer.issuer,
                "organisation": name,
                "audiences": [AUDIENCE],
                "clients": [CLIENT],
                "subjects": [p.subject for p in PERSONAS if p.organisation == name],
                "jwks_file": str(issuer.key_set),
            }
            for name, issuer in self._issuers.items()
        ]
        policy: dict[str, Any] = {"folder": "policies"}
        if self.options.opa_url:
            policy |= {"engine": "opa", "opa": {"url": self.options.opa_url}}
        settings = {
            "state_dir": ".",
            "inventory": str((self.options.inventory or self.folder / "inventory").resolve()),
            "modbus_tls": [{**listener, "unit_ids": units}],
            "bacnet_sc": [{**listener, "site": network.site} for network in inventory.bacnet_networks[:1]],
            "https": listener,
            "ops": {"address": "127.0.0.1", "port": 0},
            "issuers": issuers,
            "enrolment": enrolment_settings(self.folder / "ca" / INVITED),
            "policy": policy,
            "state": {"url": self.options.state_url},
            "ledger": {
                "origin": ORIGIN,
                "key_file": "ledger.key",
                "public_key_file": "ledger.pub",
                "exports": [{"kind": "file", "path": "checkpoints.pushed"}],
            },
            "reload": {"gains": "apply"},
        }
        if self.options.settings is not None:
            settings = _laid_over(settings, read_file(self.options.settings).value)
        self.files.replace("broker.yaml", json.dumps(settings, indent=2) + "\n")

    def _mint_tokens(self) -> None:
        for persona in PERSONAS:
            token = mint_token(
                self._issuers[persona.organisation],
                persona.subject,
                time.time(),
                lifetime_seconds=TOKEN_SECONDS,
                certificate_fingerprint=self._credentials[persona.name].fingerprint,
            )
            write_private(self.folder / "personas" / f"{persona.name}.token", token.encode() + b"\n")

    async def _keep_tokens_fresh(self) -> None:
        while True:
            await asyncio.sleep(TOKEN_REFRESH_SECONDS)
            self._mint_tokens()


def _building_in(path: Path) -> Building:
    """The building of the last start; nothing yet if none is told of."""
    try:
        return Building(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return NOTHING_YET


def _laid_over(below: Any, above: Any) -> Any:
    """Settings over others: sections join, lists grow, everything else is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        joined = {name: _laid_over(below[name], value) if name in below else value for name, value in above.items()}
        return below | joined
    return [*below, *above] if isinstance(below, list) and isinstance(above, list) else above


def _device_facts(device: Device, folder: Path) -> dict[str, Any]:
    way = device.way
    if isinstance(way, ModbusTcpWay | RtuOverTcpWay | BacnetIpWay):
        at = f"{way.host}:{way.port}"
    elif isinstance(way, BacnetScWay):
        at = way.hub
    else:
        at = str(Path(way.path).relative_to(folder)) if Path(way.path).is_relative_to(folder) else way.path
    if isinstance(way, BacnetIpWay | BacnetScWay):
        return {"protocol": "bacnet", "instance": way.instance, "upstream": at}
    return {"protocol": "modbus", "sni": device.sni, "unit_id": device.unit_id, "upstream": at}
