"""The image of MLflow's server, started as its Deployment starts it, on SQLite."""

import json

from lakeline import __version__
from tests.images.containers import Builder

LIMIT = 1.2e9
KEY = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "a-key-for-its-forms"}

# Starts the image's entry point, asks it what a client would, and prints the answers.
ASK = """
import base64, json, os, socket, subprocess, sys, time, urllib.error, urllib.request

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
here = f"127.0.0.1:{port}"
server = subprocess.Popen([*json.loads(sys.argv[1]), "--port", str(port), "--workers=1", f"--allowed-hosts={here}",
    "--backend-store-uri=sqlite:////tmp/mlflow.db", "--artifacts-destination=/tmp/artifacts", "--expose-prometheus=/tmp/metrics"])

def ask(path, password=None, host=here, body=None):
    headers = {"Host": host, "Content-Type": "application/json"}
    if password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"keeper:{password}".encode()).decode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{here}{path}", body, headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()

for _ in range(240):
    try:
        ask("/health")
        break
    except OSError:
        if server.poll() is not None:
            sys.exit("the server has ended")
        time.sleep(0.5)
search, create = "/api/2.0/mlflow/experiments/search?max_results=5", "/api/2.0/mlflow/experiments/create"
password = os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]
try:
    print(json.dumps({
        "health": ask("/health"),
        "anonymous": ask(search),
        "wrong password": ask(search, "guess-a-password"),
        "other host": ask(search, password, host="attacker.example"),
        "create": ask(create, password, body=json.dumps({"name": "trained"}).encode()),
        "search": ask(search, password),
        "page": ask("/", password),
        "metrics": ask("/metrics", password),
    }))
finally:
    server.terminate()
    server.wait(30)
"""


def started(builder: Builder, image: str, environment: dict[str, str]) -> dict[str, tuple[int, str]]:
    entry = json.dumps(builder.config(image)["Entrypoint"])
    done = builder.run(image, "python3", "-c", ASK, entry, environment=environment, network=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_it_serves_who_has_the_password_and_nobody_else(builder: Builder, mlflow: str):
    secrets = KEY | {"MLFLOW_AUTH_ADMIN_USERNAME": "keeper", "MLFLOW_AUTH_ADMIN_PASSWORD": "a-long-enough-password"}
    answers = started(builder, mlflow, secrets)
    statuses = {question: answer[0] for question, answer in answers.items()}
    assert statuses == {
        "health": 200,
        "anonymous": 401,
        "wrong password": 401,
        "other host": 403,
        "create": 200,
        "search": 200,
        "page": 200,
        "metrics": 200,
    }
    assert "trained" in answers["search"][1]
    assert "mlflow_http_request_total" in answers["metrics"][1]


def test_it_refuses_to_start_without_a_password(builder: Builder, mlflow: str):
    command = [*builder.config(mlflow)["Entrypoint"], "--backend-store-uri=sqlite:////tmp/mlflow.db", "--workers=1"]
    done = builder.run(mlflow, *command, environment=KEY)
    assert done.returncode != 0
    assert "MLFLOW_AUTH_ADMIN_PASSWORD" in done.stdout + done.stderr


def test_it_has_the_drivers_of_both_stores(builder: Builder, mlflow: str):
    done = builder.run(mlflow, "python3", "-c", "import boto3, psycopg, psycopg2, psycopg_binary; print(psycopg.__version__)")
    assert done.returncode == 0, done.stderr


def test_it_says_what_it_is_made_of_and_stays_small(builder: Builder, mlflow: str):
    config = builder.config(mlflow)
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert (config["User"], config["Entrypoint"]) == ("10001:0", ["mlflow", "server", "--app-name=basic-auth"])
    assert "/run/secrets" not in builder.history(mlflow)
    assert builder.size(mlflow) <= LIMIT
