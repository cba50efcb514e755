"""Asks kubectl, the one program that knows a person's clusters; what it refuses becomes a sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lakeline.errors import LakelineError

_INSTALL = {
    "kubectl": "https://kubernetes.io/docs/tasks/tools",
    "kind": "https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
}
_NO_CONTEXT = (
    "current-context is not set",
    "current-context must exist",
    "current-context must exist",
    "no configuration has been provided",
    "localhost:8080",
    "context was not found",
)
_SILENT = ("Unable to connect to the server", "connection refused", "was refused", "i/o timeout", "no such host", "TLS handshake timeout")


class ClusterError(LakelineError):
    """The cluster can't be reached, refuses, or does not become what it should be."""


@dataclass(frozen=True)
class Context:
    """Which cluster kubectl speaks to."""

    name: str
    server: str


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Run kubectl and return what it says.

    Parameters
    ----------
    *arguments
        What comes after `kubectl`. Never a secret: arguments are seen by every user of the machine.
    stdin
        What it reads, where its arguments say `-f -`.
    timeout
        Seconds after which it is ended.

    Returns
    -------
    str
        Its standard output.

    Raises
    ------
    ClusterError
        If there is no kubectl, no context, no answer, no permission, or it fails otherwise: says which, and what to do.
    """
    return run("kubectl", *arguments, stdin=stdin, timeout=timeout)


def run(program: str, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Run a program of a cluster, kubectl or kind, as `kubectl` does."""
    need(program)
    try:
        done = subprocess.run([program, *arguments], input=stdin or "", capture_output=True, encoding="utf-8", timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        what = " ".join((program, *arguments[:4]))
        raise ClusterError(
            f"`{what} ...` did not end within {timeout:.0f} s. See whether the cluster answers: kubectl get --raw /readyz"
        ) from None
    if done.returncode:
        raise ClusterError(_explain(program, arguments, done.stderr.strip() or done.stdout.strip()))
    return done.stdout


def need(program: str) -> str:
    """Path of a program.

    Raises
    ------
    ClusterError
        If it isn't on the PATH: says where to get it.
    """
    path = shutil.which(program)
    if not path:
        raise ClusterError(
            f"there is no {program} on the PATH. Install it ({_INSTALL.get(program, 'see docs/DEPLOYMENT.md')}) and try again."
        )
    return path


def get(kind: str, namespace: str | None = None, *arguments: str) -> list[dict[str, Any]]:
    """Objects of a kind, as the API server gives them; none where the kind isn't known to it."""
    where = ("--namespace", namespace) if namespace else ("--all-namespaces",)
    try:
        found = kubectl("get", kind, *where, "--output=json", "--ignore-not-found", *arguments)
    except ClusterError as error:
        if "doesn't have a resource type" in str(error):
            return []
        raise
    listed = json.loads(found) if found.strip() else {"items": []}
    return listed.get("items", [listed])


def exists(kind: str, name: str, namespace: str | None = None) -> bool:
    """Whether there is such an object."""
    return bool(get(kind, namespace, name) if namespace else kubectl("get", kind, name, "--ignore-not-found", "--output=name").strip())


def context() -> Context:
    """Cluster that kubectl speaks to as it is set up here.

    Raises
    ------
    ClusterError
        If it is set up for none.
    """
    found = kubectl("config", "view", "--minify", "--output=json")
    config: dict[str, Any] = json.loads(found)
    clusters: Sequence[dict[str, Any]] = config.get("clusters") or []
    if not clusters:
        raise ClusterError(_no_context())
    return Context(config.get("current-context", ""), clusters[0]["cluster"].get("server", ""))


def _explain(program: str, arguments: Sequence[str], said: str) -> str:
    if program == "kubectl":
        if any(phrase in said for phrase in _NO_CONTEXT):
            return _no_context()
        if any(phrase in said for phrase in _SILENT):
            return f"the cluster does not answer ({_last(said)}). Start it, or choose another one: kubectl config use-context NAME"
        if "(Forbidden)" in said or "Unauthorized" in said or "must be logged in" in said:
            return f"the cluster refuses: {_last(said)}. Log in as somebody who may do that (setting Lakeline up takes cluster-admin)."
    shown = [argument for argument in arguments if not argument.startswith("--")][:4]
    return f"`{' '.join((program, *shown))}` failed: {_last(said)}"


def _no_context() -> str:
    return (
        "kubectl is set up for no cluster. Set KUBECONFIG, choose a context (kubectl config use-context NAME), "
        "or start a cluster here: make cluster"
    )


def _last(said: str) -> str:
    """The line that says what went wrong, without kubectl's prefix."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith(("I0", "E0", "W0", "I1", "E1", "W1"))] or [said]
    wrong = [line for line in lines if "error" in line.lower()] or lines[-1:]
    text = "; ".join(wrong[:3])
    for prefix in ("error: ", "Error from server (Forbidden): ", "Error from server: "):
        text = text.removeprefix(prefix)
    return text.rstrip(".")
