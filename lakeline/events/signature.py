"""Whether a delivery of MLflow's webhooks is MLflow's own, and of now: its signature, checked before anything else is read."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Literal

DELIVERY, TIMESTAMP, SIGNATURE = "X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature"
"""Headers of a delivery: its id, the second since 1970 at which it was signed, and `v1,<signature in base64>`."""

WINDOW = 300
"""Seconds by which a delivery's time may differ from ours: MLflow tries again for some seconds, and clocks differ by fewer."""

_DIGITS = 12

Verdict = Literal["signed", "forged", "old"]


def judge(headers: Iterable[tuple[str, str]], body: bytes, secrets: Sequence[str], now: float) -> tuple[Verdict, str]:
    """Say whether a delivery was signed with one of the secrets, not long ago.

    MLflow signs `<id>.<time>.<body>` with HMAC-SHA256 (mlflow.webhooks.delivery), so that neither of the three can be changed, and
    signs once: what it sends again is the same.

    Parameters
    ----------
    headers
        Of the request, each as often as it came; names in any case.
    body
        As it came, byte by byte.
    secrets
        Those that are good: the current one, and the one before, until MLflow has the current one as well.
    now
        Seconds since 1970.

    Returns
    -------
    tuple
        "signed"; "forged" if no secret made the signature, or something is missing, or there twice; "old" if one did, but longer ago, or
        later, than `WINDOW`. And the id that was signed; empty if forged.
    """
    given: dict[str, list[str]] = {name.lower(): [] for name in (DELIVERY, TIMESTAMP, SIGNATURE)}
    for name, value in headers:
        given.get(name.lower(), []).append(value)
    if any(len(values) != 1 for values in given.values()):
        return "forged", ""
    delivery, timestamp, signature = (values[0] for values in given.values())
    number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _DIGITS
    if not (delivery and number and signature):
        return "forged", ""
    said = signature.encode(errors="replace")
    # All are compared, and each to its end: how long it takes says nothing about any of them.
    good = [hmac.compare_digest(said, sign(secret, delivery, timestamp, body).encode()) for secret in secrets]
    if not any(good):
        return "forged", ""
    return "signed" if abs(now - int(timestamp)) <= WINDOW else "old", delivery


def sign(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """Signature of a delivery, as its header has it."""
    signed = f"{delivery}.{timestamp}.".encode(errors="replace") + body
    return "v1," + base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
