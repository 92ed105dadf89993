"""A proxy in front of OPA that answers decisions badly, or holds changes of its policy up, on demand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web


class FaultProxy:
    """`fault` is one of "", slow, huge, words, redirect, error, list, cut, endless, for decisions; or `held`: a change
    of the policy (`holding` says that one is there) waits until it is `released`.
    """

    def __init__(self, upstream: str) -> None:
        self.fault = ""
        self.asked = 0
        self.url = ""
        self.holding = asyncio.Event()
        self.released = asyncio.Event()
        self._upstream = upstream
        self._session: aiohttp.ClientSession

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        decides = request.method == "POST"
        self.asked += decides
        if self.fault == "held":
            await self._hold(request)
        elif decides and self.fault:
            return await self._fail(request)
        body = await request.read()
        async with self._session.request(request.method, self._upstream + request.raw_path, data=body) as response:
            return web.Response(status=response.status, body=await response.read())

    async def _hold(self, request: web.Request) -> None:
        if request.method == "PUT":
            self.holding.set()
            await self.released.wait()

    async def _fail(self, request: web.Request) -> web.StreamResponse:
        if self.fault == "slow":
            await asyncio.sleep(5)
        if self.fault == "cut":
            assert request.transport is not None
            request.transport.abort()
        if self.fault == "endless":
            return await self._trickle(request)
        allow = '{"allow":true,"reasons":[],"obligations":[],"rule":"x"}'
        return {
            "huge": web.Response(text='{"result":"' + "x" * 2_000_000 + '"}'),
            "words": web.Response(text="allow"),
            "redirect": web.Response(status=307, headers={"Location": self._upstream + request.raw_path}),
            "error": web.Response(status=500, text="{}"),
            "list": web.Response(text=f'{{"result":[{allow}]}}'),
            "bare": web.Response(text=f'{{"result":{allow}}}'),
            "other": web.Response(text=f'{{"result":{{"revision":"other","answer":[{allow}]}}}}'),
        }.get(self.fault, web.Response(text=""))

    async def _trickle(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)


@asynccontextmanager
async def fault_proxy(upstream: str) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(upstream)
    application = web.Application(client_max_size=1 << 26)
    application.router.add_route("*", "/{path:.*}", proxy._pass)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    async with aiohttp.ClientSession(auto_decompress=True) as session:
        proxy._session = session
        await site.start()
        server = site._server
        assert isinstance(server, asyncio.Server)
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield proxy
        finally:
            await runner.cleanup()
