"""What is served: one version of a model, pinned by number and by the digest of its files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

Variant = Literal["production", "challenger"]
"""Which arm of an A/B test a server is; without a test there is production only."""

VARIANTS: tuple[Variant, ...] = ("production", "challenger")

KEY_HEADER = "Lakeline-Key"
"""Of a request: what the caller knows it by, such as an order's number. One key is always answered by one variant, and finds its truth."""

VARIANT_HEADER = "Lakeline-Variant"
"""Of a request: the variant that must answer it. Of a response: the one that did."""

VERSION_HEADER = "Lakeline-Version"
"""Of a response: the number of the version that answered."""

REQUEST_HEADER = "X-Request-Id"
"""Of a request and its response: the id that its predictions are logged under."""

_DRAWN = 2**64


@dataclass(frozen=True)
class Route:
    """How requests are shared out while an A/B test runs.

    Attributes
    ----------
    experiment
        Id of the test: what keys are hashed with, so that two tests split them differently.
    weight
        Fraction of the requests that the challenger answers, 0 to 1.
    peer
        Address of the other variant's server, such as `http://name-challenger:8080`, to which a server passes on what isn't its own.
    unkeyed
        Whether this server shares out requests without a key as well; not where something in front of it has done so.
    """

    experiment: str
    weight: float
    peer: str
    unkeyed: bool = False


@dataclass(frozen=True)
class Release:
    """One version of a model as one variant: all that a server is told, and all that is recorded of it.

    Attributes
    ----------
    model, version
        Name in the registry, and number.
    digest
        `lakeline.registry.files.files_digest` of its files.
    variant
        What it serves as.
    data_commit, run, actor
        Commit that it learned from; pipeline run that released it; who asked for that.
    route
        While an A/B test runs.
    """

    model: str
    version: int
    digest: str
    variant: Variant = "production"
    data_commit: str = ""
    run: str = ""
    actor: str = ""
    route: Route | None = None

    @property
    def same_model(self) -> tuple[str, int, str]:
        """What two releases that answer alike have in common."""
        return self.model, self.version, self.digest

    def to_json(self) -> str:
        """Give all of it as text, which a step hands to the next, and which is kept where it runs."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Release:
        """Read what `to_json` gave."""
        fields = json.loads(text)
        route = fields.pop("route", None)
        return cls(**fields, route=Route(**route) if route else None)


def variant_of(key: str, experiment: str, weight: float) -> Variant:
    """Variant that answers a key.

    Parameters
    ----------
    key
        What the caller sends as `Lakeline-Key`, or the id of a request.
    experiment
        Id of the test.
    weight
        Fraction of keys that the challenger answers.

    Returns
    -------
    Variant
        By SHA-256 of both, which spreads keys evenly and independently of other tests.
    """
    drawn = int.from_bytes(hashlib.sha256(f"{experiment}\0{key}".encode()).digest()[:8], "big")
    return "challenger" if drawn < weight * _DRAWN else "production"
