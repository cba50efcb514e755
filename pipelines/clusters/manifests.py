"""What is applied to a cluster: our overlays, and released manifests with what we change in them, built by kustomize."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakeline.errors import UsageError
from pipelines.clusters import kubectl as k
from pipelines.clusters.wanted import SERVICES

OVERLAYS = ("kind", "production")
IMAGES = {"LAKELINE_STEPS_IMAGE": "ghcr.io/lakeline/steps", "LAKELINE_SERVING_IMAGE": "ghcr.io/lakeline/serving"}
"""Variables that put another image in the place of one of ours."""
_WHERE = "where.yaml"
_REMOTE = ("github.com/", "https://", "git@", "ssh://")


@dataclass(frozen=True)
class Applied:
    """Names of objects, as kind/name: all, and those that weren't so before."""

    all: tuple[str, ...]
    changed: tuple[str, ...]


def folder() -> Path:
    """Folder of our kustomizations.

    Raises
    ------
    ClusterError
        If this is an installed package: they come with the repository.
    """
    path = Path(os.environ.get("LAKELINE_KUBERNETES") or Path(__file__).resolve().parents[2] / "kubernetes")
    if not (path / "versions" / "released.env").is_file():
        raise k.ClusterError(
            f"{path} has no manifests of Lakeline. Run this in a checkout of it, or name its folder: LAKELINE_KUBERNETES=..."
        )
    return path


def released(name: str) -> str:
    """Where released manifests are: the environment's variable of that name, or what versions/released.env pins."""
    if name in os.environ:
        return os.environ[name].strip()
    for line in (folder() / "versions" / "released.env").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key == name:
            return value
    raise k.ClusterError(f"{folder()}/versions/released.env does not say {name}.")


def below(root: str, path: str) -> str:
    """A folder inside released manifests, which are a local folder or a git reference with `?ref=`."""
    if not root.startswith(_REMOTE):
        return str(Path(root).resolve() / path)
    base, mark, query = root.partition("?")
    return f"{base.rstrip('/')}/{path}{mark}{query}"


def overlay(name: str, chosen: Mapping[str, str] | None = None) -> str:
    """Objects of an overlay, as YAML; `chosen` is as of `build`."""
    if name not in OVERLAYS:
        raise UsageError(f"there is no overlay {name}. Give one of: {', '.join(OVERLAYS)}.")
    return build(folder() / "overlays" / name, chosen=chosen)


def chosen_images() -> dict[str, str]:
    """Images to use in the place of ours, by variable: those that the environment names, else those that the cluster was given.

    An empty variable means ours again. What the cluster has of our own by tag is no choice: a new version of Lakeline brings its own.
    """
    there = k.get("configmap", SERVICES, "lakeline")
    data: Mapping[str, str] = there[0].get("data") or {} if there else {}
    kept = {variable: data.get(variable, "") for variable, ours in IMAGES.items() if not data.get(variable, "").startswith(f"{ours}:")}
    return {variable: image for variable, image in (kept | _asked()).items() if image}


def build(*resources: str | Path, components: Sequence[Path] = (), chosen: Mapping[str, str] | None = None) -> str:
    """Build kustomizations together, with the images of `chosen_images` in the place of ours; None: those that the environment names."""
    replaced = _asked() if chosen is None else chosen
    with tempfile.TemporaryDirectory(prefix="lakeline-") as made:
        root = Path(made).resolve()
        kustomization: dict[str, Any] = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [_seen_from(root, resource) for resource in resources],
            "components": [_seen_from(root, component) for component in components],
            "images": [_image(variable, IMAGES[variable], image) for variable, image in replaced.items() if image],
            "configurations": [_WHERE],
        }
        shutil.copyfile(folder() / "versions" / _WHERE, root / _WHERE)  # kustomize takes no file from outside
        if kustomization["images"]:
            (root / "where.yaml").write_text((folder() / "versions" / "where.yaml").read_text(encoding="utf-8"), encoding="utf-8")
            kustomization["configurations"] = ["where.yaml"]
        (root / "kustomization.yaml").write_text(json.dumps(kustomization), encoding="utf-8")
        return k.kubectl("kustomize", str(root), timeout=600)


def images(manifests: str) -> set[str]:
    """Images that the pods of objects run."""
    return set(re.findall(r"^\s*(?:- )?image: ['\"]?([^\s'\"]+)", manifests, re.MULTILINE))


def apply(manifests: str) -> Applied:
    """Apply objects and say which of them changed.

    The API server merges (server-side apply), and what we name is ours; what others add to an object stays. What we named before and
    don't now goes, so that this is for whole objects; `patch` is for parts.
    """
    with written(manifests) as path:
        before = _state(path)
        k.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=lakeline", f"--filename={path}", timeout=600)
        after = _state(path)
    return Applied(tuple(after), tuple(name for name, state in after.items() if before.get(name) != state))


def patch(folder: Path) -> Applied:
    """Change objects that are there already by the patches of a folder, and say which of them changed.

    They are merged in, not applied: an apply would take away what it doesn't name, if it was this command that had put it there.
    """
    names: list[str] = []
    changed: list[str] = []
    for file in sorted(folder.glob("*.yaml")):
        if file.name == "kustomization.yaml":
            continue
        before = _state(file)
        if not before:
            raise k.ClusterError(f"the cluster hasn't what {file.name} changes: `kubectl get -f {file}` finds nothing.")
        name = next(iter(before))
        kind, namespace, own = name.split("/")
        k.kubectl("--namespace", namespace, "patch", kind, own, "--type=strategic", f"--patch-file={file}", "--field-manager=lakeline")
        names.append(name)
        changed += [] if _state(file) == before else [name]
    return Applied(tuple(names), tuple(changed))


@contextlib.contextmanager
def written(manifests: str) -> Generator[Path]:
    """A file with manifests. No Secret is ever among them."""
    with tempfile.NamedTemporaryFile("w", prefix="lakeline-", suffix=".yaml", encoding="utf-8") as file:
        file.write(manifests)
        file.flush()
        yield Path(file.name)


def _state(path: Path) -> dict[str, str]:
    """What each object says, less what the API server and controllers write into it."""
    try:
        found = k.kubectl("get", f"--filename={path}", "--output=json", "--ignore-not-found", timeout=300)
    except k.ClusterError as error:
        if "no matches for kind" in str(error) or "ensure CRDs are installed first" in str(error):
            return {}
        raise
    listed: dict[str, Any] = json.loads(found) if found.strip() else {"items": []}
    state: dict[str, str] = {}
    for item in listed.get("items", [listed]):
        metadata = {key: item["metadata"].get(key) for key in ("labels", "annotations")}
        generation = item["metadata"].get("generation")
        content = {key: value for key, value in item.items() if key not in {"status", "metadata"}} if generation is None else {}
        digest = hashlib.sha256(json.dumps([metadata, generation, content], sort_keys=True).encode()).hexdigest()
        state["/".join(filter(None, (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])))] = digest
    return state


def _asked() -> dict[str, str]:
    return {variable: os.environ[variable] for variable in IMAGES if variable in os.environ}


def _image(variable: str, ours: str, image: str) -> dict[str, str]:
    name, at, digest = image.partition("@")
    if at:
        return {"name": ours, "newName": name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name, "digest": digest}
    name, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:
        raise UsageError(f"{variable} is {image}, which says no version. Give a tag or a digest: {image}:TAG")
    return {"name": ours, "newName": name, "newTag": tag}


def _seen_from(root: Path, resource: str | Path) -> str:
    """A folder as kustomize wants it, relative; a reference stays."""
    if isinstance(resource, str) and resource.startswith(_REMOTE):
        return resource
    path = Path(resource)
    if not path.exists():
        raise k.ClusterError(f"there are no manifests in {path}. Correct KFP_MANIFESTS or ARGO_EVENTS_MANIFESTS.")
    return os.path.relpath(path.resolve(), root)
