"""Where BACnet tools find a site and its devices."""

import dataclasses

from broker.model.operation import BacnetProperty
from broker.model.place import BacnetFace, BacnetNetwork, Protocol
from broker.model.way import BacnetIpWay
from tests.unit.access.inventories import device, inventory

WAY = BacnetIpWay("127.0.0.1", 47808, 1001)


def test_a_device_is_found_by_its_instance_in_three_octets_unless_the_inventory_fixes_another_address() -> None:
    vav = dataclasses.replace(device("vav"), protocol=Protocol.BACNET, way=WAY)
    assert vav.bacnet_address == b"\x00\x03\xe9"
    assert dataclasses.replace(vav, bacnet=BacnetFace(b"\x0c")).bacnet_address == b"\x0c"


def test_a_device_that_does_not_speak_bacnet_has_no_such_address() -> None:
    assert device("ahu").bacnet_address == b""


def test_a_site_has_the_network_that_the_inventory_says_or_none() -> None:
    one = inventory(bacnet_networks=(BacnetNetwork("plant", 2001),))
    assert one.bacnet_network("plant") == 2001
    assert one.bacnet_network("elsewhere") is None


def test_an_object_a_property_and_an_element_are_told_apart_in_words() -> None:
    assert str(BacnetProperty("analog-value", 1, "priority-array", 8)) == "analog-value,1 priority-array[8]"
    assert str(BacnetProperty("device", 1001, None)) == "device,1001"
    assert str(BacnetProperty("file", None, None)) == "file"
