"""Log lines of a server."""

import contextlib
import sys
from pathlib import Path

import pytest

from lakeline.serving.logs import Journal


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_line_that_finds_no_room_is_left_out_and_nobody_is_failed_for_it(monkeypatch: pytest.MonkeyPatch):
    full = Path("/dev/full").open("w", buffering=1, encoding="utf-8")  # noqa: SIM115 (its end fails as well)
    monkeypatch.setattr(sys, "stderr", full)

    Journal().say("request failed", level="error", status=500)

    monkeypatch.undo()
    with contextlib.suppress(OSError):
        full.close()
