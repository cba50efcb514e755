"""Where a model comes from: the code, the image and the person behind a run."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

from lakeline import __version__

_PACKAGES = ("duckdb", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops")
_CHECKOUT = Path(__file__).resolve().parent.parent


@functools.cache
def code_version() -> str:
    """Version of the code that runs.

    Returns
    -------
    str
        LAKELINE_CODE_VERSION, which images set; else the git commit of the checkout, with "-dirty" after it if tracked files
        differ from it; else the version of the package.
    """
    said = os.environ.get("LAKELINE_CODE_VERSION")
    if said:
        return said
    if (_CHECKOUT / ".git").exists():
        commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
        if commit:
            return f"{commit}-dirty" if changes else commit
    return __version__


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(_CHECKOUT), *arguments], capture_output=True, encoding="utf-8", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def packages() -> str:
    """Pins of the installed packages that numbers depend on, such as `numpy==2.3.1`, with commas between."""
    from importlib.metadata import version

    return ",".join(f"{name}=={version(name)}" for name in _PACKAGES)


def image() -> str:
    """Image that this process runs in, with its digest, as LAKELINE_IMAGE says; empty outside of one."""
    return os.environ.get("LAKELINE_IMAGE", "")


def person() -> str:
    """Who runs this: LAKELINE_USER, else the user's name on this machine."""
    import getpass

    try:
        return os.environ.get("LAKELINE_USER") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
