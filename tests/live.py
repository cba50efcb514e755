"""A live cluster as tests see it: reached by kubectl, by forwarded ports and by the command line, as by a person."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

PROJECT = Path(__file__).resolve().parent.parent
T = TypeVar("T")


@dataclass(frozen=True)
class Cluster:
    """The cluster, and the settings that lead to it."""

    settings: dict[str, str]

    def lakeline(self, *words: str, check: bool = True, timeout: float = 1200) -> Any:
        """Run a command with --json and return what it says; None if it says nothing."""
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *words, "--json"],
            env=os.environ | self.settings,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"lakeline {' '.join(words)} ended with {done.returncode}:\n{done.stderr}\n{done.stdout}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def kubectl(self, *words: str, check: bool = True) -> str:
        """Run kubectl."""
        done = subprocess.run(["kubectl", *words], capture_output=True, text=True, timeout=300, check=False)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout

    def objects(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """Objects of a kind."""
        return json.loads(self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json"))["items"]

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Runs of this name, newest first."""
        return [run for run in self.lakeline("runs", "--limit", "200") if run["name"] == name]

    def wait(self, run_id: str, minutes: float = 30) -> Any:
        """Wait for the end of a run that something else has started."""
        from pipelines import outcome, remote

        return outcome.wait(remote.connect(), run_id, lambda _: None, minutes)


def until(what: str, look: Callable[[], T], seconds: float = 120, every: float = 1.0) -> T:
    """Look until there is something to see."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
