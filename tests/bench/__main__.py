"""`make bench`: measures everything in one run and prints it as JSON."""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from broker.authz.question import encode
from tests.bench import bacnet, bacnet_floods, doors, memory, parts
from tests.bench.plant import running
from tests.unit.authz import given


def machine() -> dict[str, Any]:
    """What it was measured on."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {
        "processor": model.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _fresh(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def main() -> None:
    """Run all and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--connections", default="1,32,1000", help="comma separated (default: %(default)s)")
    parser.add_argument("--only", choices=("bacnet", "doors", "memory", "parts"), help="measure only that")
    arguments = parser.parse_args()
    report: dict[str, Any] = {"machine": machine()}
    wanted = lambda name: arguments.only in (None, name)  # noqa: E731
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if wanted("doors"):
            with running(_fresh(folder, "doors")) as plant:
                connections = tuple(int(count) for count in arguments.connections.split(","))
                report["doors"] = doors.compare(plant, folder, connections)
        if wanted("bacnet"):
            report["bacnet"] = bacnet.compare(_fresh(folder, "bacnet"))
            report["bacnet"]["floods"] = bacnet_floods.measure(_fresh(folder, "floods"))
        if wanted("memory"):
            with running(_fresh(folder, "sessions")) as plant:
                report["modbus_tls_session_kib"] = memory.sessions_kib(plant)
            with running(_fresh(folder, "tunnels")) as plant:
                report["tunnel_kib"] = memory.tunnels_kib(plant)
    if wanted("parts"):
        report["parts"] = parts.measure(encode(given.operation_question()))
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
