"""A BACnet/SC network of the field made of foreign programs: a hub, a device, and what the broker is there."""

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from broker.adapters.bacnet_sc_port import ScIdentity
from broker.wire.bacnet.sc_node import NodeTimes
from tests.integration.tls.pki import Pki
from tests.temporary import lasting_folder

HUB_VMAC, DEVICE_VMAC = bytes.fromhex("020000000001"), bytes.fromhex("0200000000d1")
BROKER_VMAC = bytes.fromhex("0200000000b1")


@functools.cache
def field_pki() -> Pki:
    return Pki(lasting_folder())


def identity(pki: Pki, vmac: bytes = BROKER_VMAC, **times: float) -> ScIdentity:
    node = NodeTimes(**{"reconnect_seconds": 0.5, **times})
    return ScIdentity(b"o" * 16, vmac, pki.client.certificate, pki.client.key, pki.root_file, node)


@asynccontextmanager
async def foreign_hub(pki: Pki, listen: str = "127.0.0.1:0", **options: Any) -> AsyncIterator[Any]:
    """A hub in Rust."""
    rusty = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
    hub = rusty.ScHub(
        listen,
        str(pki.server.certificate),
        str(pki.server.key),
        HUB_VMAC,
        ca_cert=str(pki.root_file),
        device_uuid=b"h" * 16,
        **options,
    )
    async with hub:
        yield hub


@asynccontextmanager
async def foreign_device(pki: Pki, url: str, instance: int, vmac: bytes = DEVICE_VMAC) -> AsyncIterator[Any]:
    """A device in Rust at that hub."""
    rusty = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
    device = rusty.BACnetServer(
        instance,
        f"simulated-{instance}",
        transport="sc",
        sc_hub=url,
        sc_vmac=vmac,
        sc_ca_cert=str(pki.root_file),
        sc_client_cert=str(pki.strong.certificate),
        sc_client_key=str(pki.strong.key),
        sc_device_uuid=b"d" * 16,
        segmentation_supported=rusty.Segmentation.BOTH,
        rpm_max_result_elements=1000,
        rpm_max_service_ack_bytes=65536,
    )
    device.add_analog_value(1, "setpoint")
    device.add_analog_input(1, "temperature", present_value=21.0)
    device.add_binary_value(1, "occupied")
    await device.start()
    try:
        yield device
    finally:
        await device.stop()
