"""The machine's clocks and chance."""

import base64
import os
import time


class SystemClock:
    """Wall clock in epoch seconds (UTC) and monotonic clock in seconds; asked several times for each operation."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def random_id(prefix: str) -> str:
    """`prefix` and 80 random bits in lower-case base32: unguessable enough to be quoted, never a capability."""
    return f"{prefix}-{base64.b32encode(os.urandom(10)).decode().lower()}"
