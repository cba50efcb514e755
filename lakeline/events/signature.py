"""Whether a delivery of MLflow's webhooks is MLflow's own, and of now: its signature, checked before anything else is read."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Literal

DELIVERY, TIMESTAMP, SIGNATURE = "X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature"
"""Headers of a delivery: its id, the second since 1970 at which it was signed, and `v1,<signature in base64>`."""

WINDOW = 300
"""Seconds by which a delivery's time may differ from ours: MLflow tries again for some seconds, and clocks differ by fewer."""

_DIGITS = 12

Verdict = Literal["signed", "forged", "old"]


def judge(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> Verdict:
    """Say whether a delivery was signed with one of the secrets, not long ago.

    MLflow signs `<id>.<time>.<body>` with HMAC-SHA256 (mlflow.webhooks.delivery), so that neither of the three can be changed, and
    signs once: what it sends again is the same.

    Parameters
    ----------
    headers
        Of the request; names in any case.
    body
        As it came, byte by byte.
    secrets
        Those that are good: the current one, and the one before, until MLflow has the current one as well.
    now
        Seconds since 1970.

    Returns
    -------
    str
        "signed"; "forged" if no secret made the signature, or something is missing; "old" if one did, but longer ago, or later,
        than `WINDOW`.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    delivery, timestamp, signature = (lowered.get(name.lower(), "") for name in (DELIVERY, TIMESTAMP, SIGNATURE))
    number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _DIGITS
    if not (delivery and number and signature):
        return "forged"
    given = signature.encode(errors="replace")
    # All are compared, and each to its end: how long it takes says nothing about any of them.
    good = [hmac.compare_digest(given, sign(secret, delivery, timestamp, body).encode()) for secret in secrets]
    if not any(good):
        return "forged"
    return "signed" if abs(now - int(timestamp)) <= WINDOW else "old"


def sign(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """Signature of a delivery, as its header has it."""
    signed = f"{delivery}.{timestamp}.".encode(errors="replace") + body
    return "v1," + base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
