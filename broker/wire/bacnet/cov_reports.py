"""What devices report of an object to whoever subscribed to it (ASHRAE 135-2020, table 13-1)."""

_USUAL = ("present-value", "status-flags")
_ALSO = {
    "access-door": ("door-alarm-state",),
    "access-point": ("access-event", "access-event-tag", "access-event-time", "access-event-credential"),
    "life-safety-point": ("mode", "operation-expected", "tracking-value"),
    "life-safety-zone": ("mode", "operation-expected", "tracking-value"),
    "load-control": ("requested-shed-level", "start-time", "shed-duration", "duty-window"),
    "loop": ("setpoint", "controlled-variable-value"),
    "pulse-converter": ("update-time",),
    "staging": ("present-stage",),
}


def reported_properties(object_type: str, name: str | None, index: int | None) -> tuple[tuple[str, int | None], ...]:
    """What a notification may hold: properties of the object, or the one subscribed property (13.15)."""
    if name is None:
        return tuple((each, None) for each in (*_USUAL, *_ALSO.get(object_type, ())))
    return ((name, index), ("status-flags", None)) if name != "status-flags" else ((name, index),)
