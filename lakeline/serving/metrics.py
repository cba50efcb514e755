"""What a server counts, for Prometheus."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lakeline.serving.environment import ServerSettings

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536)
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 1e4, 1e5, 1e6)
_VALUES = (*(-step for step in reversed(_STEPS)), 0, *_STEPS)
"""The same for each model, so that its versions can be compared."""

ERRORS = ("json", "csv", "schema", "header", "content_type", "too_large", "token", "busy", "timeout", "prediction", "internal")
"""Kinds of errors."""


class Metrics:
    """Counters of one server, each labelled with model, version and variant.

    Several processes count together where PROMETHEUS_MULTIPROC_DIR names a folder of theirs, before prometheus_client is imported.
    """

    def __init__(self, settings: ServerSettings) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, PlatformCollector, ProcessCollector

        # Each Metrics has a registry of its own, so that a process (of a test) can have several.
        self._registry = CollectorRegistry()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=self._registry)
        labels = {"model": settings.model, "version": str(settings.version), "variant": settings.variant}
        names, values = tuple(labels), tuple(labels.values())
        own = {"registry": self._registry}

        requests = Counter("lakeline_requests", "Requests answered, by HTTP status.", (*names, "status"), **own)
        self._requests = {status: requests.labels(*values, str(status)) for status in (200, 400, 401, 413, 415, 422, 503, 504)}
        self._other_requests = requests
        errors = Counter("lakeline_errors", "Requests that were not answered with predictions, by kind of error.", (*names, "kind"), **own)
        self._errors = {kind: errors.labels(*values, kind) for kind in ERRORS}
        self._values = values
        self.seconds = Histogram("lakeline_request_seconds", "Time from a request to its answer.", names, buckets=_SECONDS, **own).labels(
            *values
        )
        self.batch = Histogram("lakeline_batch_rows", "Rows that the model predicts in one call.", names, buckets=_ROWS, **own).labels(
            *values
        )
        self._prediction = Histogram(
            "lakeline_prediction", "Predictions, in the unit of the target.", names, buckets=_VALUES, **own
        ).labels(*values)
        self.under_way = Gauge(
            "lakeline_requests_under_way", "Requests that wait for their answer.", names, multiprocess_mode="livesum", **own
        ).labels(*values)
        passed = Counter(
            "lakeline_passed_on", "Requests passed on to the other variant, by what became of them.", (*names, "outcome"), **own
        )
        self.passed_on = passed.labels(*values, "answered")
        self.passed_in_vain = passed.labels(*values, "failed")
        self.logged = Counter("lakeline_logged_rows", "Predicted rows written to the prediction log.", names, **own).labels(*values)
        self.dropped = Counter("lakeline_log_dropped_rows", "Predicted rows that the prediction log has lost.", names, **own).labels(
            *values
        )
        self.log_failures = Counter("lakeline_log_failures", "Failed tries to write a file of the prediction log.", names, **own).labels(
            *values
        )
        self.log_pending = Gauge(
            "lakeline_log_pending_rows", "Predicted rows that are not in the prediction log yet.", names, multiprocess_mode="livesum", **own
        ).labels(*values)
        told = {"digest": settings.digest[:12], "data_commit": settings.data_commit}
        info = Gauge("lakeline_model_info", "1; its labels say what is served.", (*names, *told), multiprocess_mode="livemax", **own)
        info.labels(*values, *told.values()).set(1)

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer, and how long it took."""
        counter = self._requests.get(status) or self._other_requests.labels(*self._values, str(status))
        counter.inc()
        self.seconds.observe(seconds)

    def failed(self, kind: str) -> None:
        """Count an error of one of ERRORS."""
        self._errors[kind].inc()

    def predicted(self, predictions: Iterable[float]) -> None:
        """Count predictions."""
        observe = self._prediction.observe
        for prediction in predictions:
            observe(prediction)

    def exposition(self) -> bytes:
        """All of it, of all processes that count together, in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)
