"""The way to a BACnet device behind a BACnet/SC hub, as the inventory writes it."""

from typing import Annotated

from pydantic import StringConstraints

from broker.model.way import BacnetScWay, Segmentation
from broker.settings.bacnet_fields import Instance, Mac, MaxApdu, NetworkNumber
from broker.settings.fields import Section, WssUri

Vmac = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$", to_lower=True)]


class BacnetScEntry(Section):
    """A BACnet device behind a BACnet/SC hub of the field."""

    hub: WssUri
    """URI of the primary hub."""
    failover_hub: WssUri | None = None
    """URI of the hub that serves while the primary one is not there."""
    instance: Instance
    """Instance of its device object."""
    vmac: Vmac | None = None
    """Its VMAC, six octets such as `02:00:00:00:00:d1`; without it, a node that alone answers for the instance is
    believed.
    """
    network: NetworkNumber | None = None
    """Number of the network behind a router, if the device is behind one (MS/TP, BACnet/IP); `vmac` is the router's."""
    address: Mac | None = None
    """The device's address on that network: an MS/TP address such as 12, or octets such as 0x0c."""
    max_apdu: MaxApdu | None = None
    """Longest APDU that it takes, in octets; default is what it says itself, and 1476 until it does."""
    segmentation: Segmentation | None = None
    """Which messages in several segments it can handle; default is what it says itself, and both until it does."""

    def to_model(self) -> BacnetScWay:
        """The way as the rest of the broker knows it."""
        return BacnetScWay(
            hub=self.hub,
            instance=self.instance,
            failover_hub=self.failover_hub or "",
            vmac=bytes.fromhex((self.vmac or "").replace(":", "")),
            network=self.network,
            address=bytes.fromhex(self.address or ""),
            max_apdu=self.max_apdu,
            segmentation=self.segmentation,
        )
