"""One timer for a whole connection: it rings when the last setting says, however often that was moved."""

import asyncio

from broker.adapters.alarm import Alarm
from broker.adapters.clock import SystemClock


def rung_after(*settings: float, stopped: bool = False) -> list[float]:
    """When it rang, in seconds from the start, after all these settings made at the start."""

    async def play() -> list[float]:
        clock, rung = SystemClock(), []
        started = clock.monotonic()
        alarm = Alarm(clock, lambda: rung.append(clock.monotonic() - started))
        for seconds in settings:
            alarm.set(started + seconds)
        if stopped:
            alarm.stop()
        await asyncio.sleep(max(settings) + 0.05)
        return rung

    return asyncio.run(play())


def test_it_rings_once_at_the_latest_setting_whether_that_is_later_or_earlier() -> None:
    for settings in ((0.05,), (0.02, 0.1), (0.1, 0.02), (0.02, 0.1, 0.06)):
        (at,) = rung_after(*settings)
        assert settings[-1] - 0.005 < at < settings[-1] + 0.045


def test_it_does_not_ring_after_it_was_stopped() -> None:
    assert rung_after(0.01, 0.03, stopped=True) == []
