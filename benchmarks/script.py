"""The plain script of the field: months of trips to a tracked model, as a practitioner writes it.

Usage: python benchmarks/script.py TRACKING_URI FILE...
"""

import sys

import mlflow
import pandas as pd
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

CATEGORICAL = ["PULocationID", "DOLocationID"]
TARGET = "duration"


def read(path: str) -> pd.DataFrame:
    """Trips of one month that took between a minute and an hour."""
    trips = pd.read_parquet(path)
    trips[TARGET] = (trips["lpep_dropoff_datetime"] - trips["lpep_pickup_datetime"]).dt.total_seconds() / 60
    trips = trips[(trips[TARGET] >= 1) & (trips[TARGET] <= 60)].copy()
    trips[CATEGORICAL] = trips[CATEGORICAL].astype(str)
    return trips


def main(tracking_uri: str, paths: list[str]) -> None:
    """Read, split, fit, score and track."""
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("trips")
    trips = pd.concat([read(path) for path in paths], ignore_index=True)
    with mlflow.start_run():
        mlflow.log_params({"months": len(paths), "rows": len(trips), "model": "LinearRegression"})
        train, valid = train_test_split(trips, test_size=0.2, random_state=42)
        model = make_pipeline(DictVectorizer(), LinearRegression())
        model.fit(train[CATEGORICAL].to_dict(orient="records"), train[TARGET])
        predicted = model.predict(valid[CATEGORICAL].to_dict(orient="records"))
        metrics = {
            "rmse": float(root_mean_squared_error(valid[TARGET], predicted)),
            "mae": float(mean_absolute_error(valid[TARGET], predicted)),
            "r2": float(r2_score(valid[TARGET], predicted)),
        }
        mlflow.log_metrics(metrics)
        mlflow.sklearn.log_model(model, name="model")
    print(f"rows={len(trips)} rmse={metrics['rmse']:.4f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
