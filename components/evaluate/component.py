"""Component: score the candidate and the model in production on the same rows."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def evaluate(
    dataset: str,
    commit: str,
    model: dsl.Input[dsl.Model],
    holdout: dsl.Input[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    evaluation: dsl.Output[dsl.Artifact],
) -> None:
    """Score the candidate and the model in production on the same held-out rows.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake and its model's name in the registry.
    commit
        Commit whose spec says what to score by.
    model
        The candidate, as `fit` wrote it.
    holdout
        Rows that the candidate didn't learn from, as `split` wrote them.
    metrics
        RMSE, MAE and R² of both.
    evaluation
        The metrics, also by slice, and a sample of predictions, JSON.
    """
    import json
    from pathlib import Path

    from lakeline.training.evaluate import evaluate as score

    result = score(dataset, commit, Path(model.path), Path(holdout.path))
    for name, value in result.candidate.items():
        metrics.log_metric(name, value)
    for name, value in (result.production or {}).items():
        metrics.log_metric(f"production_{name}", value)
    Path(evaluation.path).write_text(json.dumps(result.to_dict()), encoding="utf-8")
