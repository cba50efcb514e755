"""What others load: the compiled YAML of every component and pipeline."""

from pathlib import Path

import pytest
import yaml
from kfp import components

from pipelines.compile import ROOT, generate, stale
from pipelines.local import PIPELINES

FACES = sorted((ROOT / "components").glob("*/component.py"))


@pytest.fixture(scope="module")
def generated() -> dict[Path, str]:
    return generate()


def test_what_is_committed_is_what_the_sources_compile_to(generated: dict[Path, str]):
    assert stale(generated) == []


def test_a_change_of_a_face_is_noticed(generated: dict[Path, str]):
    path = ROOT / "components" / "split" / "component.yaml"
    assert stale(generated | {path: generated[path] + "# changed\n"}) == [path]


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.parent.name)
def test_component_loads_alone(face: Path):
    component = components.load_component_from_file(str(face.with_name("component.yaml")))
    assert component.name == face.parent.name.replace("_", "-")
    assert component.description, "the UI shows it"


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.parent.name)
def test_component_is_thin_and_installs_nothing(face: Path):
    assert len(face.read_text().splitlines()) <= 60
    compiled = face.with_name("component.yaml").read_text()
    assert "pip install" not in compiled


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.parent.name)
def test_every_input_and_output_is_described(face: Path):
    rows = [line for line in face.with_name("README.md").read_text().splitlines() if line.startswith("| `")]
    assert rows
    assert [row for row in rows if row.rstrip().endswith("|  |")] == []


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline_never_takes_from_the_cache_what_a_key_does_not_know(name: str):
    """The key of KFP's cache is parameters and names: not the lake's head, nor the alias of a model."""
    documents = list(yaml.safe_load_all((ROOT / "pipelines" / "compiled" / f"{name}.yaml").read_text()))
    reads_or_writes_state = {"resolve", "ingest", "transform", "publish", "evaluate", "register", "promote", "record"}
    reads_or_writes_state |= {"resolve-model", "preflight", "deploy", "assess-experiment"}
    cached = set()
    for tasks in [documents[0]["root"]["dag"]["tasks"], *(c["dag"]["tasks"] for c in documents[0]["components"].values() if "dag" in c)]:
        for task in tasks.values():
            if task.get("cachingOptions", {}).get("enableCache"):
                cached.add(task["componentRef"]["name"].removeprefix("comp-").rstrip("-0123456789"))
    assert cached & reads_or_writes_state == set()


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline_has_an_exit_handler(name: str):
    document = next(yaml.safe_load_all((ROOT / "pipelines" / "compiled" / f"{name}.yaml").read_text()))
    endings = [
        task
        for task in document["root"]["dag"]["tasks"].values()
        if task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
    ]
    assert [task["componentRef"]["name"] for task in endings] == ["comp-record"]


@pytest.mark.parametrize("name", PIPELINES)
def test_conditions_compare_text(name: str):
    """A numeric condition is skipped in silence by kfp's local runner, so none may be there."""
    text = (ROOT / "pipelines" / "compiled" / f"{name}.yaml").read_text()
    conditions = [line for line in text.splitlines() if "condition:" in line]
    assert all("int(" not in line and "double(" not in line for line in conditions)
