"""What KEDA and Kubernetes' HorizontalPodAutoscaler make of a ScaledObject, over a trace of requests: a simulation.

The formulas are those of Kubernetes' documentation ("Horizontal Pod Autoscaling", algorithm details and configurable
scaling behavior) for an external metric:

    AverageValue: desired = ceil(metric / target)
    Value:        desired = ceil(replicas x metric / target)

unless the ratio of metric to what the pods there are should have is within 10 % of 1; then the highest recommendation
of the window in which it may scale down counts, and policies limit how many pods come and go in a period. KEDA starts
the first pod when the metric is above its activation threshold, and takes the last one away when it has not been for
the cooldown period.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = 0.1
SYNC_SECONDS = 15
"""The horizontal-pod-autoscaler-sync-period, and the pollingInterval of the chart."""


@dataclass
class Pods:
    """Replicas over time; a pod serves once it has loaded."""

    load_seconds: int
    started: list[int] = field(default_factory=list)
    killed_while_loading: int = 0

    def ready(self, now: int) -> int:
        """Pods that have loaded."""
        return sum(now - start >= self.load_seconds for start in self.started)

    def resize(self, count: int, now: int) -> None:
        """Start and stop pods; a Deployment stops those that are not ready first, and of the others the youngest."""
        while len(self.started) < count:
            self.started.append(now)
        while len(self.started) > count:
            if now - self.started.pop() < self.load_seconds:
                self.killed_while_loading += 1


@dataclass
class Autoscaler:
    """A ScaledObject, acted upon.

    Attributes:
        spec: of the ScaledObject.
        history: replicas at each look, newest last, by time.
    """

    spec: dict[str, Any]
    recommendations: list[tuple[int, int]] = field(default_factory=list)
    changes: list[tuple[int, int]] = field(default_factory=list)
    active: int = -(10**9)

    def decide(self, metric: float, replicas: int, now: int) -> int:
        """How many pods there should be now."""
        (trigger,) = self.spec["triggers"]
        if metric > float(trigger["metadata"]["activationThreshold"]):
            self.active = now
        least, most = int(self.spec["minReplicaCount"]), int(self.spec["maxReplicaCount"])
        if replicas == 0:
            return max(1, least) if self.active == now else least
        if least == 0 and now - self.active >= self.spec["cooldownPeriod"]:
            return 0
        target = float(trigger["metadata"]["threshold"])
        if trigger["metricType"] == "AverageValue":
            ratio, desired = metric / (target * replicas), math.ceil(metric / target)
        else:
            ratio, desired = metric / target, math.ceil(replicas * metric / target)
        if abs(ratio - 1) <= TOLERANCE:
            desired = replicas
        wanted = self._limited(min(most, max(least, 1, desired)), replicas, now)
        if wanted != replicas:
            self.changes.append((now, wanted - replicas))
        return wanted

    def _limited(self, desired: int, replicas: int, now: int) -> int:
        behavior = self.spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        window = int(behavior["scaleDown"]["stabilizationWindowSeconds"])
        self.recommendations = [each for each in self.recommendations if now - each[0] < window] + [(now, desired)]
        if desired < replicas:
            desired = min(replicas, max(count for _, count in self.recommendations))
        if desired > replicas:
            return min(desired, max(self._up(policy, replicas, now) for policy in behavior["scaleUp"]["policies"]))
        if desired < replicas:
            return max(desired, min(self._down(policy, replicas, now) for policy in behavior["scaleDown"]["policies"]))
        return replicas

    def _changed(self, seconds: int, now: int, *, up: bool) -> int:
        return sum(abs(change) for at, change in self.changes if now - at < seconds and (change > 0) == up)

    def _up(self, policy: dict[str, Any], replicas: int, now: int) -> int:
        before = replicas - self._changed(policy["periodSeconds"], now, up=True)
        if policy["type"] == "Pods":
            return before + int(policy["value"])
        return math.ceil(before * (1 + int(policy["value"]) / 100))

    def _down(self, policy: dict[str, Any], replicas: int, now: int) -> int:
        assert policy["type"] == "Pods"
        return int(replicas + self._changed(policy["periodSeconds"], now, up=False) - policy["value"])


@dataclass
class Trace:
    """What was seen: pods at each second, and how long requests would have waited that came then."""

    pods: list[int]
    waits: list[float]
    left: int
    killed_while_loading: int


def simulate(
    spec: dict[str, Any],
    arrivals: list[float],
    *,
    seconds: float,
    at_once: int,
    load_seconds: int,
    slots: int,
    first: int = 0,
) -> Trace:
    """Run a group of Tritons under a ScaledObject.

    Args:
        spec: of the ScaledObject.
        arrivals: requests that come in each second.
        seconds: that one takes.
        at_once: requests that a pod runs at a time without any becoming slower.
        load_seconds: until a pod serves.
        slots: requests that the orchestrators have in hand at a time; those that the pods have no room for wait.
        first: pods at the start, loaded.
    """
    pods, scaler = Pods(load_seconds, [-load_seconds] * first), Autoscaler(spec)
    weight = float(
        re.findall(r"\+ (\d+) \* sum\(imagegen_engine_requests", spec["triggers"][0]["metadata"]["query"])[0]
    )
    queued, begun, seen, waits = 0, list[float](), list[int](), list[float]()  # begun: seconds that each still needs
    replicas, come = first, 0.0
    for now, count in enumerate(arrivals):
        come += count
        queued += int(come)
        come -= int(come)
        room = pods.ready(now) * at_once
        starting = min(queued, slots - len(begun)) if room else 0
        queued -= starting
        begun += [seconds] * starting
        working = min(room, len(begun))
        if now % SYNC_SECONDS == 0:
            waiting = queued * seconds + sum(begun[working:])
            replicas = scaler.decide(waiting + weight * working, replicas, now)
            pods.resize(replicas, now)
        begun = [left - 1 for left in begun[:working] if left > 1] + begun[working:]
        seen.append(replicas)
        behind = queued * seconds + sum(begun[room:])
        waits.append(behind / room if room else math.inf if behind else 0.0)
    return Trace(seen, waits, queued + len(begun), pods.killed_while_loading)
