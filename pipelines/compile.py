"""Compile every component and pipeline to YAML, and write each component's README from its docstring."""

from __future__ import annotations

import importlib
import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.local import PIPELINES

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

ROOT = Path(__file__).resolve().parent.parent


def generate(root: Path = ROOT) -> dict[Path, str]:
    """Compile everything, in memory.

    Parameters
    ----------
    root
        The checkout.

    Returns
    -------
    dict
        Content by path: components/<step>/component.yaml and README.md, pipelines/compiled/<pipeline>.yaml.
    """
    files: dict[Path, str] = {}
    rows: list[str] = []
    for face in sorted((root / "components").glob("*/component.py")):
        step = face.parent.name
        component = getattr(importlib.import_module(f"components.{step}.component"), step)
        files[face.with_name("component.yaml")] = compile_text(component)
        files[face.with_name("README.md")] = _readme(step, component)
        rows.append(f"| [{step}]({step}/README.md) | {_first_sentence(component)} |")
    title = ["# Components", "", "One folder a component; `component.yaml` is what others load.", ""]
    files[root / "components" / "README.md"] = "\n".join([*title, "| component | what it does |", "|---|---|", *rows, ""])
    for name in PIPELINES:
        pipeline = getattr(importlib.import_module(f"pipelines.{name}"), name)
        files[root / "pipelines" / "compiled" / f"{name}.yaml"] = compile_text(pipeline)
    return files


def stale(files: dict[Path, str]) -> list[Path]:
    """Paths whose content on disk is not what was generated."""
    return [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


def compile_text(component: BaseComponent) -> str:
    """YAML of a component or a pipeline."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "compiled.yaml"
        compiler.Compiler().compile(component, str(path))
        return path.read_text(encoding="utf-8")


def _first_sentence(component: BaseComponent) -> str:
    return (component.description or "").strip().split("\n")[0]


def _readme(step: str, component: BaseComponent) -> str:
    """Describe a component: its docstring, its inputs and outputs with their types, and how to load it."""
    docs, returns = _described(component.python_func.__doc__ or "")  # pyright: ignore[reportAttributeAccessIssue]
    text = (component.description or "").strip()
    spec = component.component_spec
    inputs = [f"| `{name}` | {_type(it)} | {docs.get(name, '')} |" for name, it in (spec.inputs or {}).items()]
    outputs = [
        f"| `{name}` | {_type(it)} | {returns.get(name) or (returns.get('', '') if name == 'Output' else docs.get(name, ''))} |"
        for name, it in (spec.outputs or {}).items()
    ]
    lines = [f"# {step}", "", text, ""]
    for title, rows in (("Inputs", inputs), ("Outputs", outputs)):
        if rows:
            lines += [f"## {title}", "", "| name | type | what it is |", "|---|---|---|", *rows, ""]
    lines += [
        "## Use",
        "",
        "```python",
        "from kfp import components",
        "",
        f'{step} = components.load_component_from_file("components/{step}/component.yaml")',
        "```",
        "",
    ]
    return "\n".join(lines)


_TYPES = {
    "typing.List[str]": "list of text",
    "typing.List[int]": "list of integers",
    "String": "text",
    "Integer": "integer",
    "Float": "number",
}


def _type(spec: Any) -> str:
    kind = str(spec.type).removeprefix("system.").split("@")[0]
    kind = _TYPES.get(kind, kind)
    return f"{kind}, default `{spec.default!r}`" if getattr(spec, "optional", False) else kind


def _described(docstring: str) -> tuple[dict[str, str], dict[str, str]]:
    """What a numpy docstring says of each parameter, and of each returned value; an unnamed one is under ''."""
    from docstring_parser import numpydoc

    parsed = numpydoc.parse(docstring)
    returns: dict[str, str] = {}
    for returned in parsed.many_returns:
        name = returned.return_name or returned.type_name or ""
        returns["" if name in {"int", "str", "float"} else name] = _line(returned.description)
    return {param.arg_name: _line(param.description) for param in parsed.params}, returns


def _line(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip().replace("|", "\\|")
