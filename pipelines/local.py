"""Run a pipeline on this machine: in a process of its own, with its log in a file and its progress told."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lakeline.errors import MORE_MEMORY, LakelineError, describe, is_full
from lakeline.interpreter import python
from lakeline.liveness import alive, under_way
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from kfp.dsl.graph_component import GraphComponent

PIPELINES = ("data", "training", "continuous", "deployment", "experiment")

SERVING_PIPELINES = ("deployment", "experiment")
"""Those that are about what serves, not about rows."""

_SCRATCH = ("tmp", "warm")
"""Folders in that of a run that go with it."""

_TASK = re.compile(r"Executing task \x1b\[96m'([^']+)'|Task \x1b\[96m'([^']+)'\x1b\[0m finished with status \x1b\[91m")


_ROOM = 2**16
"""Bytes without which a step can't say why it fails."""

_SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a command."""


@dataclass(frozen=True)
class Progress:
    """A task began or ended; `failure` is why a trial that is done gave no model."""

    task: str
    state: Literal["began", "done", "failed"]
    failure: str | None = None


@dataclass
class LocalRun:
    """What a run on this machine left."""

    id: str
    pipeline: str
    folder: Path
    status: Literal["succeeded", "failed"] = "failed"
    seconds: float = 0.0
    error: str | None = None
    error_type: str | None = None
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Output parameters of each task, and paths of its artifacts, by task."""

    @property
    def log(self) -> Path:
        """All that the runner and the steps said."""
        return self.folder / "run.log"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"


def new_run_id(pipeline: str) -> str:
    """Make an id that sorts by time and is unique on this machine."""
    return f"{pipeline}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def run_locally(pipeline: str, arguments: Mapping[str, Any], on_progress: Callable[[Progress], None]) -> LocalRun:
    """Run a pipeline with kfp's local runner, each step in a subprocess.

    The runner has a process group of its own, so that an interrupt ends it and its steps, and nothing else.

    Parameters
    ----------
    pipeline
        One of PIPELINES.
    arguments
        Its parameters.
    on_progress
        Called as tasks begin and end.

    Returns
    -------
    LocalRun
        Also when a step failed: then `error` says why.
    """
    run_id = new_run_id(pipeline)
    run = LocalRun(run_id, pipeline, get_settings().runs.resolve() / run_id)
    try:
        return _run_in_process(run, arguments, on_progress)
    except OSError as error:
        if not is_full(error):
            raise
        run.error, run.error_type = describe(error), type(error).__name__
        return run


def _run_in_process(run: LocalRun, arguments: Mapping[str, Any], on_progress: Callable[[Progress], None]) -> LocalRun:
    pipeline = run.pipeline
    run.folder.mkdir(parents=True)
    clear_left(run.folder.parent)
    (run.folder / "arguments.json").write_text(json.dumps(dict(arguments)), encoding="utf-8")
    reason = run.folder / "error.json"
    scratch = run.folder / "tmp"  # kfp leaves a folder there for each step
    # Only Kubeflow's plugin names a run of ours, in a pod: here it is left from something else.
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_RUN_ID"} | {
        "LAKELINE_RUN_ID": run.id,
        "LAKELINE_TERMINATION_LOG": str(reason),
        "TMPDIR": str(scratch),
        "PYTHONUNBUFFERED": "1",
    }
    # The runner has two trials under way at a time: each gets half of the cores, and threads that wait don't spin.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    began = time.monotonic()
    with run.log.open("wb") as log, alive(run.folder) as lock:
        scratch.mkdir()  # under the lock: see `clear_left`
        child = subprocess.Popen(
            python("-m", "pipelines.local", pipeline, str(run.folder)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            pass_fds=(lock,),
        )
        try:
            for progress in _follow(run, child):
                on_progress(progress)
        finally:
            _end(child)
            _clear(run.folder)
    run.seconds = time.monotonic() - began
    run.status = "succeeded" if child.returncode == 0 else "failed"
    run.outputs = _outputs(run.folder / "steps")
    if run.status == "failed":
        told = read_json(reason)
        run.error = told.get("message") or _unsaid(run, child.returncode)
        run.error_type = told.get("type")
    return run


def read_json(path: Path) -> dict[str, Any]:
    """What a step left; empty where it left nothing, or a disk that was full cut it short."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _unsaid(run: LocalRun, code: int) -> str:
    """Why a run failed that could say nothing itself."""
    if shutil.disk_usage(run.folder).free < _ROOM:
        return describe(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(run.folder)))
    if code < 0:
        return f"the run was ended by {_signal(-code)}. See {run.log}"
    return f"the run ended with code {code}. See {run.log}"


def _signal(number: int) -> str:
    """Name of a signal, and what it most likely means."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    likely = number in {signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS}
    return f"{name}, most likely because memory ran out. {MORE_MEMORY}" if likely else f"{name}."


def clear_left(runs: Path) -> None:
    """Remove from the folders of runs that were killed what is only of use to a run that goes on."""
    for folder in runs.iterdir():
        if any((folder / name).is_dir() for name in _SCRATCH) and under_way(folder.name) is False:
            _clear(folder)


def _clear(folder: Path) -> None:
    for name in _SCRATCH:
        shutil.rmtree(folder / name, ignore_errors=True)


def _follow(run: LocalRun, child: subprocess.Popen[bytes]) -> Iterator[Progress]:
    """Tell of tasks that began or failed from the log, and of those that are done from what they leave.

    Of two trials that end together, kfp's log may tell of one only: its set-up isn't made for threads.
    """
    done: set[Path] = set()
    with run.log.open(encoding="utf-8", errors="replace") as lines:
        rest = ""
        while True:
            ended = child.poll() is not None
            *whole, rest = (rest + lines.read()).split("\n")
            left = sorted(set((run.folder / "steps").rglob("executor_output.json")) - done, key=lambda path: path.stat().st_mtime)
            for match in _TASK.finditer("\n".join(whole)):
                began, failed = match.groups()
                yield Progress(began or failed, "began" if began else "failed")
            for path in left:
                yield Progress(path.parent.name, "done", _failure(path))
            done.update(left)
            if ended:
                return
            time.sleep(0.1)


def _failure(path: Path) -> str | None:
    """Why a trial gave no model, if what a step left is of one."""
    if not path.parent.name.startswith("search"):
        return None
    try:
        return json.loads(read_json(path)["parameterValues"]["Output"])["error"]
    except (ValueError, KeyError):  # it is being written, or has another form
        return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the runner and its steps, if they are still there, giving them a moment to finish what they are at."""
    for sign, patience in ((signal.SIGINT, 5), (signal.SIGKILL, 5)):
        if child.poll() is not None and sign is signal.SIGINT:
            return
        try:
            os.killpg(child.pid, sign)
        except ProcessLookupError:
            return
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def _outputs(steps: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(steps.rglob("executor_output.json"), key=lambda path: path.stat().st_mtime):
        output = read_json(path)
        values = dict(output.get("parameterValues", {}))
        for name, artifacts in output.get("artifacts", {}).items():
            for artifact in artifacts.get("artifacts", []):
                values[name] = artifact.get("uri", "")
        found[path.parent.name] = values
    return found


def _main(pipeline: str, folder: Path) -> None:
    import warnings

    from pipelines.warm import warm_interpreter

    warnings.simplefilter("ignore")
    command = os.getppid()
    try:
        with warm_interpreter(folder / "warm") as interpreter:
            sys.executable = interpreter  # which the runner puts into the shell command of each step
            _run(pipeline, folder)
    finally:
        if os.getppid() != command:  # it was killed alone, and can't clear up after this
            _clear(folder)


def _run(pipeline: str, folder: Path) -> None:
    import importlib

    from kfp import local
    from kfp.local import subprocess_task_handler

    subprocess_task_handler.run_local_subprocess = _noting_signals(subprocess_task_handler.run_local_subprocess)
    subprocess_task_handler.replace_python_executable = _with_interpreter
    arguments = json.loads((folder / "arguments.json").read_text(encoding="utf-8"))
    function = getattr(importlib.import_module(f"pipelines.{pipeline}"), pipeline)
    leave_out_pods(function)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "steps"), raise_on_error=True)
    try:
        function(**arguments)
    except RuntimeError as error:  # kfp's word for a failed step; its log, and error.json, say which and why
        raise SystemExit(str(error)) from None
    except LakelineError as error:
        raise SystemExit(str(error)) from None


def _with_interpreter(full_command: list[str], interpreter: str) -> list[str]:
    """Name the interpreter in a step's shell program alone: kfp names it in its arguments too, where a path may hold `python3`."""
    return [part.replace("python3", interpreter) if "ephemeral_component.py" in part else part for part in full_command]


def _noting_signals(run_step: Callable[..., int]) -> Callable[..., int]:
    """Have a step that a signal ended, and that could not say so itself, leave the reason: kfp knows only that it failed."""

    def run(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        code = run_step(full_command=full_command, env_vars=env_vars)
        number = -code if code < 0 else code - _SIGNALLED
        reason = Path(os.environ["LAKELINE_TERMINATION_LOG"])
        if 0 < number < signal.NSIG and number != signal.SIGINT and not reason.exists():
            message = f"{full_command[-1]} was ended by {_signal(number)}"
            reason.write_text(json.dumps({"type": "Killed", "message": message}), encoding="utf-8")
        return code

    return run


def leave_out_pods(pipeline: GraphComponent) -> None:
    """Leave out what is true of pods only: the image that a step runs in, and second tries, which here would fail again."""
    spec = pipeline.pipeline_spec
    for dag in (spec.root.dag, *(component.dag for component in spec.components.values())):
        for task in dag.tasks.values():
            task.ClearField("retry_policy")
    for executor in spec.deployment_spec.fields["executors"].struct_value.fields.values():
        del executor.struct_value.fields["container"].struct_value.fields["env"]


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
