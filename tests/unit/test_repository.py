"""House rules of this repository, held by tests instead of memory."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("lakeline", "components", "pipelines")
MIB = 2**20

# Put together here, so that this file doesn't break its own rule.
REGISTRIES = re.compile("pypi|pythonhosted|npmjs|anaconda|proxy.golang".replace("|", r"[.](?:org|com)|") + "[.]org")
DATA_SETS = re.compile(r"bike|bicycle|taxi|(?<!pre)flight", re.IGNORECASE)
HEAVY = frozenset(
    {"duckdb", "kfp", "kubernetes", "lakefs", "matplotlib", "mlflow", "numpy", "pandas", "pandera", "pyarrow", "pygit2", "scipy", "sklearn"}
)


def tracked(*patterns: str) -> list[Path]:
    """Files that git tracks, or would add: a rule holds before a commit as well."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    paths = (PROJECT / name for name in listed.stdout.split("\0") if name)
    return sorted({path for path in paths if path.is_file()})


def texts(*patterns: str) -> Iterator[tuple[str, str]]:
    """Name and text of each tracked text file."""
    for path in tracked(*patterns):
        content = path.read_bytes()
        if b"\0" not in content:
            yield str(path.relative_to(PROJECT)), content.decode()


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Name and syntax tree of each Python module in the folders."""
    for name, text in texts(*(f"{folder}/**.py" for folder in folders)):
        yield name, ast.parse(text, name)


def imported(tree: ast.Module) -> set[str]:
    """Top-level packages that a module imports anywhere, functions and TYPE_CHECKING included."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_no_file_names_a_package_registry():
    found = [f"{name}: {match[0]}" for name, text in texts() for match in REGISTRIES.finditer(text)]
    assert found == []


def test_no_file_is_larger_than_a_mebibyte():
    large = {str(path.relative_to(PROJECT)): path.stat().st_size for path in tracked() if path.stat().st_size > MIB}
    assert large == {}


def test_every_module_opens_with_what_it_is_for():
    silent = [name for name, tree in modules(*PACKAGES, "benchmarks", "tests") if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_library_does_not_know_kfp():
    """The steps are plain Python: components/ gives them their KFP face."""
    knowing = [name for name, tree in modules("lakeline") if {"kfp", "components", "pipelines"} & imported(tree)]
    assert knowing == ["lakeline/__main__.py"], "the door of the command, and nothing else"


def test_only_rollout_talks_to_kubernetes():
    talking = [name for name, tree in modules("lakeline") if "kubernetes" in imported(tree)]
    assert [name for name in talking if not name.startswith("lakeline/serving/rollout")] == []


def test_text_is_read_and_written_as_utf8_whatever_the_locale():
    """Ruff's PLW1514 sees a `read_text` only where it knows that a name is a Path: one call in three."""
    found = [
        f"{name}:{call.lineno}: {ast.unparse(call)}"
        for name, tree in modules(*PACKAGES, "benchmarks", "kubernetes")
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _goes_by_the_locale(call)
    ]
    assert found == []


def _goes_by_the_locale(call: ast.Call) -> bool:
    """Whether a call reads or writes text without saying its encoding."""
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if "encoding" in given:
        return False
    if name.startswith("subprocess."):
        return given.get("text") == "True"
    last = name.rpartition(".")[2]
    if last in {"read_text", "write_text"}:
        return True
    if last in {"open", "fdopen"} and name not in {"os.open", "webbrowser.open", "zipped.open"}:
        binary = [*map(ast.unparse, call.args), given.get("mode", "")]
        return not any(re.fullmatch(r".*[rwxa]b.*", mode) for mode in binary)
    return False


def test_only_datasets_know_a_data_set():
    """A new data set is a folder in datasets/: no code, manifest or setting elsewhere names one."""
    exempt = ("datasets/", "docs/", "tests/", "benchmarks/", "README", "requirements")
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for name, text in texts()
        if not name.startswith(exempt)
        for match in DATA_SETS.finditer(text)
        if not _names_a_dependency(text, match)
    ]
    assert found == []


def _names_a_dependency(text: str, match: re.Match[str]) -> bool:
    """A data set that comes as a Python package is a line of pyproject.toml."""
    return text[: match.end()].endswith("nycflight") and text[match.end() :].startswith("s13")


def test_command_line_starts_without_the_heavy_libraries():
    """`lakeline --help` stays fast because of what it doesn't import; a count can't be flaky as a time can."""
    code = "import sys, pipelines.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_make_help_lists_every_target():
    phony = set(re.findall(r"^\.PHONY: (\S+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    done = subprocess.run(["make", "--no-print-directory", "-C", str(PROJECT)], capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make (\S+)", done.stdout, re.MULTILINE)) == phony


@pytest.mark.parametrize(
    "name",
    [f"requirements{part}.txt" for part in ("", "-dev", "-setup")]
    + [f"images/{image}/requirements.txt" for image in ("mlflow", "serving")],
)
def test_requirements_are_pinned_and_hashed(name: str):
    requirements = re.split(r"\n(?=\S)", (PROJECT / name).read_text())
    assert [entry for entry in requirements if not re.match(r"[\w.\[\]-]+==\S+.*--hash=sha256:", entry, re.DOTALL)] == []


def test_mlflows_server_is_the_version_that_its_clients_are():
    pins = [
        re.search(r"^mlflow==(\S+)", (PROJECT / name).read_text(), re.MULTILINE)
        for name in ("requirements.txt", "images/mlflow/requirements.txt")
    ]
    assert len({pin[1] for pin in pins if pin}) == 1
