"""What holds for every test: a home of its own, an environment without the developer's servers, real data where there is some."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakeline.settings import get_settings

PROJECT = Path(__file__).resolve().parent.parent

# MLflow, pandas and Kubeflow's SDK are a million objects that stay: looking through them over and over takes a tenth of the tests' time.
gc.set_threshold(100_000, 50, 100)

_FOREIGN = ("LAKEFS_", "LAKECTL_", "MLFLOW_", "LAKELINE_", "KFP_", "KF_PIPELINES_", "OTEL_")
_KEPT = ("LAKELINE_DATA", "LAKELINE_TEST_CLUSTER", "LAKELINE_TEST_NIGHTLY")


@pytest.fixture(scope="session", autouse=True)
def _private_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the developer's servers, credentials and home out of the tests, and the tests out of the home.

    For the whole session, so that fixtures of a wider scope than a test see it too, and subprocesses inherit it.
    """
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(_FOREIGN) and name not in _KEPT]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("MPLCONFIGDIR", str(home / "matplotlib"))
        patch.setenv("LAKELINE_HOME", str(home / "lakeline"))
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("DO_NOT_TRACK", "true")
        # git of a test neither reads nor writes a configuration of the developer's
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """LAKELINE_HOME of this test alone: lake, MLflow store and reports start empty, and nothing is left in the checkout."""
    folder = tmp_path / "lakeline-home"
    monkeypatch.setenv("LAKELINE_HOME", str(folder))
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what takes minutes, unless that was asked for."""
    if not os.environ.get("LAKELINE_TEST_NIGHTLY"):
        for item in items:
            if item.get_closest_marker("nightly"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: set LAKELINE_TEST_NIGHTLY to run it"))


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of local copies of real data sets, LAKELINE_DATA; a test that wants it is skipped where there is none."""
    folder = os.environ.get("LAKELINE_DATA")
    if not folder:
        pytest.skip("LAKELINE_DATA is not set: no local copies of the real data sets")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.skip(f"LAKELINE_DATA={folder} is not a folder")
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why tests were skipped, each reason once."""
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple))
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason.removeprefix('Skipped: ')}")
