"""The image that every component runs in, chosen when a pipeline is compiled."""

import os

from lakeline import __version__

STEPS_IMAGE = os.environ.get("LAKELINE_STEPS_IMAGE", f"ghcr.io/lakeline/steps:{__version__}")
"""It contains Lakeline and all that it needs, so nothing is installed when a step runs."""
