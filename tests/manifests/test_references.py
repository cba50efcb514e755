"""What a manifest names is there: Secrets and their keys, ConfigMaps, volumes, accounts, ports; and no secret is in one."""

import re
from collections.abc import Iterator

import yaml

from pipelines.cluster import LAKE_SECRET, PREDICTIONS_SECRET, REGISTRY_SECRET, SERVING_SECRET
from pipelines.clusters.connection import KEYS
from pipelines.clusters.wanted import MAY_BE_ABSENT, WANTED, wanted
from tests.manifests.conftest import Build
from tests.manifests.objects import KUBERNETES, PROJECT, Object, Pod, labelled, name, named, pods, selects, walk

SECRETS = {(namespace, each.name): set(each.keys) for each in WANTED for namespace in each.namespaces}


def test_services_have_a_pod_that_listens(overlay: list[Object]):
    services = named(overlay, "Service")
    assert {item["metadata"]["name"] for item in services} >= {"lakefs", "mlflow"}
    for service in services:
        behind = [
            pod
            for pod in pods(overlay)
            if pod.namespace == service["metadata"]["namespace"] and selects({"matchLabels": service["spec"]["selector"]}, pod.labels)
        ]
        assert behind, name(service)
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            assert all(target in _ports(pod) for pod in behind), f"{name(service)}: {target}"


def test_probes_ask_a_port_that_is_there(overlay: list[Object]):
    for item in named(overlay, "Deployment", "StatefulSet"):
        for container in item["spec"]["template"]["spec"]["containers"]:
            own = {each for port in container["ports"] for each in (port["name"], port["containerPort"])}
            asked = [
                container[probe]["httpGet"]["port"]
                for probe in ("startupProbe", "readinessProbe", "livenessProbe")
                if "httpGet" in container[probe]
            ]
            assert set(asked) <= own, name(item)


def test_selectors_take_their_own_pods(overlay: list[Object]):
    for item in named(overlay, "Deployment", "StatefulSet"):
        assert selects(item["spec"]["selector"], item["spec"]["template"]["metadata"]["labels"]), name(item)


def test_budgets_are_of_some_pods(overlay: list[Object]):
    for item in named(overlay, "PodDisruptionBudget"):
        space = item["metadata"]["namespace"]
        assert any(namespace == space and selects(item["spec"]["selector"], labels) for namespace, labels in labelled(overlay)), name(item)


def test_secrets_are_those_that_the_command_makes(overlay: list[Object]):
    references = [(str(pod), pod.namespace, own, key) for pod in pods(overlay) for own, key in _secrets(pod.spec)]
    references += [
        (name(item), item["metadata"]["namespace"], value["name"], value["key"])
        for item in named(overlay, "EventSource")
        for path, value in walk(item)
        if path.endswith(("authSecret", "accessSecret"))
    ]
    assert references
    for owner, namespace, own, key in references:
        assert (namespace, own) in SECRETS, f"{owner}: there is no Secret {namespace}/{own}"
        assert key is None or key in SECRETS[namespace, own], f"{owner}: Secret {own} has no key {key}"


def test_production_needs_no_secret_of_what_it_has_not(build: Build):
    """Secrets of the in-cluster database and object store are not made for it, so that nothing of it may read them."""
    objects = build(KUBERNETES / "overlays" / "production")
    read = {own for pod in pods(objects) for own, _ in _secrets(pod.spec)}
    assert read <= {each.name for each in wanted("production")}


def test_every_secret_is_read(overlay: list[Object]):
    read = {(pod.namespace, own) for pod in pods(overlay) for own, _ in _secrets(pod.spec)}
    read |= {
        (item["metadata"]["namespace"], value["name"])
        for item in named(overlay, "EventSource")
        for path, value in walk(item)
        if path.endswith("authSecret")
    }
    read |= {("kubeflow", secret) for secret, _ in (LAKE_SECRET, REGISTRY_SECRET, SERVING_SECRET, PREDICTIONS_SECRET)}  # steps of pipelines
    read |= {("lakeline", secret) for secret, _ in KEYS.values()}  # people's tools
    read |= {("lakeline", "lakeline-arrivals")} if any(own == "objectstore" for _, own in read) else set()  # who delivers files
    production = not any(item["metadata"]["name"] == "postgres" for item in named(overlay, "StatefulSet"))
    assert {(namespace, each.name) for each in wanted("production" if production else "kind") for namespace in each.namespaces} == read


def test_vault_has_an_entry_for_every_secret(build: Build):
    text = (KUBERNETES / "components" / "external-secrets" / "external-secrets.yaml").read_text()
    asked = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in yaml.safe_load_all(text)}
    assert asked == {(namespace, each.name) for each in wanted("production") for namespace in each.namespaces}


def test_config_maps_are_there_and_have_what_is_read(overlay: list[Object]):
    there = {(item["metadata"]["namespace"], item["metadata"]["name"]): set(item["data"]) for item in named(overlay, "ConfigMap")}
    for pod in pods(overlay):
        for own, key in _config_maps(pod.spec):
            assert (pod.namespace, own) in there, f"{pod}: there is no ConfigMap {own}"
            assert key is None or key in there[pod.namespace, own], f"{pod}: ConfigMap {own} has no key {key}"


def test_all_namespaces_read_the_same_settings(overlay: list[Object]):
    settings = {
        item["metadata"]["namespace"]: item["data"] for item in named(overlay, "ConfigMap") if item["metadata"]["name"] == "lakeline"
    }
    assert set(settings) == {"lakeline", "lakeline-serving", "kubeflow"}
    assert settings["lakeline"] == settings["kubeflow"] == settings["lakeline-serving"]


def test_addresses_of_services_are_right(overlay: list[Object]):
    there = {
        (item["metadata"]["name"], item["metadata"]["namespace"], port["port"])
        for item in named(overlay, "Service")
        for port in item["spec"]["ports"]
    }
    there |= {("ml-pipeline", "kubeflow", 8888)}  # Kubeflow's
    for item in named(overlay, "EventSource"):
        there |= {(f"{item['metadata']['name']}-eventsource-svc", "lakeline", port["port"]) for port in item["spec"]["service"]["ports"]}
    text = str([item["data"] for item in named(overlay, "ConfigMap")])
    asked = {
        (own, namespace, int(port))
        for own, namespace, port in re.findall(r"https?://([a-z0-9-]+)\.([a-z0-9-]+)\.svc\.cluster\.local:(\d+)", text)
    }
    assert asked
    assert asked - there == set()


def test_mlflow_takes_every_name_by_which_it_is_reached(overlay: list[Object]):
    config = next(item["data"] for item in named(overlay, "ConfigMap") if "MLFLOW_SERVER_ALLOWED_HOSTS" in item.get("data", {}))
    hosts = set(config["MLFLOW_SERVER_ALLOWED_HOSTS"].split(","))
    names = ["mlflow", "mlflow.lakeline", "mlflow.lakeline.svc", "mlflow.lakeline.svc.cluster.local"]
    assert {f"{own}{port}" for own in names for port in ("", ":5000")} <= hosts
    assert "*" not in hosts


def test_volumes_claims_and_accounts_are_there(overlay: list[Object]):
    claims = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in named(overlay, "PersistentVolumeClaim")}
    accounts = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in named(overlay, "ServiceAccount")}
    for pod in pods(overlay):
        volumes = pod.spec.get("volumes", [])
        used = {volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume}
        assert {(pod.namespace, claim) for claim in used} <= claims, str(pod)
        if "serviceAccountName" in pod.spec:
            assert (pod.namespace, pod.spec["serviceAccountName"]) in accounts, str(pod)
    for item in named(overlay, "EventSource", "Sensor"):
        assert (item["metadata"]["namespace"], item["spec"]["template"]["serviceAccountName"]) in accounts
    accounts |= {("kubeflow", "pipeline-runner")}  # comes with Kubeflow's release
    for item in named(overlay, "RoleBinding", "ClusterRoleBinding"):
        spaces = {(subject.get("namespace") or item["metadata"]["namespace"], subject["name"]) for subject in item["subjects"]}
        assert spaces <= accounts


def test_mounts_are_volumes(overlay: list[Object]):
    templates = {
        name(item): {each["metadata"]["name"] for each in item["spec"]["volumeClaimTemplates"]} for item in named(overlay, "StatefulSet")
    }
    for pod in pods(overlay):
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])} | templates.get(pod.owner, set())
        mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        assert mounted == volumes, str(pod)


def test_no_manifest_has_a_secret(overlay: list[Object]):
    assert named(overlay, "Secret") == []
    literal = re.compile(r"(?i)(password|secret|token|access_key|credential)")
    told = [
        f"{name(item)}: {path}"
        for item in overlay
        for path, value in walk(item)
        if isinstance(value, dict) and isinstance(value.get("value"), str) and literal.search(str(value.get("name", "")))
    ]
    told += [
        f"{name(item)}: {key}" for item in named(overlay, "ConfigMap") for key in item["data"] if literal.search(key) and "=" not in key
    ]
    assert told == []


def test_no_file_has_a_key():
    """Values that look like one: forty hexadecimal digits or more, or a private key."""
    shapes = re.compile(r"\b[0-9a-f]{40,}\b|AKIA[0-9A-Z]{16}|-----BEGIN")
    files = [file for file in (PROJECT / "kubernetes").rglob("*") if file.is_file()]
    assert [str(file) for file in files if shapes.search(file.read_text())] == []


def test_keys_that_may_be_absent_are_not_read_one_by_one(overlay: list[Object]):
    """A pod that names a key waits for it for ever; these come with all others of their Secret, if they come."""
    assert [key for pod in pods(overlay) for _, key in _secrets(pod.spec) if key in MAY_BE_ABSENT] == []


def _ports(pod: Pod) -> set[object]:
    return {
        each for container in pod.containers for port in container.get("ports", []) for each in (port.get("name"), port["containerPort"])
    }


def _secrets(spec: Object) -> Iterator[tuple[str, str | None]]:
    yield from _read(spec, "secretRef", "secretKeyRef")
    for volume in spec.get("volumes", []):
        if "secret" in volume:
            for item in volume["secret"].get("items", [{"key": None}]):
                yield volume["secret"]["secretName"], item["key"]


def _config_maps(spec: Object) -> Iterator[tuple[str, str | None]]:
    yield from _read(spec, "configMapRef", "configMapKeyRef")
    for volume in spec.get("volumes", []):
        if "configMap" in volume:
            for item in volume["configMap"].get("items", [{"key": None}]):
                yield volume["configMap"]["name"], item["key"]


def _read(spec: Object, whole: str, single: str) -> Iterator[tuple[str, str | None]]:
    for path, value in walk(spec):
        if path.endswith(f".{whole}"):
            yield value["name"], None
        elif path.endswith(f".{single}"):
            yield value["name"], value["key"]
