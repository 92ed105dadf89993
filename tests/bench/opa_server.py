"""A real OPA on loopback, if there is one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.plant import Plant
from tests.ports import free_port


@contextmanager
def opa_server() -> Iterator[str]:
    """Its URL, or "" if no opa is found (OTB_OPA, .tools/bin, PATH)."""
    program = os.environ.get("OTB_OPA") or shutil.which("opa", path=".tools/bin") or shutil.which("opa")
    if not program or not Path(program).exists():
        yield ""
        return
    port = free_port()
    command = [program, "run", "--server", "--addr", f"127.0.0.1:{port}", "--log-level", "error"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        Plant.wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)
