"""Lakeline: from a commit of data to a deployed, monitored model."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakeline.errors import LakelineError

__all__ = ["LakelineError", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import when asked: the door of the command must come before whatever a folder on PYTHONPATH may shadow."""
    if name == "LakelineError":
        from lakeline.errors import LakelineError

        return LakelineError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
