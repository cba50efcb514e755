"""The metric that decides, and what is better by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakeline.report.words import finite

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Measure:
    """Name of the metric that decides, whether less of it is better, and the unit of the target."""

    name: str
    minimize: bool
    unit: str

    def order(self, name: str) -> tuple[bool, str]:
        """Key that sorts the deciding metric first, the others by name."""
        return name != self.name, name

    def unit_of(self, name: str | None = None) -> str:
        """Unit of a metric, by default the deciding one: the target's, except of r2, which has none."""
        return "" if (name or self.name) == "r2" else self.unit

    def better(self, candidate: Any, production: Any, name: str | None = None) -> float | None:
        """By what fraction of production's metric the candidate is better (negative: worse); None if that can't be said."""
        ours, theirs = finite(candidate), finite(production)
        if ours is None or theirs is None:
            return None
        if ours == theirs:
            return 0.0
        less = self.minimize if name is None or name == self.name else name != "r2"
        return ((theirs - ours) if less else (ours - theirs)) / abs(theirs) if theirs else None


def measure(record: Mapping[str, Any]) -> Measure:
    """Metric that decides, as the record says."""
    said = record.get("metric") or {}
    name = str(said.get("name") or "rmse")
    direction = said.get("direction") or ("maximize" if name == "r2" else "minimize")
    return Measure(name, direction == "minimize", str((record.get("target") or {}).get("unit") or ""))
