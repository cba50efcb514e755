"""The runs on this machine and their reports."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from lakeline.errors import UsageError
from lakeline.settings import get_settings

_NAMED = 3


def runs() -> list[dict[str, Any]]:
    """Runs that left something on this machine, latest first.

    Returns
    -------
    list of dict
        `run_id`, `pipeline`, `dataset`, `status` (null while it runs), `started` (seconds since 1970), and the paths
        `report` and `record`, null where there is none.
    """
    folder = get_settings().runs
    if not folder.is_dir():
        return []
    found = [_described(path) for path in folder.resolve().iterdir() if (path / "arguments.json").is_file()]
    return sorted(found, key=lambda each: (each["started"], each["run_id"]), reverse=True)


def find(run: str | None) -> dict[str, Any]:
    """Find a run that has a report.

    Parameters
    ----------
    run
        Its id, or how its id starts; None for the latest.

    Raises
    ------
    UsageError
        If there is none, or several whose id starts like that.
    """
    known = runs()
    if run is None:
        latest = next((each for each in known if each["report"]), None)
        if latest is None:
            raise UsageError(f"there is no report in {get_settings().runs} yet. A run leaves one: lakeline run --help.")
        return latest
    exact = [each for each in known if each["run_id"] == run]
    like = exact or [each for each in known if each["run_id"].startswith(run)]
    if not like:
        names = ", ".join(each["run_id"] for each in known[:_NAMED])
        raise UsageError(f"there is no run {run!r} on this machine. {f'The latest: {names}. ' if names else ''}See: lakeline report --list")
    if len(like) > 1:
        raise UsageError(
            f"{len(like)} runs start with {run!r}: {', '.join(each['run_id'] for each in like[:_NAMED])}. Give more of the id."
        )
    if not like[0]["report"]:
        raise UsageError(f"run {like[0]['run_id']} left no report: it is under way, or was cut short. Its log: {_log(like[0]['run_id'])}")
    return like[0]


def open_page(page: str) -> bool:
    """Open a file or an address in a browser that has a window; False where there is none."""
    import webbrowser

    windowed = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    return windowed and webbrowser.open(page if "://" in page else Path(page).as_uri())


def _described(folder: Path) -> dict[str, Any]:
    said, asked = _read(folder / "record.json").get("run") or {}, _read(folder / "arguments.json")
    pages = {name: folder / file for name, file in (("report", "report.html"), ("record", "record.json"))}
    return {
        "run_id": folder.name,
        "pipeline": said.get("pipeline") or folder.name.partition("-")[0],
        "dataset": said.get("dataset") or asked.get("dataset"),
        "status": said.get("status"),
        "started": (folder / "arguments.json").stat().st_mtime,
        **{name: str(path) if path.is_file() else None for name, path in pages.items()},
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent, or half-written by a run that was cut short
        return {}
    return content if isinstance(content, dict) else {}


def _log(run: str) -> Path:
    return get_settings().runs / run / "run.log"
