"""Figures for Prometheus at /metrics.

Requests are counted where they happen, so each process has its own counters. With several gunicorn workers set
PROMETHEUS_MULTIPROC_DIR to an empty folder before they start: the workers then share files there and any of them
answers for all. Without it, /metrics shows the worker that happened to answer. Only counters and histograms are kept
that way, so no hook for dead workers is needed; what changes up and down is read when asked for.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from ml_worker.models import JobState, Shard
from starsieve.celery import app

REQUESTS = Counter("starsieve_http_requests", "Requests answered.", ["method", "route", "status"])
LATENCY = Histogram(
    "starsieve_http_request_seconds",
    "Time from the first byte in to the answer handed over.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CLASSIFICATIONS = Counter("starsieve_classifications_stored", "Classifications stored by the API.")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class MetricsMiddleware:
    """Count and time each request under its URL pattern: addresses would make one time series per subject."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        method = request.method if request.method in METHODS else "other"
        route = request.resolver_match.route if request.resolver_match else "unmatched"
        REQUESTS.labels(method, route, str(response.status_code)).inc()
        LATENCY.labels(method, route).observe(time.perf_counter() - started)
        CLASSIFICATIONS.inc(getattr(request, "n_classifications_stored", 0))
        return response


class QueueCollector:
    """How much work waits: read from the database and the broker at each scrape."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        shards = GaugeMetricFamily("starsieve_prefilter_shards", "Shards by state.", labels=["state"])
        counted = dict(Shard.objects.values_list("state").annotate(n=Count("pk")))
        for state in JobState.values:
            shards.add_metric([state], counted.get(state, 0))
        yield shards
        queue = GaugeMetricFamily("starsieve_broker_messages", "Messages that no worker has taken.", labels=["queue"])
        queue.add_metric([app.conf.task_default_queue], waiting_messages())
        yield queue


def waiting_messages() -> int:
    if folder := settings.CELERY_BROKER_TRANSPORT_OPTIONS.get("data_folder_out"):
        return sum(1 for _ in Path(folder).glob("*.msg"))
    with app.connection_for_read() as connection:
        return int(connection.default_channel._size(app.conf.task_default_queue))


def exposition() -> bytes:
    """The answer to a scrape, in Prometheus' text format."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        counters: Any = CollectorRegistry()
        MultiProcessCollector(counters)  # type: ignore[no-untyped-call]
    else:
        counters = REGISTRY
    queues = CollectorRegistry()
    queues.register(QueueCollector())
    return generate_latest(counters) + generate_latest(queues)
