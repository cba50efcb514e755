"""A place where nothing runs, and a process that ends anywhere: what only a double can be made to show."""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from lakeline.serving.release import Release, Variant


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
