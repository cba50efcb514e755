"""The small data set of the campaign: three arrivals, of which each is worth a new model."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

NAME = "harbour"
FIRST, SECOND, THIRD = "2021", "2022", "2023"
_COLUMNS = {"quay": {"type": "text"}, "load": {"type": "integer"}, "minutes": {"type": "number"}}
_SPEC: dict[str, Any] = {
    "name": NAME,
    "title": "Harbour",
    "source": {"kind": "url", "format": "csv", "url": "https://example.org/{year}.csv", "local": "harbour/{year}.csv"},
    "arrival": {"id": "{year}", "parameters": {"year": {}}},
    "raw": {"columns": _COLUMNS},
    "clean": {"columns": _COLUMNS},
    "target": {"column": "minutes", "unit": "min"},
    "features": {"categorical": ["quay"], "numeric": ["load"]},
    "split": {"kind": "random"},
    "search": {"trials": 1, "estimators": [{"name": "linear_regression"}]},
    "serving": {"requests": 10},
}
_SLOPES = {FIRST: 2.0, SECOND: 3.0, THIRD: 4.0}
"""Each arrival moves the truth, so that a model which has seen it is better than one that hasn't, and is promoted."""


def write(folder: Path, rows: int = 120) -> tuple[Path, Path]:
    """Write the data set's definition and its arrivals.

    Returns
    -------
    tuple
        What LAKELINE_DATASETS and LAKELINE_DATA are to be.
    """
    definition, data = folder / "datasets" / NAME, folder / "data" / NAME
    definition.mkdir(parents=True)
    data.mkdir(parents=True)
    (definition / "dataset.yaml").write_text(json.dumps(_SPEC), encoding="utf-8")
    (definition / "transform.sql").write_text("SELECT * FROM raw\n", encoding="utf-8")
    for arrival, slope in _SLOPES.items():
        chance = random.Random(arrival)
        lines = ["quay,load,minutes"]
        for _ in range(rows):
            quay, load = chance.choice("abc"), chance.randrange(10)
            lines.append(f"{quay},{load},{10 * 'abc'.index(quay) + slope * load + chance.gauss(0, 1):.3f}")
        (data / f"{arrival}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return definition.parent, data.parent
