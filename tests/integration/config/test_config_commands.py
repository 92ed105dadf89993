"""`otbroker config …` from arguments to exit status and output."""

import argparse
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker.access.losses import losses_only
from broker.adapters.host_journal import HostJournal
from broker.cli.config_commands import add_config_commands
from broker.cli.config_files import load_inventory
from broker.cli.file_sources import FileSources
from tests.integration.config.conftest import Authority, example

Captured = pytest.CaptureFixture[str]
DOCS = Path(__file__).parents[3] / "docs/reference"


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser(prog="otbroker")
    add_config_commands(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["config", *map(str, arguments)])
    status = parsed.run(parsed)
    assert isinstance(status, int)
    return status


@pytest.mark.parametrize("kind", ["settings", "inventory"])
def test_the_reference_pages_are_what_the_models_say(kind: str, capsys: Captured) -> None:
    assert run("schema", kind, "--format", "markdown") == 0
    assert capsys.readouterr().out == (DOCS / f"{kind}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["settings", "inventory"])
def test_the_schema_is_json_schema_that_forbids_unknown_keys(kind: str, capsys: Captured) -> None:
    assert run("schema", kind) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    mappings = [schema, *(part for part in schema["$defs"].values() if "properties" in part)]
    assert all(part["additionalProperties"] is False for part in mappings)


def test_check_passes_what_is_right(site: Path, capsys: Captured) -> None:
    assert run("check", site / "otbroker.yaml") == 0
    assert capsys.readouterr().out == "no problems\n"
    assert run("check", "--inventory", site / "inventory") == 0


def test_check_names_problems_of_settings_and_inventory_together(site: Path, capsys: Captured) -> None:
    (site / "ledger.key").chmod(0o644)
    (site / "inventory" / "x.yaml").write_text("grants: [{id: g}]\n")
    assert run("check", site / "otbroker.yaml", "--inventory", site / "inventory") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{site}/otbroker.yaml:9:41: ")
    assert lines[1].startswith(f"{site}/inventory/x.yaml:1:10: ")
    assert lines[-1] == "3 problems"


def test_check_names_a_secret_of_a_webhook_that_cannot_be_one_without_showing_it(site: Path, capsys: Captured) -> None:
    (site / "hook-secret").write_text("hunter2\n")
    (site / "hook-secret").chmod(0o600)
    channel = "{kind: webhook, name: hook, url: 'https://hook.example/', secret_file: hook-secret}"
    with (site / "otbroker.yaml").open("a") as file:
        file.write(f"notifications: [{channel}]\n")
    assert run("check", site / "otbroker.yaml") == 1
    said = capsys.readouterr().out
    assert "hook-secret cannot be used" in said
    assert "hunter2" not in said


def test_check_as_json_gives_places_as_numbers(site: Path, capsys: Captured) -> None:
    (site / "inventory" / "x.yaml").write_text("grnts: []\n")
    assert run("check", site / "otbroker.yaml", "--format", "json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert answer["problems"] == [
        {
            "file": f"{site}/inventory/x.yaml",
            "line": 1,
            "column": 1,
            "message": "unknown key 'grnts'",
            "hint": "did you mean 'grants'?",
            "warning": False,
        }
    ]


def test_a_warning_alone_does_not_fail_a_check(site: Path, capsys: Captured) -> None:
    grant = "grants: [{id: g, subjects: [s], actions: [view], scope: {labels: {a: b}}}]\n"
    (site / "inventory" / "x.yaml").write_text(grant)
    assert run("check", site / "otbroker.yaml") == 0
    assert "warning: no device lies in this scope" in capsys.readouterr().out


def test_break_glass_without_a_channel_is_a_warning(site: Path, capsys: Captured) -> None:
    with (site / "otbroker.yaml").open("a") as file:
        file.write("break_glass: {sites: [plant]}\n")
    assert run("check", site / "otbroker.yaml") == 0
    assert "warning: an emergency alarms nobody" in capsys.readouterr().out
    (site / "hook-secret").write_text(f"whsec_{'A' * 43}=\n")
    (site / "hook-secret").chmod(0o600)
    channel = "{kind: webhook, name: hook, url: 'https://hook.example/', secret_file: hook-secret, kinds: [lock_set]}"
    with (site / "otbroker.yaml").open("a") as file:
        file.write(f"notifications: [{channel}]\n")
    assert run("check", site / "otbroker.yaml") == 0
    assert "alarms nobody" not in capsys.readouterr().out


def test_show_tells_every_value_and_where_it_came_from(site: Path, capsys: Captured) -> None:
    assert run("show", "--settings", site / "otbroker.yaml") == 0
    lines = {line.split("  #")[0].strip(): line.split("# ")[1] for line in capsys.readouterr().out.splitlines()}
    assert lines["modbus_tls.0.port: 0"] == f"{site}/otbroker.yaml:5"
    assert lines["modbus_tls.0.limits.max_pipelined: 16"] == "default"
    assert lines["reload.gains: review"] == "default"
    assert lines[f"state_dir: {site}/state"] == f"{site}/otbroker.yaml:1"


def test_show_knows_where_items_of_lists_were_given(site: Path, capsys: Captured) -> None:
    with (site / "otbroker.yaml").open("a") as settings:
        settings.write("issuers:\n  - issuer: https://login.acme.example\n    organisation: acme\n")
        settings.write("    audiences: [otbroker]\n    jwks_url: https://login.acme.example/keys\n")
        settings.write("    subjects:\n      - '*@acme.example'\n")
    assert run("show", "--settings", site / "otbroker.yaml", "--format", "json") == 0
    rows = {row["key"]: row["from"] for row in json.loads(capsys.readouterr().out)}
    assert rows["issuers.0.subjects.0"] == f"{site}/otbroker.yaml:16"
    assert rows["issuers.0.audiences.0"] == f"{site}/otbroker.yaml:13"


def test_show_as_json_has_the_same_rows(site: Path, capsys: Captured) -> None:
    assert run("show", "--settings", site / "otbroker.yaml", "--format", "json") == 0
    rows = {row["key"]: (row["value"], row["from"]) for row in json.loads(capsys.readouterr().out)}
    assert rows["modbus_tls.0.unit_ids.1"] == ("plant/ahu-1", f"{site}/otbroker.yaml:8")


def test_settings_that_cannot_be_used_end_every_command_with_1(tmp_path: Path, capsys: Captured) -> None:
    for command in (["show"], ["diff"], ["apply"], ["check-certificate", "x"]):
        assert run(*command, "--settings", tmp_path / "none.yaml") == 1
        assert "cannot be read" in capsys.readouterr().err


def changed(site: Path) -> Path:
    """A second folder in which ana loses zone-setpoint and bo gains a view."""
    other = site / "other"
    other.mkdir()
    text = example().replace(", zone-setpoint]", "]")
    bo = "  - {id: bo-view, subjects: [bo@acme.example], scope: {devices: [plant/vav-1]}, actions: [view]}\n"
    (other / "all.yaml").write_text(text + bo, encoding="utf-8")
    return other


def test_diff_of_two_folders_says_who_gains_and_who_loses(site: Path, capsys: Captured) -> None:
    assert run("diff", site / "inventory", changed(site)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "- ana@acme.example loses adjust on plant/vav-1: zone-setpoint in evening",
        "- ana@acme.example loses view on plant/vav-1: zone-setpoint in evening",
    ]
    assert lines[2] == "+ bo@acme.example gains view on plant/vav-1"
    assert lines[-1] == f"revision {load_inventory(site / 'other').revision}"


def test_diff_says_what_changed_about_a_point(site: Path, capsys: Captured) -> None:
    other = site / "other"
    other.mkdir()
    (other / "all.yaml").write_text(example().replace("maximum: 22.0", "maximum: 25.0"), encoding="utf-8")
    assert run("diff", site / "inventory", other) == 0
    adjust = "+ ana@acme.example gains adjust on plant/ahu-1: supply-temp-setpoint in evening"
    assert f"{adjust} (supply-temp-setpoint: maximum 22 → 25)" in capsys.readouterr().out.splitlines()


def sources(site: Path) -> FileSources:
    """What a broker with these settings keeps in its state folder."""
    (site / "state").mkdir(mode=0o700, exist_ok=True)
    return FileSources(site / "state", site / "inventory", site / "policies", site / "ledger")


def test_diff_before_a_broker_ever_ran_says_so(site: Path, capsys: Captured) -> None:
    assert run("diff", "--settings", site / "otbroker.yaml") == 1
    assert "nothing to compare" in capsys.readouterr().err


def test_diff_shows_what_waits_beside_what_is_in_force(site: Path, capsys: Captured) -> None:
    before = load_inventory(site / "inventory")
    (site / "inventory" / "all.yaml").write_text((changed(site) / "all.yaml").read_text())
    current = load_inventory(site / "inventory")
    held = losses_only(before, current)
    sources(site).keep(held)
    assert {grant.id: grant.points for grant in held.grants} == {"ana-adjust": ("supply-temp-setpoint",)}
    assert run("diff", "--settings", site / "otbroker.yaml", "--format", "json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["old"], answer["new"]) == (held.revision, current.revision)
    assert [(change["who"], change["gained"]) for change in answer["changes"]] == [("bo@acme.example", True)]


def test_apply_approves_the_revision_that_was_reviewed(site: Path, capsys: Captured) -> None:
    revision = load_inventory(site / "inventory").revision
    assert run("apply", "--settings", site / "otbroker.yaml", "--revision", revision) == 0
    assert capsys.readouterr().out.endswith(f"revision {revision}\napproved\n")
    assert sources(site).approved_revision() == revision
    assert {path.name for path in (site / "state").iterdir()} == {"applied-revision", "host-commands"}
    taken = HostJournal(site / "state").take()
    assert taken is not None
    assert [(c.command, c.outcome, c.about) for c in taken.commands] == [
        ("config apply", outcome, {"revision": revision}) for outcome in ("begun", "done")
    ]
    assert (site / "state").stat().st_mode & 0o077 == 0


def test_apply_refuses_a_revision_that_was_not_the_reviewed_one(site: Path, capsys: Captured) -> None:
    assert run("apply", "--settings", site / "otbroker.yaml", "--revision", "another") == 1
    assert "not the one that was reviewed" in capsys.readouterr().err
    assert sources(site).approved_revision() == ""


def test_apply_tells_if_it_cannot_write(site: Path, capsys: Captured) -> None:
    (site / "state").write_text("not a folder")
    assert run("apply", "--settings", site / "otbroker.yaml") == 1
    assert "cannot be" in capsys.readouterr().err


def test_a_broken_state_file_is_a_problem_and_not_a_crash(site: Path, capsys: Captured) -> None:
    sources(site).keep(load_inventory(site / "inventory"))
    (site / "state" / "inventory-in-force.json").write_text("{")
    assert run("diff", "--settings", site / "otbroker.yaml") == 1
    assert "inventory-in-force.json cannot be read" in capsys.readouterr().err


@pytest.fixture
def trusting(site: Path, acme: Authority) -> Path:
    (site / "inventory" / "acme.pem").write_text(acme.pem)
    path = site / "inventory" / "all.yaml"
    path.write_text(path.read_text().replace("  - id: acme\n", "  - id: acme\n    anchors: [acme.pem]\n"))
    return site


def test_check_certificate_accepts_what_the_broker_would(trusting: Path, acme: Authority, capsys: Captured) -> None:
    (trusting / "ana.pem").write_text(acme.issue("ana@acme.example"))
    assert run("check-certificate", trusting / "ana.pem", "--settings", trusting / "otbroker.yaml") == 0
    assert capsys.readouterr().out == "accepted\n"


def test_check_certificate_explains_refusals_and_what_to_do(
    trusting: Path, acme: Authority, beta: Authority, capsys: Captured
) -> None:
    inventory = ("--inventory", trusting / "inventory")
    (trusting / "eve.pem").write_text(acme.issue("eve@beta.example"))
    assert run("check-certificate", trusting / "eve.pem", *inventory) == 1
    assert "what to do: " in capsys.readouterr().out
    (trusting / "foreign.pem").write_text(beta.issue("ana@acme.example"))
    assert run("check-certificate", trusting / "foreign.pem", *inventory, "--format", "json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["accepted"] is False
    assert "certificate_untrusted" in {finding["code"] for finding in answer["findings"]}


def test_check_certificate_of_a_missing_file_says_so(trusting: Path, capsys: Captured) -> None:
    assert run("check-certificate", trusting / "none.pem", "--inventory", trusting / "inventory") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{trusting}/none.pem cannot be read")


def test_check_certificate_of_a_private_key_says_what_it_is_and_shows_nothing_of_it(
    trusting: Path, acme: Authority, capsys: Captured
) -> None:
    pem = acme.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    (trusting / "ana.key").write_text(pem)
    assert run("check-certificate", trusting / "ana.key", "--inventory", trusting / "inventory") == 1
    said = capsys.readouterr().err
    assert "this is a private key, not a certificate" in said
    assert pem.splitlines()[1] not in said
