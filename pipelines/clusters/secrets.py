"""Makes the Secrets that a cluster lacks: random values, from memory into the API server, seen by nobody."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Literal

from lakeline.errors import UsageError
from pipelines.clusters import kubectl as k
from pipelines.clusters.wanted import MAY_BE_ABSENT, SERVICES, SERVING, WANTED, Wanted, wanted

LABELS = {"app.kubernetes.io/part-of": "lakeline"}


@dataclass(frozen=True)
class Outcome:
    """What became of a Secret in a namespace. It names keys, never values."""

    name: str
    namespace: str
    did: Literal["made", "kept", "changed", "left out"]
    keys: tuple[str, ...] = ()
    why: str = ""


class _NotGiven(Exception):
    """A value follows from one that is not made here."""


class Values:
    """Values of all Secrets as they are to be: what is there stays, unless it is made anew or follows from what is."""

    def __init__(self, there: dict[tuple[str, str], str], needed: tuple[Wanted, ...], rotate: str | None = None) -> None:
        self._there = there
        self._needed = {each.name: each for each in needed}
        self._rotate = rotate
        self._values: dict[tuple[str, str], str] = {}
        self._fresh: set[tuple[str, str]] = set()
        self._read: list[tuple[str, str]] = []

    def get(self, name: str, key: str) -> str:
        """Value of a key; the same each time."""
        self._read.append((name, key))
        if (name, key) not in self._values:
            self._values[name, key] = self._decide(name, key)
        return self._values[name, key]

    def _decide(self, name: str, key: str) -> str:
        old = self._there.get((name, key))
        if name not in self._needed:
            raise _NotGiven
        before = self._there.get((name, self._needed[name].kept.get(key, "")))
        if before is not None and self._rotate == name:
            return before
        outer, self._read = self._read, []
        try:
            new = self._needed[name].keys[key](self.get)
        except _NotGiven:
            if old is None:
                raise
            return old
        finally:
            sources, self._read = self._read, outer
        if old is not None and not (self._fresh & set(sources) if sources else self._rotate == name):
            return old
        if new != old:
            self._fresh.add((name, key))
        return new


def ensure(overlay: str = "kind", rotate: str | None = None) -> list[Outcome]:
    """Have every Secret that the services of an overlay read, with every key.

    Parameters
    ----------
    overlay
        `production`: database and object store are elsewhere, so what leads to them has to be there already.
    rotate
        Secret whose values are made anew, with all that follow from them.

    Returns
    -------
    list of Outcome
        What became of each, in each of its namespaces.

    Raises
    ------
    UsageError
        If `rotate` is no Secret that can be made anew.
    ClusterError
        If the API server refuses, or a value has to be given and isn't.
    """
    needed = wanted(overlay)
    _check(rotate, needed)
    spaces = dict.fromkeys(namespace for each in needed for namespace in each.namespaces)
    namespaces = [namespace for namespace in spaces if k.exists("namespace", namespace)]
    if SERVICES not in namespaces:
        raise k.ClusterError(f"there is no namespace {SERVICES}. `lakeline cluster deploy` makes it, and the Secrets as well.")
    found = {namespace: _read(namespace) for namespace in namespaces}
    there = {
        (each.name, key): value
        for each in needed
        for namespace in reversed(each.namespaces)  # what the services have counts
        for key, value in found.get(namespace, {}).get(each.name, {}).items()
    }
    values = Values(there, needed, rotate)
    plan, missing = _plan(needed, values)
    if missing:
        first = next(iter(missing))
        raise k.ClusterError(
            f"overlay {overlay} keeps its data elsewhere, and nothing says where: {_listed(missing)}.\n"
            f"Give these keys first, by External Secrets or with `kubectl --namespace {SERVICES} create secret generic {first} "
            "--from-file=KEY=FILE ...`; the others are added then."
        )
    outcomes: list[Outcome] = []
    new: list[dict[str, Any]] = []
    for each in needed:
        for namespace in each.namespaces:
            if namespace not in namespaces:
                outcomes.append(Outcome(each.name, namespace, "left out", why=f"there is no namespace {namespace} yet"))
            elif each.name not in found[namespace]:
                new.append(_secret(each.name, namespace, plan[each.name]))
                outcomes.append(Outcome(each.name, namespace, "made", tuple(plan[each.name])))
            else:
                outcomes.append(_complete(each.name, namespace, plan[each.name], found[namespace][each.name]))
    if new:
        k.kubectl("create", "--filename=-", "--output=name", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": new}))
    return outcomes


def restart(outcomes: list[Outcome]) -> list[str]:
    """Restart who has read a value that has changed, one after the other; returns who that was."""
    changed = {outcome.name for outcome in outcomes if outcome.did == "changed"}
    readers = dict.fromkeys(reader for each in WANTED if each.name in changed for reader in each.restarts)
    order = sorted(readers, key=lambda reader: not reader.startswith("statefulset/"))
    restarted: list[str] = []
    for reader in order:
        kind, _, name = reader.partition("/")
        if reader.startswith("deployment --"):  # those with a label: of none, or of many
            namespace, what = (SERVING, "servers of models") if "model-server" in reader else (SERVICES, "event source")
            if k.get("deployment", namespace, reader.partition(" ")[2]):
                k.kubectl("--namespace", namespace, "rollout", "restart", *reader.split())
                restarted.append(what)
        elif k.exists(kind, name, SERVICES):
            k.kubectl("--namespace", SERVICES, "rollout", "restart", reader)
            k.kubectl("--namespace", SERVICES, "rollout", "status", reader, "--timeout=300s", timeout=330)
            restarted.append(name)
    return restarted


def _check(rotate: str | None, needed: tuple[Wanted, ...]) -> None:
    if rotate is None:
        return
    known = {each.name: each for each in needed}
    if rotate not in known:
        raise UsageError(
            f"there is no Secret {rotate}. Those that can be made anew: {', '.join(each.name for each in needed if not each.fixed)}."
        )
    if known[rotate].fixed:
        raise UsageError(f"Secret {rotate} can't be made anew: {known[rotate].fixed}")


def _plan(needed: tuple[Wanted, ...], values: Values) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
    plan: dict[str, dict[str, str]] = {}
    missing: dict[str, list[str]] = {}
    for each in needed:
        plan[each.name] = {}
        for key in each.keys:
            try:
                plan[each.name][key] = values.get(each.name, key)
            except _NotGiven:
                if key not in MAY_BE_ABSENT:
                    missing.setdefault(each.name, []).append(key)
    return plan, missing


def _read(namespace: str) -> dict[str, dict[str, str]]:
    """Values of the Secrets of a namespace."""
    read: dict[str, dict[str, str]] = {}
    for item in k.get("secrets", namespace):
        data: dict[str, str] = item.get("data") or {}
        read[item["metadata"]["name"]] = {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
    return read


def _secret(name: str, namespace: str, values: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": LABELS}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": _encoded(values)}


def _complete(name: str, namespace: str, values: dict[str, str], there: dict[str, str]) -> Outcome:
    changed = {key: value for key, value in values.items() if there.get(key) != value}
    if not changed:
        return Outcome(name, namespace, "kept")
    patch = json.dumps({"data": _encoded(changed)})
    k.kubectl("--namespace", namespace, "patch", "secret", name, "--type=merge", "--patch-file=/dev/stdin", "--output=name", stdin=patch)
    return Outcome(name, namespace, "changed", tuple(changed))


def _encoded(values: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def _listed(missing: dict[str, list[str]]) -> str:
    return "; ".join(f"Secret {name} lacks {', '.join(keys)}" for name, keys in missing.items())
