"""The way to a BACnet device behind a BACnet/SC hub, as the inventory writes it."""

from typing import Annotated

from pydantic import Field, StringConstraints

from broker.model.place import BacnetScWay
from broker.settings.fields import Section, WssUri

Instance = Annotated[int, Field(ge=0, le=4194302)]
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
    """Its VMAC, six octets such as `02:00:00:00:00:d1`; without it, whoever answers for the instance is believed."""

    def to_model(self) -> BacnetScWay:
        """The way as the rest of the broker knows it."""
        return BacnetScWay(
            self.hub, self.instance, self.failover_hub or "", bytes.fromhex((self.vmac or "").replace(":", ""))
        )
