"""The servers of one variant, behind one socket that outlives each of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lakeline.errors import LakelineError, RolloutFailed, VersionFailed
from lakeline.serving.environment import PREFIX
from lakeline.serving.local.child import Child
from lakeline.serving.local.folder import PLACE
from lakeline.serving.local.listening import HOST, join, listen
from lakeline.serving.local.processes import alive

if TYPE_CHECKING:
    import socket

    from lakeline.serving.local.folder import ArmState, Folder, Plan, Server

CRASHES, WINDOW = 5, 300.0
"""Servers that ended by themselves within so many seconds are started anew; one more, and it isn't tried again."""

Note = Callable[[str, str, bool], None]
"""Tells of an event: its name, a sentence, and whether it is bad news."""


class Arm:
    """The servers of one variant.

    Parameters
    ----------
    folder
        Of the model.
    state
        As it was left; kept up to date here, but for its servers.
    changed
        Called when it should be written.
    note
        Called when something is worth telling.
    """

    def __init__(self, folder: Folder, state: ArmState, changed: Callable[[], None], note: Note) -> None:
        self.state = state
        self._folder, self._changed, self._note = folder, changed, note
        self._listener: socket.socket | None = None
        self._settings: Mapping[str, str] = {}
        self._asked: tuple[Plan, Mapping[str, str]] | None = None
        self._serving: list[Child] = []
        self._starting: list[Child] = []
        self._leaving: dict[Child, asyncio.Task[None]] = {}
        self._ended: list[float] = []
        self._deciding = asyncio.Lock()
        self._rollout: asyncio.Task[None] | None = None
        self._repair: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://{HOST}:{self.state.port}"

    @property
    def idle(self) -> bool:
        """Whether there is nothing to supervise."""
        under_way = any(task and not task.done() for task in (self._rollout, self._repair))
        return not (self.servers or under_way)

    @property
    def servers(self) -> list[Server]:
        """Its processes."""
        return [child.server for child in (*self._serving, *self._starting, *self._leaving)]

    def restore(self, settings: Mapping[str, str]) -> None:
        """Take up what an earlier supervisor left: its servers go on until those of this one are ready."""
        for server in self.state.servers:
            if alive(server.process):
                child = Child(server)
                if server.role == "serving" and self.state.wanted:
                    self._serving.append(child)
                    self._watch(child)
                else:
                    self._leave(child)
        if self.state.wanted and self.state.served:  # what never got ready is tried again when somebody asks for it
            self._begin(self.state.served, settings, self.state.port)

    async def roll_out(self, plan: Plan, settings: Mapping[str, str], port: int, *, keep: bool = False) -> None:
        """Have a plan's servers take the place of those that serve.

        Parameters
        ----------
        plan
            What is wanted from now on, whether or not it gets ready.
        settings
            Environment of its servers.
        port
            Where to listen, if nothing does yet.
        keep
            Whether servers of the release that serve already will do, whatever settings they were started with.

        Raises
        ------
        VersionFailed
            If they can't serve by the version's own fault, or aren't ready in time.
        RolloutFailed
            If they can't for another reason, or another rollout came in between.
        ServingError
            If the port can't be had.
        """
        async with self._deciding:
            self.state.wanted = plan
            served = self.state.served
            if keep and served and _alike(served, plan) and self._serving and self._listener:
                await _cancel(self._rollout)
                self.state.wanted, self.state.problem = served, None
                self._changed()
                return
            task = self._rollout
            if task is None or task.done() or self._asked != (plan, _told(settings)):
                await _cancel(task)
                if self.is_serving(plan, settings):
                    self.state.problem = None
                    self._changed()
                    return
                task = self._begin(plan, settings, port)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise RolloutFailed(f"{_name(plan)}: somebody wanted something else before it was ready.") from None
            raise

    async def withdraw(self, *, forget: bool = True) -> None:
        """End all servers, in peace; what was wanted is still wanted by the next supervisor unless it is to be forgotten."""
        async with self._deciding:
            await _cancel(self._rollout)
            await _cancel(self._repair)
            if forget:
                self.state.wanted = self.state.served = self.state.problem = self.state.place = None
            leaving, self._serving = self._serving, []
            for child in leaving:
                self._leave(child)
            self._close()
            self._changed()
        if self._leaving:
            await asyncio.wait(self._leaving.values())

    def _begin(self, plan: Plan, settings: Mapping[str, str], port: int) -> asyncio.Task[None]:
        self._asked = plan, _told(settings)
        self._rollout = self._spawn(self._swap(plan, settings, port))
        self._changed()
        return self._rollout

    async def _swap(self, plan: Plan, settings: Mapping[str, str], port: int) -> None:
        fresh: list[Child] = []
        try:
            listener = await self._open(port)
            fresh = await self._start(plan, settings, listener, plan.workers)
        except (LakelineError, OSError) as error:
            self.state.problem = f"{_name(plan)} doesn't serve: {error}"
            self._note("RolloutFailed", self.state.problem, True)
            if not self._serving:
                self._close()
            self._changed()
            raise
        await _cancel(self._repair)
        old, self._serving = self._serving, fresh
        self.state.served, self._settings = plan, settings
        self.state.place = {name: text for name, text in settings.items() if name in PLACE}
        self.state.crashes, self.state.problem, self._ended = 0, None, []
        for child in fresh:
            self._watch(child)
        leaving = [self._leave(child) for child in old]
        self._changed()
        self._note("RolledOut", f"{_name(plan)} serves as {plan.release.variant} at {self.url}.", False)
        if leaving:
            await asyncio.wait(leaving)

    async def _start(self, plan: Plan, settings: Mapping[str, str], listener: socket.socket, number: int) -> list[Child]:
        """Start servers: all of them are ready, or none is left."""
        fresh: list[Child] = []
        try:
            for _ in range(number):
                fresh.append(await Child.start(self._folder, plan, listener, settings))
                self._starting.append(fresh[-1])
                self._changed()
            async with asyncio.timeout(plan.deadline):
                await asyncio.gather(*(child.ready(self._folder) for child in fresh))
        except BaseException as error:
            for child in fresh:
                await child.kill()
            if isinstance(error, TimeoutError):
                raise VersionFailed(f"it isn't ready after {plan.deadline} s. Log: {self._folder.log}") from None
            raise
        finally:
            self._starting = [child for child in self._starting if child not in fresh]
        return fresh

    async def _open(self, port: int) -> socket.socket:
        if self._listener is None and self._serving:  # by servers that an earlier supervisor started
            self._listener = join(self.state.port)
            if self._listener is None:  # this kernel gives a port to one only
                await asyncio.wait([self._leave(child) for child in self._serving])
                self._serving = []
        if self._listener is None:
            self._listener = listen(port, self._folder.model)
        self.state.port = self._listener.getsockname()[1]
        return self._listener

    def _close(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None

    def _watch(self, child: Child) -> None:
        async def watch() -> None:
            code = await child.ended()
            if child in self._serving:
                self._serving.remove(child)
                self._ended.append(time.monotonic())
                how = "" if code is None else f" with code {code}" if code >= 0 else f", killed by signal {-code}"
                self._note("ServerEnded", f"the server {child.server.process.pid} of version {child.server.version} ended{how}.", True)
                if self._repair is None or self._repair.done():
                    self._repair = self._spawn(self._start_anew())
                self._changed()

        self._spawn(watch())

    async def _start_anew(self) -> None:
        """Put servers in the place of those that ended by themselves, unless that happens too often."""
        while self._listener and (plan := self.state.served) and len(self._serving) < plan.workers:
            self._ended = [moment for moment in self._ended if moment > time.monotonic() - WINDOW]
            if len(self._ended) > CRASHES:
                why = f" The last: {self.state.problem}" if self.state.problem else ""
                self.state.problem = f"its servers ended by themselves {len(self._ended)} times in {WINDOW:g} s: no more are started.{why}"
                self._note("GaveUp", self.state.problem, True)
                if not self._serving:  # better refused than kept waiting
                    self._close()
                self._changed()
                return
            await asyncio.sleep(2.0 ** (len(self._ended) - 2) if len(self._ended) > 1 else 0)
            try:
                fresh = await self._start(plan, self._settings, self._listener, 1)
            except LakelineError as error:
                self.state.problem = str(error)
                self._ended.append(time.monotonic())
                continue
            self.state.crashes, self.state.problem = self.state.crashes + 1, None
            self._serving += fresh
            self._watch(fresh[0])
            self._changed()
            self._note("StartedAnew", f"a server of version {plan.release.version} was started anew.", False)

    def _leave(self, child: Child) -> asyncio.Task[None]:
        async def leave() -> None:
            if not await child.drain():
                self._note("Killed", f"the server {child.server.process.pid} didn't end when it was told to, and was killed.", True)
            del self._leaving[child]
            self._changed()

        self._leaving[child] = self._spawn(leave())
        return self._leaving[child]

    def is_serving(self, plan: Plan, settings: Mapping[str, str]) -> bool:
        """Whether a plan's servers are those that serve, all of them, with these settings."""
        whole = len(self._serving) == plan.workers and self._listener is not None
        same = self.state.served is not None and replace(self.state.served, deadline=plan.deadline) == plan
        return whole and same and _told(self._settings) == _told(settings)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that nobody need wait for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not isinstance(error, LakelineError):  # those are told by who raises them
            self._note("Error", f"{type(error).__name__}: {error}", True)


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task and not task.done():
        task.cancel()
        await asyncio.wait({task})


def _told(settings: Mapping[str, str]) -> dict[str, str]:
    """Those of a server's variables that are ours: two rollouts from different shells may be the same."""
    return {name: text for name, text in settings.items() if name.startswith(PREFIX)}


def _alike(one: Plan, other: Plan) -> bool:
    """Whether callers are answered the same by two plans, whoever released them."""
    return (one.release.same_model, one.release.route) == (other.release.same_model, other.release.route)


def _name(plan: Plan) -> str:
    return f"{plan.release.model} version {plan.release.version}"
