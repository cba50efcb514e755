"""Run images as a cluster does: any user, no capabilities, a read-only file system with a writable /tmp."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
BASE_IMAGE = os.environ.get("BASE_IMAGE", "docker.io/library/python:3.11-slim")
USER = 12345
UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}

# What a container is without a daemon: namespaces of its own, the image's root mounted read-only, another user.
ENTER = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
root=$1 user=$2 folder=$3
shift 3
exec chroot --userspec="$user:$user" --groups= "$root" sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""


@dataclass(frozen=True)
class Builder:
    """docker, podman or buildah, as far as the tests need it."""

    name: str

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """Run the builder; what it says."""
        done = subprocess.run([self.name, *arguments], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{self.name} {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def works(self) -> bool:
        """Whether it is installed, and its daemon, if it wants one, answers."""
        if not shutil.which(self.name):
            return False
        probe = "images" if self.name == "buildah" else "info"
        return subprocess.run([self.name, probe], capture_output=True, check=False).returncode == 0

    def has(self, image: str) -> bool:
        """Whether the image is here, without asking a registry."""
        return bool(self("images", "--quiet", image, check=False).strip())

    def config(self, image: str) -> dict[str, Any]:
        """User, Env, Labels, Entrypoint and Cmd of an image."""
        if self.name == "buildah":
            return json.loads(self("inspect", "--type", "image", image))["Docker"]["config"]
        return json.loads(self("image", "inspect", image))[0]["Config"]

    def history(self, image: str) -> str:
        """Commands that made the layers of an image."""
        if self.name == "buildah":
            return json.dumps(json.loads(self("inspect", "--type", "image", image))["History"])
        return self("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)

    def size(self, image: str) -> float:
        """Bytes of an image, unpacked."""
        said = self("images", "--format", "{{.Size}}", image).split("\n")[0]
        found = re.fullmatch(r"([\d.]+) ?([kMG]B)", said)
        assert found, said
        return float(found[1]) * UNITS[found[2]]

    def run(
        self, image: str, *command: str, environment: Mapping[str, str] | None = None, network: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in an image instead of its own, as a user that the image doesn't know."""
        given = environment or {}
        if self.name == "buildah":
            return self._run_without_daemon(image, command, given, network)
        options = ["--rm", "--read-only", "--tmpfs=/tmp", f"--user={USER}:{USER}", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        options += ["--network=none", f"--entrypoint={command[0]}", *(f"--env={name}={value}" for name, value in given.items())]
        return subprocess.run([self.name, "run", *options, image, *command[1:]], capture_output=True, text=True, check=False)

    def _run_without_daemon(
        self, image: str, command: tuple[str, ...], given: Mapping[str, str], network: bool
    ) -> subprocess.CompletedProcess[str]:
        config = self.config(image)
        environment = dict(entry.split("=", 1) for entry in config["Env"]) | dict(given)
        namespaces = ["--mount", "--pid", "--ipc", "--fork", *([] if network else ["--net"])]
        with self.files(image) as root:
            enter = ["unshare", *namespaces, "sh", "-c", ENTER, "enter", str(root), str(USER), config["WorkingDir"], *command]
            return subprocess.run(enter, env=environment, capture_output=True, text=True, check=False)

    @contextmanager
    def files(self, image: str) -> Generator[Path]:
        """Files of an image, under a folder of this machine."""
        if self.name == "buildah":
            container = self("from", "--pull-never", image).strip()
            try:
                yield Path(self("mount", container).strip())
            finally:
                self("umount", container, check=False)
                self("rm", container, check=False)
            return
        container = self("create", image, "none").strip()
        try:
            with tempfile.TemporaryDirectory() as folder:
                self("cp", f"{container}:/.", folder)
                yield Path(folder)
        finally:
            self("rm", container, check=False)


def working() -> Builder | None:
    """The builder that `images/build` would take, if it can run what it builds: buildah needs root for that."""
    for name in (os.environ["BUILDER"],) if "BUILDER" in os.environ else ("docker", "podman", "buildah"):
        builder = Builder(name)
        if builder.works():
            return builder if name != "buildah" or os.geteuid() == 0 else None
    return None
