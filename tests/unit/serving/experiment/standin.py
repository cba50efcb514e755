"""A place where nothing runs, and a process that ends anywhere: what only a double can be made to show."""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from lakeline.registry.store import connect
from lakeline.serving.experiment.state import State, load
from lakeline.serving.release import Release, Variant
from tests.ferries import NAME


class Interrupted(Exception):
    """The process ends here."""


@dataclass
class StandIn:
    """A place where nothing runs: it keeps what it is told, in order, and fails where a test wants it to.

    It stands for a real one because only a double can be stopped between any two calls; tests/embedded has real servers.
    """

    name: str = "local"
    arms: dict[Variant, Release] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)
    held: bool = False
    holders: list[str] = field(default_factory=list)

    def _did(self, call: str) -> None:
        assert self.held, f"{call} without holding the model"
        if call in self.fails:
            raise self.fails.pop(call)
        self.calls.append(call)

    def serving(self, model: str) -> dict[Variant, Release]:
        return dict(self.arms)

    def url(self, model: str, variant: Variant | None = None) -> str:
        return f"http://{variant or 'all'}"

    @contextlib.contextmanager
    def hold(self, model: str, holder: str) -> Generator[None]:
        assert not self.held
        self.held = True
        self.holders.append(holder)
        try:
            yield
        finally:
            self.held = False

    @contextlib.contextmanager
    def trial(self, release: Release, serving: Any) -> Generator[str]:
        self._did(f"try {release.version}")
        yield "http://trial"

    def roll_out(self, release: Release, serving: Any) -> None:
        self._did(f"roll out {release.variant}{' with route' if release.route else ''}")
        self.arms[release.variant] = release

    def withdraw(self, model: str, variant: Variant) -> None:
        self._did(f"withdraw {variant}")
        del self.arms[variant]

    def share(self, model: str, weight: float | None) -> None:
        self._did(f"share {weight}")

    def tell(self, model: str, reason: str, message: str, *, warning: bool = False) -> None:
        self.calls.append(reason)


SET_UP = ["try 1", "roll out challenger with route", "roll out production with route", "share 0.3"]
TAKE_DOWN = ["share None", "roll out production", "withdraw challenger"]
"""Calls by which a test of version 1 is set up, and taken down."""


def state_of() -> State:
    """The test that the model is in, as the registry has it."""
    state = load(connect(), NAME)
    assert state is not None
    return state


def aliases_of() -> dict[str, int]:
    """Where the model's aliases stand."""
    return {name: int(version) for name, version in connect().get_registered_model(NAME).aliases.items()}
