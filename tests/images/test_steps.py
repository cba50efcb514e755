"""The steps image, run as Kubeflow Pipelines runs it."""

import json
import re

import pytest
from ruamel.yaml import YAML

from lakeline import __version__
from tests.images.containers import PROJECT, USER, Builder

LIMIT = 1.2e9

IMPORT_ALL = """
import importlib, pkgutil
import components, lakeline, pipelines
names = [
    found.name
    for package in (lakeline, components, pipelines)
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]
for name in names:
    importlib.import_module(name)
print(*names)
"""


def test_it_runs_as_any_user_on_a_read_only_file_system(builder: Builder, steps: str):
    done = builder.run(steps, "sh", "-c", "id -u; touch /opt/lakeline/x; touch /tmp/x && lakeline --version")
    assert done.stdout.split() == [str(USER), __version__]
    assert "Read-only file system" in done.stderr


def test_it_has_every_module_and_what_they_import(builder: Builder, steps: str):
    done = builder.run(steps, "python3", "-W", "ignore", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    here = {
        str(path.relative_to(PROJECT).with_suffix("")).replace("/", ".")
        for package in ("lakeline", "components", "pipelines")
        for path in (PROJECT / package).rglob("*.py")
    }
    assert {name for name in here if not name.endswith("__init__")} <= set(done.stdout.split())


def test_a_component_runs_as_the_launcher_starts_it(builder: Builder, steps: str):
    """Bring a real month into a lake, through kfp's executor; nothing is downloaded, and there is no network to do so."""
    pipeline = YAML(typ="safe").load(PROJECT / "components/ingest/component.yaml")
    container = pipeline["deploymentSpec"]["executors"]["exec-ingest"]["container"]
    inputs = {"parameterValues": {"dataset": "flights", "arrivals": ["2013-01"]}}
    outputs = {"parameters": {name: {"outputFile": f"/tmp/out/{name}"} for name in ("Output", "branch", "commit", "arrivals")}}
    executor_input = json.dumps({"inputs": inputs, "outputs": outputs | {"outputFile": "/tmp/out/executor.json"}})
    arguments = [executor_input if argument == "{{$}}" else argument for argument in container["args"]]
    script = 'lakeline dataset push flights >&2 && "$@" >&2 && cat /tmp/out/executor.json'

    done = builder.run(steps, "sh", "-ec", script, "sh", *container["command"], *arguments)

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["parameterValues"]
    assert (said["Output"], said["branch"], said["arrivals"]) == ("new", "ingest-2013-01", ["2013-01"])
    assert re.fullmatch("[0-9a-f]{40}", said["commit"])


def test_a_plot_needs_no_writable_home(builder: Builder, steps: str):
    plot = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.title('é'); plt.savefig('/tmp/plot.png')"
    done = builder.run(steps, "python3", "-c", plot)
    assert (done.returncode, done.stderr) == (0, "")


def test_python_has_nothing_left_to_compile(builder: Builder, steps: str):
    done = builder.run(steps, "python3", "-v", "-c", "import lakeline.training.fit, pipelines.training, sklearn.linear_model, mlflow")
    compiled = re.findall(r"^# code object from '?(/[^']*\.py)'?$", done.stderr, re.MULTILINE)
    assert done.returncode == 0, done.stderr[-2000:]
    assert compiled == []


def test_it_says_what_it_is_made_of(builder: Builder, steps: str):
    config = builder.config(steps)
    labels, environment = config["Labels"], dict(entry.split("=", 1) for entry in config["Env"])
    revision = labels["org.opencontainers.image.revision"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.title"] == "lakeline-steps"
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?", revision)
    assert builder.has(f"{steps.partition(':')[0]}:{revision}")
    assert environment["LAKELINE_CODE_VERSION"] == revision
    assert config["User"] == "10001:0"


def test_it_holds_no_tools_caches_or_settings_of_who_built_it(builder: Builder, steps: str):
    """The base image's own pip is the base image's; what is on the PATH first has none."""
    names = (".netrc", "pip.conf", ".git", "uv", "hatchling")
    look = " -o ".join(
        ["-path /opt/build", "-path /build", "-path '*/bin/*gcc'", "-path '*/.cache/*'", *(f"-name {name}" for name in names)]
    )
    done = builder.run(steps, "sh", "-c", f"find / -xdev \\( {look} \\) -print; ls /opt/lakeline/venv/bin")
    found = done.stdout.split()
    assert [name for name in found if name.startswith("/") and not name.startswith("/proc/")] == []
    assert {"lakeline", "python3"} <= set(found)
    assert {"pip", "pip3", "hatchling"} & set(found) == set()
    assert "/run/secrets" not in builder.history(steps)


@pytest.mark.parametrize("folder", ["datasets", "venv/lib"])
def test_nothing_in_it_can_be_changed_by_a_step(builder: Builder, steps: str, folder: str):
    done = builder.run(steps, "find", f"/opt/lakeline/{folder}", "-perm", "/022", "!", "-type", "l")
    assert (done.returncode, done.stdout) == (0, "")


def test_it_stays_below_its_limit(builder: Builder, steps: str):
    assert builder.size(steps) <= LIMIT
