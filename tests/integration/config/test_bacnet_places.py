"""Where BACnet tools find a site and its devices, as the inventory says, and what cannot be meant."""

from pathlib import Path

import pytest

from broker.cli.config_files import describe, load_inventory
from broker.cli.inventory_files import read_inventory
from broker.errors import ConfigError
from broker.model.place import BacnetFace, BacnetNetwork, Bbmd, Device
from broker.model.way import BacnetIpWay, Segmentation

SITE = "sites:\n  - {id: plant, bacnet: {network: 2001}}\n  - {id: annex%s}\nsegments:\n  - {id: hvac, site: plant}\n"
DEVICE = (
    "  - {id: %s, site: plant, segment: hvac, protocol: bacnet, "
    "upstream: {bacnet_ip: {host: 10.0.0.%s, instance: %s%s}}%s}\n"
)


def write(folder: Path, *devices: tuple[object, ...], site: str = "") -> Path:
    (folder / "x.yaml").write_text(SITE % site + "devices:\n" + "".join(DEVICE % device for device in devices))
    return folder


def device(folder: Path, way: str = "", rest: str = "") -> Device:
    (found,) = load_inventory(write(folder, ("vav", 31, 1001, way, rest))).devices
    return found


def told(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_inventory(folder)
    return [describe(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_a_site_has_its_network_number_or_none(tmp_path: Path) -> None:
    inventory = load_inventory(write(tmp_path, ("vav", 31, 1001, "", "")))
    assert (inventory.bacnet_network("plant"), inventory.bacnet_network("annex")) == (2001, None)


def test_a_device_is_reached_directly_and_shown_by_its_instance_unless_it_says_otherwise(tmp_path: Path) -> None:
    vav = device(tmp_path)
    assert (vav.way, vav.bacnet) == (BacnetIpWay("10.0.0.31", 47808, 1001), BacnetFace())
    assert vav.bacnet_address == (1001).to_bytes(3, "big")


def test_a_device_behind_a_router_has_its_network_address_and_what_it_can_take(tmp_path: Path) -> None:
    way = ", network: 20, address: 12, max_apdu: 480, segmentation: none"
    vav = device(tmp_path, way, ", bacnet: {virtual_address: 0x010c, vendor_identifier: 999, name: VAV 1}")
    assert vav.way == BacnetIpWay("10.0.0.31", 47808, 1001, 20, b"\x0c", 480, Segmentation.NONE)
    assert (vav.bacnet, vav.bacnet_address) == (BacnetFace(b"\x01\x0c", 999, "VAV 1"), b"\x01\x0c")


@pytest.mark.parametrize(
    ("written", "octets"), [("0", "00"), ("12", "0c"), ("0x0c", "0c"), ("0A:14:00:1f:ba:c0", "0a14001fbac0")]
)
def test_an_address_is_a_decimal_octet_or_octets_in_hexadecimal(tmp_path: Path, written: str, octets: str) -> None:
    way = device(tmp_path, f", network: 20, address: '{written}'").way
    assert isinstance(way, BacnetIpWay)
    assert way.address.hex() == octets


@pytest.mark.parametrize(
    "written", ["256", "-1", "0c", "0x", "0xc", "0x0102030405060708", "0c:", ":", "12 ", "٣", "0c:1"]
)
def test_anything_else_is_no_address(tmp_path: Path, written: str) -> None:
    (problem,) = told(write(tmp_path, ("vav", 31, 1001, f", network: 20, address: '{written}'", "")))
    assert "must be a number from 0 to 255, or 1 to 7 octets in hexadecimal" in problem


@pytest.mark.parametrize(
    ("devices", "site", "expected"),
    [
        ([("a", 1, 7, "", "")], ", bacnet: {network: 2001}",
         "x.yaml:3:35: the network number 2001 is already that of the site 'plant'"),
        ([("a", 1, 7, "", "")], ", bacnet: {network: 65535}", "x.yaml:3:35: 'network' '65535' must be at most 65534"),
        ([("a", 1, 7, "", "")], ", bacnet: {}", "x.yaml:3:25: 'network' is missing"),
        ([("a", 1, 7, "", ""), ("b", 2, 7, "", "")], "", "x.yaml:8:108: the instance 7 is already that of plant/a"),
        (
            [("a", 1, 7, "", ", bacnet: {virtual_address: 12}"), ("b", 2, 8, "", ", bacnet: {virtual_address: 0x0c}")],
            "",
            "x.yaml:8:139: plant/a already has this address on the network of the site",
        ),
        (
            [("a", 1, 7, "", ", bacnet: {virtual_address: 0x000008}"), ("b", 2, 8, "", "")],
            "",
            "x.yaml:8:108: plant/a already has this address on the network of the site",
        ),
        ([("a", 1, 7, "", ", bacnet: {virtual_address: '01:02:03:04:05:06:07'}")], "", "must be at most 6 octets"),
        ([("a", 1, 7, ", address: 12", "")], "", "an address is one on a network behind a router"),
        ([("a", 1, 7, ", network: 20", "")], "", "of a device behind a router the address is needed too"),
        ([("a", 1, 7, ", network: 20, address: 255", "")], "", "255 is every device of an MS/TP network"),
        ([("a", 1, 7, ", max_apdu: 1477", "")], "", "1477"),
        ([("a", 1, 7, ", segmentation: some", "")], "", "segmentation"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told_with_its_place(
    tmp_path: Path, devices: list[tuple[object, ...]], site: str, expected: str
) -> None:
    (problem,) = told(write(tmp_path, *devices, site=site))
    assert expected in problem
    assert problem.startswith("x.yaml:")


def test_the_bbmds_of_a_site_are_read(tmp_path: Path) -> None:
    there = "{host: 10.0.0.9, ttl_seconds: 60}, {host: 10.0.0.8, port: 47809, segment: lab}"
    site = f", bacnet: {{network: 7, bbmds: [{there}]}}"
    write(tmp_path, site=site)
    (tmp_path / "y.yaml").write_text("segments: [{id: lab, site: annex}]\n")
    _, annex = sorted(load_inventory(tmp_path).bacnet_networks, key=lambda n: -n.number)
    assert annex == BacnetNetwork("annex", 7, (Bbmd("10.0.0.8", 47809, 300, "lab"), Bbmd("10.0.0.9", 47808, 60)))


@pytest.mark.parametrize(
    ("bbmds", "expected"),
    [
        ("{host: '::1'}", "has IPv4 addresses"),
        ("{host: bbmd.plant.example}", "must be an IP address"),
        ("{host: 10.0.0.9, ttl_seconds: 10}", "must be at least 30"),
        ("{host: 10.0.0.9}, {host: 10.0.0.9, ttl_seconds: 60}", "300 was said before of the same BBMD"),
        ("{host: 10.0.0.9, segment: hvac}", "the site 'annex' has no segment 'hvac'"),
    ],
)
def test_a_bbmd_that_cannot_be_meant_is_told_with_its_place(tmp_path: Path, bbmds: str, expected: str) -> None:
    (problem,) = told(write(tmp_path, site=f", bacnet: {{network: 7, bbmds: [{bbmds}]}}"))
    assert problem.startswith("x.yaml:3:")
    assert expected in problem


def test_the_audit_log_of_a_site_is_one_of_its_bacnet_devices(tmp_path: Path) -> None:
    folder = write(tmp_path, ("log", 9, 9, ", max_apdu: 206", ""), site=", bacnet: {network: 7}")
    text = (folder / "x.yaml").read_text().replace("network: 2001}", "network: 2001, audit_log: log}")
    (folder / "x.yaml").write_text(text)
    inventory = load_inventory(folder)
    assert BacnetNetwork("plant", 2001, audit_log="log") in inventory.bacnet_networks


@pytest.mark.parametrize(
    ("site", "way", "expected"),
    [
        ("audit_log: vaw", "", "the site 'plant' has no device 'vaw' (did you mean 'vav'?)"),
        ("audit_log: vav", ", max_apdu: 128", "'vav' takes 128 octets at a time, too few for an audit notification"),
        ("audit_log: plc", "", "'plc' does not speak BACnet, and so cannot hold an audit log"),
        ("audit_log: 7!", "", "audit_log"),
    ],
)
def test_an_audit_log_that_cannot_be_is_told_with_its_place(tmp_path: Path, site: str, way: str, expected: str) -> None:
    folder = write(tmp_path, ("vav", 9, 9, way, ""))
    plc = (
        "  - {id: plc, site: plant, segment: hvac, protocol: modbus, "
        "upstream: {modbus_tcp: {host: 10.0.0.77}}, points: []}\n"
    )
    text = (folder / "x.yaml").read_text().replace("network: 2001}", f"network: 2001, {site}}}")
    (folder / "x.yaml").write_text(text + plc)
    (problem,) = told(folder)
    assert problem.startswith("x.yaml:2:")
    assert expected in problem


def test_one_controller_under_two_names_is_a_warning_and_two_behind_one_router_are_none(tmp_path: Path) -> None:
    router = (("a", 1, 7, ", network: 20, address: 1", ""), ("b", 1, 8, ", network: 20, address: 2", ""))
    assert read_inventory(write(tmp_path, *router)).problems == ()
    (warning,) = read_inventory(write(tmp_path, ("a", 1, 7, "", ""), ("b", 1, 8, "", ""))).problems
    assert (warning.warning, warning.message) == (True, "the same controller is already plant/a")
