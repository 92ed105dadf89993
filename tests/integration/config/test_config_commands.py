"""`otbroker config …` from arguments to exit status and output."""

import argparse
import json
from pathlib import Path

import pytest

from broker.cli.applied import read_applied, read_applied_revision, to_be_in_force, write_applied
from broker.cli.config_commands import add_config_commands
from broker.cli.config_files import load_inventory
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


def test_show_tells_every_value_and_where_it_came_from(site: Path, capsys: Captured) -> None:
    assert run("show", "--settings", site / "otbroker.yaml") == 0
    lines = {line.split("  #")[0].strip(): line.split("# ")[1] for line in capsys.readouterr().out.splitlines()}
    assert lines["modbus_tls.0.port: 0"] == f"{site}/otbroker.yaml:5"
    assert lines["modbus_tls.0.limits.max_pipelined: 16"] == "default"
    assert lines["reload.gains: review"] == "default"
    assert lines[f"state_dir: {site}/state"] == f"{site}/otbroker.yaml:1"


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


def test_diff_with_nothing_approved_says_so(site: Path, capsys: Captured) -> None:
    assert run("diff", "--settings", site / "otbroker.yaml") == 1
    assert "nothing to compare" in capsys.readouterr().err


def test_gains_wait_until_apply_and_losses_do_not(site: Path, capsys: Captured) -> None:
    settings, state = site / "otbroker.yaml", str(site / "state")
    assert run("apply", "--settings", settings) == 0
    approved = load_inventory(site / "inventory")
    assert read_applied(state) == approved
    (site / "inventory" / "all.yaml").write_text((changed(site) / "all.yaml").read_text())
    current = load_inventory(site / "inventory")
    capsys.readouterr()
    assert run("diff", "--settings", settings, "--format", "json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["old"], answer["new"]) == (approved.revision, current.revision)
    assert [(change["who"], change["gained"]) for change in answer["changes"]][-1] == ("bo@acme.example", True)
    held = to_be_in_force(current, read_applied(state), "review")
    assert {grant.id: grant.points for grant in held.grants} == {"ana-adjust": ("supply-temp-setpoint",)}
    assert to_be_in_force(current, read_applied(state), "apply") is current
    assert run("apply", "--settings", settings, "--revision", current.revision) == 0
    assert read_applied_revision(state) == current.revision
    assert to_be_in_force(current, read_applied(state), "review") is current


def test_apply_refuses_a_revision_that_was_not_the_reviewed_one(site: Path, capsys: Captured) -> None:
    assert run("apply", "--settings", site / "otbroker.yaml", "--revision", "another") == 1
    assert "not the one that was reviewed" in capsys.readouterr().err
    assert read_applied_revision(str(site / "state")) == ""


def test_an_approved_file_that_was_tampered_with_is_not_believed(site: Path) -> None:
    inventory = load_inventory(site / "inventory")
    write_applied(str(site / "state"), inventory)
    path = site / "state" / "applied-inventory.json"
    path.write_bytes(path.read_bytes().replace(b"ana@acme", b"eve@acme"))
    assert read_applied(str(site / "state")) is None
    path.write_bytes(b"{}")
    assert read_applied(str(site / "state")) is None


def test_an_approval_leaves_no_draft_and_only_the_owner_may_enter(site: Path) -> None:
    write_applied(str(site / "state"), load_inventory(site / "inventory"))
    names = sorted(path.name for path in (site / "state").iterdir())
    assert names == ["applied-inventory.json", "applied-revision"]
    assert (site / "state").stat().st_mode & 0o077 == 0


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
    assert "none.pem cannot be read" in capsys.readouterr().err
