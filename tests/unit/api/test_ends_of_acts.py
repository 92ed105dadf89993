"""An act that has begun has an end, also where nobody waits for it any more."""

import asyncio
from types import SimpleNamespace

import pytest

from broker.api.application import _recorded


def test_an_act_that_is_cut_short_is_unfinished_in_the_ledger():
    ends = []

    async def story():
        begun = asyncio.Event()

        async def handler(call):
            begun.set()
            await asyncio.Event().wait()

        act = asyncio.create_task(_recorded(SimpleNamespace(handler=handler), SimpleNamespace(ended=ends.append)))
        await begun.wait()
        act.cancel()
        with pytest.raises(asyncio.CancelledError):
            await act

    asyncio.run(story())
    assert ends == ["unfinished"]
