import asyncio

import pytest

from tests.integration.api.stage import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("api-pki"))


@pytest.fixture
def run():
    """Runs a coroutine to its end and fails on anything the loop had to report."""

    def on_loop(coroutine):
        reports = []

        async def watched():
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
            return await asyncio.wait_for(coroutine, 60)

        result = asyncio.run(watched())
        assert reports == []
        return result

    return on_loop
