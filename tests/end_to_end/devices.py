"""Devices for `--inventory`: scripted ones, a recorder in front of any other, and the files that describe them."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from broker.cli.building import ANA, BMS
from tests.end_to_end.modbus_caller import Reply, frame

Script = Callable[[socket.socket, Reply], None]
POINTS = [
    {"id": "supply-temp", "table": "holding-register", "address": 0, "type": "int16", "scale": 0.1, "unit": "°C"},
    {
        "id": "supply-temp-setpoint",
        "table": "holding-register",
        "address": 10,
        "type": "int16",
        "scale": 0.1,
        "unit": "°C",
        "minimum": 16.0,
        "maximum": 22.0,
        "action": "adjust",
    },
    {"id": "wide", "table": "holding-register", "address": 30, "type": "uint32", "unit": "kWh", "action": "adjust"},
]
EVERYWHERE = {"sites": ["plant"]}
GRANTS = [
    {"id": "ana-view", "subjects": [ANA], "scope": EVERYWHERE, "actions": ["view", "discover"]},
    {"id": "ana-adjust", "subjects": [ANA], "scope": EVERYWHERE, "actions": ["adjust"]},
    {"id": "bms-view", "subjects": [BMS], "scope": EVERYWHERE, "actions": ["view", "discover"]},
]


def honest(connection: socket.socket, asked: Reply) -> None:
    connection.sendall(frame(good_reply(asked.pdu), asked.transaction, asked.unit))


def good_reply(pdu: bytes) -> bytes:
    """Registers that hold 0x00B4 (18.0 °C); echoes for writes."""
    if pdu[0] in (3, 4):
        count = int.from_bytes(pdu[3:5], "big")
        return bytes((pdu[0], 2 * count)) + b"\x00\xb4" * count
    return pdu[:5]


class ScriptedDevice:
    """A Modbus/TCP device in a thread of its own; `seen` are the PDUs that reached it, in order."""

    def __init__(self, script: Script = honest, port: int = 0) -> None:
        self.script = script
        self.seen: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def writes_seen(self) -> list[bytes]:
        return [pdu for pdu in self.seen if pdu[0] in (5, 6, 15, 16, 21, 22, 23)]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as octets:
            while len(header := octets.read(7)) == 7:
                pdu = octets.read(int.from_bytes(header[4:6], "big") - 1)
                self.seen.append(pdu)
                self.script(connection, Reply(int.from_bytes(header[:2], "big"), header[6], pdu))


class Recorder(ScriptedDevice):
    """Passes requests on to a real device one by one, noting what reached it."""

    def __init__(self, port: int) -> None:
        self._behind = socket.create_connection(("127.0.0.1", port))
        self._lock = threading.Lock()
        super().__init__(self._pass_on)

    def close(self) -> None:
        super().close()
        self._behind.close()

    def _pass_on(self, connection: socket.socket, asked: Reply) -> None:
        with self._lock:
            self._behind.sendall(frame(asked.pdu, asked.transaction, asked.unit))
            connection.sendall(self._behind.recv(512))


def modbus_device(name: str, port: int, unit: int, **members: object) -> dict[str, Any]:
    """A device as the inventory writes it, with the points above."""
    return {
        "id": name,
        "site": "plant",
        "segment": "hvac",
        "protocol": "modbus",
        "upstream": {"modbus_tcp": {"host": "127.0.0.1", "port": port}, "unit_id": 1},
        "unit_id": unit,
        "points": POINTS,
        **members,
    }


def bacnet_device(name: str, port: int, instance: int) -> dict[str, Any]:
    setpoint = {"id": "zone-setpoint", "object": "analog-value", "instance": 1, "priority": [10, 16], "unit": "°C"}
    return {
        "id": name,
        "site": "plant",
        "segment": "hvac",
        "protocol": "bacnet",
        "upstream": {"bacnet_ip": {"host": "127.0.0.1", "port": port, "instance": instance}},
        "points": [
            {**setpoint, "minimum": 16.0, "maximum": 26.0, "action": "adjust"},
            {"id": "zone-temp", "object": "analog-input", "instance": 1, "unit": "°C"},
        ],
    }


def write_inventory(
    folder: Path, devices: Iterable[Mapping[str, Any]], *, window_seconds: int = 3600, **others: list[dict[str, Any]]
) -> Path:
    """Site `plant` with these devices; ana may view and adjust, bms may view. `others` replace whole lists."""
    folder.mkdir(parents=True, exist_ok=True)
    opened = datetime.now(UTC).replace(tzinfo=None, microsecond=0) - timedelta(seconds=1)
    document = {
        "sites": [{"id": "plant"}],
        "segments": [{"id": "hvac", "site": "plant"}],
        "devices": list(devices),
        "windows": [
            {
                "id": "maintenance",
                "scope": EVERYWHERE,
                "starts": opened.isoformat(),
                "zone": "UTC",
                "duration": f"PT{window_seconds + 1}S",
            }
        ],
        "grants": GRANTS,
        **others,
    }
    temporary = folder / ".plant.json"
    temporary.write_text(json.dumps(document))
    temporary.replace(folder / "plant.yaml")
    return folder
