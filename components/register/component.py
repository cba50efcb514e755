"""Component: register the candidate with its lineage."""

from typing import List

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def register(
    dataset: str,
    commit: str,
    train: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    results: List[str],
    run_id: str,
    started: float,
) -> int:
    """Track the run in MLflow and register the candidate as a new version, with alias staging.

    The version carries its lineage as tags: data commit, arrivals, spec digest, code version, image, run and seed.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name in the registry.
    commit
        Commit that the candidate learned from.
    train
        Rows that it learned from, for their lineage.
    model
        The candidate, as `fit` wrote it.
    evaluation
        What `evaluate` found.
    results
        Results of the trials; each becomes a nested run.
    run_id
        Id of the pipeline run. The same id again finds the version that it registered; another one goes on with the same
        model's version that a killed run has left unfinished.
    started
        When the run started, in seconds since 1970.

    Returns
    -------
    int
        The version.
    """
    import json
    from pathlib import Path

    from lakeline.registry import register as register_model

    scored = json.loads(Path(evaluation.path).read_text(encoding="utf-8"))
    return register_model(dataset, commit, Path(model.path), scored, results, dict(train.metadata), run_id, started).version
