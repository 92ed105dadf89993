"""Requests of one client side to a device: so many at once, the rest in their order, and none too late."""

import asyncio
from collections.abc import Callable
from typing import Any

from broker.engine.bacnet_conversation import Asked, Key, Station
from broker.listeners import bacnet_turns
from broker.listeners.bacnet_turns import MOST_AT_ONCE, Turns
from broker.model.place import Device, Protocol
from broker.model.way import BacnetIpWay

ONE, OTHER = (
    Device("plant", f"vav-{number}", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, number))
    for number in (1, 2)
)


def asked(number: int) -> Asked:
    return Asked(Key(Station(b"\x01" * 6), b"\x02", number), ONE, b"", 1476, None, False)


class Desk:
    """What was begun, by number, and what came too late."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.late: list[int] = []
        self.flushed = 0
        self.turns = Turns(self._begin, self._waited)

    def _begin(self, request: Asked, late: bool) -> None:
        (self.late if late else self.begun).append(request.key.invoke)

    def _waited(self) -> None:
        self.flushed += 1


def play(story: Callable[[Desk], Any]) -> None:
    async def acts() -> None:
        await story(Desk())

    asyncio.run(acts())


async def a_turn() -> None:
    await asyncio.sleep(0)


def test_what_is_more_than_may_be_asked_at_once_waits_and_goes_in_order() -> None:
    async def story(desk: Desk) -> None:
        for number in range(200):
            desk.turns.take(asked(number), ONE)
        assert desk.begun == [*range(MOST_AT_ONCE)]
        for over in range(200):
            desk.turns.over(ONE)
            await a_turn()
            assert desk.begun == [*range(min(200, MOST_AT_ONCE + over + 1))]
        assert (desk.late, desk.flushed) == ([], 200 - MOST_AT_ONCE)
        desk.turns.take(asked(200), ONE)
        assert desk.begun[-1] == 200

    play(story)


def test_several_that_end_at_once_let_as_many_begin() -> None:
    async def story(desk: Desk) -> None:
        for number in range(2 * MOST_AT_ONCE):
            desk.turns.take(asked(number), ONE)
        for _ in range(MOST_AT_ONCE):
            desk.turns.over(ONE)
        desk.turns.take(asked(99), ONE)
        await a_turn()
        assert desk.begun == [*range(2 * MOST_AT_ONCE)]
        desk.turns.over(ONE)
        await a_turn()
        assert desk.begun[-1] == 99

    play(story)


def test_one_device_does_not_hold_up_another() -> None:
    async def story(desk: Desk) -> None:
        for number in range(MOST_AT_ONCE + 1):
            desk.turns.take(asked(number), ONE)
        desk.turns.take(asked(77), OTHER)
        assert desk.begun[-1] == 77

    play(story)


def test_what_has_waited_too_long_or_is_not_wanted_any_more_is_not_begun(monkeypatch: Any) -> None:
    async def story(desk: Desk) -> None:
        for number in range(MOST_AT_ONCE):
            desk.turns.take(asked(number), ONE)
        monkeypatch.setattr(bacnet_turns, "LONGEST_WAIT_SECONDS", -1.0)
        desk.turns.take(asked(50), ONE)
        monkeypatch.undo()
        given_up = asked(51)
        given_up.given_up = True
        desk.turns.take(given_up, ONE)
        desk.turns.take(asked(52), ONE)
        desk.turns.over(ONE)
        await a_turn()
        assert (desk.late, desk.begun[-1]) == ([50, 51], 52)

    play(story)


def test_nothing_is_begun_once_nobody_is_there_any_more() -> None:
    async def story(desk: Desk) -> None:
        for number in range(MOST_AT_ONCE + 1):
            desk.turns.take(asked(number), ONE)
        desk.turns.over(ONE)
        desk.turns.clear()
        await a_turn()
        assert len(desk.begun) == MOST_AT_ONCE

    play(story)
