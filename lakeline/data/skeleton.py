"""The folder of a new data set: a spec and a transform that pass the check, and that say what to put where."""

from __future__ import annotations

import re
from pathlib import Path

from lakeline.data.specfile import SCHEMA_NAME, SQL_NAME, YAML_NAME, dataset_names, json_schema_text
from lakeline.errors import UsageError
from lakeline.settings import get_settings

_YAML = """\
# yaml-language-server: $schema={schema}
# The spec of the data set {name}. Editors that know the YAML language server complete it; docs/DATASETS.md explains each field.
# Check it: lakeline dataset check {name}
name: {name} # also the name of the folder, of the repository in the lake and of the model
title: What one row is, and what is predicted of it
license: Who made the data, and on what terms it may be used

source:
  kind: url # or package: a file of an installed Python package
  url: https://example.org/data/{{year}}-{{month:02d}}.csv # the parameters of the arrival, in braces
  local: {name}/{{year}}-{{month:02d}}.csv # a copy in the folder LAKELINE_DATA is taken first
  format: csv # or parquet
  # "null": NA # text that means null, besides the empty field
  # member: data.csv # file to read, if the source is a zip archive
  # where: year = {{year}} AND month = {{month}} # which rows are this arrival's, if the source has several

arrival: # one delivery of data
  id: "{{year}}-{{month:02d}}" # of letters, digits, - and _; ids sort in order of arrival
  parameters: # each is also an option: lakeline run data --dataset {name} --year 2024 --month 1
    year: {{ type: integer, minimum: 2000, maximum: 2100, help: Year of the rows }}
    month: {{ type: integer, minimum: 1, maximum: 12, help: Month of the rows }}

raw: # what an arrival must look like as it comes; an arrival that doesn't is refused
  strict: true # refuse columns that are not named here
  minimum_rows: 1
  columns:
    time: {{ type: timestamp }}
    kind: {{ type: text, one_of: [a, b] }}
    size: {{ type: number, nullable: true, minimum: 0 }}
    amount: {{ type: number, nullable: true }}

clean: # what transform.sql makes of it
  columns:
    time: {{ type: timestamp }}
    kind: {{ type: text, one_of: [a, b] }}
    size: {{ type: number, minimum: 0 }}
    amount: {{ type: number }}

target: {{ column: amount, unit: "" }} # the clean column to predict

features: # the clean columns to predict it from: only what is known when the prediction is made
  categorical: [kind]
  numeric: [size]

split: {{ kind: random, seed: 42, holdout: 0.2, validation: 0.2 }}
# split: {{ kind: time, column: time, holdout: 0.2, validation: 0.2 }} # hold out the latest rows instead

metric: {{ name: rmse }} # or mae, r2

search:
  trials: 6
  seed: 42
  tolerance: 0 # 0.01: the first estimator stays unless another is 1 % better
  estimators: # trial 0 is the first one as it is; the others are drawn from all
    - name: linear_regression
    - name: ridge
      parameters:
        alpha: {{ low: 0.1, high: 100, log: true }}
    - name: hist_gradient_boosting
      parameters:
        max_iter: {{ low: 40, high: 120, integer: true }}
        learning_rate: {{ low: 0.05, high: 0.3, log: true }}
        max_leaf_nodes: {{ choices: [15, 31] }}

gates: # what a candidate must show on the held-out rows before it is promoted
  bounds:
    r2: {{ minimum: 0 }} # better than always saying the mean
  improvement: 0 # over the model in production, as a fraction; 0: not worse
  slice_regression: 0.1 # most that a slice may be worse than in production, as a fraction
  slice_rows: 200 # smaller slices are shown, not judged

slices: [kind] # clean columns by whose values the error is looked at
"""
_SQL = """\
-- From the raw rows of one arrival (the table `raw`) to clean rows: one SELECT, in DuckDB's SQL.
-- Columns are those of clean.columns. Keep the order of the rows: no ORDER BY, no random().
SELECT
    time,
    kind,
    size,
    amount
FROM raw
WHERE
    size IS NOT NULL
    AND amount IS NOT NULL -- a row without the target teaches nothing
"""


def make(name: str) -> Path:
    """Make the folder of a new data set.

    Returns
    -------
    Path
        The folder, with a spec and a transform that pass `lakeline dataset check`.

    Raises
    ------
    UsageError
        If no data set can have this name, or one has it: nothing is overwritten.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{2,62}", name):
        raise UsageError(f"a data set can't be called {name!r}. Use 3 to 63 of: small letters, digits, - (not at the beginning).")
    datasets = get_settings().datasets
    folder = datasets / name
    if name in dataset_names() or folder.exists():
        raise UsageError(f"there is a data set {name!r} already ({folder}). Choose another name.")
    folder.mkdir(parents=True)
    where = f"../../docs/{SCHEMA_NAME}"
    if not (folder / where).is_file():  # not a checkout of Lakeline
        where = f"../{SCHEMA_NAME}"
        (folder / where).write_text(json_schema_text(), encoding="utf-8")
    (folder / YAML_NAME).write_text(_YAML.format(name=name, schema=where), encoding="utf-8")
    (folder / SQL_NAME).write_text(_SQL, encoding="utf-8")
    return folder
