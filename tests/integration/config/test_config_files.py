"""The broker's YAML from a file: origins, paths, secrets, and what does not fit the inventory."""

import os
from pathlib import Path

import pytest

from broker.cli.config_files import load_inventory, load_settings, problems_together
from broker.errors import ConfigError, Problem
from tests.integration.config.conftest import SETTINGS


def problems(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    return caught.value.problems


def rewrite(site: Path, old: str, new: str) -> Path:
    path = site / "otbroker.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_settings_load_with_the_place_of_every_given_value(site: Path) -> None:
    loaded = load_settings(site / "otbroker.yaml")
    assert loaded.settings.inventory == str(site / "inventory")
    assert loaded.settings.state_dir == str(site / "state")
    assert loaded.origins["modbus_tls.0.port"] == f"{site}/otbroker.yaml:5"
    assert loaded.origins["ledger.origin"] == f"{site}/otbroker.yaml:9"
    assert "ops.port" not in loaded.origins


def test_a_relative_settings_path_gives_absolute_paths(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site)
    assert load_settings("otbroker.yaml").settings.inventory == str(site / "inventory")


def test_a_secret_that_others_can_read_is_refused(site: Path) -> None:
    (site / "ledger.key").chmod(0o604)
    (problem,) = problems(site / "otbroker.yaml")
    assert "every user of this machine can read" in problem.message
    assert problem.hint == f"chmod 600 {site}/ledger.key"
    assert (problem.line, problem.column) == (9, 41)


def test_a_certificate_may_be_read_by_everybody(site: Path) -> None:
    (site / "tls.pem").chmod(0o644)
    load_settings(site / "otbroker.yaml")


@pytest.mark.parametrize("name", ["tls.pem", "tls.key", "ledger.key"])
def test_a_file_that_is_missing_is_found_in_its_place(site: Path, name: str) -> None:
    (site / name).unlink()
    (problem,) = problems(site / "otbroker.yaml")
    assert f"{site}/{name} cannot be used: No such file or directory" in problem.message
    assert problem.line > 0


def test_a_folder_or_a_pipe_in_place_of_a_file_is_refused(site: Path) -> None:
    (site / "tls.pem").unlink()
    (site / "tls.pem").mkdir()
    (site / "tls.key").unlink()
    os.mkfifo(site / "tls.key")
    assert [problem.message.rpartition(" is ")[2] for problem in problems(site / "otbroker.yaml")] == ["not a file"] * 2


def test_a_secret_written_where_its_file_belongs_is_not_shown(site: Path) -> None:
    secret = "-----BEGIN PRIVATE KEY-----\\n" + "c2VjcmV0" * 30
    (problem,) = problems(rewrite(site, "key_file: ledger.key", f'key_file: "{secret}"'))
    assert "c2Vj" not in problem.message + problem.hint


def test_all_problems_come_at_once_in_the_order_of_the_file(site: Path) -> None:
    path = rewrite(site, SETTINGS, "modbus_tls:\n  - {adress: x, port: 70000}\nledger: {orign: x}\nloging: {}\n")
    assert [(problem.line, problem.message) for problem in problems(path)] == [
        (1, "'inventory' is missing"),
        (2, "'address' is missing"),
        (2, "'certificate_file' is missing"),
        (2, "'key_file' is missing"),
        (2, "unknown key 'adress'"),
        (2, "'port' '70000' must be at most 65535"),
        (3, "'origin' is missing"),
        (3, "'key_file' is missing"),
        (3, "unknown key 'orign'"),
        (4, "unknown key 'loging'"),
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]\n", "text\n", "a: &x 1\n", "a: {b: 1, b: 2}\n"])
def test_a_file_that_is_no_mapping_of_settings_is_refused(site: Path, text: str) -> None:
    (site / "otbroker.yaml").write_text(text)
    assert problems(site / "otbroker.yaml")


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    missing = problems(tmp_path / "none.yaml")[0]
    assert "cannot be read" in missing.message
    assert "`--config FILE`" in missing.hint


def together(site: Path) -> list[str]:
    loaded = load_settings(site / "otbroker.yaml")
    return [problem.message for problem in problems_together(loaded, load_inventory(loaded.settings.inventory))]


def test_settings_and_inventory_of_the_example_fit(site: Path) -> None:
    assert together(site) == []


def test_a_unit_id_must_lead_to_a_modbus_device_of_the_inventory(site: Path) -> None:
    rewrite(site, "{1: plant/ahu-1}", "{1: plant/ahu-9, 2: plant/vav-1}")
    assert together(site) == ["the inventory has no device 'plant/ahu-9'", "'plant/vav-1' does not speak Modbus"]


def test_a_segment_has_one_udp_port_which_is_no_others(site: Path) -> None:
    lab = "{segment: plant/lab, address: 127.0.0.3}"
    twice = "{segment: plant/hvac, address: 127.0.0.2, port: 47900}, {segment: plant/hvac}"
    rewrite(site, "ledger:", f"bacnet_ip: {{address: 127.0.0.2, port: 47900, segments: [{lab}, {twice}]}}\nledger:")
    assert together(site) == [
        "the inventory has no segment 'plant/lab'",
        "'plant/hvac' has a port already",
        "this UDP port is another segment's",
    ]


def test_no_address_and_port_is_listened_on_twice(site: Path) -> None:
    rewrite(site, "port: 0", "port: 9802")
    assert together(site) == ["127.0.0.1:9802 already belongs to modbus_tls.0.port"]


def test_an_issuer_speaks_for_an_organisation_of_the_inventory(site: Path) -> None:
    issuer = "issuers: [{issuer: i, organisation: acne, audiences: [a], subjects: ['*'], jwks_file: tls.pem}]\n"
    rewrite(site, "ledger:", f"{issuer}ledger:")
    assert together(site) == ["the inventory has no organisation 'acne'"]


def test_an_emergency_can_be_opened_at_sites_of_the_inventory_only(site: Path) -> None:
    rewrite(site, "ledger:", "break_glass: {sites: [plant, plnt]}\nledger:")
    assert together(site) == ["the inventory has no site 'plnt'"]
