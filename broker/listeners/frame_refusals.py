"""Records frames that were refused, only so many of a subject, so that a fuzzer cannot fill the disk."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable

from broker.engine.ports import Clock, Ledger
from broker.engine.sessions import Session
from broker.errors import LedgerUnavailableError
from broker.ledger import records
from broker.model.place import Device

RECORDS_PER_MINUTE = 60
MINUTE_SECONDS = 60.0


class FrameRefusals:
    """At most so many records a subject and minute; `suppress(subject, now)` counts the others.

    A frame's digest could tell a value that was meant for a confidential point. It is left out for a device that has
    one, and, if any has (`anything_confidential`), for a frame of which nobody knows whose it was.
    """

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        suppress: Callable[[str, float], None],
        anything_confidential: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._suppress = suppress
        self._anything_confidential = anything_confidential
        self._recent: dict[str, tuple[float, int]] = {}
        self.count = 0

    def stream(self, session: Session | None, code: str) -> None:
        """Octets that are no frame: the connection is closed."""
        self._record(session, code, "", 0)

    def pdu(
        self,
        session: Session | None,
        device: Device | None,
        code: str,
        pdu: bytes,
        *,
        secret: bool = False,
        service: str = "",
    ) -> None:
        """A frame whose content is not acceptable, for this device; nothing of it is passed on.

        `secret`: there may be a password in it, which its digest would let others guess. `service`: what it asks, as
        far as that is known.
        """
        hidden = secret or (self._anything_confidential() if device is None else device.confidential)
        digest = "" if hidden else urlsafe_b64encode(hashlib.sha256(pdu).digest()).rstrip(b"=").decode()
        self._record(session, code, digest, len(pdu), "" if device is None else device.key, service)

    def _record(
        self, session: Session | None, code: str, digest: str, size: int, device: str = "", service: str = ""
    ) -> None:
        self.count += 1
        now = self._clock.now()
        key = session.subject.id if session else ""
        began, count = self._recent.get(key, (now, 0))
        if not began <= now < began + MINUTE_SECONDS:
            began, count = now, 0
        if len(self._recent) > 10_000:
            self._recent.clear()
        self._recent[key] = (began, count + 1)
        if count >= RECORDS_PER_MINUTE:
            self._suppress(key, now)
            return
        try:
            self._ledger.append(
                records.frame_refused(
                    now,
                    session=session.id if session else "",
                    device=device or (session.device.key if session else ""),
                    direction="caller",
                    code=code,
                    digest=digest,
                    size=size,
                    service=service,
                )
            )
            self._ledger.settle(False, lambda _: None)
        except LedgerUnavailableError:
            return
