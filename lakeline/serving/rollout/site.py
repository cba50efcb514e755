"""Kubernetes as a place where releases run: `lakeline.serving.site.Site`, by Deployments in a namespace."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from lakeline.errors import ServingError
from lakeline.serving.release import Release, Variant
from lakeline.serving.rollout import health, lease, names, objects, pod, wait
from lakeline.serving.rollout.api import Api, Object, in_cluster
from lakeline.serving.rollout.sharing import Sharing
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from lakeline.data.servingspec import Serving

_STEPS = "kubeflow"
_TRIAL = "trial"
_LEFT = 900
"""Seconds after which a trial's pod ends by itself, whatever has become of who started it; beyond its deadline."""
_LONGEST = 1000


class KubernetesSite:
    """A Deployment for each variant of a model, and a Service in front of them.

    What is there says all: nothing is remembered between two calls but who holds what.
    """

    name = "kubernetes"

    def __init__(self) -> None:
        settings = get_settings()
        self._api = Api(settings.serving_namespace)
        self._gateway = settings.serving_gateway if settings.serving_gateway and self._api.knows("HTTPRoute") else ""
        self._sharing = Sharing(self._api, self._gateway)
        self._leases: dict[str, lease.Lease] = {}

    def serving(self, model: str) -> Mapping[Variant, Release]:
        """Releases that are rolled out, as their Deployments say."""
        return {variant: objects.release_of(found) for variant, found in self._sharing.deployments(model).items()}

    def url(self, model: str, variant: Variant | None = None) -> str:
        """Address of the Service: by name in the cluster, by number from outside; the gateway's, if there is one, for callers."""
        if variant is None and self._gateway:
            address = self._sharing.address()
            if address:
                return f"{address}/{names.base(model)}"
        name = names.own(model, variant) if variant else names.base(model)
        if not in_cluster():
            found = self._api.get("Service", name)
            if found:
                return f"http://{found['spec']['clusterIP']}:{names.PORT}"
        return f"http://{name}.{self._api.namespace}.svc.cluster.local:{names.PORT}"

    @contextmanager
    def hold(self, model: str, holder: str) -> Generator[None]:
        """Hold the model's Lease; it is given up when left, and anybody's a minute after the last sign of life.

        Raises
        ------
        DeploymentUnderWay
            If somebody else holds it.
        """
        with lease.held(self._api, model, holder) as held:
            self._leases[model] = held
            try:
                yield
            finally:
                del self._leases[model]

    @contextmanager
    def trial(self, release: Release, serving: Serving) -> Generator[str]:
        """Run a server of a release in a pod that no Service leads to, and give its address.

        Raises
        ------
        VersionFailed
            If it doesn't become ready by the version's fault.
        RolloutFailed
            If it doesn't for another reason.
        """
        self._check(release.model)
        self._api.apply(self._policy(release.model))
        self._end_trials(release.model)
        # It answers all it is asked itself, and none of it is logged: nobody called.
        template = pod.template(replace(release, route=None), serving, replace(pod.Where.of_settings(), predictions=""))
        name = f"{names.base(release.model)}-{_TRIAL}-{secrets.token_hex(3)}"
        labels = template["metadata"]["labels"] | {names.VARIANT: _TRIAL}
        spec = template["spec"] | {"restartPolicy": "Never", "activeDeadlineSeconds": serving.deadline + _LEFT}
        spec |= {"readinessGates": [{"conditionType": names.APART}]}
        metadata = template["metadata"] | {"name": name, "labels": labels}
        self._api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        try:
            with self._waiting(release) as lacking:
                url = wait.started(self._api, release, name, serving.deadline, lambda: self._check(release.model), lacking)
            yield url
        finally:
            self._end_trials(release.model)

    def roll_out(self, release: Release, serving: Serving) -> None:
        """Apply what a release is served by, and wait until its pods are the ones that serve.

        Raises
        ------
        VersionFailed
            If one of its pods can't come up by the version's fault, or runs and isn't ready within the deadline.
        RolloutFailed
            If they can't for another reason, such as want of room, or the gateway doesn't take the route.
        """
        with self._waiting(release) as lacking:
            self._roll_out(release, serving, pod.Where.of_settings(), lacking)

    def go_back(self, release: Release, serving: Serving) -> None:
        """Have a release serve that did before, by the pods of its that still serve and as many more as there are to be.

        What failed is scaled down first where one of those serves, or where there is no room for another: but for one pod, lest nobody
        answers, if there are two or more. Parameters and errors are those of `roll_out`.
        """
        still = self._still_serving(release)
        where = next((where for where in map(pod.Where.of_pod, still) if self._made(release, serving, where) in map(_rollout, still)), None)
        yielded = bool(still)

        with self._waiting(release) as lacking:

            def make_room(why: str) -> None:
                nonlocal yielded
                lacking(why)
                if not yielded:
                    yielded = True
                    self._apply(release, serving, where or pod.Where.of_settings(), yields=True)

            self._roll_out(release, serving, where or pod.Where.of_settings(), make_room, yields=yielded)
        if yielded:
            self._apply(release, serving, where or pod.Where.of_settings())

    def settled(self, release: Release, serving: Serving) -> bool:
        """Whether the template is the one that would be made now, what belongs to the Deployment is there, and its pods serve."""
        model, variant = release.model, release.variant
        found = self._api.get("Deployment", names.own(model, variant))
        made = objects.deployment(release, serving, pod.Where.of_settings(), "")
        if found is None or objects.rollout_of(found) != objects.rollout_of(made):
            return False
        weight = self._sharing.weight(model)
        least, most = self._sharing.bounds(made, weight)
        wanted = [*self._around(model, variant), objects.autoscaler(model, variant, least, most), *self._sharing.ways(model, weight)]
        there = all(objects.holds(self._api.get(each["kind"], each["metadata"]["name"]), each) for each in wanted)
        return there and wait.serves(self._api, release, found, least)

    def withdraw(self, model: str, variant: Variant) -> None:
        """Remove a variant's Deployment; its pods end when what is under way is answered. Without any variant, nothing leads here."""
        self._check(model)
        if self._sharing.weight(model) is not None:
            self.share(model, None)
        for kind in ("HorizontalPodAutoscaler", "Deployment", "PodDisruptionBudget", "Service"):
            self._api.delete(kind, names.own(model, variant))
        if not self._sharing.deployments(model):  # its policy stays: pods that end still answer
            if self._gateway:
                self._api.delete("HTTPRoute", names.base(model))
            self._api.delete("Service", names.base(model))

    def share(self, model: str, weight: float | None) -> None:
        """Share requests by weights of the gateway's route; without a gateway by numbers of servers, as near as these come.

        Raises
        ------
        ServingError
            If there is no challenger.
        RolloutFailed
            If servers that the numbers want don't become ready, or the gateway doesn't take the route.
        """
        self._check(model)
        self._sharing.share(model, weight, lambda: self._check(model))

    def tell(self, model: str, reason: str, message: str, *, warning: bool = False) -> None:
        """Make an event of the Deployment in production: `kubectl describe` shows it."""
        name = names.own(model, "production")
        found = self._api.get("Deployment", name)
        now = f"{self._api.now():%Y-%m-%dT%H:%M:%SZ}"
        about = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "namespace": self._api.namespace}
        self._api.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{name}.{secrets.token_hex(8)}", "labels": names.labels(model)},
                "involvedObject": about | ({"uid": found["metadata"]["uid"]} if found else {}),
                "type": "Warning" if warning else "Normal",
                "reason": reason,
                "message": message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…",
                "source": {"component": "lakeline"},
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            }
        )

    def _roll_out(
        self, release: Release, serving: Serving, where: pod.Where, lacking: Callable[[str], None], *, yields: bool = False
    ) -> None:
        model, variant = release.model, release.variant
        self._check(model)
        rollout = self._made(release, serving, where)
        self._end(release, rollout)
        for each in self._around(model, variant):
            self._api.apply(each)
        self._forget_policy(model)
        weight = self._sharing.weight(model)
        self._sharing.lead(model, weight)  # a gateway that doesn't take the route says so before anything serves anew
        least = self._sharing.scale(self._apply(release, serving, where, yields=yields), weight)
        wait.rolled_out(self._api, release, rollout, least, serving.deadline, lambda: self._check(model), lacking)

    def _apply(self, release: Release, serving: Serving, where: pod.Where, *, yields: bool = False) -> Object:
        """Apply a release's Deployment; if it `yields`, all pods of another template but one may be gone before its own are ready."""
        before = self._api.get("Deployment", names.own(release.model, release.variant))
        most = before["spec"].get("replicas", 1) if before else 1
        dispensable = max(1, most - 1) if yields else 0
        return self._api.apply(objects.deployment(release, serving, where, _previous(before, release), dispensable))

    def _made(self, release: Release, serving: Serving, where: pod.Where) -> str:
        """Label of the pods that a release would have."""
        return objects.rollout_of(objects.deployment(release, serving, where, ""))

    def _still_serving(self, release: Release) -> list[Object]:
        own = names.selector(release.model, release.variant) | {names.VERSION: str(release.version)}
        return [each for each in self._api.find("Pod", own) if health.ready(each)]

    @contextmanager
    def _waiting(self, release: Release) -> Generator[Callable[[str], None]]:
        """Give what is called with what a release waits for: says it in the step's log, by an event, and to whom is refused the lock."""
        model, said = release.model, ""

        def lacking(why: str) -> None:
            nonlocal said
            if model in self._leases:
                self._leases[model].waits(why)
            if not said:
                print(f"lakeline: {model} version {release.version} waits for room. {why}", file=sys.stderr, flush=True)
                with suppress(ServingError):
                    self.tell(model, "WaitsForRoom", f"version {release.version}: {why}", warning=True)
            said = why

        try:
            yield lacking
        finally:
            if said and model in self._leases:
                self._leases[model].waits("")

    def _check(self, model: str) -> None:
        """Raise if the Lease that we hold is ours no more."""
        if model in self._leases:
            self._leases[model].check()

    def _around(self, model: str, variant: Variant) -> list[Object]:
        """What a variant's Deployment is never without, in the order in which it is made."""
        service = objects.service(model, variant, names.selector(model, variant))
        return [self._policy(model), service, objects.budget(model, variant)]

    def _policy(self, model: str) -> Object:
        return objects.policy(model, _STEPS, self._gateway.partition("/")[0])

    def _forget_policy(self, model: str) -> None:
        """Remove the policy that an earlier version of Lakeline gave the model's name: the model's own, not one of the namespace's."""
        found = self._api.get("NetworkPolicy", names.base(model))
        if found and found["metadata"].get("labels", {}).get(names.MODEL) == names.base(model):
            self._api.delete("NetworkPolicy", names.base(model))

    def _end(self, release: Release, rollout: str) -> None:
        """End pods of this template that have crashed in an earlier try: new ones are made in their place, and not minutes later."""
        for each in self._api.find("Pod", names.selector(release.model, release.variant) | {names.ROLLOUT: rollout}):
            if health.crashed(each):
                self._api.delete("Pod", each["metadata"]["name"])

    def _end_trials(self, model: str) -> None:
        """End the pods of trials: one at a time, so that any other is what a killed run left."""
        for each in self._api.find("Pod", names.selector(model, _TRIAL)):
            self._api.delete("Pod", each["metadata"]["name"], grace=1)


def _rollout(pod: Object) -> str:
    return pod["metadata"]["labels"].get(names.ROLLOUT, "")


def _previous(before: Object | None, release: Release) -> str:
    """Version that a release takes the place of; the one before that, if it is there already."""
    if before is None:
        return ""
    version = objects.told(before, "version")
    return objects.told(before, "previous") if version == str(release.version) else version
