"""The revision is a hash of what the inventory means, not of how it is written."""

import dataclasses
import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings

from broker.model.place import (
    BacnetAddress,
    BacnetFace,
    BacnetNetwork,
    Budget,
    EndpointBudget,
    Inventory,
    Organisation,
    Point,
    Protocol,
)
from broker.model.way import BacnetIpWay, Segmentation, SerialWay
from broker.settings.canonical import decode_inventory, encode_inventory, with_revision
from broker.settings.inventory_points import decimal_text
from tests.unit.access.inventories import device, grant, inventories, inventory, point


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(inventories)
def test_the_canonical_form_leads_back_to_the_same_inventory(one: Inventory) -> None:
    assert decode_inventory(encode_inventory(one)) == one


def test_every_kind_of_way_address_and_octets_survives() -> None:
    vav = dataclasses.replace(
        device("vav"),
        protocol=Protocol.BACNET,
        way=BacnetIpWay("127.0.0.1", 47808, 1001, 2001, b"\x0c", 480, Segmentation.NONE),
        bacnet=BacnetFace(b"\x00\x0c", 999, "VAV 1"),
        points=(Point("z", BacnetAddress("analog-value", 1, index=3, priority_lowest=10, priority_highest=16)),),
    )
    stated = (EndpointBudget("/dev/ttyS1", Budget(gap_seconds=0.02)),)
    serial = dataclasses.replace(device("chiller"), way=SerialWay("/dev/ttyS1", 9600, "E"))
    acme = Organisation("acme", ("PEM",), (), crls=(b"\x00\xff",), contract_until=1.5, roles=(("ana", ("r",)),))
    networks = (BacnetNetwork("plant", 2001),)
    one = inventory(devices=(vav, serial), organisations=(acme,), endpoints=stated, bacnet_networks=networks)
    assert decode_inventory(encode_inventory(one)) == one


def test_what_an_earlier_version_kept_is_read_with_defaults_for_what_is_new() -> None:
    plain = json.loads(encode_inventory(inventory()))
    del plain["endpoints"]
    assert decode_inventory(json.dumps(plain).encode()) == inventory()
    del plain["grants"]
    with pytest.raises(ValueError, match="canonical form"):
        decode_inventory(json.dumps(plain).encode())


def test_order_does_not_matter_and_meaning_does() -> None:
    one = inventory(grants=(grant("a"), grant("b")), devices=(device("x"), device("y")))
    other = inventory(grants=(grant("b"), grant("a")), devices=(device("y"), device("x")))
    assert one == other
    changed = inventory(grants=(grant("a"), grant("b", subjects=("bo",))), devices=one.devices)
    assert changed.revision != one.revision


def test_a_limit_written_with_a_trailing_zero_is_the_same_limit() -> None:
    one, other = (inventory(devices=(device(points=(point(minimum=Decimal(m)),)),)) for m in ("16", "16.0"))
    assert one.revision == other.revision


def test_the_revision_is_43_characters_of_base64url() -> None:
    assert len(inventory().revision) == 43
    assert with_revision(inventory()).revision == inventory().revision


def test_a_form_from_before_a_member_was_there_is_still_read() -> None:
    one = inventory(devices=(device(points=(point(),)),))
    plain = json.loads(encode_inventory(one))
    del plain["devices"][0]["points"][0]["confidential"]
    assert decode_inventory(json.dumps(plain).encode()) == one


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"null", b'{"sites": 3}'])
def test_anything_else_is_no_inventory(raw: bytes) -> None:
    with pytest.raises(ValueError):
        decode_inventory(raw)


def test_a_canonical_form_with_a_wrong_type_is_refused() -> None:
    plain = json.loads(encode_inventory(inventory()))
    plain["devices"][0]["unit_id"] = "1"
    with pytest.raises(ValueError):
        decode_inventory(json.dumps(plain).encode())


@pytest.mark.parametrize(
    ("written", "text"),
    [("1E+2", "100"), ("0.10", "0.1"), ("-0", "0"), ("-0.0", "0"), ("-1.50", "-1.5")],
)
def test_a_number_has_one_text(written: str, text: str) -> None:
    assert decimal_text(Decimal(written)) == text
