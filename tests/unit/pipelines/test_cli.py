"""The command: its words, its codes, and what it finds missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lakeline.data.specfile import push
from lakeline.errors import Interrupted
from lakeline.lake import open_lake
from lakeline.settings import get_settings
from pipelines import cli
from pipelines.diagnose import diagnose


def lakeline(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pipelines.cli", *arguments], capture_output=True, text=True, check=False, timeout=120)


def test_help_names_every_command_and_what_it_does():
    done = lakeline("--help")
    assert done.returncode == 0
    for command in ("run", "watch", "demo", "models", "reproduce", "report", "ui", "doctor", "compile", "dataset", "lake"):
        assert f" {command} " in done.stdout


def test_version():
    assert lakeline("--version").stdout.strip().count(".") == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "trainig"],
        ["run", "data", "--dataset", "no-such"],
        ["run", "data", "--month", "13"],
        ["run", "data", "--nonsense", "1"],
        ["run", "training", "--month", "1"],
        ["run", "training", "--trials", "-1"],
        ["demo", "--dataset", "bike-sharing"],
        ["no-such-command"],
    ],
)
def test_wrong_usage_is_code_2_without_a_traceback(arguments: list[str], home: Path):
    done = lakeline(*arguments)
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert not home.exists() or not any(home.iterdir()), "nothing is written"


def test_setting_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_LAKE", "svn")
    done = lakeline("models")
    assert done.returncode == 2
    assert done.stderr == "lakeline: LAKELINE_LAKE is 'svn'. Input should be 'git' or 'lakefs'.\n"


def test_interrupt_is_code_130_and_says_what_is_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupted(**_: object) -> None:
        raise Interrupted(2)

    monkeypatch.setattr(cli, "app", interrupted)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\nlakeline: interrupted. Nothing was left half-done; run the same command again to go on.\n"


def test_home_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_HOME", "/dev/null/home")
    done = lakeline("run", "training")
    assert done.returncode == 1
    assert done.stderr.startswith("lakeline: /dev/null/home")


def test_doctor_finds_all_well_in_a_new_home():
    done = lakeline("doctor", "--json")
    told = json.loads(done.stdout)
    assert [finding for finding in told["findings"] if finding["state"] == "fails"] == []
    assert told["ok"] is True
    assert done.returncode == 0


def test_doctor_finds_a_lake_that_is_damaged(home: Path):
    push("flights")
    (Path(open_lake("flights").url.removeprefix("file://")) / "refs" / "heads" / "main").unlink()
    failing = [finding for finding in diagnose() if finding.state == "fails"]
    assert [finding.what for finding in failing] == ["lake"]
    assert home.is_dir()


def test_doctor_finds_local_data_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LAKELINE_DATA", str(tmp_path / "nowhere"))
    get_settings.cache_clear()
    assert [finding.what for finding in diagnose() if finding.state == "fails"] == ["local data"]


def test_compile_check_fails_where_a_file_is_stale(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_STEPS_IMAGE", "registry.example/other:1")
    done = lakeline("compile", "--check")
    assert done.returncode == 1
    assert "not current: components/split/component.yaml" in done.stderr
