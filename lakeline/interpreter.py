"""Python processes of our own, which import our packages and the standard library whatever else lies about.

Nothing but `os` and `sys` is imported here: all else may be shadowed until `settle` has done its work.
"""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 (pathlib may be shadowed)
_OURS = frozenset({"lakeline", "components", "pipelines"})
_HARMLESS = frozenset({"test", "this", "antigravity", "idlelib", "turtle", "turtledemo"})
"""Modules of the standard library that no program imports."""


def python(*arguments: str) -> list[str]:
    """Command line of a Python process of ours.

    Parameters
    ----------
    arguments
        What the interpreter is given, such as `-m` and a module.

    Returns
    -------
    list[str]
        With `-P`, the working folder isn't searched for modules; with `-X utf8`, text is UTF-8 whatever the locale. Both are flags, not
        variables: programs in Python that a step starts, such as a cloud's log-in, are none of ours and would inherit those.
    """
    return [sys.executable, "-P", "-X", "utf8", *arguments]


def shadowing(folder: str) -> list[str]:
    """Modules in a folder that would take the place of ours, or of the standard library's, if it were searched first."""
    try:
        names = sorted(os.listdir(folder or "."))  # noqa: PTH208
        if os.path.samefile(folder or ".", _ROOT):  # noqa: PTH121
            return []
    except OSError:
        return []
    watched = (sys.stdlib_module_names | _OURS) - _HARMLESS
    return [name for name in names if name.partition(".")[0] in watched and _is_module(os.path.join(folder, name))]  # noqa: PTH118


def _is_module(path: str) -> bool:
    """Whether a path is a module or a regular package: a folder without `__init__.py` gives way to either."""
    return path.endswith((".py", ".so")) or os.path.isfile(os.path.join(path, "__init__.py"))  # noqa: PTH113, PTH118


def settle(restart: list[str]) -> None:
    """Have this process, and those that it starts, import what is ours: to be called before anything else is imported.

    A folder on PYTHONPATH that shadows it is left out, which is said on stderr. The process starts anew without it, for it may have
    imported from there already. The working folder isn't searched.

    Parameters
    ----------
    restart
        What the interpreter is given if the process starts anew.
    """
    if sys.path and sys.path[0] in {"", os.getcwd()} and shadowing(sys.path[0]):  # noqa: PTH109
        del sys.path[0]
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    left_out = {folder: found for folder in folders if folder and (found := shadowing(folder))}
    if not left_out:
        return
    for folder, found in left_out.items():
        some = ", ".join(found[:5]) + (", ..." if found[5:] else "")
        what = "would take the place of Lakeline's or Python's own, so this folder is left out. Take it off PYTHONPATH, or rename them."
        print(f"lakeline: PYTHONPATH names {folder}, whose {some} {what}", file=sys.stderr, flush=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(folder for folder in folders if folder not in left_out)
    os.execv(sys.executable, [sys.executable, "-P", *restart])  # noqa: S606 (there is no shell to go through)
