"""The ops listener, asked by aiohttp and by hand."""

import asyncio
import json

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.errors import ConfigError
from broker.listeners.figures import FIGURES, MAX_SERIES
from broker.listeners.ops import OpsListener

PARTS = {"ledger": (True, ""), "policy": (True, "revision abc"), "upstreams": (False, "1 of 3 down")}


async def started(parts=PARTS, figures=None):
    ops = OpsListener(lambda: parts, lambda: figures or {})
    host, port = await ops.start("127.0.0.1", 0)
    return ops, f"http://{host}:{port}"


def asked(path, *, parts=PARTS, figures=None, method="GET", headers=None):
    async def story():
        ops, url = await started(parts, figures)
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.request(method, url + path, headers=headers) as response,
            ):
                return response.status, await response.text()
        finally:
            await ops.close()

    return asyncio.run(story())


def test_health_says_that_the_loop_turns():
    assert asked("/healthz") == (200, '{"healthy":true}')


def test_readiness_shows_its_parts_and_a_device_that_is_down_does_not_spoil_it():
    status, text = asked("/readyz")
    assert status == 200
    assert json.loads(text)["parts"]["upstreams"] == {"ready": False, "detail": "1 of 3 down"}


@pytest.mark.parametrize("parts", [PARTS | {"ledger": (False, "closed")}, {}])
def test_a_part_that_is_missing_or_not_ready_is_503(parts):
    status, text = asked("/readyz", parts=parts)
    assert (status, json.loads(text)["ready"]) == (503, False)


def test_metrics_are_those_of_the_table_in_prometheus_form():
    figures = {"sessions_open": {("modbus_tls",): 3.0, ("tunnel",): 1.0}, "decisions": {(): 7.0}, "unknown": {(): 1.0}}
    status, text = asked("/metrics", figures=figures)
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert set(families) == {"otbroker_" + figure.name for figure in FIGURES}
    assert {(s.labels["listener"], s.value) for s in families["otbroker_sessions_open"].samples} == {
        ("modbus_tls", 3.0),
        ("tunnel", 1.0),
    }
    (decisions,) = families["otbroker_decisions"].samples
    assert (decisions.name, decisions.value) == ("otbroker_decisions_total", 7.0)


def test_series_are_bounded():
    many = {"http_answers": {(f"route-{n}", "200"): 1.0 for n in range(MAX_SERIES + 100)}}
    _, text = asked("/metrics", figures=many)
    lines = [line for line in text.splitlines() if line.startswith("otbroker_http_answers_total{")]
    assert len(lines) == MAX_SERIES + 1
    assert 'otbroker_http_answers_total{route="other",status="other"} 100.0' in lines


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", ""]
)
def test_a_name_that_was_pointed_here_gets_nothing(host):
    for path in ("/metrics", "/readyz", "/healthz"):
        status, text = asked(path, headers={"Host": host})
        assert status in (400, 421)
        assert "otbroker_" not in text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9100", "127.0.0.1:1", "[::1]:9100"])
def test_our_own_names_are_answered(host):
    assert asked("/healthz", headers={"Host": host})[0] == 200


def test_anything_else_is_refused():
    assert asked("/")[0] == 404
    assert asked("/metrics", method="POST")[0] == 405


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", b"\0\r\n"])
def test_requests_that_cannot_be_read_are_refused_and_leave_nothing_in_the_log(head, caplog):
    async def story():
        ops, url = await started()
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(head + b"\r\n")
        answer = await reader.read()
        writer.close()
        await ops.close()
        return answer

    assert b" 400 Bad Request\r\n" in asyncio.run(story())
    assert not caplog.records


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost", ""])
def test_it_listens_on_loopback_addresses_only(host):
    ops = OpsListener(lambda: PARTS, lambda: {})
    with pytest.raises(ConfigError):
        asyncio.run(ops.start(host, 0))
