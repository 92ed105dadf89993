"""Notices as signed webhooks."""

from collections.abc import Callable, Sequence

import aiohttp
import orjson

from broker.adapters.notice_outbox import NotDeliveredError
from broker.adapters.signed_post import SignedPost
from broker.ledger.record_forms import stamp
from broker.model.notice import Notice

# What a later attempt may change: the receiver was too slow, or asked to be left alone for a while.
_ASK_AGAIN = frozenset({408, 429})


class WebhookChannel:
    """One message for each notice; its id is the notice's, so that receivers know what they have had already."""

    most = 1
    pause_seconds = 0.0

    def __init__(self, name: str, post: SignedPost, now: Callable[[], float]) -> None:
        self.name = name
        self.place = f"webhook {post.place}"
        self._post = post
        self._now = now

    async def send(self, notices: Sequence[Notice], lost: int) -> str:
        """2xx is delivered, 4xx but 408 and 429 is refused for good. Raises NotDeliveredError."""
        notice = notices[0]
        try:
            status, _ = await self._post.post(notice.id, encode_notice(notice, lost), self._now())
        except (OSError, aiohttp.ClientError, ValueError) as error:
            raise NotDeliveredError(f"{type(error).__name__}: {error}") from None
        if not 200 <= status < 300:
            raise NotDeliveredError(f"it answered {status}", final=400 <= status < 500 and status not in _ASK_AGAIN)
        return f"it answered {status}"

    async def close(self) -> None:
        """Close connections."""
        await self._post.close()


def encode_notice(notice: Notice, lost: int) -> bytes:
    """The body: `type`, `timestamp` and `data`, as Standard Webhooks recommends."""
    return orjson.dumps(
        {
            "type": notice.kind,
            "timestamp": stamp(notice.time),
            "data": {
                "broker": notice.broker,
                "index": notice.index,
                "severity": notice.severity.word,
                "text": notice.text,
                "details": dict(notice.details),
                "lost": lost,
            },
        }
    )
