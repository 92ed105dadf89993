"""These tests run on the event loop that the broker runs on where there is one; the contract tests run on asyncio's."""

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def production_loop() -> Iterator[None]:
    try:
        import uvloop
    except ImportError:
        yield
        return
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(None)
