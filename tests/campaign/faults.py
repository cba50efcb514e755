"""The kinds of fault: what each does to a run, and what must be so afterwards."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lakeline.lake.server import serving
from lakeline.liveness import alive
from tests.campaign import checks, processes
from tests.campaign.commands import STEPS, Command
from tests.campaign.mlflow_server import MlflowServer
from tests.campaign.place import Place
from tests.campaign.points import Points
from tests.campaign.processes import LIMIT, Ended, Forked
from tests.campaign.rows import FIRST, NAME, SECOND, THIRD
from tests.campaign.steps import Steps

PUSHED, ONE, TWO = "pushed", "one", "two"
"""States of a home: with the spec; with the first arrival and version 1 in production; and with the second, and version 2."""

Act = Callable[[int, str], None]


@dataclass(frozen=True)
class Reference:
    """What runs without a fault do, in this place.

    Attributes
    ----------
    points
        That a run of the second arrival passes.
    peak
        Bytes that it writes at most.
    facts
        What is so afterwards.
    """

    points: list[str]
    peak: int
    facts: checks.Facts


@dataclass
class Trial:
    """One fault, at one place.

    Attributes
    ----------
    ordinal
        How many faults of its kind come before it: what goes through points in order goes by it.
    chance
        Where all else is drawn from.
    wrong
        What doesn't hold, as far as that is known.
    environment
        Of runs and checks, besides that of the place.
    """

    place: Place
    reference: Reference
    ordinal: int
    chance: random.Random
    wrong: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def job(self, arrival: str, run_id: str, act: Act | None = None, pipeline: str | None = None) -> Forked:
        """Start a run of the steps."""
        place, pipeline = self.place, pipeline or self.place.pipeline
        environment = place.environment | self.environment | {"LAKELINE_RUN_ID": run_id}
        return Forked(lambda: run_steps(place, pipeline, arrival, run_id, act), environment, place.logs, run_id)

    def check(self, name: str, function: Callable[[], list[str]]) -> None:
        """Run a check, and keep what it finds."""
        ended = processes.run(function, self.place.environment | self.environment, self.place.logs, "check")
        found = ended.result if ended.code == 0 else [f"the check itself ended with {ended.code}: {ended.said[-600:]}"]
        self.wrong += [f"{name}: {each}" for each in found]

    def heard(self, ended: Ended, what: str, *, fine: Sequence[int | None] = (0, 1)) -> None:
        """Check how a run ended and what it said."""
        if ended.code is None:
            self.wrong.append(f"{what} hung: {ended.said[-300:]}")
        elif ended.code not in fine:
            self.wrong.append(f"{what} ended with {ended.code}: {ended.said[-300:]}")
        if "Traceback (most recent call last)" in ended.said:
            self.wrong.append(f"{what} ended with a traceback: {ended.said.strip().splitlines()[-1][:300]}")
        if ended.code == 1 and not any(line.startswith("lakeline: ") for line in ended.said.splitlines()):
            self.wrong.append(f"{what} failed and says nothing: {ended.said[-300:]}")

    def explained(self, ended: Ended) -> None:
        """Check that a command which failed says why, in words that a person can act on."""
        if "Traceback (most recent call last)" in str(ended.result):
            self.wrong.append(f"the log ends with a traceback: {str(ended.result)[-300:]}")
        if ended.code == 1 and re.search(r"lakeline: (\w+Error: |the run ended with code)", ended.said):
            self.wrong.append(f"the command gives no reason: {ended.said.strip()[-300:]}")

    def after(self, *arrivals: str) -> None:
        """Check what holds at any moment, when these arrivals may have come in."""
        before = int(self.place.pipeline == "continuous")
        allowed = [[FIRST, *arrivals[:count]] for count in range(len(arrivals) + 1)]
        allowed += [[FIRST, arrival] for arrival in arrivals]
        self.check("after the fault", lambda: checks.whole(allowed, before))

    def again(self, arrival: str = SECOND) -> None:
        """Run without a fault; that must end well, and leave no process."""
        self.heard(self.job(arrival, f"again-{arrival}").wait(), f"the next run of {arrival}", fine=(0,))

    def recovered(self) -> None:
        """Check that it is as if no fault had been."""
        self.no_process()
        self.check("after the next run", lambda: checks.as_if_nothing(self.reference.facts))

    def no_process(self, patience: float = 15) -> None:
        """Check that what was started has ended."""
        deadline = time.monotonic() + patience
        while list(processes.of_home(self.place.home)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.wrong += [f"left running: {left}" for left in processes.end_all(self.place.home)]


def run_steps(place: Place, pipeline: str, arrival: str, run_id: str, act: Act | None) -> dict[str, Any]:
    """Run a pipeline's steps in this process, with its points watched."""
    folder = place.disk / "scratch" / run_id
    folder.mkdir()
    points = Points(act)
    points.watch(place.home)
    own = place.home / "runs" / run_id
    own.mkdir(parents=True)
    with serving(), alive(own):
        steps = Steps(NAME, run_id, folder, points.at)
        jobs: dict[str, Callable[[], Any]] = {
            "continuous": lambda: steps.continuous([arrival]),
            "data": lambda: steps.data([arrival]),
            "training": lambda: steps.training("main", retrain=False),
        }
        came = processes.explained(jobs[pipeline], lambda error: steps.record(pipeline, processes.sentence(error)))
        steps.record(pipeline, None)
    return {"came": came, "points": points.passed}


def prepare(place: Place) -> Reference:
    """Bring the home into its states, and learn what runs without a fault do."""

    def push() -> str:
        from lakeline.data.specfile import push as push_spec

        with serving():
            return push_spec(NAME)[0]

    peaks = place.folder / "peak"

    def measure(_: int, __: str) -> None:
        known = int(peaks.read_text(encoding="utf-8")) if peaks.exists() else 0
        peaks.write_text(str(max(known, place.used())), encoding="utf-8")

    trial = Trial(place, Reference([], 0, {}), 0, random.Random(0))
    _require(processes.run(push, place.environment, place.logs, "push"))
    trial.no_process()
    place.keep(PUSHED)
    _require(trial.job(FIRST, "first").wait())
    trial.no_process()
    place.keep(ONE)
    used = place.used()
    points = _require(trial.job(SECOND, "counted", measure).wait()).result["points"]
    facts = _require(processes.run(checks.facts, place.environment, place.logs, "facts")).result
    trial.no_process()
    place.keep(TWO)
    return Reference(points, int(peaks.read_text(encoding="utf-8")) - used, facts)


def _require(ended: Ended) -> Ended:
    if ended.code != 0:
        raise RuntimeError(f"without any fault, a run ended with {ended.code}: {ended.said[-3000:]}")
    return ended


def _stratum(trial: Trial, count: int) -> int:
    """One of so many, such that faults which follow each other are far apart and each comes once before one comes twice."""
    step = next(step for step in range(max(1, int(count * 0.618)), 2 * count + 1) if _coprime(step, count))
    return trial.ordinal * step % count


def _coprime(one: int, other: int) -> bool:
    while other:
        one, other = other, one % other
    return one == 1


def kill_at_point(trial: Trial) -> str:
    """Kill a run at one of the points that it passes."""
    points = trial.reference.points
    number = _stratum(trial, len(points))
    ended = _signalled(trial, number, signal.SIGKILL)
    trial.heard(ended, "the run", fine=(0, -signal.SIGKILL))
    _recover(trial)
    return f"SIGKILL at point {number}, {points[number]}"


def interrupt_at_point(trial: Trial) -> str:
    """Interrupt a step at one of the points that a run passes."""
    points = trial.reference.points
    number = _stratum(trial, len(points))
    ended = _signalled(trial, number, signal.SIGINT)
    trial.heard(ended, "the run", fine=(0, 1, 130))
    if ended.code == 130 and "lakeline: interrupted. " not in ended.said:
        trial.wrong.append(f"the run was interrupted and says: {ended.said[-300:]}")
    _recover(trial)
    return f"SIGINT at point {number}, {points[number]}"


def _signalled(trial: Trial, number: int, sign: int) -> Ended:
    def act(at: int, _: str) -> None:
        if at == number:
            os.kill(os.getpid(), sign)

    return trial.job(SECOND, "faulted", act).wait()


def _recover(trial: Trial) -> None:
    trial.after(SECOND)
    trial.again()
    trial.recovered()


def full_disk(trial: Trial) -> str:
    """Let the disk be full after so many bytes of a run."""
    room = int(trial.reference.peak * ((trial.ordinal * 0.618034 + trial.chance.random() * 0.01) % 1.0) * 1.02)
    trial.place.limit(room)
    ended = trial.job(SECOND, "faulted").wait()
    trial.place.limit(None)
    trial.heard(ended, "the run")
    if ended.code == 1 and "disk is full" not in ended.said:
        trial.wrong.append(f"the disk was full, and the run says: {ended.said.strip().splitlines()[-1][-300:]}")
    _recover(trial)
    return f"disk full after {room} bytes of {trial.reference.peak}"


def lake_gone(trial: Trial) -> str:
    """Take the lake away at one of a run's calls: its folder, or its server."""
    calls = [number for number, name in enumerate(trial.reference.points) if name.startswith("lake:") and " after" not in name]
    number = calls[_stratum(trial, len(calls))]
    lake, away = trial.place.home / "lake", trial.place.home / "lake.away"
    server = trial.place.home / "lakefs" / "server.json"

    def act(at: int, _: str) -> None:
        if at != number:
            return
        if lake.is_dir():
            lake.rename(away)
        else:
            os.kill(json.loads(server.read_text(encoding="utf-8"))["pid"], signal.SIGKILL)

    ended = trial.job(SECOND, "faulted", act).wait()
    if away.is_dir():
        if lake.exists():
            trial.wrong.append("a lake was made anew while the lake was away")
            subprocess.run(["rm", "-rf", str(lake)], check=True)
        away.rename(lake)
    trial.heard(ended, "the run")
    _recover(trial)
    return f"lake away from point {number}, {trial.reference.points[number]}"


_HOLD = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], timeout=30)
database.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def registry_locked(trial: Trial) -> str:
    """Have another program lock MLflow's database at one of a run's calls: for a moment, or for as long as the run takes."""
    calls = [number for number, name in enumerate(trial.reference.points) if name.startswith("registry:") and ":after" not in name]
    number = calls[_stratum(trial, len(calls))]
    seconds = trial.chance.choice([0.5, 600.0])
    database = str(trial.place.home / "mlflow.db")

    def act(at: int, _: str) -> None:
        if at == number:
            command = [sys.executable, "-I", "-S", "-c", _HOLD, database, str(seconds)]
            holder = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
            assert holder.stdout is not None
            holder.stdout.readline()
            (trial.place.folder / "holder").write_text(str(holder.pid), encoding="utf-8")

    (trial.place.folder / "holder").unlink(missing_ok=True)
    ended = trial.job(SECOND, "faulted", act).wait()
    if (trial.place.folder / "holder").exists():
        processes.kill([int((trial.place.folder / "holder").read_text(encoding="utf-8"))])
    trial.heard(ended, "the run", fine=(0,) if seconds < 1 else (0, 1))
    _recover(trial)
    return f"MLflow's database locked for {seconds:g} s at point {number}, {trial.reference.points[number]}"


SERVED = "served"
"""State of a home whose first run spoke to MLflow's server."""


def server_killed(trial: Trial) -> str:
    """Kill MLflow's server at one of a run's calls to it; it comes back while the run waits for it, or before the next run."""
    place = trial.place
    server = MlflowServer(place)
    trial.environment = server.environment
    try:
        _serve_first(trial, server)
        number = _stratum(trial, int((place.folder / SERVED).read_text(encoding="utf-8")))
        returns = trial.chance.random() < 0.5
        met: list[str] = []

        def act(_: int, name: str) -> None:
            if _is_call(name):
                met.append(name)
                if len(met) == number + 1:
                    os.kill(server.pid, signal.SIGKILL)

        trial.environment = server.environment | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7" if returns else "1"}
        job = trial.job(SECOND, "faulted", act)
        if returns:
            while not (server.gone() or job.ended()):
                time.sleep(0.01)
            time.sleep(trial.chance.random() * 3)
            server.end()
            server.start()
        ended = job.wait()
        trial.environment = server.environment
        server.end()
        server.start()
        trial.heard(ended, "the run", fine=(0,) if returns else (0, 1))
        _recover(trial)
    finally:
        server.end()
    return f"MLflow's server killed at call {number} to it, {'and back while the run waits' if returns else 'and away until the next run'}"


def _is_call(point: str) -> bool:
    return point.startswith("registry:") and ":after" not in point


def _serve_first(trial: Trial, server: MlflowServer) -> None:
    """Bring the home into the state in which the first run has spoken to the server; made when it is first wanted."""
    if (trial.place.folder / "states" / SERVED).is_dir():
        trial.place.restore(SERVED)
        server.start()
        return
    trial.place.restore(PUSHED)
    server.start()
    points = _require(trial.job(FIRST, "first").wait()).result["points"]
    (trial.place.folder / SERVED).write_text(str(sum(map(_is_call, points))), encoding="utf-8")
    server.end()
    trial.place.keep(SERVED)
    server.start()


def _jitter(chance: random.Random) -> Act:
    """Stop here and there, so that runs which are under way at once meet differently each time."""
    own = random.Random(chance.random())

    def act(_: int, __: str) -> None:
        if own.random() < 0.1:
            time.sleep(own.random() * 0.05)

    return act


def same_arrival_twice(trial: Trial) -> str:
    """Bring the same arrival in twice at once."""
    jobs = [trial.job(SECOND, f"twin-{number}", _jitter(trial.chance)) for number in (1, 2)]
    for number, ended in enumerate([job.wait() for job in jobs], start=1):
        trial.heard(ended, f"run {number} of 2")
    trial.after(SECOND)
    trial.again()
    trial.no_process()
    trial.check("after the next run", lambda: checks.settled([FIRST, SECOND]))
    return "two runs of the same arrival at once"


def two_arrivals(trial: Trial) -> str:
    """Bring two arrivals in at once."""
    jobs = [trial.job(arrival, f"of-{arrival}", _jitter(trial.chance)) for arrival in (SECOND, THIRD)]
    for arrival, ended in zip((SECOND, THIRD), [job.wait() for job in jobs], strict=True):
        trial.heard(ended, f"the run of {arrival}")
    for arrival in (SECOND, THIRD):
        trial.again(arrival)
    trial.no_process()
    trial.check("after the next runs", lambda: checks.settled([FIRST, SECOND, THIRD]))
    return "two arrivals at once"


def training_beside_data(trial: Trial) -> str:
    """Train from main while an arrival comes in."""
    jobs = [trial.job(SECOND, "beside", _jitter(trial.chance), "data"), trial.job("", "training", _jitter(trial.chance), "training")]
    time.sleep(trial.chance.random() * 0.2)
    for what, ended in zip(("data", "training"), [job.wait() for job in jobs], strict=True):
        trial.heard(ended, f"the run of {what}", fine=(0,))
    trial.after(SECOND)
    trial.again()
    trial.no_process()
    trial.check("after the next run", lambda: checks.settled([FIRST, SECOND]))
    return "training while an arrival comes in"


def promote_beside_rollback(trial: Trial) -> str:
    """Promote a version by hand while another person takes the one in production back."""
    from lakeline.registry import promote_by_hand, roll_back

    trial.place.restore(TWO)
    version = trial.chance.choice([1, 2])
    place = trial.place

    def watched(body: Callable[[], Any], jitter: Act) -> Callable[[], Any]:
        def watched_body() -> Any:
            with serving():
                Points(jitter).watch(place.home)
                return body()

        return watched_body

    bodies = (lambda: promote_by_hand(NAME, version, "a person says so"), lambda: roll_back(NAME, "another says so"))
    jobs = [
        Forked(watched(body, _jitter(trial.chance)), place.environment, place.logs, f"by-hand-{number}")
        for number, body in enumerate(bodies)
    ]
    for what, ended in zip(("promote", "rollback"), [job.wait() for job in jobs], strict=True):
        trial.heard(ended, what)
    trial.no_process()
    trial.check("afterwards", lambda: checks.by_hand([1, 2]))
    return f"promote {version} beside rollback"


def command_signalled(trial: Trial) -> str:
    """Kill, end or interrupt a whole command, one of its processes, or the command alone, at any moment."""
    chance = trial.chance
    sign = signal.Signals(chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
    target = chance.choice(["all", "one", "command"] if sign == signal.SIGKILL else ["command", "command", "one"])
    steps, delay = trial.ordinal % (STEPS + 1), chance.random() * 1.5
    command = Command(trial.place, SECOND)
    command.reached(steps, delay)
    hit = command.strike(target, sign, chance)
    ended = command.wait()
    own = {128 + sign, -sign} if target != "one" else set[int]()
    fine = [0, *own] if target != "one" else [0, 1, 128 + sign, -sign]
    trial.heard(ended, "the command", fine=fine)
    trial.explained(ended)
    if ended.code == 128 + sign and "lakeline: interrupted. " not in ended.said:
        trial.wrong.append(f"the command was interrupted and says: {ended.said[-300:]}")
    if chance.random() < 0.5:  # what a command that was killed has left may go on: half of the time, the next one waits for its end
        trial.no_process(LIMIT)
    trial.after(SECOND)
    _command_again(trial)
    return f"{sign.name} to {hit}, {delay:.1f} s after {steps} steps"


def command_full_disk(trial: Trial) -> str:
    """Let the disk be full after so many bytes of a whole command."""
    most = 2 * trial.reference.peak + 2**20  # kfp's folders and logs besides
    room = int(most * ((trial.ordinal * 0.618034) % 1.0))
    trial.place.limit(room)
    ended = Command(trial.place, SECOND).wait()
    trial.place.limit(None)
    trial.heard(ended, "the command")
    trial.explained(ended)
    if ended.code == 1 and "disk is full" not in ended.said:
        trial.wrong.append(f"the disk was full, and the command says: {ended.said.strip().splitlines()[-1][-400:]}")
    trial.no_process()
    trial.after(SECOND)
    _command_again(trial)
    return f"disk full after {room} bytes of a command"


def _command_again(trial: Trial) -> None:
    ended = Command(trial.place, SECOND).wait()
    trial.heard(ended, "the next command", fine=(0,))
    trial.recovered()


@dataclass(frozen=True)
class Kind:
    """A kind of fault, how many of it there are in a round, and whether it can be had here."""

    name: str
    fault: Callable[[Trial], str]
    share: int
    wants: Callable[[Place], str | None] = lambda _: None


def _wants_disk(place: Place) -> str | None:
    return None if place.mounted else "no disk can be mounted here: root's right to mount is needed"


KINDS = (
    Kind("kill", kill_at_point, 6),
    Kind("interrupt", interrupt_at_point, 3),
    Kind("disk", full_disk, 3, _wants_disk),
    Kind("lake", lake_gone, 2),
    Kind("registry", registry_locked, 1),
    Kind("server", server_killed, 1),
    Kind("twice", same_arrival_twice, 2),
    Kind("arrivals", two_arrivals, 1),
    Kind("beside", training_beside_data, 1),
    Kind("by-hand", promote_beside_rollback, 1),
    Kind("command", command_signalled, 3),
    Kind("command-disk", command_full_disk, 1, _wants_disk),
)


def _round() -> list[tuple[Kind, int]]:
    """Order of the kinds in a round, each with how many of its kind came before in the round."""
    order: list[tuple[float, Kind, int]] = []
    for kind in KINDS:
        order += [((number + 0.5) / kind.share, kind, number) for number in range(kind.share)]
    return [(kind, number) for _, kind, number in sorted(order, key=lambda each: (each[0], each[1].name))]


ROUND = _round()


def kind_of(index: int) -> tuple[Kind, int]:
    """Kind of a fault by its index, and how many of its kind come before it."""
    kind, number = ROUND[index % len(ROUND)]
    return kind, index // len(ROUND) * kind.share + number


@dataclass(frozen=True)
class Result:
    """What came of a fault: what it was, and what doesn't hold; `skipped` says why it couldn't be had."""

    index: int
    kind: str
    what: str
    wrong: list[str]
    seconds: float
    skipped: str | None = None

    def to_json(self) -> str:
        """Give all of it in a line."""
        return json.dumps(asdict(self) | {"wrong": [text[:500] for text in self.wrong[:4]]})

    @staticmethod
    def from_json(line: str) -> Result:
        """Read such a line."""
        told: Mapping[str, Any] = json.loads(line)
        return Result(**told)


def inject(place: Place, reference: Reference, seed: int, index: int) -> Result:
    """Put the home back, have the fault, and check what must be so."""
    kind, ordinal = kind_of(index)
    began = time.monotonic()
    if reason := kind.wants(place):
        return Result(index, kind.name, "", [], 0.0, reason)
    place.restore(ONE)
    # Each seed starts elsewhere in the points.
    trial = Trial(place, reference, ordinal + random.Random(seed).randrange(10_000), random.Random(f"{seed}:{index}"))
    what = kind.fault(trial)
    return Result(index, kind.name, what, trial.wrong, round(time.monotonic() - began, 2))


def folder_of_logs(place: Place) -> Path:
    """Where the last fault's logs are."""
    return place.logs
