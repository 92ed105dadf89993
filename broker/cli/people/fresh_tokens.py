"""Fresh tokens for a command while it runs, where the profile says where they come from."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from broker.cli.people.access import Access
from broker.cli.people.exits import CommandError
from broker.cli.people.screen import Screen

if TYPE_CHECKING:
    from broker.cli.people.openid.kept_login import KeptLogin

SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
RETRY_SECONDS = 5.0


@asynccontextmanager
async def kept_fresh(access: Access, screen: Screen) -> AsyncIterator[None]:
    """Begin with a token that holds for a while, and let a fresh one be there before it ends."""
    if access.login is None:
        yield
        return
    from broker.cli.people.openid.kept_login import kept_login, refresh

    kept = kept_login(access)
    assert kept is not None
    try:
        await refresh(kept)
    except CommandError as error:
        # What is there may still do; if it does not, the broker says so.
        screen.note(f"Warning: {error.public} {error.what_to_do}")
    keeping = asyncio.create_task(_keep(kept, screen))
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def _keep(kept: "KeptLogin", screen: Screen) -> None:
    from broker.cli.people.openid.kept_login import refresh

    told = ""
    while True:
        pause = kept.due_at() - time.time() if not told else RETRY_SECONDS
        await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, max(SHORTEST_PAUSE_SECONDS, pause)))
        try:
            await refresh(kept)
            told = ""
        except CommandError as error:
            if error.public != told:
                screen.note(f"Warning: {error.public} {error.what_to_do}")
            told = error.public
            if error.code == "login_ended":
                return
