"""One file of the inventory's folder: any of its lists, in any distribution over files."""

from broker.settings.fields import Section
from broker.settings.inventory_access import FreezeEntry, GrantEntry, OrganisationEntry, WindowEntry
from broker.settings.inventory_places import DeviceEntry, EndpointEntry, SegmentEntry, SiteOrName


class InventoryFile(Section):
    """Part of the inventory; the whole is all files of the folder together."""

    sites: tuple[SiteOrName, ...] = ()
    """Places with devices."""
    segments: tuple[SegmentEntry, ...] = ()
    """Zones of the sites."""
    devices: tuple[DeviceEntry, ...] = ()
    """Controllers and their points."""
    organisations: tuple[OrganisationEntry, ...] = ()
    """Whom subjects belong to."""
    windows: tuple[WindowEntry, ...] = ()
    """When work may be done."""
    freezes: tuple[FreezeEntry, ...] = ()
    """When nothing may be changed."""
    grants: tuple[GrantEntry, ...] = ()
    """Who may do what where."""
    endpoints: tuple[EndpointEntry, ...] = ()
    """What gateways and lines bear in all, where that is not what their devices' budgets say."""
