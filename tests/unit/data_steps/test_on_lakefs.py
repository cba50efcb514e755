"""The same steps on lakeFS, whose server each test starts for itself."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakeline.data import publish as steps
from lakeline.data.split import split
from lakeline.data.transform import transform
from lakeline.data.validate import validate
from lakeline.errors import ValidationFailed
from lakeline.lake import server
from lakeline.settings import get_settings
from tests.unit.data_steps.conftest import Toy

pytestmark = pytest.mark.lakefs


@pytest.fixture
def on_lakefs(toy: Toy, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    """The toy data set, in a lakeFS instead of git."""
    if shutil.which("lakefs") is None:
        pytest.skip("there is no `lakefs` program on the PATH")
    monkeypatch.setenv("LAKELINE_LAKE", "lakefs")
    get_settings.cache_clear()
    toy.define()
    assert toy.lake.store == "lakefs"
    yield toy
    server.release(home / "lakefs")


def test_delivery_is_checked_cleaned_published_and_split(on_lakefs: Toy, tmp_path: Path):
    toy = on_lakefs
    delivery = toy.prepare(1, 2)
    place = ("toy", delivery.ingested.branch, delivery.ingested.commit, delivery.ingested.arrivals)
    assert transform(*place) == delivery.transformed

    head, metadata = steps.commit_reports(toy.lake, *delivery.arguments[1:], reports={each["layer"]: each for each in delivery.reports})
    steps.merge(toy.lake, head, *delivery.arguments[2:], metadata=metadata)  # and here the first try ends
    published = delivery.publish()

    assert delivery.publish() == published
    assert toy.lake.tags() == {"toy/01": published.commit, "toy/02": published.commit}
    assert [branch.name for branch in toy.lake.branches()] == ["main"]
    result = split("toy", published.commit, "*", tmp_path / "train.parquet", tmp_path / "holdout.parquet")
    assert (result.train_rows, result.holdout_rows) == (56, 16)

    toy.write(2, rows=50)
    again = toy.deliver(2)
    assert again.tags == ("toy/02.2",)
    assert again.changes["rows"] == {"before": 36, "after": 45}


def test_rows_that_fail_stay_on_their_branch(on_lakefs: Toy):
    toy = on_lakefs
    toy.write(1, change=lambda number, row: row.update(x="n/a") if number == 7 else None)
    got = toy.ingest(1)
    main = toy.lake.resolve("main")

    for _ in range(2):
        with pytest.raises(ValidationFailed, match=r"1 of 40 rows fails \"x is a number\" \(first: row 7, 'n/a'\)"):
            validate("toy", got.branch, got.commit, got.arrivals, "raw")

    assert toy.lake.resolve("main") == main
    assert toy.lake.exists(got.branch, "_lakeline/reports/01.json")
