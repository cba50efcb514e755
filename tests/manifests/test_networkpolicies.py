"""Nobody speaks to anybody unless a policy says so, and what has to be said is."""

import pytest

from lakeline.serving.rollout import names
from lakeline.serving.rollout import objects as rollout
from tests.manifests.conftest import Build
from tests.manifests.objects import KUBERNETES, Object, labelled, name, named, selects

Peer = tuple[str, dict[str, str]]
"""Namespace and labels of a pod."""

LAKEFS = {"app.kubernetes.io/name": "lakefs"}
MLFLOW = {"app.kubernetes.io/name": "mlflow"}
STEP = {"pipeline/runid": "run"}
JOB = {"lakeline.dev/event": "merge"}
GATE = {"app.kubernetes.io/name": "alias-gate"}
SOURCE = {"eventsource-name": "lakeline"}
API = {"app": "ml-pipeline"}
STRANGER = {"app": "stranger"}
OBJECTS = {"app.kubernetes.io/name": "objectstore"}
MODEL = names.selector("any", "production")
OTHER = names.selector("other", "production")

LABELS = {"gateway-system": {"lakeline.dev/gateway": "true"}}
"""Of namespaces, as those who run the cluster set them: proxies of the gateway run there, on ports of their own."""

OPEN = [
    ("a step to lakeFS", ("kubeflow", STEP), ("lakeline", LAKEFS), 8000),
    ("a step to MLflow", ("kubeflow", STEP), ("lakeline", MLFLOW), 5000),
    ("a step to Kubeflow", ("kubeflow", STEP), ("kubeflow", API), 8888),
    ("lakeFS to the event source", ("lakeline", LAKEFS), ("lakeline", SOURCE), 12000),
    ("a Job of an event to lakeFS", ("lakeline", JOB), ("lakeline", LAKEFS), 8000),
    ("a Job of an event to MLflow", ("lakeline", JOB), ("lakeline", MLFLOW), 5000),
    ("a step to a model", ("kubeflow", STEP), ("lakeline-serving", MODEL), 8080),
    ("a step to the gateway", ("kubeflow", STEP), ("gateway-system", STRANGER), 10080),
    ("the gateway's proxies to a model", ("gateway-system", STRANGER), ("lakeline-serving", MODEL), 8080),
    ("a variant to the other", ("lakeline-serving", MODEL), ("lakeline-serving", names.selector("any", "challenger")), 8080),
    ("the gateway to a model", ("gateway", STRANGER), ("lakeline-serving", MODEL), 8080),
    ("a model to MLflow", ("lakeline-serving", MODEL), ("lakeline", MLFLOW), 5000),
    ("a Job of an event to Kubeflow", ("lakeline", JOB), ("kubeflow", API), 8888),
    ("MLflow to the gate", ("lakeline", MLFLOW), ("lakeline", GATE), 8080),
    ("the gate to the event source", ("lakeline", GATE), ("lakeline", SOURCE), 12000),
]
IN_CLUSTER = [
    (f"{own} to {to}", ("lakeline", {"app.kubernetes.io/name": own}), ("lakeline", {"app.kubernetes.io/name": to}), port)
    for own in ("lakefs", "mlflow")
    for to, port in (("postgres", 5432), ("objectstore", 8333))
] + [
    ("a model to the object store", ("lakeline-serving", MODEL), ("lakeline", OBJECTS), 8333),
    ("a step to the object store", ("kubeflow", STEP), ("lakeline", OBJECTS), 8333),
]
SHUT = [
    ("a stranger to lakeFS", ("default", STRANGER), ("lakeline", LAKEFS), 8000),
    ("a neighbour to lakeFS", ("lakeline", STRANGER), ("lakeline", LAKEFS), 8000),
    ("a stranger to MLflow", ("default", STRANGER), ("lakeline", MLFLOW), 5000),
    ("a step to the database", ("kubeflow", STEP), ("lakeline", {"app.kubernetes.io/name": "postgres"}), 5432),
    ("a neighbour of steps to the object store", ("kubeflow", STRANGER), ("lakeline", OBJECTS), 8333),
    ("a step to a stranger", ("kubeflow", STEP), ("default", STRANGER), 10080),
    ("a stranger to a model", ("default", STRANGER), ("lakeline-serving", MODEL), 8080),
    ("a model to another", ("lakeline-serving", OTHER), ("lakeline-serving", MODEL), 8080),
    ("a model to lakeFS", ("lakeline-serving", MODEL), ("lakeline", LAKEFS), 8000),
    ("a model to the database", ("lakeline-serving", MODEL), ("lakeline", {"app.kubernetes.io/name": "postgres"}), 5432),
    ("a model to Kubeflow", ("lakeline-serving", MODEL), ("kubeflow", API), 8888),
    ("a neighbour of models to MLflow", ("lakeline-serving", STRANGER), ("lakeline", MLFLOW), 5000),
    ("lakeFS to the object store's master", ("lakeline", LAKEFS), ("lakeline", {"app.kubernetes.io/name": "objectstore"}), 9333),
    ("a step to the event source", ("kubeflow", STEP), ("lakeline", SOURCE), 12000),
    ("MLflow to the event source", ("lakeline", MLFLOW), ("lakeline", SOURCE), 12000),
    ("lakeFS to the gate", ("lakeline", LAKEFS), ("lakeline", GATE), 8080),
    ("a step to the gate", ("kubeflow", STEP), ("lakeline", GATE), 8080),
    ("the gate to MLflow", ("lakeline", GATE), ("lakeline", MLFLOW), 5000),
    ("a stranger to Kubeflow", ("default", STRANGER), ("kubeflow", API), 8888),
    ("lakeFS to Kubeflow", ("lakeline", LAKEFS), ("kubeflow", API), 8888),
]


@pytest.mark.parametrize(("source", "target", "port"), [case[1:] for case in OPEN], ids=[case[0] for case in OPEN])
def test_what_is_needed_is_open(source: Peer, target: Peer, port: int, overlay: list[Object]):
    assert speaks(overlay, source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), [case[1:] for case in IN_CLUSTER], ids=[case[0] for case in IN_CLUSTER])
def test_storage_in_the_cluster_is_open(source: Peer, target: Peer, port: int, build: Build):
    assert speaks(build(KUBERNETES / "overlays" / "kind"), source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), [case[1:] for case in SHUT], ids=[case[0] for case in SHUT])
def test_what_is_not_needed_is_shut(source: Peer, target: Peer, port: int, overlay: list[Object]):
    assert not speaks(overlay, source, target, port)


@pytest.mark.parametrize("namespace", ["lakeline", "lakeline-serving", "argo-events", "kubeflow"])
def test_default_is_deny(namespace: str, overlay: list[Object]):
    """In Kubeflow's namespace what comes in; what its own pods ask for is theirs."""
    policies = [item for item in named(overlay, "NetworkPolicy") if item["metadata"]["namespace"] == namespace]
    deny = [item["spec"] for item in policies if item["spec"]["podSelector"] == {} and not {"ingress", "egress"} & set(item["spec"])]
    assert [set(spec["policyTypes"]) for spec in deny] == [{"Ingress"} if namespace == "kubeflow" else {"Ingress", "Egress"}]


def test_policies_are_of_some_pods(overlay: list[Object]):
    for item in named(overlay, "NetworkPolicy"):
        space = item["metadata"]["namespace"]
        assert any(namespace == space and selects(item["spec"]["podSelector"], labels) for namespace, labels in labelled(overlay)), name(
            item
        )


def test_no_model_has_a_policy_of_its_namespace(overlay: list[Object]):
    """Whatever it is called: `dns` and `registry` are names of models too."""
    theirs = [item for item in named(overlay, "NetworkPolicy") if names.MODEL not in item["metadata"].get("labels", {})]
    taken = {item["metadata"]["name"] for item in theirs}
    assert {"dns", "registry", "default-deny"} <= taken
    assert {rollout.policy(model, "kubeflow", "")["metadata"]["name"] for model in (*taken, "any")} & taken == set()


def test_everybody_finds_names(overlay: list[Object]):
    for namespace, labels in [
        ("lakeline", LAKEFS),
        ("lakeline", JOB),
        ("lakeline", SOURCE),
        ("kubeflow", STEP),
        ("lakeline-serving", MODEL),
        ("argo-events", {"app": "controller-manager"}),
    ]:
        assert speaks(overlay, (namespace, labels), ("kube-system", {"k8s-app": "kube-dns"}), 53)


def test_steps_do_not_reach_the_metadata_of_the_cloud(overlay: list[Object]):
    """Who reads 169.254.169.254 has the rights of the node."""
    blocks = [
        peer["ipBlock"]
        for item in named(overlay, "NetworkPolicy")
        if item["metadata"]["namespace"] == "kubeflow"
        for rule in item["spec"].get("egress", [])
        for peer in rule.get("to", [])
        if "ipBlock" in peer
    ]
    assert blocks
    assert [block for block in blocks if "169.254.0.0/16" not in block.get("except", [])] == []


def speaks(objects: list[Object], source: Peer, target: Peer, port: int) -> bool:
    """Whether the policies let one pod open a connection to another, as a network plugin reads them."""
    return _allows(objects, "Egress", source, target, port) and _allows(objects, "Ingress", target, source, port)


def _allows(objects: list[Object], direction: str, own: Peer, peer: Peer, port: int) -> bool:
    policies = [
        item["spec"]
        for item in named(objects, "NetworkPolicy")
        if item["metadata"]["namespace"] == own[0]
        and direction in item["spec"]["policyTypes"]
        and selects(item["spec"]["podSelector"], own[1])
    ]
    if not policies:
        return True
    side = "to" if direction == "Egress" else "from"
    rules = [rule for spec in policies for rule in spec.get(direction.lower(), [])]
    return any(
        _of(rule, side, own[0], peer) and (not rule.get("ports") or port in {each["port"] for each in rule["ports"]}) for rule in rules
    )


def _of(rule: Object, side: str, own_namespace: str, peer: Peer) -> bool:
    if side not in rule:
        return True
    for each in rule[side]:
        if "ipBlock" in each:
            continue  # addresses outside of the cluster
        namespaces = each.get("namespaceSelector")
        labels = {"kubernetes.io/metadata.name": peer[0], **LABELS.get(peer[0], {})}
        there = selects(namespaces, labels) if namespaces is not None else peer[0] == own_namespace
        if there and selects(each.get("podSelector", {}), peer[1]):
            return True
    return False
