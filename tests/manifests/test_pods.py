"""Every pod passes the restricted Pod Security Standard, says what it needs, and when it is well."""

import json

import pytest
import yaml

from tests.manifests.conftest import Build
from tests.manifests.objects import KUBERNETES, OURS, Object, Pod, named, pods, walk

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def wrongs_of_restricted(pod: Pod) -> list[str]:
    """What the restricted Pod Security Standard finds wrong with a pod, by its rules of Kubernetes 1.30 to 1.34."""
    whole = pod.spec.get("securityContext", {})
    wrong = [f"{field} is on" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(field)]
    wrong += [f"volume {volume['name']}" for volume in pod.spec.get("volumes", []) if not set(volume) - {"name"} <= VOLUMES]
    for container in [*pod.containers, *pod.spec.get("ephemeralContainers", [])]:
        own = container.get("securityContext", {})
        effective = {**{key: whole[key] for key in ("runAsNonRoot", "runAsUser", "seccompProfile") if key in whole}, **own}
        rules = {
            "privileged": not own.get("privileged", False),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities are not dropped": own.get("capabilities", {}).get("drop") == ["ALL"],
            "capabilities are added": set(own.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"},
            "runAsNonRoot": effective.get("runAsNonRoot") is True,
            "runs as root": effective.get("runAsUser") != 0,
            "seccompProfile": effective.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
            "a port of the host": not any(port.get("hostPort") for port in container.get("ports", [])),
        }
        wrong += [f"{container['name']}: {rule}" for rule, holds in rules.items() if not holds]
    if whole.get("sysctls") or "windowsOptions" in whole:
        wrong.append("sysctls or windowsOptions")
    return wrong


def test_pods_are_restricted(overlay: list[Object]):
    found = pods(overlay)
    assert found
    assert {str(pod): wrongs_of_restricted(pod) for pod in found if wrongs_of_restricted(pod)} == {}


def test_pods_that_argo_events_makes_are_restricted(overlay: list[Object]):
    for item in named(overlay, "EventSource", "Sensor"):
        template = item["spec"]["template"]
        pod = {"securityContext": template["securityContext"], "containers": [{"name": "main", **template["container"]}]}
        assert wrongs_of_restricted(Pod(item["metadata"]["name"], "lakeline", {}, pod)) == []
        assert template["container"]["resources"]["limits"]["memory"]
    for item in named(overlay, "EventBus"):
        bus = item["spec"]["jetstream"]
        containers = [{"name": key, **bus[key]} for key in ("containerTemplate", "reloaderContainerTemplate", "metricsContainerTemplate")]
        assert wrongs_of_restricted(Pod("bus", "lakeline", {}, {"securityContext": bus["securityContext"], "containers": containers})) == []


def test_pod_that_restores_a_dump_is_as_the_one_that_makes_it(build: Build):
    restore = json.loads((KUBERNETES / "backup" / "restore.json").read_text())
    backup = next(pod for pod in pods(build(KUBERNETES / "backup")) if pod.owner.endswith("backup"))

    assert wrongs_of_restricted(Pod("restore", "lakeline", {}, restore["spec"])) == []
    assert restore["metadata"]["labels"]["app.kubernetes.io/name"] == backup.labels["app.kubernetes.io/name"] == "backup"  # policies
    assert restore["spec"]["securityContext"] == backup.spec["securityContext"]
    claim = {"name": "backups", "persistentVolumeClaim": {"claimName": "backups"}}
    assert claim in restore["spec"]["volumes"]
    assert claim in backup.spec["volumes"]


def test_rules_find_what_is_wrong():
    careless = Pod("a", "lakeline", {}, {"volumes": [{"name": "v", "hostPath": {"path": "/"}}], "containers": [{"name": "c"}]})
    assert wrongs_of_restricted(careless) == [
        "volume v",
        "c: allowPrivilegeEscalation",
        "c: capabilities are not dropped",
        "c: runAsNonRoot",
        "c: seccompProfile",
    ]


def test_our_namespaces_enforce_it(overlay: list[Object]):
    labels = {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in named(overlay, "Namespace")}
    assert set(labels) == set(OURS) - {"kubeflow"}  # which comes with Kubeflow's release, and enforces baseline
    assert {own.get("pod-security.kubernetes.io/enforce") for own in labels.values()} == {"restricted"}


def test_file_systems_are_read_only(overlay: list[Object]):
    writable = [
        f"{pod}: {container['name']}"
        for pod in pods(overlay)
        for container in pod.containers
        if container["securityContext"].get("readOnlyRootFilesystem") is not True
    ]
    assert writable == []


def test_no_pod_gets_a_token_of_the_api_server(overlay: list[Object]):
    """None of ours asks it anything; the sensors, which do, are made by Argo Events."""
    silent = {
        (item["metadata"]["namespace"], item["metadata"]["name"])
        for item in named(overlay, "ServiceAccount")
        if item.get("automountServiceAccountToken") is False
    }
    talking = [
        str(pod)
        for pod in pods(overlay)
        if pod.spec.get("automountServiceAccountToken") is not False and (pod.namespace, pod.spec.get("serviceAccountName")) not in silent
    ]
    assert talking == []


def test_containers_say_what_they_need(overlay: list[Object]):
    """CPU has no limit: a container that waits for its share is slow, one that is throttled is slow for nothing."""
    vague = [
        f"{pod}: {container['name']}"
        for pod in pods(overlay)
        for container in pod.containers
        if set(container.get("resources", {}).get("requests", {})) != {"cpu", "memory"}
        or "memory" not in container["resources"].get("limits", {})
    ]
    assert vague == []


def test_servers_have_probes(overlay: list[Object]):
    blind = [
        f"{item['metadata']['name']}: {container['name']} {probe}"
        for item in named(overlay, "Deployment", "StatefulSet")
        for container in item["spec"]["template"]["spec"]["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        if probe not in container
    ]
    assert blind == []


def test_jobs_end(overlay: list[Object]):
    """A Job without a deadline that hangs blocks the next one of its CronJob for ever."""
    jobs = [item["spec"]["jobTemplate"]["spec"] for item in named(overlay, "CronJob")] + [item["spec"] for item in named(overlay, "Job")]
    jobs += [value["spec"] for item in named(overlay, "Sensor") for path, value in walk(item) if path.endswith("source.resource")]
    assert jobs
    assert [job for job in jobs if not job.get("activeDeadlineSeconds") or not job.get("ttlSecondsAfterFinished")] == []


def test_no_image_is_latest(overlay: list[Object]):
    images = [value for item in overlay for path, value in walk(item) if path.endswith("image") and isinstance(value, str)]
    assert images
    assert [image for image in images if ":" not in image.rpartition("/")[2] or image.endswith(":latest")] == []


@pytest.mark.parametrize("service", ["lakefs", "mlflow"])
def test_production_survives_a_node(service: str, build: Build):
    objects = build(KUBERNETES / "overlays" / "production")
    deployment = next(item for item in named(objects, "Deployment") if item["metadata"]["name"] == service)
    budget = next(item for item in named(objects, "PodDisruptionBudget") if item["metadata"]["name"] == service)
    assert deployment["spec"]["replicas"] > 1
    assert deployment["spec"]["template"]["spec"]["topologySpreadConstraints"], yaml.safe_dump(deployment)
    assert budget["spec"]["maxUnavailable"] < deployment["spec"]["replicas"]
