"""An A/B test on this machine, with real servers, from its start to the deployment of its winner."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from lakeline.data.servingspec import Serving
from lakeline.errors import RolloutFailed
from lakeline.lake import open_lake
from lakeline.registry.store import connect
from lakeline.serving.experiment.running import look, start, stop
from lakeline.serving.experiment.state import load
from lakeline.serving.local.site import LocalSite
from lakeline.serving.release import KEY_HEADER, REQUEST_HEADER, VERSION_HEADER, variant_of
from lakeline.settings import get_settings
from tests.embedded.conftest import lakeline_in
from tests.ferries import BROKEN, NAME, Ferries, end_all
from tests.ports import free_port
from tests.unit.serving.experiment.conftest import SPEC

pytestmark = pytest.mark.embedded

COLUMNS = {"route": {"type": "text"}, "load": {"type": "integer"}, "minutes": {"type": "number"}}
ALONE, KEYED = 80, 300


@pytest.fixture
def served(ferries: Ferries, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSite]:
    """Version 2, which is the worse one, serves, and has the alias; in a store of this test's own."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(ferries.uri.removeprefix("sqlite:///"), home / "mlflow.db")
    monkeypatch.setenv("LAKELINE_SERVING_PORT", str(free_port()))
    monkeypatch.setenv("LAKELINE_SERVE_LOG_SECONDS", "0.5")
    get_settings.cache_clear()
    spec = SPEC | {
        "name": NAME,
        "features": {"categorical": ["route"], "numeric": ["load"]},
        "experiment": {"minimum": 50, "maximum": 5000},
        "serving": {"requests": 20, "p99": 5000, "deadline": 120},
        "raw": {"columns": COLUMNS},
        "clean": {"columns": COLUMNS},
    }
    files = {"_lakeline/dataset.yaml": json.dumps(spec).encode(), "_lakeline/transform.sql": b"SELECT * FROM raw"}
    commit = open_lake(NAME, create=True).commit("main", files, "spec")
    client = connect()
    for version in ferries.releases:
        client.set_model_version_tag(NAME, str(version), "data_commit", commit)
    client.set_registered_model_alias(NAME, "production", "2")
    site = LocalSite()
    site.roll_out(ferries.releases[2], Serving(deadline=120))
    yield site
    end_all(NAME)


def _wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it didn't become true"
        time.sleep(0.5)


def test_version_that_is_better_wins_and_comes_to_serve(served: LocalSite, home: Path, tmp_path: Path):
    state = start(NAME, 1)
    chance = np.random.default_rng(1)
    truth: dict[str, list[str]] = {"key": ["key,minutes"], "request_id": ["request_id,minutes"]}
    versions: dict[str, str] = {}
    with httpx.Client(base_url=served.url(NAME), timeout=30) as client:
        for number in range(KEYED + ALONE):
            route, cargo = str(chance.choice(["a", "b", "c"])), int(chance.integers(0, 5))
            said = "request_id" if number < ALONE else "key"
            header = {REQUEST_HEADER if said == "request_id" else KEY_HEADER: f"n{number}"}
            body = {"dataframe_split": {"columns": ["route", "load"], "data": [[route, cargo]]}}
            answer = client.post("/invocations", json=body, headers=header)
            assert answer.status_code == 200, answer.text
            versions[f"n{number}"] = answer.headers[VERSION_HEADER]
            minutes = {"a": 10.0, "b": 20.0, "c": 35.0}[route] + 2.0 * cargo + float(chance.normal())
            truth[said].append(f"n{number},{minutes}")
    wanted = {"production": "2", "challenger": "1"}
    assert versions == {name: wanted[variant_of(name, state.id, state.weight)] for name in versions}
    lakeline = lakeline_in(home)
    waiting = "units without truth so far"
    _wait(lambda: look(NAME)[2].left_out.get(waiting) == KEYED + ALONE)
    assert lakeline("run", "experiment", "--dataset", NAME).result["verdict"] == "continue"
    for said, lines in truth.items():
        (tmp_path / f"{said}.csv").write_text("\n".join(lines))
        assert lakeline("experiment", "truth", NAME, str(tmp_path / f"{said}.csv")).code == 0

    found = lakeline("experiment", "status", NAME).result["assessment"]
    done = lakeline("run", "experiment", "--dataset", NAME)

    assert found["production"]["units"] + found["challenger"]["units"] == KEYED + ALONE
    assert (found["crossed"], found["left_out"]) == (0, {})
    assert found["challenger"]["metric"] == pytest.approx(1.0, abs=0.2)
    assert done.code == 0, done.said
    assert (done.result["verdict"], done.result["version"]) == ("promoted", 1)
    assert "lakeline run deployment" in done.result["message"]
    assert "is promoted." in Path(done.result["report"]).read_text()
    aliases = {name: str(version) for name, version in connect().get_registered_model(NAME).aliases.items()}
    assert (aliases["production"], aliases["previous"], aliases.get("challenger")) == ("1", "2", None)
    serving = served.serving(NAME)
    assert {variant: (release.version, release.route) for variant, release in serving.items()} == {"production": (2, None)}
    assert lakeline("run", "deployment", "--dataset", NAME).result["verdict"] == "deployed"
    assert served.serving(NAME)["production"].version == 1


def test_challenger_that_can_not_serve_gets_no_request(served: LocalSite):
    with pytest.raises(RolloutFailed):
        start(NAME, BROKEN)
    assert load(connect(), NAME) is None
    assert set(served.serving(NAME)) == {"production"}


def test_test_that_is_stopped_leaves_production_alone(served: LocalSite):
    start(NAME, 1)
    stop(NAME, "enough")
    body = {"dataframe_split": {"columns": ["route", "load"], "data": [["a", 1]]}}
    with httpx.Client(base_url=served.url(NAME), timeout=30) as client:
        answers = [client.post("/invocations", json=body, headers={KEY_HEADER: f"k{number}"}) for number in range(40)]
    assert {answer.headers[VERSION_HEADER] for answer in answers} == {"2"}
    assert set(served.serving(NAME)) == {"production"}
