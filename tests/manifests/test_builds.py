"""Every kustomization builds, and versions are said in one place."""

import os
import re
from pathlib import Path

import pytest
import yaml

from lakeline import __version__
from tests.manifests.conftest import Build
from tests.manifests.objects import KUBERNETES, Object, name

FILES = sorted(KUBERNETES.rglob("kustomization.yaml"))
KUSTOMIZATIONS = [file.parent for file in FILES if yaml.safe_load(file.read_text())["kind"] == "Kustomization"]
COMPONENTS = [file.parent for file in FILES if yaml.safe_load(file.read_text())["kind"] == "Component"]
RELEASED = [folder for folder in COMPONENTS if folder.name == "released"]
VERSIONS = KUBERNETES / "versions"
OPTIONAL = [
    folder
    for folder in COMPONENTS
    if folder not in RELEASED
    and not any(
        folder == (overlay.parent / used).resolve()
        for overlay in (KUBERNETES / "overlays").glob("*/kustomization.yaml")
        for used in yaml.safe_load(overlay.read_text()).get("components", [])
    )
]


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: str(folder.relative_to(KUBERNETES)))
def test_kustomization_builds(folder: Path, build: Build):
    assert build(folder)


@pytest.mark.parametrize("folder", OPTIONAL, ids=lambda folder: str(folder.relative_to(KUBERNETES)))
def test_component_that_nothing_has_yet_can_be_added(folder: Path, build: Build, tmp_path: Path):
    before = build(KUBERNETES / "overlays" / "kind")

    built = _with(build, tmp_path, KUBERNETES / "overlays" / "kind", folder)

    assert [item for item in built if item not in before]
    assert {name(item) for item in before} <= {name(item) for item in built}


@pytest.mark.parametrize("folder", RELEASED, ids=lambda folder: str(folder.relative_to(KUBERNETES)))
def test_release_is_changed_where_it_is_meant_to_be(folder: Path, build: Build, tmp_path: Path):
    objects = _released(folder.parent.name)
    release = tmp_path / "release"
    release.mkdir()
    (release / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    (release / "kustomization.yaml").write_text("resources: [objects.yaml]\n")

    built = _with(build, tmp_path, release, folder)

    before = {name(item): item for item in objects}
    assert {name(item) for item in built} == set(before)
    assert [name(item) for item in built if item == before[name(item)]] == []


def test_set_retry_retries_what_failed():
    """Kubeflow's released default, OnError, has a step that exits non-zero not tried again (FIELD-NOTES)."""
    text = (KUBERNETES / "pipelines" / "released" / "workflow-controller-configmap.yaml").read_text()
    defaults = yaml.safe_load(yaml.safe_load(text)["data"]["workflowDefaults"])
    assert defaults["spec"]["templateDefaults"]["retryStrategy"]["retryPolicy"] == "Always"


def test_no_base_says_a_version():
    """versions/ pins what runs, so that an upgrade is one line."""
    images = [
        f"{file.relative_to(KUBERNETES)}: {image}"
        for file in sorted(KUBERNETES.rglob("*.yaml"))
        for image in re.findall(r"(?:image|value): [\"']?((?:ghcr|docker|quay|gcr)\.io/\S+)", file.read_text())
        if ":" in image or "@" in image
    ]
    references = [
        f"{file.relative_to(KUBERNETES)}: {found}"
        for file in sorted(KUBERNETES.rglob("*"))
        if file.is_file() and file.parent != VERSIONS
        for found in re.findall(r"\?ref=\S+|newTag: \S+|digest: \S+", file.read_text())
    ]
    assert images + references == []


def test_commands_say_no_version_of_their_own():
    text = "".join(file.read_text() for file in sorted((KUBERNETES.parent / "pipelines" / "clusters").glob("*.py")))
    assert re.findall(r"[?]ref=\d\S*|:v?\d+\.\d+\.\d+\b", text) == []


def test_versions_pin_every_image(overlay: list[Object]):
    pinned = {image["name"]: str(image["newTag"]) for image in yaml.safe_load((VERSIONS / "kustomization.yaml").read_text())["images"]}
    text = yaml.safe_dump_all(overlay, width=10_000)
    used = set(re.findall(r"image: (\S+)", text))
    assert used
    assert {image for image in used if pinned.get(image.rpartition(":")[0]) != image.rpartition(":")[2]} == set()


def test_our_images_are_of_this_version():
    images = yaml.safe_load((VERSIONS / "kustomization.yaml").read_text())["images"]
    assert {image["newTag"] for image in images if image["name"].startswith("ghcr.io/lakeline/")} == {__version__}


def test_released_manifests_are_pinned():
    lines = [line for line in (VERSIONS / "released.env").read_text().splitlines() if line and not line.startswith("#")]
    said = dict(line.split("=", 1) for line in lines)
    assert set(said) == {"KFP_MANIFESTS", "ARGO_EVENTS_MANIFESTS", "KIND_NODE_IMAGE"}
    assert [value for value in said.values() if not re.search(r"(?:\?ref=v?|:v)\d+\.\d+\.\d+$", value)] == []


def _with(build: Build, root: Path, resource: Path, component: Path) -> list[Object]:
    """Build a kustomization with a Component; kustomize wants folders relative to its own."""
    root = root.resolve()
    folders = {key: [os.path.relpath(folder, root)] for key, folder in (("resources", resource), ("components", component))}
    (root / "kustomization.yaml").write_text(yaml.safe_dump(folders))
    return build(root)


def _released(of: str) -> list[Object]:
    """What the release has under the names that we change, cut down to what kustomize needs to merge."""

    def deployment(own: str, namespace: str) -> Object:
        pod = {"metadata": {"labels": {"app": own}}, "spec": {"containers": [{"name": own, "image": "example.org/released:1"}]}}
        spec = {"selector": {"matchLabels": {"app": own}}, "template": pod}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": own, "namespace": namespace}, "spec": spec}

    if of == "argo-events":
        return [deployment("controller-manager", "argo-events")]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "pipeline-runner", "namespace": "kubeflow"}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workflow-controller-configmap", "namespace": "kubeflow"}}
    return [deployment("workflow-controller", "kubeflow"), role | {"rules": []}, config | {"data": {"workflowDefaults": "spec: {}"}}]
