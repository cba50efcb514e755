"""A place where one fault after the other happens: a home that is put back to what it was before each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lakeline.settings import get_settings
from tests.campaign import rows
from tests.campaign.processes import clean_environment, end_all

_ROOM = "2g"
"""Size of the disk while it is not full; memory is taken by what is written only."""


class Place:
    """A folder with a disk of its own, where this machine lets one be mounted.

    Attributes
    ----------
    folder
        What isn't on the disk: the data set, logs, and the states that the home can be put into.
    pipeline
        What is run here: "continuous", or "data".
    home
        LAKELINE_HOME; always at the same path. It begins with a copy of `store`, an empty one of MLflow's.
    environment
        Of all that runs here.
    """

    def __init__(self, folder: Path, lake: str, pipeline: str, store: Path | None) -> None:
        self.folder = folder
        self.pipeline = pipeline
        self.disk = folder / "disk"
        self.home = self.disk / "home"
        self.logs = folder / "logs"
        for made in (self.disk, self.logs, folder / "user"):
            made.mkdir(parents=True)
        datasets, data = rows.write(folder)
        self.mounted = _mount(self.disk)
        self._scratch()
        self.home.mkdir()
        if store is not None:
            shutil.copy(store, self.home / "mlflow.db")
        self.environment = clean_environment() | {
            "LAKELINE_HOME": str(self.home),
            "LAKELINE_LAKE": lake,
            "LAKELINE_DATASETS": str(datasets),
            "LAKELINE_DATA": str(data),
            "LAKELINE_TERMINATION_LOG": str(folder / "ended.json"),
            "TMPDIR": str(self.disk / "scratch"),
            "HOME": str(folder / "user"),
            "MPLCONFIGDIR": str(folder / "user"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "GIT_CONFIG_NOSYSTEM": "1",
            "LAKELINE_CODE_VERSION": "of the campaign",  # whatever is edited while it goes on
            "OMP_NUM_THREADS": "1",
            "_KFP_RUNTIME": "true",
        }

    def enter(self) -> None:
        """Have this process, too, look at this place."""
        os.environ.clear()
        os.environ.update(self.environment)
        get_settings.cache_clear()

    def keep(self, state: str) -> None:
        """Keep the home as it is now, under a name."""
        shutil.copytree(self.home, self.folder / "states" / state, symlinks=True)

    def restore(self, state: str) -> None:
        """Put the home back to what was kept."""
        end_all(self.home)
        self.limit(None)
        shutil.rmtree(self.home, ignore_errors=True)
        self._scratch()
        shutil.copytree(self.folder / "states" / state, self.home, symlinks=True)
        (self.folder / "ended.json").unlink(missing_ok=True)

    def used(self) -> int:
        """Bytes that are used on the disk."""
        stat = os.statvfs(self.disk)
        return (stat.f_blocks - stat.f_bfree) * stat.f_frsize

    def limit(self, room: int | None) -> None:
        """Leave so many bytes on the disk; None: enough."""
        if self.mounted:
            size = _ROOM if room is None else str(self.used() + room)
            subprocess.run(["mount", "-o", f"remount,size={size}", str(self.disk)], check=True, capture_output=True)

    def leave(self, *, remove: bool = True) -> None:
        """Give the place up; what isn't on its disk may stay."""
        end_all(self.home)
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.disk)], check=False, capture_output=True)
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _scratch(self) -> None:
        shutil.rmtree(self.disk / "scratch", ignore_errors=True)
        (self.disk / "scratch").mkdir()


def _mount(folder: Path) -> bool:
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={_ROOM},mode=700", "lakeline-campaign", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
