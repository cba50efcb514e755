"""Warm processes: a step that starts from one is the step that the interpreter would have run, only sooner."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lakeline.interpreter import python
from lakeline.settings import get_settings
from pipelines.warm import SOCKET, warm_interpreter
from pipelines.warm.generations import GENERATIONS, MODULE
from pipelines.warm.server import prepare

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked warm on Linux only")

STEPS = """
import os, sys

def tell(text: str) -> str:
    print(f"said {text} in {os.getcwd()} with {os.environ['MOOD']}, warm: {'pipelines.warm.server' in sys.modules}")
    return text

def leave(text: str) -> str:
    sys.exit(7)

def fail(text: str) -> str:
    raise ValueError(text)

def orphan(text: str) -> str:
    os.kill(os.getppid(), 15)
    return text

def late(text: str) -> str:
    print("late has", sorted(name for name in sys.modules if name == "wave"))
    return text
"""


@dataclass(frozen=True)
class Runner:
    """Runs steps as kfp's runner does: by a shell, with words that stand for the interpreter."""

    interpreter: str
    folder: Path

    def command(self, step: str, text: str = "hello") -> str:
        output = self.folder / f"{step}.json"
        asked = {
            "inputs": {"parameterValues": {"text": text}},
            "outputs": {"parameters": {"Output": {"outputFile": str(self.folder / step)}}, "outputFile": str(output)},
        }
        arguments = ["--component_module_path", str(self.folder / "steps.py"), "--executor_input", json.dumps(asked)]
        return f"MOOD=glad {self.interpreter} -m {MODULE} {shlex.join([*arguments, '--function_to_execute', step])}"

    def run(self, step: str, text: str = "hello") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", self.command(step, text)], cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )


def runner(folder: Path, interpreter: str) -> Runner:
    (folder / "steps.py").write_text(STEPS)
    return Runner(interpreter, folder)


SERVE = """
import sys
from pipelines.warm.generations import MODULE, Generation
from pipelines.warm.server import main
first = Generation(frozenset(), (MODULE,))
main(sys.argv[1], (first, Generation(frozenset({"late"}), (LOAD,))))
"""


def serve(folder: Path, load: str) -> Iterator[Runner]:
    """Two generations, the second of which loads a module that nothing else does."""
    server = subprocess.Popen([sys.executable, "-c", SERVE.replace("LOAD", repr(load)), str(folder)], stdin=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (folder / SOCKET).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    client = Path(prepare.__code__.co_filename).with_name("client.py")
    yield runner(folder, shlex.join([sys.executable, str(client), MODULE, str(folder / SOCKET), *python()]))
    server.terminate()
    server.communicate(timeout=60)


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Runner]:
    yield from serve(tmp_path, "wave")


@pytest.fixture
def with_failing_successor(tmp_path: Path) -> Iterator[Runner]:
    yield from serve(tmp_path, "no_such_module")


def test_step_sees_its_own_folder_environment_and_output(warm: Runner):
    done = warm.run("tell", "good morning")

    assert done.returncode == 0, done.stderr
    assert f"said good morning in {warm.folder} with glad, warm: True" in done.stdout
    assert json.loads((warm.folder / "tell.json").read_text())["parameterValues"] == {"Output": "good morning"}


def test_exit_code_of_a_step_is_its_own(warm: Runner):
    assert warm.run("leave").returncode == 7


def test_failing_step_says_why(warm: Runner):
    done = warm.run("fail", "too much of it")

    assert done.returncode == 1
    assert "ValueError: too much of it" in done.stdout + done.stderr


def test_step_whose_end_nobody_can_tell_says_why(warm: Runner, monkeypatch: pytest.MonkeyPatch):
    """What made its process was killed under it."""
    reason = warm.folder / "error.json"
    monkeypatch.setenv("LAKELINE_TERMINATION_LOG", str(reason))

    done = warm.run("orphan")

    assert done.returncode == 1
    assert "lakeline: the process that the step was forked from was ended" in done.stderr
    assert json.loads(reason.read_text())["message"] in done.stderr


def test_step_that_wants_a_later_generation_waits_for_it(warm: Runner):
    assert "late has ['wave']" in warm.run("late").stdout


def test_step_runs_without_the_generation_that_failed(with_failing_successor: Runner):
    assert "late has []" in with_failing_successor.run("late").stdout


def test_steps_beside_each_other_do_not_wait_for_each_other(warm: Runner):
    running = [
        subprocess.Popen(["sh", "-c", warm.command("tell", str(number))], cwd=warm.folder, stdout=subprocess.PIPE, text=True)
        for number in range(6)
    ]
    said = [step.communicate(timeout=120)[0] for step in running]

    assert [f"said {number} " in text for number, text in enumerate(said)] == [True] * 6


def test_step_runs_cold_where_nobody_answers(tmp_path: Path):
    with warm_interpreter(tmp_path / "warm") as interpreter:
        pass
    done = runner(tmp_path, interpreter).run("tell")

    assert done.returncode == 0, done.stderr
    assert "warm: False" in done.stdout


def test_only_steps_are_run_warm(tmp_path: Path):
    with warm_interpreter(tmp_path / "warm") as interpreter:
        done = subprocess.run(f"{interpreter} -c 'print(6 * 7)'", shell=True, capture_output=True, text=True, check=True)  # noqa: S602

    assert done.stdout == "42\n"


def test_warmth_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_WARM", "0")
    get_settings.cache_clear()

    with warm_interpreter(tmp_path / "warm") as interpreter:
        assert interpreter == shlex.join(python())


def test_folder_is_private(tmp_path: Path):
    with warm_interpreter(tmp_path / "a folder" / "warm"):
        assert (tmp_path / "a folder" / "warm").stat().st_mode & 0o777 == 0o700


def test_what_is_loaded_ahead_exists():
    """A name that isn't there would cost all later generations, and nothing else would tell."""
    code = """
from pipelines.warm.generations import GENERATIONS
from pipelines.warm.server import prepare
for generation in GENERATIONS:
    for name in generation.load:
        prepare(name)
import threading
assert threading.active_count() == 1, "a process with threads is not forked"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_steps_that_are_waited_for_are_components():
    components = {path.parent.name for path in (Path(__file__).parents[2] / "components").glob("*/component.py")}
    assert {step for generation in GENERATIONS for step in generation.steps} <= components
