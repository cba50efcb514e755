"""Local files that are complete or absent."""

import contextlib
import secrets
import shutil
import time
from collections.abc import Generator, Iterable
from pathlib import Path

_STALE = 3600.0


@contextlib.contextmanager
def arriving(to: Path) -> Generator[Path]:
    """Give a path beside `to` to write to, and rename it to `to` at the end; after a failure nothing is left."""
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.with_name(f".{to.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        temporary.replace(to)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(left: Iterable[Path]) -> None:
    """Remove files and folders that a killed process left more than an hour ago."""
    for path in left:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
