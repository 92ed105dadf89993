import asyncio
import importlib.util

import pytest

from tests.integration.tls.pki import Pki

LOOPS = ["asyncio", "uvloop"] if importlib.util.find_spec("uvloop") else ["asyncio"]


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=LOOPS)
def run(request):
    """Runs a coroutine to its end on each kind of event loop, and fails on anything the loop had to report."""

    def on_loop(coroutine, *, allow_reports=False):
        reports = []

        async def watched():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _loop, context: reports.append(context))
            return await asyncio.wait_for(coroutine, 60)

        if request.param == "uvloop":
            import uvloop

            result = uvloop.run(watched())
        else:
            result = asyncio.run(watched())
        assert allow_reports or not reports
        return result

    return on_loop
