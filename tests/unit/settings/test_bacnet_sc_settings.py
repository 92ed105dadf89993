"""BACnet/SC in settings and inventory: hubs of our own, and devices behind hubs of the field."""

from typing import Any

import pytest
from pydantic import ValidationError

from broker.model.way import BacnetScWay, Segmentation, place_name
from broker.settings.bacnet_place_checks import bacnet_way_findings
from broker.settings.bacnet_sc_way import BacnetScEntry
from broker.settings.inventory_places import BacnetUpstreamEntry
from broker.settings.listening import BacnetScListener

LISTENER = {"address": "127.0.0.1", "certificate_file": "a.pem", "key_file": "a.key", "site": "plant"}


def entry(**way: Any) -> BacnetUpstreamEntry:
    return BacnetUpstreamEntry.model_validate({"bacnet_sc": {"hub": "wss://hub.plant.example:4443/", **way}})


def test_a_device_behind_a_hub_is_named_by_instance_and_vmac() -> None:
    (way,) = entry(instance=7, vmac="02:00:00:00:00:D1", failover_hub="wss://other.plant.example/").ways()
    vmac = bytes.fromhex("0200000000d1")
    assert way == BacnetScWay("wss://hub.plant.example:4443/", 7, "wss://other.plant.example/", vmac)
    assert place_name(way) == "7 at wss://hub.plant.example:4443/"


def test_a_device_whose_vmac_is_not_given_is_asked_for() -> None:
    (way,) = entry(instance=7).ways()
    assert isinstance(way, BacnetScWay)
    assert way.vmac == b""


def test_a_device_behind_a_router_has_its_network_and_its_address_there() -> None:
    (way,) = entry(
        instance=7, vmac="02:00:00:00:00:d1", network=20, address="12", max_apdu=480, segmentation="none"
    ).ways()
    assert isinstance(way, BacnetScWay)
    assert (way.network, way.address, way.max_apdu, way.segmentation) == (20, b"\x0c", 480, Segmentation.NONE)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"network": 20}, "the address is needed too"),
        ({"address": "12"}, "an address is one on a network behind a router"),
        ({"network": 20, "address": "255"}, "255 is every device"),
    ],
)
def test_half_an_address_behind_a_router_is_refused(keys: dict[str, Any], told: str) -> None:
    way = BacnetScEntry.model_validate({"hub": "wss://hub.plant.example/", "instance": 7, **keys})
    assert any(told in finding.message for finding in bacnet_way_findings(way))


@pytest.mark.parametrize(
    "odd",
    [
        {"instance": 4194303},
        {"instance": 7, "vmac": "0200000000"},
        {"instance": 7, "vmac": "02:00:00:00:00"},
        {"instance": 7, "hub": "https://hub.plant.example/"},
        {"instance": 7, "hub": "wss://user:secret@hub.plant.example/"},
        {"instance": 7, "failover_hub": "hub.plant.example"},
    ],
)
def test_what_leads_to_no_device_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        entry(**odd)


def test_both_ways_at_once_are_told_apart_from_one() -> None:
    ip = {"host": "192.0.2.1", "instance": 7}
    both = {"bacnet_ip": ip, "bacnet_sc": {"hub": "wss://hub.plant.example/", "instance": 7}}
    assert len(BacnetUpstreamEntry.model_validate(both).ways()) == 2
    assert BacnetUpstreamEntry.model_validate({}).ways() == ()


def test_a_hub_of_our_own_needs_a_site_and_says_where_direct_connections_go() -> None:
    hub = BacnetScListener.model_validate({**LISTENER, "direct_uris": ["wss://broker.plant.example/"]})
    assert (hub.port, hub.site, hub.direct_uris) == (47808, "plant", ("wss://broker.plant.example/",))
    for odd in (
        {"site": None},
        {"direct_uris": ["http://broker.plant.example/"]},
        {"limits": {"heartbeat_seconds": 0}},
    ):
        with pytest.raises(ValidationError):
            BacnetScListener.model_validate({**LISTENER, **odd})
