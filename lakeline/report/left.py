"""What a run that did not come to its last step left in the lake, for the record that nobody else writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lakeline.data.arrivals import NEXT
from lakeline.data.validate import report_path
from lakeline.errors import LakeError
from lakeline.lake import open_lake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lakeline.lake import Lake

LAYERS = ("raw", "clean")


def left_in_lake(dataset: str, arrivals: Sequence[str], ingested: Mapping[str, Any]) -> dict[str, Any]:
    """Read what became of a delivery that was not published by this run.

    Parameters
    ----------
    dataset
        Name of the data set.
    arrivals
        Ids that were asked for, or "next".
    ingested
        Outputs of the step `ingest`: `Output` ("new", "repeated" or "under way"), `branch`, `commit`, `arrivals`; empty if it did not end.

    Returns
    -------
    dict
        `data` and `validation` of a record; empty if there is nothing to say, or the lake can't say it.
    """
    ref = ingested.get("branch") or ingested.get("commit")
    if not ref or ingested.get("Output") == "under way":
        return {}
    try:
        lake = open_lake(dataset)
        if ingested.get("Output") == "repeated":
            known = {arrival: _report(lake, ref, arrival) for arrival in arrivals if arrival != NEXT}
            found = [_arrival(arrival, report) for arrival, report in known.items()]
            return {"data": {"status": "repeated", "commit": ingested["commit"], "arrivals": found}}
        known = {arrival: _report(lake, ref, arrival) for arrival in ingested.get("arrivals") or arrivals}
        source = lake.log(ingested["commit"], 1)[0].metadata.get("source", "")
    except LakeError:
        return {}
    found = [_arrival(arrival, {"source": source} | report) for arrival, report in known.items()]
    checked = [
        {"arrival": arrival, "layer": layer} | report[layer] for arrival, report in known.items() for layer in LAYERS if layer in report
    ]
    return {"data": {"status": "new", "branch": ref, "arrivals": found}, "validation": checked}


def _report(lake: Lake, ref: str, arrival: str) -> dict[str, Any]:
    path = report_path(arrival)
    return json.loads(lake.read(ref, path)) if lake.exists(ref, path) else {}


def _arrival(arrival: str, report: Mapping[str, Any]) -> dict[str, Any]:
    rows = {f"rows_{layer}": report[layer]["rows"] for layer in LAYERS if layer in report}
    return {"id": arrival, "source": report.get("source", "")} | rows
