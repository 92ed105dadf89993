"""`otb` uses nothing that Windows lacks, starts fast, and verifies a ledger with files alone."""

import ast
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.otb.conftest import ROOT

LACKING = [
    "fcntl",
    "termios",
    "pwd",
    "grp",
    "resource",
    "uvloop",
    "regorus",
    "pty",
    "tty",
    "syslog",
    "posix_ipc",
    "spwd",
    "crypt",
    "nis",
    "readline",
]
SANDBOX = f"""
import sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LACKING!r}:
            raise ImportError(name + " is not there")
        return None

for name in {LACKING!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Lacking())
import select
for name in ("epoll", "poll", "kqueue"):
    if hasattr(select, name):
        delattr(select, name)
import os
for name in ("fork", "getuid", "geteuid", "setsid", "openpty", "pread", "pwrite", "eventfd"):
    if hasattr(os, name):
        delattr(os, name)
from broker.cli.otb import main
code = main(sys.argv[1:])
print("IMPORTED", *sorted(m for m in sys.modules if m.startswith("broker.")), file=sys.stderr)
sys.exit(code)
"""
UNIX_ONLY = {
    "add_signal_handler",
    "start_unix_server",
    "open_unix_connection",
    "geteuid",
    "getuid",
    "fork",
    "SIGHUP",
    "AF_UNIX",
    "SIGUSR1",
    "fchmod",
}


def lacking(*arguments):
    return subprocess.run(
        [sys.executable, "-c", SANDBOX, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def modules_of_otb():
    """Every module that is part of `otb`, and every module of ours that one of them imports, wherever it stands."""
    people = ROOT / "broker" / "cli" / "people"
    found, waiting = {}, [f"broker.cli.people.{path.stem}" for path in people.glob("*.py")] + ["broker.cli.otb"]
    while waiting:
        name = waiting.pop()
        spec = importlib.util.find_spec(name)
        if name in found or spec is None:
            continue
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        found[name] = tree
        for node in ast.walk(tree):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            waiting += [imported for imported in names if imported.startswith("broker.")]
    return found


def test_help_works_without_anything_that_windows_lacks():
    said = lacking("--help")
    assert said.returncode == 0, said.stderr
    assert "connect" in said.stdout


def test_verify_works_without_anything_that_windows_lacks(plant):
    ledger, key = plant.folder / "ledger", plant.folder / "ledger.pub"
    said = lacking("audit", "verify", ledger, "--public-key", key)
    assert said.returncode == 0, said.stderr
    assert "unwitnessed" in said.stdout
    bad = lacking("audit", "verify", ledger, "--public-key", ROOT / "pyproject.toml")
    assert bad.returncode == 1


def test_calls_of_the_api_work_without_anything_that_windows_lacks(plant):
    said = lacking("read", "ahu-1", "supply-temp", "--format", "json", *plant.options())
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["device"] == "plant/ahu-1"


def test_no_module_of_otb_names_anything_that_windows_lacks():
    for name, tree in modules_of_otb().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not {alias.name.partition(".")[0] for alias in node.names} & set(LACKING), name
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in LACKING, name
            if isinstance(node, ast.Attribute):
                assert node.attr not in UNIX_ONLY, f"{name}: {node.attr}"


def test_otb_loads_nothing_of_the_brokers_insides(plant):
    said = lacking("ls", *plant.options())
    loaded = said.stderr.partition("IMPORTED")[2].split()
    allowed = ("broker.cli", "broker.errors", "broker.model")
    assert loaded
    assert [name for name in loaded if not name.startswith(allowed)] == []


def test_help_takes_less_than_three_times_the_cpu_that_reading_any_command_line_takes():
    """What is loaded for it besides would be seen: the network alone is twice as much again."""

    def cpu(*command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    least = ("-c", "import argparse, dataclasses, importlib.metadata, shtab")
    took = [(cpu("-m", "broker.cli.otb", "--help"), cpu(*least)) for _ in range(5)]
    assert min(ours for ours, _ in took) < 3 * min(theirs for _, theirs in took)


@pytest.mark.parametrize("damage", ["record", "checkpoint", "key"])
def test_a_damaged_ledger_is_refused_and_the_first_bad_record_named(otb, plant, tmp_path, damage):
    ledger = tmp_path / "ledger"
    shutil.copytree(plant.folder / "ledger", ledger)
    key = plant.folder / "ledger.pub"
    if damage == "record":
        for bundle in (path for path in ledger.rglob("entries/**/*") if path.is_file()):
            octets = bytearray(bundle.read_bytes())
            octets[40] ^= 1
            bundle.write_bytes(octets)
    elif damage == "checkpoint":
        (ledger / "checkpoint").write_text("nonsense")
    else:
        key = tmp_path / "other.pub"
        key.write_text("otbroker.dev/ledger+00000000+AAAA")
    said = otb("audit", "verify", ledger, "--public-key", key)
    assert said.status == 1
    assert "does NOT hold" in said.out
    if damage == "record":
        assert "First bad record: " in said.out
        document = otb("audit", "verify", ledger, "--public-key", key, "--format", "json").document
        assert document["ok"] is False
        assert document["first_bad"] is not None


def test_verify_needs_a_folder_and_a_key(otb, tmp_path):
    key = tmp_path / "key"
    key.write_text("x")
    assert otb("audit", "verify", tmp_path / "missing", "--public-key", key).status == 1
    assert otb("audit", "verify", tmp_path, "--public-key", tmp_path / "missing").status == 1
    assert otb("audit", "verify", tmp_path, "--public-key", key).status == 1
    assert otb("audit", "verify", tmp_path).status == 2
    assert os.listdir(tmp_path) == ["key"]
