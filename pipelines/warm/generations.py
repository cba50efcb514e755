"""What warm processes have ready, and for which steps."""

from __future__ import annotations

from dataclasses import dataclass

MODULE = "kfp.dsl.executor_main"
"""What the runner has an interpreter run for a step."""


@dataclass(frozen=True)
class Generation:
    """What a generation of warm processes has ready.

    Attributes
    ----------
    steps
        Steps that want it: one that is asked for earlier waits, for it would have to do the same imports itself.
    load
        Modules to import, or functions of them to call if there are such.
    """

    steps: frozenset[str]
    load: tuple[str, ...]


GENERATIONS = (
    Generation(
        frozenset({"ingest", "transform", "resolve"}),
        (MODULE, "ruamel.yaml", "lakeline.lake.git", "duckdb", "pyarrow.parquet", "lakeline.data.ingest", "lakeline.data.transform"),
    ),
    Generation(
        frozenset({"validate", "split"}),
        ("pandas", "pandera.pandas", "pyarrow.compute", "lakeline.data.validate", "lakeline.data.rules", "lakeline.data.split"),
    ),
    Generation(frozenset({"publish"}), ("lakeline.data.publish", "lakeline.report.page", "lakeline.report.run")),
    Generation(
        frozenset({"search"}),
        (
            "sklearn.pipeline",
            "sklearn.linear_model",
            "sklearn.compose",
            "sklearn.impute",
            "lakeline.training.search",
            "lakeline.training.fold",
        ),
    ),
    Generation(frozenset({"fit", "evaluate"}), ("skops.io", "lakeline.training.fit", "lakeline.training.evaluate")),
    Generation(
        frozenset({"register", "promote"}),
        (
            "lakeline.registry.store:quiet",  # MLflow reads its settings when it is imported
            "mlflow.sklearn",
            "mlflow.store.tracking.sqlalchemy_store",
            "mlflow.store.model_registry.sqlalchemy_store",
            "mlflow.utils.requirements_utils:_init_modules_to_packages_map",
            "sqlalchemy.orm:configure_mappers",
            "lakeline.registry",
        ),
    ),
)
"""In the order in which steps want them. Each adds to the one before, and takes over from it when it is ready."""
