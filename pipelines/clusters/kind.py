"""A cluster on this machine, made by kind for trying Lakeline out."""

from __future__ import annotations

import contextlib
import subprocess

from pipelines.clusters import kubectl as k
from pipelines.clusters import manifests

NAME = "lakeline"
CONTEXT = f"kind-{NAME}"


def up() -> bool:
    """Have the cluster, and kubectl speak to it; True if it was made just now.

    Raises
    ------
    ClusterError
        If kind or kubectl isn't there, or kind fails.
    """
    k.need("kubectl")
    made = NAME not in k.run("kind", "get", "clusters").split()
    if made:
        k.run(
            "kind", "create", "cluster", f"--name={NAME}", f"--image={manifests.released('KIND_NODE_IMAGE')}", "--wait=180s", timeout=1200
        )
    k.kubectl("config", "use-context", CONTEXT)
    return made


def load(images: list[str]) -> list[str]:
    """Bring images that were built on this machine into the cluster; the others it will pull. Returns those it brought."""
    loaded: list[str] = []
    for image in images:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=True, timeout=60)
            k.run("kind", "load", "docker-image", image, f"--name={NAME}", timeout=900)
            loaded.append(image)
    return loaded


def down() -> bool:
    """Delete the cluster with all that is in it; False if there was none."""
    if NAME not in k.run("kind", "get", "clusters").split():
        return False
    k.run("kind", "delete", "cluster", f"--name={NAME}", timeout=600)
    return True
