"""Look at what Lakeline stands on, piece by piece, and say what is wrong with it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from lakeline.errors import LakelineError, describe
from lakeline.settings import get_settings

_GIB = 2**30

Said = Iterator[tuple[Literal["good", "note", "fails"], str]]
"""What looking at one thing found."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: good, worth a note, or failing."""

    what: str
    state: Literal["good", "note", "fails"]
    said: str


def diagnose() -> list[Finding]:
    """Look at Python, packages, disk, lake, registry, data sets and local data; what fails stops none of the others."""
    findings: list[Finding] = []
    for what, look in (
        ("Python", _python),
        ("packages", _packages),
        ("home", _home),
        ("lake", _lake),
        ("MLflow", _mlflow),
        ("data sets", _datasets),
        ("local data", _data),
    ):
        findings += _found(what, look)
    return findings


def diagnose_cluster() -> list[Finding]:
    """Look at the cluster that kubectl speaks to; where it can't be reached, that is all there is to say."""
    from pipelines.clusters.doctor import LOOKS

    (what, look), *others = LOOKS
    findings = _found(what, look)
    if all(finding.state != "fails" for finding in findings):
        for what, look in others:
            findings += _found(what, look)
    return findings


def _found(what: str, look: Callable[[], Said]) -> list[Finding]:
    try:
        return [Finding(what, state, said) for state, said in look()]
    except (LakelineError, OSError) as error:
        return [Finding(what, "fails", describe(error))]


def _python() -> Said:
    version = ".".join(map(str, sys.version_info[:3]))
    yield ("good", version) if sys.version_info >= (3, 11) else ("fails", f"{version} is too old: 3.11 or newer is needed")


def _packages() -> Said:
    from packaging.requirements import Requirement

    wrong: list[str] = []
    for text in metadata.requires("lakeline") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if version not in requirement.specifier:
            wrong.append(f"{requirement.name} {version} isn't {requirement.specifier}")
    yield (
        ("fails", "; ".join(wrong) + ". Run `make setup`.")
        if wrong
        else ("good", f"kfp {metadata.version('kfp')}, mlflow {metadata.version('mlflow')}")
    )


def _home() -> Said:
    home = get_settings().home
    home.mkdir(parents=True, exist_ok=True)
    probe = home / ".probe"
    probe.write_text("", encoding="utf-8")
    probe.unlink()
    free = shutil.disk_usage(home).free / _GIB
    yield ("good" if free >= 1 else "fails", f"{home.resolve()} ({free:.1f} GiB free{'' if free >= 1 else '; make room'})")


def _lake() -> Said:
    from lakeline.lake import list_lakes, open_lake

    names = list_lakes()
    for name in names:
        open_lake(name).resolve("main")
    yield "good", f"{get_settings().lake}: {', '.join(names) or 'empty so far'}"


def _mlflow() -> Said:
    from lakeline.registry import store_version
    from lakeline.registry.location import follow, missing
    from lakeline.registry.peek import sqlite_path

    store = sqlite_path(get_settings().mlflow_uri)
    moved = follow(store) if store else None
    if moved:
        yield "note", moved
    yield "good", store_version()
    gone = missing(store) if store else []
    if gone:
        yield "fails", f"files are gone from MLflow's artifacts: of {', '.join(gone)}. Bring them back from a copy, or delete the version"


def _datasets() -> Said:
    from lakeline.data.specfile import local_spec

    folders = sorted(path.parent.name for path in get_settings().datasets.glob("*/dataset.yaml"))
    for name in folders:
        local_spec(name)
    yield "good", ", ".join(folders) or "none"


def _data() -> Said:
    folder = get_settings().data
    if folder is None:
        yield "note", "LAKELINE_DATA is not set: what isn't packaged is downloaded"
    elif not folder.is_dir():
        yield "fails", f"LAKELINE_DATA is {folder}, which is no folder"
    else:
        yield "good", str(folder)
