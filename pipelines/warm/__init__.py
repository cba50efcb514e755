"""Start the steps of a local run from processes that have imported their libraries already.

Each step is a process of its own, as on a cluster, and importing pandas, scikit-learn and MLflow in each of a dozen
would take most of a short run's time. So a process beside the runner imports them once, while the first steps are at work,
and makes a step's process by forking itself. The runner is given a stand-in for the Python interpreter, which asks
that process; if it doesn't answer, the stand-in becomes the interpreter, and the step only starts later.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

from lakeline.interpreter import python
from lakeline.settings import get_settings
from pipelines.warm.generations import MODULE

SOCKET = "warm.socket"


@contextlib.contextmanager
def warm_interpreter(folder: Path) -> Generator[str]:
    """Have processes get warm while the context lasts, and a stand-in for the Python interpreter that makes use of them.

    Parameters
    ----------
    folder
        Private folder, made for this. Whoever can write there can run code as this user.

    Yields
    ------
    str
        Words of a shell that stand for the interpreter; it itself if LAKELINE_WARM is 0, or where a process
        with such libraries can't be forked safely (macOS).
    """
    if sys.platform != "linux" or not get_settings().warm:
        yield shlex.join(python())
        return
    folder.mkdir(mode=0o700, parents=True)
    command = python("-m", "pipelines.warm.server", str(folder))
    server = subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {"_KFP_RUNTIME": "true"})
    # -I -S: the stand-in needs the standard library only, and starts in a few milliseconds without the rest.
    client = [sys.executable, "-I", "-S", str(Path(__file__).with_name("client.py"))]
    try:
        yield shlex.join([*client, MODULE, str(folder / SOCKET), *python()])
    finally:
        server.terminate()  # whatever it is loading
        server.communicate()  # closes its stdin, which all that serve watch: they end when nobody is there to ask them
