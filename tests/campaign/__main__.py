"""Run a campaign: so many faults, some at once; a table of what came of them, and how to replay those that went wrong."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from lakeline.errors import LakeUnavailable, describe
from lakeline.lake.server import program
from tests.campaign.faults import KINDS, Result, inject, kind_of, prepare
from tests.campaign.place import Place
from tests.campaign.processes import end_all
from tests.campaign.warm import warm

_WORD = 8
"""Bytes of a number in the pipe from which workers take them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 if anything is wrong."""
    options = _options(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell has what it starts in the background ignore the former
        signal.signal(number, _interrupt)
    if options.lake == "lakefs":
        try:  # downloaded here once, if need be, and not by each server that is started
            os.environ["PATH"] = f"{Path(program()).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        except LakeUnavailable as error:
            print(f"campaign: {describe(error)}", file=sys.stderr)
            return 2
    work = Path(tempfile.mkdtemp(prefix="lakeline-campaign-", dir=options.work))
    indices, began = _indices(options), time.monotonic()
    results: list[Result] = []
    try:
        for result in _campaign(options, work, indices):
            results.append(result)  # noqa: PERF402 (what was had is reported after an interrupt, too)
    except KeyboardInterrupt:
        options.bounded = True
    finally:
        for disk in work.glob("*/disk"):
            end_all(disk / "home")
            subprocess.run(["umount", "--lazy", str(disk)], check=False, capture_output=True)
        if options.keep:
            print(f"kept: {work}", file=sys.stderr)
        else:
            shutil.rmtree(work, ignore_errors=True)
    return _report(options, results, len(indices), time.monotonic() - began)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--faults", type=int, default=100, metavar="N", help="how many (default: 100)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="what is drawn by it can be drawn again (default: 1)")
    parser.add_argument("--first", type=int, default=0, metavar="I", help="index of the first one (default: 0)")
    parser.add_argument("--kind", action="append", choices=[kind.name for kind in KINDS], help="only faults of this kind; may be repeated")
    parser.add_argument("--lake", choices=["git", "lakefs"], default="git", help="the lake's store (default: git)")
    parser.add_argument("--pipeline", choices=["continuous", "data"], default="continuous", help="what is run (default: continuous)")
    parser.add_argument("--minutes", type=float, default=None, metavar="M", help="begin no fault after so many minutes")
    parser.add_argument("--jobs", type=int, default=max(1, os.cpu_count() or 1), metavar="J", help="faults at once (default: one a core)")
    parser.add_argument("--replay", metavar="SEED:INDEX", help="only this one, with its logs kept")
    parser.add_argument("--work", type=Path, default=None, metavar="DIR", help="where to work (default: in memory, where that is possible)")
    parser.add_argument("--json", action="store_true", help="what came of it as one JSON object on standard output")
    options = parser.parse_args(arguments)
    options.keep, options.bounded = bool(options.replay), options.minutes is not None
    if options.replay:
        seed, _, index = options.replay.partition(":")
        options.seed, options.first, options.faults, options.kind, options.jobs = int(seed), int(index), 1, None, 1
    memory = Path("/dev/shm")
    options.work = options.work or (memory if os.access(memory, os.W_OK) and not options.keep else None)
    return options


def _indices(options: argparse.Namespace) -> list[int]:
    """Indices of the faults: so many of the kinds that are asked for."""
    found: list[int] = []
    index = options.first
    while len(found) < options.faults:
        if not options.kind or kind_of(index)[0].name in options.kind:
            found.append(index)
        index += 1
    return found


def _campaign(options: argparse.Namespace, work: Path, indices: list[int]) -> Iterator[Result]:
    """Have workers take faults one after the other, and give what comes of each as it comes."""
    empty = warm(work, options.pipeline)
    take, give = os.pipe()
    os.write(give, b"".join(index.to_bytes(_WORD, "big") for index in indices))
    os.close(give)
    read, write = os.pipe()
    deadline = None if options.minutes is None else time.monotonic() + options.minutes * 60
    workers: list[int] = []
    for number in range(min(options.jobs, len(indices))):
        pid = os.fork()
        if not pid:
            os.close(read)
            _work(options, Place(work / f"place-{number}", options.lake, options.pipeline, empty), take, write, deadline)
        workers.append(pid)
    os.close(write)
    os.close(take)
    try:
        with os.fdopen(read, encoding="utf-8") as lines:
            for count, line in enumerate(lines, start=1):
                result = Result.from_json(line)
                _show(options, result, f"{count}/{len(indices)}")
                yield result
    finally:
        for pid in workers:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _work(options: argparse.Namespace, place: Place, take: int, write: int, deadline: float | None) -> None:
    """Do what a worker does; never returns."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    code = 1
    try:
        place.enter()
        reference = prepare(place)
        while (deadline is None or time.monotonic() < deadline) and (word := os.read(take, _WORD)):
            result = inject(place, reference, options.seed, int.from_bytes(word, "big"))
            os.write(write, result.to_json().encode() + b"\n")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        if options.keep:
            place.keep("after")
        place.leave(remove=not options.keep)
        sys.stderr.flush()
        os._exit(code)


def _show(options: argparse.Namespace, result: Result, count: str) -> None:
    state = f"skipped: {result.skipped}" if result.skipped else "WRONG" if result.wrong else "held"
    print(f"{count} {options.seed}:{result.index} {result.kind}: {result.what}: {state} ({result.seconds:.1f} s)", file=sys.stderr)
    for text in result.wrong:
        print(f"    {text}", file=sys.stderr)


def _report(options: argparse.Namespace, results: list[Result], wanted: int, seconds: float) -> int:
    had = [result for result in results if not result.skipped]
    wrong = [result for result in had if result.wrong]
    faults, faulty = Counter(result.kind for result in had), Counter(result.kind for result in wrong)
    skipped = {result.kind: result.skipped for result in results if result.skipped}
    if options.json:
        told = {
            "lake": options.lake,
            "seed": options.seed,
            "faults": len(had),
            "wrong": [asdict(result) | {"replay": f"{options.seed}:{result.index}"} for result in wrong],
            "kinds": {kind: {"faults": count, "wrong": faulty[kind]} for kind, count in faults.items()},
            "skipped": skipped,
            "seconds": round(seconds, 1),
        }
        print(json.dumps(told))
    print(f"\n{'kind':10} {'faults':>7} {'wrong':>6}", file=sys.stderr)
    for kind in faults:
        print(f"{kind:10} {faults[kind]:7} {faulty[kind]:6}", file=sys.stderr)
    print(f"{'all':10} {len(had):7} {len(wrong):6}   seed {options.seed}, {options.lake} lake, {seconds:.0f} s", file=sys.stderr)
    for kind, reason in skipped.items():
        print(f"skipped {kind}: {reason}", file=sys.stderr)
    lake = f" --lake {options.lake}" if options.lake != "git" else ""
    for result in wrong:
        print(f"replay: python -m tests.campaign{lake} --replay {options.seed}:{result.index}", file=sys.stderr)
    if len(results) < wanted:
        why = "" if options.bounded else ": a worker ended early"
        print(f"{wanted - len(results)} of {wanted} faults weren't had{why}", file=sys.stderr)
    return 1 if wrong or not had or (len(results) < wanted and not options.bounded) else 0


if __name__ == "__main__":
    _code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_code)  # what was loaded to be forked is not torn down: the libraries would take their time, and tell of it
