"""What a server counts, for Prometheus."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from prometheus_client import Counter, Gauge, Histogram

    from lakeline.serving.environment import ServerSettings

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536)
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 1e4, 1e5, 1e6)
_VALUES = (*(-step for step in reversed(_STEPS)), 0, *_STEPS)
"""The same for each model, so that its versions can be compared."""

_FEW = 20

ERRORS = ("json", "csv", "schema", "header", "content_type", "too_large", "token", "busy", "slow", "timeout", "prediction", "internal")
"""Kinds of errors."""


class Metrics:
    """Counters of one server, each labelled with model, version and variant.

    Several processes count together where PROMETHEUS_MULTIPROC_DIR names a folder of theirs, before prometheus_client is imported.
    """

    def __init__(self, settings: ServerSettings) -> None:
        from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, disable_created_metrics

        # A registry for each Metrics, so that a process (of a test) can have several.
        self._registry = CollectorRegistry()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=self._registry)
        disable_created_metrics()
        self._labels = {"model": settings.model, "version": str(settings.version), "variant": settings.variant}

        self._requests = self._counter("requests", "Requests answered, by HTTP status.", "status")
        self._by_status: dict[int, Counter] = {}
        self._errors = self._counter("errors", "Requests that this server didn't answer with predictions, by kind of error.", "kind")
        for kind in ERRORS:  # so that a first error is an increase
            self._errors.labels(kind=kind, **self._labels)
        self.seconds = self._histogram("request_seconds", "Time from a request to its answer.", _SECONDS)
        self.batch = self._histogram("batch_rows", "Rows that the model predicts in one call.", _ROWS)
        self._prediction = self._histogram("prediction", "Predictions, in the unit of the target.", _VALUES)
        self.under_way = self._gauge("requests_under_way", "Requests that wait for their answer.")
        passed = self._counter("passed_on", "Requests passed on to the other variant, by what became of them.", "outcome")
        self.passed_on = passed.labels(outcome="answered", **self._labels)
        self.passed_in_vain = passed.labels(outcome="failed", **self._labels)
        self.logged = self._counter("logged_rows", "Predicted rows written to the prediction log.").labels(**self._labels)
        self.dropped = self._counter("log_dropped_rows", "Predicted rows that the prediction log has lost.").labels(**self._labels)
        self.log_failures = self._counter("log_failures", "Failed tries to write a file of the prediction log.").labels(**self._labels)
        self.log_pending = self._gauge("log_pending_rows", "Predicted rows that are not in the prediction log yet.")
        told = {"digest": settings.digest[:12], "data_commit": settings.data_commit}
        self._gauge("model_info", "1; its labels say what is served.", "livemax", **told).set(1)

    def _counter(self, name: str, said: str, *labels: str) -> Counter:
        from prometheus_client import Counter

        return Counter(f"lakeline_{name}", said, (*self._labels, *labels), registry=self._registry)

    def _histogram(self, name: str, said: str, buckets: tuple[float, ...]) -> Histogram:
        from prometheus_client import Histogram

        return Histogram(f"lakeline_{name}", said, tuple(self._labels), buckets=buckets, registry=self._registry).labels(**self._labels)

    def _gauge(self, name: str, said: str, mode: Literal["livesum", "livemax"] = "livesum", **labels: str) -> Gauge:
        from prometheus_client import Gauge

        every = self._labels | labels
        return Gauge(f"lakeline_{name}", said, tuple(every), multiprocess_mode=mode, registry=self._registry).labels(**every)

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer, and how long it took."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(status=str(status), **self._labels)
        counter.inc()
        self.seconds.observe(seconds)

    def failed(self, kind: str) -> None:
        """Count an error of one of ERRORS."""
        self._errors.labels(kind=kind, **self._labels).inc()

    def predicted(self, predictions: np.ndarray) -> None:
        """Count predictions."""
        import numpy as np

        if len(predictions) <= _FEW:
            for prediction in predictions.tolist():
                self._prediction.observe(prediction)
            return
        # As `observe` does it for one value; prometheus_client has nothing for many, and one by one they cost as much as predicting them.
        many = self._prediction
        counts = np.bincount(np.searchsorted(many._upper_bounds, predictions))  # pyright: ignore[reportPrivateUsage]
        for bucket in np.flatnonzero(counts).tolist():
            many._buckets[bucket].inc(int(counts[bucket]))  # pyright: ignore[reportPrivateUsage]
        many._sum.inc(float(predictions.sum()))  # pyright: ignore[reportPrivateUsage]

    def close(self) -> None:
        """Take this process out of what is counted of processes that live, such as requests under way."""
        from prometheus_client.multiprocess import mark_process_dead

        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            mark_process_dead(os.getpid())

    def exposition(self) -> bytes:
        """All of it, of all processes that count together, in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)
