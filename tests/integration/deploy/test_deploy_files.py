"""The files in deploy/ can be used as they are: settings, unit, container, firewall rules, the key's public half."""

import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from broker.adapters.development_ca import create_authority
from broker.cli.otbroker import main
from tests.reference import pages

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
INVENTORY = """
sites: [{id: plant}]
segments: [{id: hvac, site: plant}]
organisations: [{id: plant-owner, owner: true, namespaces: ["*@plant.example"]}]
devices:
  - id: ahu-1
    site: plant
    segment: hvac
    protocol: modbus
    unit_id: 1
    upstream: {modbus_tcp: {host: 10.20.0.11}, unit_id: 1}
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """The example of the settings with every file that it names."""
    shutil.copy(DEPLOY / "broker.yaml", tmp_path)
    (tmp_path / "tls").mkdir()
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "plant.yaml").write_text(INVENTORY)
    for name in ("tls/broker.pem", "tls/broker.key", "tls/log-ca.pem", "ledger.key", "ledger.pub"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o640)
    return tmp_path


def test_the_example_settings_are_accepted(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["config", "check", str(etc / "broker.yaml")])
    assert (capsys.readouterr().out, status) == ("no problems\n", 0)


def test_the_first_inventory_of_the_page_fits_the_example_settings(
    etc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DEPLOY.parent / "docs" / "how-to" / "deploy.md").read_text()
    (inventory,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (etc / "inventory" / "plant.yaml").write_text(inventory)
    owner = create_authority(etc / "authority", "plant-owner", time.time())
    (etc / "inventory" / "authorities").mkdir()
    shutil.copy(owner.anchor, etc / "inventory" / "authorities" / "plant-owner.pem")
    shutil.copy(owner.crl, etc / "inventory" / "authorities" / "plant-owner.crl")
    status = main(["config", "check", str(etc / "broker.yaml")])
    assert (capsys.readouterr().out, status) == ("no problems\n", 0)


def test_a_key_that_everybody_can_read_is_refused(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (etc / "ledger.key").chmod(0o644)
    assert main(["config", "check", str(etc / "broker.yaml")]) == 1
    assert "ledger.key" in capsys.readouterr().out


def test_the_unit_takes_everything_away_that_the_broker_does_not_need() -> None:
    unit = (DEPLOY / "otbroker.service").read_text()
    for line in (
        "User=otbroker",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        "SystemCallFilter=@system-service",
        "MemoryDenyWriteExecute=yes",
        "StateDirectoryMode=0700",
        "Restart=on-failure",
    ):
        assert line in unit.splitlines()
    assert re.search(r"^(MemoryMax|LimitNOFILE)=", unit, re.MULTILINE)


@pytest.mark.parametrize("name", ["otbroker", "otbroker-ca-lists"])
def test_systemd_understands_the_unit_and_finds_it_little_exposed(tmp_path: Path, name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program = tmp_path / "otbroker"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    service = tmp_path / f"{name}.service"
    unit = (DEPLOY / service.name).read_text().replace("/opt/otbroker/.venv/bin/otbroker", str(program))
    service.write_text(unit)
    units = [service, *(Path(shutil.copy(timer, tmp_path)) for timer in DEPLOY.glob(f"{name}.timer"))]
    said = _ran("systemd-analyze", "verify", "--man=no", *map(str, units))
    assert f"{name}." not in said.stdout + said.stderr, said.stderr
    exposed = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=25"]
    rated = _ran(*exposed, str(service))
    assert rated.returncode == 0, rated.stdout + rated.stderr


def test_the_broker_runs_where_no_memory_may_be_written_and_executed() -> None:
    """What `MemoryDenyWriteExecute=yes` means for compiled libraries, the embedded engine included."""
    program = (
        "import ctypes\n"
        "deny_write_execute = 65\n"
        "print(ctypes.CDLL(None).prctl(deny_write_execute, 1, 0, 0, 0), flush=True)\n"
        "import asyncio, broker.wiring.broker, bacpypes3.apdu\n"
        "from pathlib import Path\n"
        "from broker.adapters.policy_files import read_policies\n"
        "from broker.adapters.rego_channel import check_policy\n"
        f"files = read_policies(Path({str(ROOT / 'policies')!r}))\n"
        "asyncio.run(check_policy(files.modules, files.data))\n"
    )
    ran = _ran(sys.executable, "-c", program)
    if ran.stdout.strip() == "-1":
        pytest.skip("this kernel cannot deny memory that is written and executed")
    assert ran.returncode == 0, ran.stderr


def test_the_container_installs_by_hash_and_runs_without_root() -> None:
    lines = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ").splitlines()
    for line in lines:
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), f"{line}: {source} is not there"
        if " pip install " in f" {line} ".replace("/opt/otbroker/bin/pip", " pip"):
            assert "--no-deps" in line or ("--require-hashes" in line and "--only-binary :all:" in line)
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users and all(user.split(":")[0] not in {"0", "root"} for user in users)
    assert not any(line.startswith("ADD") for line in lines)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert 'ENTRYPOINT ["/opt/otbroker/bin/otbroker"]' in lines and "otbroker" in scripts


def test_the_firewall_rules_are_ones_that_nftables_takes(tmp_path: Path) -> None:
    if shutil.which("nft") is None or _ran("unshare", "-n", "nft", "list", "ruleset").returncode:
        pytest.skip("nftables cannot be tried here (needs nft and root)")
    rules = (DEPLOY / "ot-segment.nft").read_text().replace('skuid "otbroker"', 'skuid "root"')
    (tmp_path / "rules.nft").write_text(rules)
    checked = _ran("unshare", "-n", "nft", "-c", "-f", str(tmp_path / "rules.nft"))
    assert checked.returncode == 0, checked.stderr


def test_the_public_half_of_an_openssl_key_is_what_the_verifier_reads(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    _ran("openssl", "genpkey", "-algorithm", "ed25519", "-out", str(tmp_path / "ledger.key"))
    program = [sys.executable, str(DEPLOY / "ledger-public-key")]
    made = _ran(*program, "broker-1.plant.example/ledger", str(tmp_path / "ledger.key"))
    assert re.fullmatch(r"broker-1\.plant\.example/ledger\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}\n", made.stdout), made.stderr
    refused = _ran(*program, "broker-1.plant.example/ledger", str(DEPLOY / "broker.yaml"))
    assert refused.returncode == 1 and "cannot be used" in refused.stderr


def test_the_settings_page_is_the_one_that_the_example_points_to() -> None:
    assert "docs/reference/settings.md" in (DEPLOY / "broker.yaml").read_text() and "settings.md" in pages()


def _ran(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
