"""The machine that this runs on as a place where releases run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from lakeline.errors import DeploymentUnderWay, ServingError
from lakeline.serving.local.child import PATIENCE
from lakeline.serving.local.client import ask, checked, connect, connect_or_start, environment_of_servers
from lakeline.serving.local.files import files_of, trim
from lakeline.serving.local.folder import PREDICTIONS, TOKEN, ArmState, Folder, Plan, Server
from lakeline.serving.local.listening import HOST
from lakeline.serving.local.processes import Identity, alive, identify
from lakeline.serving.release import VARIANTS, Route
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from lakeline.data.servingspec import Serving
    from lakeline.serving.release import Release, Variant

_SLACK = 60.0
"""Seconds that a supervisor may take for what has no deadline."""


class LocalSite:
    """Server processes of this machine, on its loopback interface, which a supervisor of their own looks after.

    Parameters
    ----------
    port
        Where callers reach production, if it isn't served yet; None: where it was before, or LAKELINE_SERVING_PORT.
    workers
        Server processes of each variant; None: as many as before, or one.
    """

    name = "local"

    def __init__(self, port: int | None = None, workers: int | None = None) -> None:
        self._port = port
        self._workers = workers

    def serving(self, model: str) -> Mapping[Variant, Release]:
        """Releases that are rolled out, by variant; none after this machine was started anew, when nothing serves any more."""
        state = Folder(model).read()
        if not (state.supervisor and alive(state.supervisor)) and not any(_there(arm) for arm in state.arms.values()):
            return {}
        return {variant: arm.wanted.release for variant, arm in state.arms.items() if arm.wanted}

    def url(self, model: str, variant: Variant | None = None) -> str:
        """Address that callers use (None), or that one variant alone answers at."""
        arm = Folder(model).read().arms[variant or "production"]
        if (variant or "production") not in self.serving(model) or not arm.port:
            raise ServingError(
                f"{model}: nothing serves it on this machine{f' as {variant}' if variant else ''}. Do: lakeline serve {model}"
            )
        return f"http://{HOST}:{arm.port}"

    @contextlib.contextmanager
    def hold(self, model: str, holder: str) -> Generator[None]:
        """Keep everyone else from changing what serves a model. The lock is the kernel's: a holder that is killed holds it no more."""
        folder = Folder(model).make()
        with folder.writing():
            lock = os.open(folder.path / "hold.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                who = os.pread(lock, 1000, 0).decode(errors="replace") or "somebody"
                raise DeploymentUnderWay(
                    f"{model}: what serves it is being changed by {who}. Let that end, or end it, then run the same command again."
                ) from None
            os.ftruncate(lock, 0)
            with contextlib.suppress(OSError):  # who else wants it is told of somebody, then
                os.pwrite(lock, f"{holder} (process {os.getpid()}, since {time.strftime('%H:%M:%S')})".encode(), 0)
            yield
            os.ftruncate(lock, 0)
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def trial(self, release: Release, serving: Serving) -> Generator[str]:
        """Start one server of a release apart from all traffic; what it answers isn't logged."""
        folder = Folder(release.model)
        plan = Plan(release, str(files_of(folder, release)), 1, serving.deadline)
        with connect_or_start(folder) as line:
            line.send({"do": "trial", "plan": asdict(plan), "settings": environment_of_servers() | {PREDICTIONS: ""}})
            answer = line.receive(serving.deadline + _SLACK)
            if answer is None:
                raise ServingError(f"{release.model}: the supervisor of its servers ended. Its log: {folder.log}")
            yield checked(folder, answer)["url"]
            line.leave(_SLACK)

    def roll_out(self, release: Release, serving: Serving) -> None:
        """Have a release serve as its variant, in place of what does; returns when the servers before it are gone."""
        self._roll_out(release, serving)

    def go_back(self, release: Release, serving: Serving) -> None:
        """Have a release serve that did before; of its servers, those that still do are left as they are."""
        self._roll_out(release, serving, keep=True)

    def settled(self, release: Release, serving: Serving) -> bool:
        """Whether a release's servers are up, with today's settings, and a supervisor looks after them."""
        folder = Folder(release.model)
        arm = folder.read().arms[release.variant]
        plan = arm.wanted
        if plan is None or replace(plan.release, run=release.run, actor=release.actor) != release:
            return False
        if self._workers not in (None, plan.workers):
            return False
        line = connect(folder)
        if line is None:
            return False
        with line, contextlib.suppress(OSError):
            line.send({"do": "compare", "plan": asdict(plan), "settings": environment_of_servers()})
            return (line.receive(_SLACK) or {}).get("same", False)  # a supervisor of before doesn't know the question
        return False

    def withdraw(self, model: str, variant: Variant) -> None:
        """Serve a variant no longer; requests under way are answered."""
        self._withdraw(model, (variant,))

    def stop(self, model: str) -> None:
        """Serve a model no longer, as no variant."""
        self._withdraw(model, VARIANTS)

    def share(self, model: str, weight: float | None) -> None:
        """Share requests without a key out between the variants: production passes on what is the challenger's."""
        from lakeline.data.servingspec import Serving

        serving = self.serving(model)
        production, challenger = serving.get("production"), serving.get("challenger")
        if production is None:
            raise ServingError(f"{model}: there is nothing to share, for no version of it serves. Do: lakeline serve {model}")
        route = None
        if weight is not None:
            if challenger is None:
                raise ServingError(
                    f"{model}: there is no challenger to share requests with. Start a test: lakeline experiment start {model}"
                )
            test = production.route or challenger.route
            route = Route(test.experiment if test else f"{model}-{challenger.version}", weight, self.url(model, "challenger"), unkeyed=True)
        arm = Folder(model).read().arms["production"]
        deadline = arm.wanted.deadline if arm.wanted else Serving().deadline
        self.roll_out(replace(production, route=route), Serving(deadline=deadline))

    def tell(self, model: str, reason: str, message: str, *, warning: bool = False) -> None:
        """Write a line into the log of the model's servers."""
        Folder(model).make().note(reason, message, warning=warning)

    @contextlib.contextmanager
    def attend(self, model: str) -> Generator[Iterator[dict[str, Any]]]:
        """Have a model served for as long as this lasts, even if this process is killed; gives what happens, as it does.

        Each is `{"event": ..., "message": ..., "warning": ...}`; they end when somebody else stops the servers.
        """
        with connect_or_start(Folder(model)) as line:
            line.send({"do": "attend", "process": asdict(identify(os.getpid()) or Identity(os.getpid(), ""))})
            try:
                yield iter(lambda: line.receive(None), None)
            finally:
                line.leave(PATIENCE + _SLACK)

    def status(self, model: str) -> dict[str, Any]:
        """What is known of a model's servers on this machine, as JSON can hold it."""
        folder = Folder(model)
        state = folder.read()
        supervisor, foreground = (found.pid if found and alive(found) else None for found in (state.supervisor, state.foreground))
        variants = {variant: _told(arm) for variant, arm in state.arms.items() if arm.wanted or _there(arm)}
        return {"model": model, "supervisor": supervisor, "foreground": foreground, "log": str(folder.log), "variants": variants}

    def _roll_out(self, release: Release, serving: Serving, *, keep: bool = False) -> None:
        folder = Folder(release.model)
        arm = folder.read().arms[release.variant]
        still = arm.served if keep and arm.served and arm.served.release.same_model == release.same_model else None
        files = still.files if still else files_of(folder, release)
        workers = self._workers or (arm.served.workers if arm.served else 1)
        asked = {
            "do": "roll_out",
            "plan": asdict(Plan(release, str(files), workers, serving.deadline)),
            "settings": environment_of_servers(),
            "port": 0 if release.variant == "challenger" else self._wanted_port(arm.port),
            "keep": keep,
        }
        ask(folder, asked, serving.deadline + PATIENCE + _SLACK)
        plans = [plan for arm in folder.read().arms.values() for plan in (arm.wanted, arm.served) if plan]
        trim(folder, [plan.files for plan in plans])

    def _withdraw(self, model: str, variants: tuple[Variant, ...]) -> None:
        folder = Folder(model)
        state = folder.read()
        if any(state.arms[variant].wanted or state.arms[variant].servers for variant in variants):
            ask(folder, {"do": "withdraw", "variants": variants}, PATIENCE + _SLACK)

    def _wanted_port(self, before: int) -> int:
        settings = get_settings()
        if "serving_port" in settings.model_fields_set:
            before = settings.serving_port
        return self._port or before or settings.serving_port


def _there(arm: ArmState) -> list[Server]:
    return [server for server in arm.servers if alive(server.process)]


def _told(arm: ArmState) -> dict[str, Any]:
    release = arm.wanted.release if arm.wanted else None
    return {
        "url": f"http://{HOST}:{arm.port}" if arm.port else None,
        "version": release.version if release else None,
        "token": TOKEN in (arm.place or {}),
        "servers": [{**asdict(server), "process": server.process.pid} for server in _there(arm)],
        "started_anew": arm.crashes,
        "problem": arm.problem,
        "route": asdict(release.route) if release and release.route else None,
    }
