"""The steps of a pipeline in this process, in the pipeline's order, through the faces that Kubeflow Pipelines calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp import dsl

from components.evaluate.component import evaluate
from components.fit.component import fit
from components.ingest.component import ingest
from components.promote.component import promote
from components.publish.component import publish
from components.record.component import record
from components.register.component import register
from components.resolve.component import resolve
from components.search.component import search
from components.split.component import split
from components.transform.component import transform
from components.validate.component import validate


@dataclass
class Steps:
    """Runs steps of one pipeline run.

    Attributes
    ----------
    dataset, run_id, folder
        Name of the data set, id of the run, and where the steps' artifacts go.
    at
        Called at each step's boundaries.
    """

    dataset: str
    run_id: str
    folder: Path
    at: Callable[[str], None]

    def continuous(self, arrivals: list[str]) -> str:
        """Bring arrivals in and train from the commit that has them: as `pipelines.continuous`. Returns what came of it."""
        commit = self.data(arrivals, trained_in=self.run_id)
        return self.training(commit, retrain=False)

    def data(self, arrivals: list[str], trained_in: str = "") -> str:
        """Bring arrivals in: as `pipelines.data`. Returns the commit that has them."""
        ingested = self._step(ingest, arrivals=arrivals, run_id=self.run_id)
        if ingested["Output"] != "new":
            return ingested["commit"]
        commit, place = ingested["commit"], {"branch": ingested["branch"], "arrivals": ingested["arrivals"]}
        raw, clean = self._file("raw.json"), self._file("clean.json")
        self._step(validate, commit=commit, layer="raw", report=raw, **place)
        transformed = self._step(transform, commit=commit, **place)["commit"]
        self._step(validate, commit=transformed, layer="clean", report=clean, **place)
        outputs = {"report": self._file("delivery.html"), "record": self._file("delivery.json")}
        reports = {"raw_report": raw, "clean_report": clean}
        published = self._step(publish, commit=transformed, run_id=self.run_id, trained_in=trained_in, **place, **reports, **outputs)
        return published["Output"]

    def training(self, ref: str, *, retrain: bool = True) -> str:
        """Train from a commit: as `pipelines.training`. Returns the verdict, or "trained"."""
        resolved = self._step(resolve, ref=ref, arrivals="*", trials=0, retrain=retrain)
        if resolved["Output"] != "train":
            return resolved["Output"]
        train, holdout = (dsl.Dataset(uri=str(self.folder / name)) for name in ("train.parquet", "holdout.parquet"))
        model, evaluation = dsl.Model(uri=str(self.folder / "model")), self._file("evaluation.json")
        pinned = {"commit": resolved["commit"]}
        self._step(split, arrivals="*", train=train, holdout=holdout, **pinned)
        results = [self._step(search, trial=trial, train=train, **pinned)["Output"] for trial in resolved["trials"]]
        best = self._step(fit, train=train, results=results, model=model, **pinned)["Output"]
        self._step(evaluate, model=model, holdout=holdout, metrics=dsl.Metrics(), evaluation=evaluation, **pinned)
        tried = {"evaluation": evaluation, "results": results, "run_id": self.run_id}
        version = self._step(register, train=train, model=model, started=resolved["started"], **pinned, **tried)["Output"]
        outputs = {"report": self._file("report.html"), "verdict": self._file("verdict.md"), "record": self._file("record.json")}
        return self._step(promote, version=version, best=best, **pinned, **tried, **outputs)["Output"]

    def record(self, pipeline: str, error: str | None) -> None:
        """Record how the run ended: what the exit handler does."""
        status = dsl.PipelineTaskFinalStatus("FAILED" if error else "SUCCEEDED", "", "", 1 if error else 0, error or "")
        self._step(record, pipeline=pipeline, run_id=self.run_id, status=status)

    def _file(self, name: str) -> dsl.Artifact:
        return dsl.Artifact(uri=str(self.folder / name))

    def _step(self, component: Any, **arguments: Any) -> dict[str, Any]:
        """Do a step; what it returns, by the names of its outputs."""
        name = component.python_func.__name__
        self.at(f"step:{name} begins")
        result = component.python_func(self.dataset, **arguments)
        self.at(f"step:{name} ends")
        if not isinstance(result, tuple):
            return {"Output": result}
        return dict(zip(component.python_func.__annotations__["return"]._fields, result, strict=True))
