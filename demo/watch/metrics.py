"""Figures for Prometheus at /metrics, for the networks that `--metrics` names; to others there is no such address."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.exceptions import HTTPException

from demo.guard.clients import Network, is_within
from demo.schemas import Service
from demo.watch.observing import Asked

_PREFIX = "sam_demo_"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """What one application counts, and what its service holds when asked."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            _PREFIX + "requests", "Requests that ended", ("method", "route", "status"), registry=self.registry
        )
        self._refusals = Counter(
            _PREFIX + "refusals",
            "Requests that were refused, before or after their route was looked up",
            ("problem", "route"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            _PREFIX + "request_seconds",
            "Seconds until an answer began",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._bytes = Counter(_PREFIX + "sent_bytes", "Bytes of bodies sent", ("route",), registry=self.registry)
        self.registry.register(_Held(service))

    def count(self, asked: Asked) -> None:
        """A request has ended; status 0 is that of a client that left before its answer."""
        self._requests.labels(asked.method, asked.route, asked.status).inc()
        if asked.problem:
            self._refusals.labels(asked.problem, asked.route).inc()
        self._seconds.labels(asked.method, asked.route).observe(asked.first_s)
        self._bytes.labels(asked.route).inc(asked.sent_bytes)

    def add_route(self, app: FastAPI, readers: tuple[Network, ...]) -> None:
        """Put /metrics on `app`, for `readers` alone."""

        @app.get("/metrics", include_in_schema=False)
        async def metrics(request: Request) -> Response:
            if not is_within(request.scope, readers):
                raise HTTPException(404, "Not Found")
            text = generate_latest(self.registry)
            return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})


class _Held(Collector):
    """The service's own figures, read when somebody looks."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> Iterator[Metric]:
        health = self.service.health()
        yield CounterMetricFamily(_PREFIX + "encodes", "Encodes that were done", health.encodes)
        yield CounterMetricFamily(_PREFIX + "encode_seconds", "Seconds that they took", health.encode_seconds)
        for name, about, value in (
            ("encode_queue", "Encodes that wait or run", health.queue),
            ("searches", "Searches of everything mode under way", health.searches),
            ("cached_pictures", "Pictures in the cache", health.cached_pictures),
            ("cached_bytes", "Bytes that the cache holds", health.cached_bytes),
            ("loaded_bytes", "Bytes that the loaded models take", health.loaded_bytes),
            ("lost_threads", "Workers that did not come back", health.lost_threads),
        ):
            yield GaugeMetricFamily(_PREFIX + name, about, value)
