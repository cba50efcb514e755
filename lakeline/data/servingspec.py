"""The part of a spec that says how the model is served, and how a challenger is judged beside it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Serving(_Part):
    """How the model is served, and what a new version must show before and after it takes over."""

    replicas: int = Field(default=2, ge=1, le=100, description="Servers of a variant on Kubernetes, at least.")
    maximum_replicas: int = Field(default=6, ge=1, le=100, description="Servers of a variant under load, at most.")
    cpu: str = Field(default="250m", pattern=r"^[0-9.]+m?$", description="Processor that each server asks for, as Kubernetes says it.")
    memory: str = Field(default="512Mi", pattern=r"^[0-9]+(Mi|Gi)$", description="Memory that each server asks for and may use at most.")
    deadline: int = Field(default=600, ge=10, le=3600, description="Seconds until all servers of a new version must be ready.")
    requests: int = Field(default=100, ge=10, le=10_000, description="Requests that a new version is tried with.")
    p99: float = Field(default=1000, gt=0, description="Milliseconds that 99 of 100 of them may take at most.")
    error_rate: float = Field(default=0, ge=0, lt=1, description="Fraction of them that may fail.")

    @model_validator(mode="after")
    def _ordered(self) -> Serving:
        if self.maximum_replicas < self.replicas:
            raise ValueError(f"maximum_replicas ({self.maximum_replicas}) is less than replicas ({self.replicas})")
        return self


class Experiment(_Part):
    """How a challenger is judged beside production (A/B test)."""

    weight: float = Field(default=0.5, gt=0, lt=1, description="Fraction of requests that the challenger answers.")
    test: Literal["sequential", "fixed"] = Field(
        default="sequential", description="sequential: looked at as often as one likes; fixed: once, when there is enough."
    )
    metric: Literal["rmse", "mae"] = Field(default="rmse", description="Loss of a prediction that is compared: squared or absolute error.")
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="Most often that a challenger that is no better may win, as a fraction.")
    power: float = Field(default=0.8, gt=0, lt=1, description="fixed: how often a challenger better by `effect` is to win, as a fraction.")
    effect: float = Field(default=0.02, gt=0, lt=1, description="Least improvement of the metric worth having, as a fraction.")
    minimum: int = Field(default=500, ge=2, description="Fewest answered keys, or requests without one, that each variant is judged by.")
    maximum: int = Field(default=100_000, ge=2, description="Number of them a variant at which the test ends without a winner.")
    days: float = Field(default=14, gt=0, description="Days after which the test ends without a winner.")
    key: str | None = Field(default=None, description="Column of the clean rows that holds the key which callers send (Lakeline-Key).")

    @model_validator(mode="after")
    def _ordered(self) -> Experiment:
        if self.maximum < self.minimum:
            raise ValueError(f"maximum ({self.maximum}) is less than minimum ({self.minimum})")
        return self
