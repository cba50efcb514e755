"""Every object is one that Kubernetes 1.30 to 1.34 takes, or Argo Events."""

import warnings
from typing import Any

import pytest

from tests.manifests.objects import Object, name, named, walk

RELEASES = ("1.30", "1.31", "1.32", "1.33", "1.34")
CUSTOM = {"EventBus", "EventSource", "Sensor", "ExternalSecret"}

RETRY = {"duration", "factor", "jitter"}


@pytest.mark.parametrize("release", RELEASES)
def test_kubernetes_takes_every_object(release: str, overlay: list[Object]):
    import kubernetes_validate

    wrong: list[str] = []
    jobs = [value for item in named(overlay, "Sensor") for path, value in walk(item) if path.endswith("source.resource")]
    assert jobs
    for item in overlay + jobs:
        if item["kind"] in CUSTOM:
            continue
        try:
            kubernetes_validate.validate(item, release, strict=True)
        except Exception as error:
            wrong.append(f"{item['kind']} {item['metadata'].get('name', 'of a sensor')}: {error}")
    assert wrong == []


def test_validation_would_notice_a_mistake():
    import kubernetes_validate

    service: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"portz": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, "1.33", strict=True)


def test_argo_events_takes_its_objects(overlay: list[Object]):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from hera.events import models

    found = named(overlay, "EventSource", "Sensor")
    assert found
    for item in found:
        wired = _as_on_the_wire({key: value for key, value in item.items() if key not in {"apiVersion", "kind"}})
        parsed = getattr(models, item["kind"]).model_validate(wired)
        assert _unknown(wired, parsed.model_dump(by_alias=True, exclude_unset=True, mode="json")) == [], name(item)


def test_retries_of_sensors_are_numbers_and_durations(overlay: list[Object]):
    retries = [value for item in named(overlay, "Sensor") for path, value in walk(item) if path.endswith("retryStrategy")]
    assert retries
    for retry in retries:
        assert set(retry) <= {"steps", *RETRY}
        assert isinstance(retry["steps"], int)
        assert retry["duration"].endswith(("s", "m"))
        assert all(isinstance(retry.get(key, 1), (int, float)) for key in ("factor", "jitter"))


def test_bus_is_one_that_argo_events_knows(overlay: list[Object]):
    """Hera has no model of an EventBus; the fields are those of Argo Events 1.9's JetStreamBus."""
    fields = {
        *("version", "replicas", "containerTemplate", "reloaderContainerTemplate", "metricsContainerTemplate", "persistence", "metadata"),
        *("nodeSelector", "tolerations", "securityContext", "imagePullSecrets", "priorityClassName", "priority", "affinity"),
        *("serviceAccountName", "settings", "startArgs", "streamConfig", "maxPayload"),
    }
    for item in named(overlay, "EventBus"):
        assert set(item["spec"]) == {"jetstream"}
        assert set(item["spec"]["jetstream"]) <= fields


def _as_on_the_wire(value: Any) -> Any:
    """An object as hera's models have it, which are made from Argo's protocol.

    There, what is inlined in YAML has a field of its own, large integers are text, and numbers of retries are wrapped (these are left
    out, and checked above).
    """
    if isinstance(value, list):
        return [_as_on_the_wire(each) for each in value]
    if not isinstance(value, dict):
        return value
    made: Object = {}
    for key, each in value.items():
        if key == "retryStrategy":
            made[key] = {inner: number for inner, number in each.items() if inner not in RETRY}
        elif key == "webhook" and all("endpoint" in hook for hook in each.values()):
            made[key] = {own: {"webhookContext": _as_on_the_wire(hook)} for own, hook in each.items()}
        elif key == "resource":  # any object
            made[key] = {}
        elif key in {"intervalSeconds", "maxPayloadSize"}:
            made[key] = str(each)
        else:
            made[key] = _as_on_the_wire(each)
    return made


def _unknown(given: Any, known: Any, path: str = "") -> list[str]:
    """Paths of what was given, and is not a field of the model. What the model leaves open (a Job in a sensor) is not looked into."""
    if isinstance(given, dict) and isinstance(known, dict):
        return [
            found
            for key, value in given.items()
            for found in ([f"{path}.{key}"] if key not in known else _unknown(value, known[key], f"{path}.{key}"))
        ]
    if isinstance(given, list) and isinstance(known, list):
        pairs = enumerate(zip(given, known, strict=True))
        return [found for number, (left, right) in pairs for found in _unknown(left, right, f"{path}[{number}]")]
    return []
