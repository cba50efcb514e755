"""The serving image, run as Kubernetes runs it, with a model of this checkout's own making."""

import base64
import io
import json
import tarfile
from pathlib import Path

from lakeline import __version__
from lakeline.registry.files import files_digest
from lakeline.serving.environment import environment
from lakeline.serving.release import Release
from tests.images.containers import Builder
from tests.unit.serving.models import NAME, ROW, made_here

LIMIT = 0.9e9

# Unpacks the model, starts the server, asks it what a caller would, tells it to end, and prints the answers.
ASK = """
import base64, io, json, os, socket, subprocess, sys, tarfile, time, urllib.error, urllib.request

tarfile.open(fileobj=io.BytesIO(base64.b64decode(os.environ.pop("MODEL")))).extractall("/tmp/model")
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = subprocess.Popen(json.loads(sys.argv[1]), env=os.environ | {"LAKELINE_SERVE_PORT": str(port)})

def ask(path, body=None, token="a-token"):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()

for _ in range(600):
    try:
        ask("/readyz")
        break
    except OSError:
        if server.poll() is not None:
            sys.exit("the server has ended")
        time.sleep(0.5)
body = os.environ["BODY"].encode()
answers = {"ready": ask("/readyz"), "predicted": ask("/invocations", body), "stranger": ask("/invocations", body, "guess"),
    "metrics": ask("/metrics")}
server.terminate()
answers["ended"] = server.wait(60)
answers["logged"] = [name for _, _, names in os.walk("/tmp/log") for name in names]
print(json.dumps(answers))
"""


def test_it_serves_as_any_user_on_a_read_only_file_system(builder: Builder, serving: str, tmp_path: Path):
    folder = made_here(tmp_path / "model")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(folder, arcname=".")
    told = environment(Release(NAME, 3, files_digest(folder)), "/tmp/model")
    told |= {"LAKELINE_SERVE_TOKEN": "a-token", "LAKELINE_SERVE_PREDICTIONS": "/tmp/log", "LAKELINE_SERVE_HOST": "0.0.0.0"}  # noqa: S104
    told |= {"MODEL": base64.b64encode(packed.getvalue()).decode(), "BODY": json.dumps({"instances": [ROW]})}

    done = builder.run(serving, "python", "-c", ASK, json.dumps(builder.config(serving)["Cmd"]), environment=told, network=True)

    assert done.returncode == 0, done.stderr[-4000:]
    answers = json.loads(done.stdout.strip().splitlines()[-1])
    assert json.loads(answers["ready"][1]) == {"ready": True, "model": NAME, "version": 3, "variant": "production"}
    assert len(json.loads(answers["predicted"][1])["predictions"]) == 1
    assert (answers["predicted"][0], answers["stranger"][0], answers["ended"], len(answers["logged"])) == (200, 401, 0, 1)
    assert "lakeline_requests_total" in answers["metrics"][1]


def test_it_refuses_to_answer_strangers_by_oversight(builder: Builder, serving: str):
    told = environment(Release(NAME, 3, "d" * 64), "/tmp/model") | {"LAKELINE_SERVE_HOST": "0.0.0.0"}  # noqa: S104
    done = builder.run(serving, *builder.config(serving)["Cmd"], environment=told, network=True)
    assert done.returncode == 1
    assert "Set LAKELINE_SERVE_TOKEN" in done.stderr


def test_it_fetches_files_without_what_mlflows_own_server_needs(builder: Builder, serving: str):
    """A registry that isn't there is out of reach; a library that isn't there would be something else."""
    told = environment(Release(NAME, 3, "d" * 64), "/tmp/model") | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    told |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = builder.run(serving, "python", "-m", "lakeline.serving.fetch", environment=told, network=True)
    assert done.returncode == 1
    assert done.stderr.startswith("lakeline: ")
    assert "127.0.0.1:9" in done.stderr or "out of reach" in done.stderr


def test_it_says_what_it_is_made_of_and_stays_small(builder: Builder, serving: str):
    config = builder.config(serving)
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert (config["User"], config["Cmd"]) == ("10001:0", ["python", "-m", "lakeline.serving.server"])
    assert "/run/secrets" not in builder.history(serving)
    assert builder.size(serving) <= LIMIT
