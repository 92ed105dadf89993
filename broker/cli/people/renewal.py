"""Keeps a tunnel's proofs fresh, and warns before anything that holds it ends."""

import asyncio
import time
from collections.abc import Sequence

from broker.cli.people.access import Access, read_token
from broker.cli.people.exits import CommandError
from broker.cli.people.moments import duration
from broker.cli.people.trouble import certificate_end, token_end
from broker.cli.people.tunnel_link import TunnelLink

LONGEST_LOOK_SECONDS = 15.0
SHORTEST_LOOK_SECONDS = 0.5
WARN_SECONDS = (300.0, 60.0)


async def keep_fresh(link: TunnelLink, access: Access, presented: str) -> None:
    """Send what is new in the token file, and warn if a token about to end is not replaced."""
    if access.token is None:
        return
    sent, warned = presented, False
    while True:
        end = token_end(sent)
        left = float("inf") if end is None else end - time.time()
        await asyncio.sleep(min(LONGEST_LOOK_SECONDS, max(SHORTEST_LOOK_SECONDS, left / 4)))
        found = _token_in(access)
        if found is not None and found != sent and _lasts_longer(found, sent):
            await link.renew(found)
            sent, warned = found, False
        elif end is not None and end - time.time() < min(60.0, left) and not warned:
            warned = True
            told = duration(max(0.0, end - time.time()))
            link.tell(
                {"type": "warning", "text": f"Your token expires in {told} and {access.token} holds no newer one."}
            )


async def warn_before(link: TunnelLink, ends: Sequence[tuple[str, float]]) -> None:
    """Warn five minutes and one minute before each of these ends: what, epoch seconds."""
    notices = sorted(
        (end - seconds, f"{what} ends in {duration(seconds)}.")
        for what, end in ends
        for seconds in WARN_SECONDS
        if end - seconds > time.time()
    )
    for at, text in notices:
        await asyncio.sleep(max(0.0, at - time.time()))
        link.tell({"type": "warning", "text": text})


def known_ends(access: Access, windows: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """What holds a tunnel, and until when: windows, and the certificate."""
    end = certificate_end(access.certificate) if access.certificate is not None else None
    return [*((f"Window {name}", closes) for name, closes in windows), *([("Your certificate", end)] if end else [])]


def _token_in(access: Access) -> str | None:
    assert access.token is not None
    try:
        return read_token(access.token)
    except CommandError:
        return None


def _lasts_longer(found: str, sent: str) -> bool:
    new, old = token_end(found), token_end(sent)
    return new is None or old is None or new > old
