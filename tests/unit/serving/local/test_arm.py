"""The servers of a variant, and what becomes of them when one misbehaves: with a double of the server, which can be made to."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lakeline.errors import RolloutFailed, ServingError, VersionFailed
from lakeline.serving.local import arm as arm_module
from lakeline.serving.local import child as child_module
from lakeline.serving.local.arm import Arm
from lakeline.serving.local.folder import TOKEN, ArmState, Folder, Plan, Server
from lakeline.serving.local.processes import Identity, alive, identify, send, wait
from lakeline.serving.release import Release

Try = Callable[[Arm], Awaitable[None]]


@dataclass
class Stage:
    """An arm on a folder, what it told, and the environment of its servers."""

    folder: Folder
    state: ArmState = field(default_factory=ArmState)
    events: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=lambda: os.environ | {"PYTHONPATH": str(Path(__file__).parent)})

    def play(self, *tries: Try) -> None:
        """Have arms after one another: each finds what the one before left, which was gone without a word."""

        async def play() -> None:
            for each in tries:
                arm = Arm(self.folder, self.state, lambda: None, lambda event, message, warning: self.events.append(f"{event}: {message}"))
                try:
                    await each(arm)
                finally:
                    self.state.servers = arm.servers
                    before = arm
                    for task in list(before._tasks):
                        task.cancel()

        asyncio.run(play())

    def plan(self, version: int, run: str = "", workers: int = 1, deadline: int = 30) -> Plan:
        """A plan for servers that behave like that."""
        return Plan(Release("ferries", version, "0" * 64, run=run), "/nowhere", workers, deadline)


@pytest.fixture
def stage(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(child_module, "MODULE", "standin")
    stage = Stage(Folder("ferries").make())
    yield stage
    for server in stage.state.servers:
        send(server.process, signal.SIGKILL)
        assert wait(server.process, 10)


def said(port: int) -> str:
    """What the server at a port says."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        return connection.makefile().readline().strip()


async def hear(arm: Arm) -> str:
    return await asyncio.to_thread(said, arm.state.port)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 (a condition of any kind)
            await asyncio.sleep(0.02)


def test_one_version_takes_the_place_of_another_on_the_same_socket(stage: Stage):
    async def swap(arm: Arm) -> None:
        await arm.roll_out(stage.plan(1, workers=2), stage.settings, 0)
        port, first = arm.state.port, arm.servers
        assert await hear(arm) == "version 1"

        await arm.roll_out(stage.plan(2, workers=2), stage.settings | {TOKEN: "sesame"}, 0)

        assert arm.state.port == port
        assert await hear(arm) == "version 2"
        assert not any(alive(server.process) for server in first)
        assert [(server.version, server.role) for server in arm.servers] == [(2, "serving")] * 2
        assert arm.state.place == {TOKEN: "sesame"}
        await arm.withdraw()
        assert (arm.servers, arm.state.wanted, arm.state.place, arm.idle) == ([], None, None, True)
        with pytest.raises(ConnectionRefusedError):
            await hear(arm)

    stage.play(swap)


@pytest.mark.parametrize(
    ("run", "deadline", "why", "kind"),
    [
        ("refuse", 30, "^it predicts nan$", VersionFailed),
        ("segfault", 30, r"the server was killed by signal 11 before it was ready", VersionFailed),
        ("hang", 1, r"it isn't ready after 1 s\. Log: ", VersionFailed),
        ("full", 30, "^no space left$", RolloutFailed),
        ("killed", 30, r"the server was killed by signal 9 before it was ready", RolloutFailed),
        ("die", 30, r"the server ended with code 3 before it was ready: no module named modle\. Log: ", RolloutFailed),
    ],
)
def test_version_that_does_not_get_ready_leaves_nothing_and_changes_nothing(
    stage: Stage, run: str, deadline: int, why: str, kind: type[RolloutFailed]
):
    async def fail(arm: Arm) -> None:
        with pytest.raises(RolloutFailed, match=why) as failed:
            await arm.roll_out(stage.plan(1, run, 2, deadline), stage.settings, 0)
        assert failed.type is kind
        assert (arm.servers, arm.idle) == ([], True)
        with pytest.raises(ConnectionRefusedError):
            await hear(arm)

        await arm.roll_out(stage.plan(2), stage.settings, arm.state.port)
        with pytest.raises(RolloutFailed, match=why):
            await arm.roll_out(stage.plan(3, run, 2, deadline), stage.settings, 0)
        assert await hear(arm) == "version 2"
        assert [server.version for server in arm.servers] == [2]
        assert arm.state.wanted
        assert arm.state.wanted.release.version == 3
        assert arm.state.problem
        assert arm.state.problem.startswith("ferries version 3 doesn't serve: ")

    stage.play(fail)


def test_way_back_needs_no_new_server_where_the_old_one_serves(stage: Stage):
    """Not even where its settings are others by now, as after a change of the token: there may be no memory for one."""

    async def back(arm: Arm) -> None:
        await arm.roll_out(stage.plan(1), stage.settings, 0)
        servers = arm.servers
        with pytest.raises(RolloutFailed):
            await arm.roll_out(stage.plan(2, "full"), stage.settings | {TOKEN: "sesame"}, 0)
        assert arm.state.wanted
        assert arm.state.wanted.release.version == 2

        await arm.roll_out(stage.plan(1, "another"), stage.settings | {TOKEN: "sesame"}, 0, keep=True)

        assert (arm.servers, arm.state.wanted, arm.state.problem) == (servers, stage.plan(1), None)

    stage.play(back)


def test_later_wish_ends_an_earlier_one_that_is_not_ready(stage: Stage):
    async def change(arm: Arm) -> None:
        first = asyncio.create_task(arm.roll_out(stage.plan(1, "hang", deadline=600), stage.settings, 0))
        same = asyncio.create_task(arm.roll_out(stage.plan(1, "hang", deadline=600), stage.settings, 0))
        await until(lambda: bool(arm.servers))
        assert len(arm.servers) == 1
        (hanging,) = arm.servers

        await arm.roll_out(stage.plan(2), stage.settings, 0)

        assert await hear(arm) == "version 2"
        assert not alive(hanging.process)
        for superseded in (first, same):
            with pytest.raises(RolloutFailed, match="ferries version 1: somebody wanted something else"):
                await superseded

    stage.play(change)


def test_many_wishes_at_once_end_with_one_of_them(stage: Stage):
    async def change(arm: Arm) -> None:
        wishes = [arm.roll_out(stage.plan(1 + number % 2), stage.settings, 0) for number in range(12)]
        results = await asyncio.gather(*wishes, return_exceptions=True)

        assert [result for result in results if result is not None and not isinstance(result, RolloutFailed)] == []
        assert arm.state.wanted
        assert await hear(arm) == f"version {arm.state.wanted.release.version}"
        assert len(arm.servers) == 1

    stage.play(change)


def test_server_that_is_killed_is_started_anew_and_callers_wait_for_it(stage: Stage):
    async def kill(arm: Arm) -> None:
        await arm.roll_out(stage.plan(1), stage.settings, 0)
        (server,) = arm.servers
        os.kill(server.process.pid, signal.SIGKILL)
        assert await asyncio.to_thread(wait, server.process, 10)

        assert await hear(arm) == "version 1"

        await until(lambda: arm.state.crashes == 1)
        assert any("killed by signal 9" in event for event in stage.events)

    stage.play(kill)


def test_server_that_keeps_crashing_is_given_up_and_callers_are_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arm_module, "CRASHES", 2)

    async def crash(arm: Arm) -> None:
        await arm.roll_out(stage.plan(1, "crash"), stage.settings, 0)
        await until(lambda: arm.idle)

        assert arm.state.problem
        assert "ended by themselves 3 times in 300 s: no more are started" in arm.state.problem
        assert arm.state.crashes == 2
        with pytest.raises(ConnectionRefusedError):
            await hear(arm)

        await arm.roll_out(stage.plan(1), stage.settings, arm.state.port)  # somebody has done something about it
        assert await hear(arm) == "version 1"
        assert (arm.state.problem, arm.state.crashes) == (None, 0)

    stage.play(crash)


def test_server_that_is_deaf_is_killed_in_the_end(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child_module.Child.drain, "__defaults__", (0.5,))

    async def end(arm: Arm) -> None:
        await arm.roll_out(stage.plan(1, "deaf"), stage.settings, 0)
        (server,) = arm.servers
        await arm.withdraw()
        assert not alive(server.process)
        assert any(event.startswith("Killed") for event in stage.events)

    stage.play(end)


def test_next_supervisor_takes_over_what_one_left_and_ends_no_stranger(stage: Stage):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    left: list[Server] = []

    async def before(arm: Arm) -> None:
        await arm.roll_out(stage.plan(1), stage.settings, 0)
        left.extend(arm.servers)
        arm._listener.close()  # type: ignore[union-attr] (as the kernel does for a process that is killed)

    async def after(arm: Arm) -> None:
        port = arm.state.port
        assert await hear(arm) == "version 1"
        # A server that is gone, and whose number is a stranger's by now.
        arm.state.servers = [*arm.state.servers, Server(Identity(stranger.pid, "another time"), 1, "serving", 0)]
        arm.restore(stage.settings)
        assert await hear(arm) == "version 1"
        await until(lambda: [server.role for server in arm.servers] == ["serving"] and arm.servers[0] != left[0])
        assert arm.state.port == port
        assert await hear(arm) == "version 1"
        assert not alive(left[0].process)
        await arm.withdraw()

    try:
        stage.play(before, after)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_port_that_somebody_has_is_named_with_one_that_is_free(stage: Stage):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        async def open_it(arm: Arm) -> None:
            with pytest.raises(ServingError, match=rf"port {port} of this machine is in use .* LAKELINE_SERVING_PORT=") as taken:
                await arm.roll_out(stage.plan(1), stage.settings, port)
            assert not isinstance(taken.value, RolloutFailed)
            assert arm.servers == []

            advised = int(str(taken.value).partition("LAKELINE_SERVING_PORT=")[2].split()[0])
            await arm.roll_out(stage.plan(1), stage.settings, advised)
            assert await hear(arm) == "version 1"
            await arm.withdraw()

        stage.play(open_it)


def test_no_signal_reaches_a_process_that_is_not_the_one_that_was_meant():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        known = identify(process.pid)
        assert known
        assert not send(Identity(process.pid, known.started + "0"), signal.SIGKILL)
        assert alive(known)
        assert send(known, signal.SIGKILL)
        assert wait(known, 10)  # also while nobody has asked for its exit code
        assert not send(known, signal.SIGKILL)
    assert identify(process.pid) is None
