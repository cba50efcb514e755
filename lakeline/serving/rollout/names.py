"""What the objects of a model are called, and labelled with."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakeline.serving.release import Variant

PORT = 8080
"""Of servers, and of the Services in front of them."""

NAME = "app.kubernetes.io/name"
SERVER = "model-server"
"""Value of NAME on every pod that serves a model."""

MODEL, VARIANT, VERSION, ROLLOUT = (f"lakeline.dev/{word}" for word in ("model", "variant", "version", "rollout"))
"""Labels. ROLLOUT tells the pods of one template from those of another."""

APART = "lakeline.dev/called"
"""Readiness gate of a trial's pod. Nobody ever sets that condition, so that no Service leads there, whatever labels it chooses by."""

_LONGEST = 48  # of a Service's name there may be 63 characters, "-challenger" and what pods are told apart by among them
_TAKEN = ("-production", "-challenger", "-trial")


def base(model: str) -> str:
    """Name of what a model has one of, and of its label; that of most models is its own.

    Parameters
    ----------
    model
        Name in the registry. Where it could not be a Service's, or could be mistaken for another's, it is cut short and ends in a digest.
    """
    if len(model) <= _LONGEST and re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", model) and not model.endswith(_TAKEN):
        return model
    word = re.sub(r"[^a-z0-9]+", "-", model.lower())[:32].strip("-")
    return "-".join(filter(None, ("m", word, hashlib.sha256(model.encode()).hexdigest()[:8])))


def own(model: str, variant: Variant) -> str:
    """Name of what a variant has one of: Deployment, Service, autoscaler, budget."""
    return f"{base(model)}-{variant}"


def selector(model: str, variant: str | None = None) -> dict[str, str]:
    """Labels that choose the pods of a model, or of one variant."""
    return {NAME: SERVER, MODEL: base(model)} | ({VARIANT: variant} if variant else {})


def labels(model: str, variant: str | None = None) -> dict[str, str]:
    """Labels of an object."""
    return selector(model, variant) | {"app.kubernetes.io/part-of": "lakeline", "app.kubernetes.io/managed-by": "lakeline"}
