"""The broker's Modbus/TCP Security door beside HAProxy and nginx, which relay octets and decide nothing; in one run.

Rounds are interleaved so that a drifting machine hurts all alike; medians and ratios count, absolute figures do not.
"""

import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.plant import Plant
from tests.ports import free_port

SECONDS = 3.0
ROUNDS = 3
WRITE_PERCENT = 10
FIGURES = ("ops_per_s", "p50_us", "p99_us")


@contextmanager
def proxies(plant: Plant, folder: Path) -> Iterator[dict[str, int]]:
    """HAProxy and nginx with the broker's own server certificate, one process each."""
    ports = {"haproxy": free_port(), "nginx": free_port()}
    both = folder / "both.pem"
    both.write_text(plant.server_certificate.read_text() + plant.server_key.read_text())
    anchors = folder / "anchors.pem"
    anchors.write_text(plant.client_anchors)
    (folder / "haproxy.cfg").write_text(
        "global\n  nbthread 1\n  maxconn 8192\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 120s\n"
        f"  timeout server 120s\nfrontend f\n  bind 127.0.0.1:{ports['haproxy']} ssl crt {both} ca-file {anchors}"
        f" verify required\n  default_backend b\nbackend b\n  server d 127.0.0.1:{plant.device_port}\n"
    )
    (folder / "nginx.conf").write_text(
        f"worker_processes 1;\ndaemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.err;\n"
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nevents { worker_connections 8192; }\n"
        f"stream {{ server {{ listen 127.0.0.1:{ports['nginx']} ssl; ssl_certificate {plant.server_certificate};"
        f" ssl_certificate_key {plant.server_key}; ssl_client_certificate {anchors}; ssl_verify_client on;"
        f" ssl_verify_depth 3; proxy_pass 127.0.0.1:{plant.device_port}; tcp_nodelay on; }} }}\n"
    )
    commands = {
        "haproxy": ["haproxy", "-f", str(folder / "haproxy.cfg")],
        "nginx": ["nginx", "-c", str(folder / "nginx.conf")],
    }
    there = {name: command for name, command in commands.items() if shutil.which(command[0])}
    for name in commands.keys() - there.keys():
        print(f"SKIPPED {name}: not installed")
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in there.values()]
    try:
        for name in there:
            plant.wait_for_port(ports[name])
        yield {name: ports[name] for name in there}
    finally:
        for process in running:
            process.terminate()
            process.wait(10)


def load(plant: Plant, port: int, connections: int, *, tls: bool) -> dict[str, float]:
    """One round of the load generator; its figures."""
    command = [str(plant.load_program), "127.0.0.1", str(port), str(connections), str(SECONDS), str(WRITE_PERCENT)]
    if tls:
        command += [str(plant.server_anchor), str(plant.client_certificate), str(plant.client_key), plant.sni]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 120, check=False)
    if done.returncode:
        raise SystemExit(f"load generator failed against port {port}: {done.stderr.strip()}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(plant: Plant, folder: Path, connections: tuple[int, ...] = (1, 32, 1000)) -> dict[str, Any]:
    """Throughput and latency of all doors; ratios against the better proxy and against HAProxy's median latency."""
    report: dict[str, Any] = {}
    with proxies(plant, folder) as proxy_ports:
        targets = {"direct": (plant.device_port, False), **{n: (p, True) for n, p in proxy_ports.items()}}
        targets["broker"] = (plant.broker_port, True)
        for count in connections:
            rows: dict[str, list[dict[str, float]]] = {name: [] for name in targets}
            for _ in range(ROUNDS):
                for name, (port, tls) in targets.items():
                    rows[name].append(load(plant, port, count, tls=tls))
                    time.sleep(0.2)
            report[f"{count} connections"] = _summary(rows, tuple(proxy_ports))
    return report


def _summary(rows: dict[str, list[dict[str, float]]], proxy_names: tuple[str, ...]) -> dict[str, Any]:
    medians: dict[str, Any] = {
        name: {figure: statistics.median(row[figure] for row in found) for figure in FIGURES}
        | {"exceptions": sum(r["exceptions"] for r in found), "errors": sum(r["errors"] for r in found)}
        for name, found in rows.items()
    }
    if proxy_names:
        best = max(medians[name]["ops_per_s"] for name in proxy_names)
        medians["ratio"] = {"throughput_vs_better_proxy": round(medians["broker"]["ops_per_s"] / best, 3)}
    if "haproxy" in proxy_names:
        ratio = medians["broker"]["p50_us"] / medians["haproxy"]["p50_us"]
        medians["ratio"]["median_latency_vs_haproxy"] = round(ratio, 2)
    return medians
