"""When requests are due, by their own times and by the windows that they name."""

from collections.abc import Iterable

from broker.listeners.decision_desk import DecisionDesk
from broker.model.access_request import Terms


class RequestTimes:
    """Judges by the windows of the inventory in force."""

    def __init__(self, desk: DecisionDesk) -> None:
        self._desk = desk

    def is_time(self, terms: Terms, now: float) -> bool:
        """Whether what was approved may give something now."""
        return terms.starts <= now < terms.ends and (not terms.window or self._opening(terms, now) <= now)

    def _opening(self, terms: Terms, now: float) -> float:
        """When the window that it names is open on one of its devices: before `now`, or next."""
        in_force = self._desk.in_force
        devices = (in_force.device(key) for key in terms.devices)
        found = (
            in_force.occurrence(terms.window, device, terms.organisation, now)
            for device in devices
            if device is not None
        )
        return min((interval.opens for interval in found if interval is not None), default=float("inf"))

    def next_after(self, now: float, terms: Iterable[Terms]) -> float:
        """When it may be otherwise for one of them; infinite if never."""
        moments: list[float] = []
        for each in terms:
            moments += [each.starts, each.ends]
            if each.window:
                moments.append(self._opening(each, now))
        return min((moment for moment in moments if moment > now), default=float("inf"))
