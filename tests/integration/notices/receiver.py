"""A receiver of webhooks on loopback that checks signatures by itself and answers as it is told."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER_SECRET = b"fedcba9876543210fedcba9876543210"


def secret_file(folder: Path, *secrets: bytes) -> Path:
    path = folder / "webhook-secret"
    path.write_text("".join(f"whsec_{base64.b64encode(secret).decode()}\n" for secret in secrets or (SECRET,)))
    path.chmod(0o600)
    return path


@dataclass
class Receiver:
    """What arrived, in order; `answer` decides each answer (None: never answers)."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    attempts: int = 0
    answer: Callable[[int], int | None] = lambda attempt: 204
    secret: bytes = SECRET

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.attempts += 1
        status = self.answer(self.attempts)
        if status is None:
            await asyncio.sleep(3600)
        assert status is not None
        if 200 <= status < 300:
            assert self.proven(request, body)
            self.bodies.append(await request.json())
            self.ids.append(request.headers["webhook-id"])
        return web.Response(status=status, headers={"Location": "/elsewhere"} if 300 <= status < 400 else {})

    def proven(self, request: web.Request, body: bytes) -> bool:
        """As the specification tells receivers to do it."""
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(self.secret, signed, hashlib.sha256).digest()).decode()
        given = [part.partition(",") for part in request.headers["webhook-signature"].split(" ")]
        return any(version == "v1" and hmac.compare_digest(text, expected) for version, _, text in given)

    @property
    def kinds(self) -> list[str]:
        return [body["type"] for body in self.bodies]


@asynccontextmanager
async def receiving(port: int = 0, tls: Any = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    scheme = "http" if tls is None else "https"
    receiver.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
