"""`lakeline serve` and `lakeline predict`, as a person uses them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from lakeline.data.servingspec import Serving
from lakeline.serving import deployment
from lakeline.serving.local.folder import Folder
from lakeline.serving.local.processes import alive, wait
from lakeline.serving.local.site import LocalSite
from lakeline.settings import get_settings
from lakeline.training.model import Example, plain_rows
from tests.ferries import BROKEN, NAME, ROWS, Ferries
from tests.ports import free_port

pytestmark = pytest.mark.embedded

COMMAND = [sys.executable, "-m", "pipelines.cli"]


def lakeline(*arguments: str, code: int = 0, token: str | None = None) -> str:
    """Run the command: what it says on stdout, or on stderr if it is to fail."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=os.environ | ({"LAKELINE_SERVING_TOKEN": token} if token else {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done.stderr if code else done.stdout


def in_foreground(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Serve in the foreground: the process, and the first line that it says."""
    process = subprocess.Popen([*COMMAND, "serve", NAME, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, process.stdout.readline()


def test_in_the_foreground_it_serves_until_told_to_end(site: LocalSite, ferries: Ferries):
    port = free_port()
    process, said = in_foreground("--version", "1", "--port", str(port))
    assert said == f"ferries version 1 is served at http://127.0.0.1:{port}. Ctrl-C ends it.\n"
    assert httpx.get(f"http://127.0.0.1:{port}/version").json()["version"] == 1
    foreground = f"in the foreground of process {process.pid}"
    assert f"is served on this machine already, {foreground}" in lakeline("serve", NAME, "--version", "2", code=1)
    assert f"is served {foreground}, and ends with it" in lakeline("serve", NAME, "--version", "2", "--detach", code=1)
    assert f"It ends with process {process.pid}" in lakeline("serve", NAME, "--status")
    (server,) = Folder(NAME).read().arms["production"].servers

    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)

    assert (process.returncode, rest.splitlines()[-1]) == (0, "Ending: requests under way are answered.")
    assert not alive(server.process)
    assert site.serving(NAME) == {}
    assert "Nothing serves ferries" in lakeline("serve", NAME, "--status")

    process, said = in_foreground("--version", "2")
    assert said.startswith(f"ferries version 2 is served at http://127.0.0.1:{get_settings().serving_port}")
    (server,) = Folder(NAME).read().arms["production"].servers
    process.kill()
    process.communicate()
    assert wait(server.process, 30)  # what was started for a person ends with them


def test_detached_it_goes_on_and_rows_of_files_are_predicted(site: LocalSite, ferries: Ferries, home: Path, tmp_path: Path):
    assert "no version has the alias production" in lakeline("serve", NAME, "--detach", code=2)
    said = lakeline("serve", NAME, "--version", "99", "--detach", code=1)
    assert "Starting ferries version 99" in said
    assert "there is no version 99 in the registry. It has: 1, 2, 3." in said
    word = "open-sesame"
    told = json.loads(lakeline("serve", NAME, "--version", "1", "--detach", "--json", token=word))
    assert told["variants"]["production"]["version"] == 1
    assert (told["variants"]["production"]["token"], told["foreground"]) == (True, None)
    assert [server["role"] for server in told["variants"]["production"]["servers"]] == ["serving"]
    url = site.url(NAME)

    rows = ROWS.assign(minutes=1.0)  # the target, which the model doesn't take
    rows.to_csv(tmp_path / "rows.csv", index=False)
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    rows.to_json(tmp_path / "rows.json", orient="records")
    rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    (tmp_path / "body.json").write_text(json.dumps({"dataframe_split": ROWS.to_dict("split", index=False)}))
    expected = pytest.approx(ferries.predictions[1], rel=1e-9)
    for name in ("rows.csv", "rows.parquet", "rows.json", "rows.jsonl", "body.json"):
        assert [float(line) for line in lakeline("predict", NAME, str(tmp_path / name), token=word).split()] == expected
    told = json.loads(lakeline("predict", NAME, str(tmp_path / "rows.csv"), "--json", "--url", f"{url}/", token=word))
    assert told == {"model": NAME, "url": url, "rows": 3, "versions": ["1"], "predictions": expected}

    many = tmp_path / "many.parquet"
    rows.sample(12_345, replace=True, random_state=0).to_parquet(many, index=False)
    assert lakeline("predict", NAME, str(many), "-o", str(tmp_path / "out.parquet"), token=word).startswith(
        "12,345 predictions by version 1"
    )
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 12_345

    lakeline("serve", NAME, "--version", "2", "--detach")  # where nobody knows the token
    assert "which stays while it is" in lakeline("serve", NAME, "--version", "2", "--port", "1234", "--detach", code=1)
    said = lakeline("serve", NAME, "--status")
    assert "callers must send the token" in said
    assert word not in said + (home / "serving" / NAME / "log").read_text()
    assert (home / "serving" / NAME / "state.json").stat().st_mode & 0o777 == 0o600
    assert "wants another token" in lakeline("predict", NAME, str(many), code=1)
    example = Example(list(ROWS.columns), plain_rows(ROWS), ferries.predictions[2])
    assert deployment._try(url, ferries.releases[2], example, Serving()).passed  # so can deployments from here
    rows.drop(columns="load").to_csv(tmp_path / "less.csv", index=False)
    assert "missing column: 'load'" in lakeline("predict", NAME, str(tmp_path / "less.csv"), code=1, token=word)
    assert "it would be overwritten" in lakeline("predict", NAME, str(tmp_path / "rows.csv"), "-o", str(tmp_path / "rows.csv"), code=2)
    (tmp_path / "none.csv").write_text("route,load\n")
    assert "there are no rows in" in lakeline("predict", NAME, str(tmp_path / "none.csv"), code=1, token=word)

    assert "when it was made" in lakeline("serve", NAME, "--version", str(BROKEN), "--detach", code=1, token=word)
    assert site.serving(NAME)["production"].version == 2
    assert "no process runs" not in lakeline("serve", NAME, "--status")
    (server,) = Folder(NAME).read().arms["production"].servers
    assert lakeline("serve", NAME, "--stop") == f"Ended: version 2 (process {server.process.pid}).\n"
    assert not alive(server.process)
    assert Folder(NAME).read().place == {}
    assert "nothing serves it on this machine" in lakeline("predict", NAME, str(many), code=1)
    assert "doesn't answer" in lakeline("predict", NAME, str(many), "--url", url, code=1)
