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
        differ from it; else the version of the package. Where there is a checkout whose commit can't be had, it says so, and why.
    """
    said = os.environ.get("LAKELINE_CODE_VERSION")
    if said:
        return said
    if not (_CHECKOUT / ".git").exists():
        return __version__
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = getattr(error, "stderr", None) or str(error)
        return f"{__version__} (commit unknown: {' '.join(why.split())[:200]})"


def _git(*arguments: str) -> str:
    """Ask git about this checkout, whoever it belongs to: not about the one that GIT_DIR names, nor about a folder above."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_")}
    command = ["git", f"--git-dir={_CHECKOUT / '.git'}", f"--work-tree={_CHECKOUT}", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=20, check=True).stdout.strip()


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
