"""Server-sent events of the API, read in a thread of their own."""

import http.client
import json
import threading
import time
from typing import Any

from tests.end_to_end.development import Development, Persona, until


class EventStream:
    """One open stream. `events` are kinds and documents so far; `closed_at` is the monotonic time of its end."""

    def __init__(self, development: Development, who: str | Persona, path: str, token: str) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.closed_at = 0.0
        self._connection = http.client.HTTPSConnection(
            *development.api_address, timeout=30, context=development.tls(who)
        )
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        threading.Thread(target=self._read, daemon=True).start()
        until(lambda: self.events, what="the stream did not begin")

    def __enter__(self) -> "EventStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ended(self, seconds: float) -> float:
        """When it ended."""
        until(lambda: self.closed_at, seconds, f"the stream goes on: {self.events[-3:]}")
        return self.closed_at

    @property
    def reason(self) -> str:
        """Why it ended, as it said itself."""
        kind, document = self.events[-1]
        assert kind == "ending", self.events[-3:]
        return str(document["reason"])

    def _read(self) -> None:
        kind = ""
        try:
            for octets in self._response:
                name, _, text = octets.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = text
                elif name == "data":
                    self.events.append((kind, json.loads(text)))
        except (OSError, ValueError, http.client.HTTPException):
            pass
        self.closed_at = time.monotonic()
