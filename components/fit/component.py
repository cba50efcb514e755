"""Component: fit the best trial on all training rows."""

from typing import List

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def fit(
    dataset: str,
    commit: str,
    train: dsl.Input[dsl.Dataset],
    results: List[str],
    model: dsl.Output[dsl.Model],
) -> str:
    """Fit the best trial's estimator on all training rows.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    commit
        Commit whose spec says which metric decides.
    train
        Rows to learn from, as `split` wrote them.
    results
        Results of the trials, as `search` returned them.
    model
        The fitted scikit-learn pipeline, preprocessing included.

    Returns
    -------
    str
        The best trial, JSON.
    """
    from pathlib import Path

    from lakeline.training.fit import fit as fit_best

    result = fit_best(dataset, commit, Path(train.path), results, Path(model.path))
    model.metadata.update(estimator=result.best.estimator, parameters=result.best.parameters, rows=result.rows, seed=result.seed)
    return result.best.to_json()
