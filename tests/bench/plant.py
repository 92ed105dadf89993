"""A broker in front of one fast device in C, for measuring."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

HERE = Path(__file__).resolve().parent
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plant:
    """Where everything is; paths are absolute."""

    device_port: int
    broker_port: int
    broker_pid: int
    api: str
    sni: str
    server_anchor: Path
    server_certificate: Path
    server_key: Path
    client_anchors: str
    client_certificate: Path
    client_key: Path
    token: Path
    load_program: Path
    folder: Path

    @staticmethod
    def wait_for_port(port: int) -> None:
        """Until something listens there; SystemExit if nothing does in time."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise SystemExit(f"nothing listens on port {port}")


def build(folder: Path) -> tuple[Path, Path]:
    """Compile device and load generator. Raises CalledProcessError."""
    device, load = folder / "mbdevice", folder / "mbload"
    subprocess.run(["cc", "-O2", "-o", device, HERE / "mbdevice.c"], check=True)
    subprocess.run(["cc", "-O2", "-o", load, HERE / "mbload.c", "-lssl", "-lcrypto"], check=True)
    return device, load


def inventory(folder: Path, device_port: int, connections: int) -> Path:
    """One device with a budget as large as the load; register 10 takes 42."""
    place = folder / "inventory"
    place.mkdir()
    (place / "bench.yaml").write_text(f"""sites: [{{id: plant}}]
segments: [{{id: hvac, site: plant}}]
devices:
  - id: ahu-1
    site: plant
    segment: hvac
    protocol: modbus
    upstream: {{modbus_tcp: {{host: 127.0.0.1, port: {device_port}}}, unit_id: 1}}
    unit_id: 1
    budget: {{connections: {connections}, queue: 4096}}
    points:
      - {{id: setpoint, table: holding-register, address: 10, type: uint16, minimum: 0, maximum: 100, action: adjust}}
windows:
  - {{id: now, scope: {{sites: [plant]}}, starts: 2020-01-01T00:00:00, zone: UTC, duration: PT87000H}}
grants:
  - {{id: ana, subjects: [ana@acme.example], scope: {{sites: [plant]}}, actions: [view, adjust]}}
""")
    return place


@contextmanager
def running(folder: Path, *, connections: int = 1000) -> Iterator[Plant]:
    """Device and broker as processes of their own."""
    device_program, load_program = build(folder)
    device_port = free_port()
    device = subprocess.Popen([device_program, str(device_port)])
    state = folder / "state"
    command = [sys.executable, "-m", "broker.cli.otbroker", "dev", "--dir", str(state)]
    command += ["--inventory", str(inventory(folder, device_port, connections))]
    with (folder / "broker.log").open("wb") as log:
        broker = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        facts = ready(state / "dev.json", broker)
        persona = facts["personas"]["vendor-ana"]
        yield Plant(
            device_port=device_port,
            broker_port=int(facts["modbus_tls"].rpartition(":")[2]),
            broker_pid=broker.pid,
            api=facts["api"],
            sni="ahu-1.plant",
            server_anchor=state / facts["ca"],
            server_certificate=state / "server.pem",
            server_key=state / "server.key",
            client_anchors="".join(p.read_text() for p in sorted(state.glob("ca/*/root.pem"))),
            client_certificate=state / persona["certificate"],
            client_key=state / persona["key"],
            token=state / persona["token"],
            load_program=load_program,
            folder=folder,
        )
    finally:
        broker.terminate()
        broker.wait(30)
        device.terminate()
        device.wait(10)


def ready(path: Path, broker: subprocess.Popen[bytes]) -> dict:  # type: ignore[type-arg]
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and broker.poll() is None:
        if path.exists():
            facts: dict = json.loads(path.read_text())  # type: ignore[type-arg]
            if facts["pid"] == broker.pid:
                return facts
        time.sleep(0.05)
    raise SystemExit("the broker did not start; see broker.log")
