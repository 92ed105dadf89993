"""For operators on this host: health, readiness with its parts, metrics. Plain HTTP without proof, so loopback only."""

import ipaddress
import logging
import re
from collections.abc import Callable, Iterable, Mapping

import orjson
from aiohttp import web
from aiohttp.http import HttpProcessingError
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.errors import ConfigError
from broker.listeners.figures import FIGURES, MAX_SERIES, Figure, Figures

INFORMATIONAL = frozenset(
    {"break_glass", "debts", "disclosures", "exports", "issuers", "listeners", "notices", "upstreams"}
)
"""Parts that are shown and do not keep the broker from being ready: what is down elsewhere is not our fault, one
device's own listener that cannot be opened must not take away the others, and without disclosures only writes to
confidential points are refused, as without debts those that have to be undone.
An emergency, or a review that is open, is to be seen, and keeps nobody out.
"""
_LOOPBACK_NAMES = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
_KEEPALIVE_SECONDS = 30.0
_MAX_LINE = 4096
log = logging.getLogger(__name__)
# Anybody on this host, and any web page open on it, could fill the log with requests that cannot be read.
log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))

Readiness = Callable[[], Mapping[str, tuple[bool, str]]]


class OpsListener:
    """Serves /healthz, /readyz and /metrics on a loopback address."""

    def __init__(self, readiness: Readiness, figures: Callable[[], Figures]) -> None:
        self._readiness = readiness
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Figures(figures))
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the address and port that were bound. Raises ConfigError if the address is not loopback."""
        if not _is_loopback(host):
            raise ConfigError("ops_not_loopback", f"The ops listener proves nobody: {host} is not a loopback address.")
        server = web.Server(
            self.handle,
            access_log=None,
            logger=log,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
        )
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound = self._runner.addresses[0]
        return bound[0], bound[1]

    async def close(self) -> None:
        """Stop listening and close what is open."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request. A name other than ours in Host is a web page that had its name pointed here."""
        hosts = request.headers.getall("Host", ())
        if len(hosts) != 1 or _LOOPBACK_NAMES.fullmatch(hosts[0]) is None:
            return _json(421, {"error": "This listener answers to localhost only."})
        if request.method != "GET":
            return _json(405, {"error": "Only GET."}, {"Allow": "GET"})
        if request.path == "/healthz":
            return _json(200, {"healthy": True})
        if request.path == "/readyz":
            return self._ready()
        if request.path == "/metrics":
            return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
        return _json(404, {"error": "There are /healthz, /readyz and /metrics."})

    def _ready(self) -> web.Response:
        parts = self._readiness()
        ready = bool(parts) and all(good for name, (good, _) in parts.items() if name not in INFORMATIONAL)
        shown = {name: {"ready": good, "detail": detail} for name, (good, detail) in sorted(parts.items())}
        return _json(200 if ready else 503, {"ready": ready, "parts": shown})


class _Figures(Collector):
    """Turns the broker's figures into metrics when somebody asks; counting costs the hot path nothing but a number."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """All figures of the table; those that the broker does not keep are 0 or absent."""
        kept = self._figures()
        for figure in FIGURES:
            yield _family(figure, kept.get(figure.name, {}))


def _family(figure: Figure, series: Mapping[tuple[str, ...], float]) -> Metric:
    """One metric; beyond so many series the rest is summed up, so that no caller can make names without end."""
    kind = CounterMetricFamily if figure.counts else GaugeMetricFamily
    family = kind("otbroker_" + figure.name, figure.help, labels=figure.labels)
    if not figure.labels:
        family.add_metric((), series.get((), 0.0))
        return family
    ordered = sorted(series.items())
    for labels, value in ordered[:MAX_SERIES]:
        family.add_metric(labels, value)
    if len(ordered) > MAX_SERIES:
        family.add_metric(("other",) * len(figure.labels), sum(value for _, value in ordered[MAX_SERIES:]))
    return family


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _json(status: int, document: object, headers: Mapping[str, str] | None = None) -> web.Response:
    always = {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=orjson.dumps(document), headers={**always, **(headers or {})})
