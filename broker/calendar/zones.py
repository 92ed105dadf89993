"""IANA time zones, always from the `tzdata` package and never from the host, whose version nobody recorded."""

import importlib.metadata
import io
import pkgutil
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo


def tzdata_version() -> str:
    """The version of the time zone data that every computation here uses."""
    return importlib.metadata.version("tzdata")


@cache
def zone_names() -> frozenset[str]:
    """All zone names that the data knows."""
    listing = pkgutil.get_data("tzdata", "zones")
    return frozenset((listing or b"").decode("ascii").split())


@cache
def zone(name: str) -> ZoneInfo:
    """The zone of that IANA name. Raises KeyError if there is none."""
    # Only listed names reach the loader: a name is never used as a path.
    data = pkgutil.get_data("tzdata", f"zoneinfo/{name}") if name in zone_names() else None
    if data is None:
        raise KeyError(name)
    return ZoneInfo.from_file(io.BytesIO(data), key=name)


def to_epoch(local: datetime, name: str) -> float:
    """Epoch seconds of a local time.

    A time that does not exist takes the offset from before the gap, an ambiguous one is the first (RFC 5545, 3.3.5);
    `fold=0` means exactly that (PEP 495).
    """
    return local.replace(tzinfo=zone(name), fold=0).timestamp()


def to_local(epoch: float, name: str) -> datetime:
    """The local time without offset at that moment."""
    return datetime.fromtimestamp(epoch, tz=zone(name)).replace(tzinfo=None, fold=0)
