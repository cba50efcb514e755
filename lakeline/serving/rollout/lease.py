"""One at a time: a Lease that says who is changing what serves a model."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lakeline.errors import DeploymentUnderWay, ServingError
from lakeline.serving.rollout import names
from lakeline.serving.rollout.api import Api, Conflict, Object

if TYPE_CHECKING:
    from collections.abc import Generator

DURATION = 60
"""Seconds without a sign of life after which a Lease is anybody's."""
WAITS = "lakeline.dev/waits-for"
"""Annotation: what the holder waits for, if it is room."""
EVERY = 15.0
_LOOKS = 5


class Lease:
    """The Lease of a model, held by one holder. Its times are the API server's."""

    def __init__(self, api: Api, model: str, holder: str) -> None:
        self._api = api
        self._model = model
        self._holder = holder
        self._name = names.base(model)
        self._seen = time.monotonic()
        self._over = threading.Event()
        self._taken = ""
        self._waits = ""

    def check(self) -> None:
        """Raise if it isn't ours any more: somebody took it over after we gave no sign of life for too long.

        Raises
        ------
        DeploymentUnderWay
            As it says.
        """
        if self._taken or time.monotonic() - self._seen > DURATION:
            whom = f"{self._taken} has taken it over" if self._taken else "anybody may have taken it over"
            raise DeploymentUnderWay(
                f"{self._model}: {self._holder} gave no sign of life for {DURATION} s, and {whom}. Nothing more is changed from here. "
                "Run the same command again to go on."
            )

    def acquire(self) -> None:
        """Take it, if it is free, ours already, or its holder hasn't been heard of for too long.

        Raises
        ------
        DeploymentUnderWay
            If somebody else holds it.
        """
        for _ in range(_LOOKS):
            found = self._api.get("Lease", self._name)
            now = self._api.now()
            with suppress(Conflict):  # somebody was faster: look again who
                if found is None:
                    self._api.create(self._new(now))
                else:
                    self._api.replace(self._ours(found, now))
                self._seen = time.monotonic()
                return
        raise ServingError(f"{self._model}: too many want to change what serves it at once. Try again.")

    def waits(self, what: str) -> None:
        """Say what its holder waits for, to whoever wants it; empty if it waits for nothing any more."""
        if what != self._waits:
            self._waits = what
            with suppress(ServingError):  # the next sign of life says it
                self._renew()

    def release(self) -> None:
        """Let go of it, if it is still ours."""
        found = self._api.get("Lease", self._name)
        if found and found["spec"].get("holderIdentity") == self._holder:
            found["spec"] |= {"holderIdentity": "", "renewTime": _written(self._api.now())}
            _say(found, "")
            with suppress(Conflict):
                self._api.replace(found)

    def keep(self) -> None:
        """Give signs of life until told that it's over."""
        while not self._over.wait(EVERY):
            with suppress(ServingError):  # Conflict as well: the next look says whose it is
                self._renew()
            if self._taken:
                return

    def end(self) -> None:
        """Have `keep` return."""
        self._over.set()

    def _renew(self) -> None:
        found = self._api.get("Lease", self._name)
        holder = found["spec"].get("holderIdentity") if found else None
        if found is None or holder != self._holder:
            self._taken = str(holder or "somebody")
            return
        found["spec"]["renewTime"] = _written(self._api.now())
        _say(found, self._waits)
        self._api.replace(found)
        self._seen = time.monotonic()

    def _new(self, now: datetime) -> Object:
        metadata = {"name": self._name, "labels": names.labels(self._model)}
        spec = {"holderIdentity": self._holder, "acquireTime": _written(now), "renewTime": _written(now), "leaseTransitions": 0}
        spec["leaseDurationSeconds"] = DURATION
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _ours(self, found: Object, now: datetime) -> Object:
        spec = found["spec"]
        holder = spec.get("holderIdentity")
        if holder and holder != self._holder:
            renewed = datetime.fromisoformat(spec["renewTime"])
            if now < renewed + timedelta(seconds=spec["leaseDurationSeconds"]):
                since = datetime.fromisoformat(spec["acquireTime"])
                what = found["metadata"].get("annotations", {}).get(WAITS, "")
                waits = f" It waits for room: {what.rstrip('.')}." if what else ""
                raise DeploymentUnderWay(
                    f"{self._model}: {holder} has been changing what serves it since {since:%Y-%m-%d %H:%M:%S} UTC "
                    f"(last sign of life {max(0, round((now - renewed).total_seconds()))} s ago).{waits} Try again when that has ended."
                )
        _say(found, "")
        spec |= {"holderIdentity": self._holder, "renewTime": _written(now), "leaseDurationSeconds": DURATION}
        if holder != self._holder:
            spec |= {"acquireTime": _written(now), "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
        return found


@contextmanager
def held(api: Api, model: str, holder: str) -> Generator[Lease]:
    """Hold a model's Lease, with signs of life from a thread of its own."""
    lease = Lease(api, model, holder)
    lease.acquire()
    thread = threading.Thread(target=lease.keep, daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        lease.end()
        thread.join()
        lease.release()


def _say(lease: Object, waits: str) -> None:
    annotations: dict[str, str] = lease["metadata"].setdefault("annotations", {})
    annotations.pop(WAITS, None)
    if waits:
        annotations[WAITS] = waits


def _written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
