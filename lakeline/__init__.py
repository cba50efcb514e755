"""Lakeline: from a commit of data to a deployed, monitored model."""

from lakeline.errors import LakelineError

__all__ = ["LakelineError", "__version__"]

__version__ = "0.1.0"
