"""Tritons by the backlog of their families: the query, the arithmetic, and what comes of them over a trace."""

import importlib.util
import math
import re
import socket
import threading
import time
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.deploy.autoscaler import TOLERANCE, Trace, simulate
from tests.deploy.test_chart import Resource, resources
from tests.deploy.tools import CHART, ROOT, template


def scaled(*arguments: str) -> dict[str, Resource]:
    """The ScaledObjects of values, by the name of their Deployment; the fleet's without arguments."""
    found = [each for each in yaml.safe_load_all(template(*arguments)) if each] if arguments else resources("gpu-fleet")
    return {each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in found if each["kind"] == "ScaledObject"}


def spec_of(**scaling: Any) -> Resource:
    """A ScaledObject of one group."""
    values = {"kind": "keda", **scaling}
    arguments = [f"--set=triton.defaults.autoscaling.{name}={value}" for name, value in values.items()]
    (spec,) = scaled("--set=orchestrator.workerSlots=1000", *arguments).values()
    return spec


def test_each_group_is_scaled_by_its_own_families_and_no_deployment_has_replicas_of_its_own() -> None:
    found = scaled()
    assert found.keys() == {"trial-triton-large", "trial-triton-small"}
    deployments = {each["metadata"]["name"]: each for each in resources("gpu-fleet") if each["kind"] == "Deployment"}
    assert all("replicas" not in deployments[name]["spec"] for name in found), "helm would undo what KEDA did"
    (large,) = found["trial-triton-large"]["triggers"]
    (small,) = found["trial-triton-small"]["triggers"]
    assert large["metadata"]["query"].count('family=~"sdxl"') == 3
    assert "family=" not in small["metadata"]["query"], "the tools that it has are every family's"
    assert found["trial-triton-large"]["minReplicaCount"] == 0
    (environment,) = [
        {each["name"]: each.get("value") for each in container["env"]}
        for container in deployments["trial-orchestrator"]["spec"]["template"]["spec"]["containers"]
    ]
    assert float(environment["IMAGEGEN_WAKE_SECONDS"]) >= 300, "a stream waits for the first pod"


def test_streams_and_jobs_count_both_and_nothing_known_is_not_nothing() -> None:
    (trigger,) = spec_of()["triggers"]
    metrics = set(re.findall(r"imagegen_\w+", trigger["metadata"]["query"]))
    assert metrics == {"imagegen_job_backlog_seconds", "imagegen_engine_backlog_seconds", "imagegen_engine_requests"}
    names = (ROOT / "orchestrator" / "metrics.py").read_text("utf-8")
    assert all(f'"{name}"' in names for name in metrics)
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["threshold"] == str(60 * 4), "targetBacklogSeconds x requestsAtOnce"
    assert trigger["metadata"]["ignoreNullValues"] == "false", "or orchestrators that are not scraped stop all Tritons"
    fallback = spec_of()["fallback"]
    assert fallback["replicas"] >= 1
    assert fallback["behavior"] == "currentReplicasIfHigher", "a silent Prometheus stops no pod"


def test_without_scaling_to_zero_nobody_waits_for_a_triton() -> None:
    found = [each for each in yaml.safe_load_all(template()) if each]
    assert "IMAGEGEN_WAKE_SECONDS" not in str(found)


@pytest.mark.parametrize("rate", [0.2, 1.0, 3.3, 5.0])
@pytest.mark.parametrize(("seconds", "at_once", "load"), [(3.0, 4, 20), (10.0, 8, 120), (20.0, 4, 300)])
@pytest.mark.parametrize("first", [0, 32])
def test_it_settles_at_the_count_that_the_load_needs(
    rate: float, seconds: float, at_once: int, load: int, first: int
) -> None:
    """From no pod or from too many, under a load that stays; no pod is killed that loads."""
    target, hours = max(60, load), 6 * 3600
    spec = spec_of(minReplicas=0, maxReplicas=64, targetBacklogSeconds=target, requestsAtOnce=at_once, loadSeconds=load)
    seen = simulate(
        spec, [rate] * hours, seconds=seconds, at_once=at_once, load_seconds=load, slots=64 * at_once, first=first
    )
    (settled,), needed = set(seen.pods[hours // 2 :]), rate * seconds / at_once
    assert math.ceil(needed) <= settled <= math.ceil(needed / (1 - TOLERANCE))
    assert max(seen.waits[hours // 2 :]) <= target, "nobody waits longer than the target"
    assert seen.killed_while_loading == 0


def test_a_day_with_a_peak_and_a_silent_night() -> None:
    spec = spec_of(maxReplicas=16, targetBacklogSeconds=120, requestsAtOnce=4, loadSeconds=120, idleSeconds=600)
    hour = 3600
    arrivals = [0.0] * hour + [0.5] * (2 * hour) + [2.0] * (2 * hour) + [0.5] * (2 * hour) + [0.0] * (2 * hour)
    seen = simulate(spec, arrivals, seconds=10.0, at_once=4, load_seconds=120, slots=64)
    assert set(seen.pods[:hour]) == {0}, "nothing runs while nobody asks"
    assert {seen.pods[3 * hour - 1], seen.pods[7 * hour - 1]} <= {2, 3}, "0.5 requests/s x 10 s / 4 at once"
    assert seen.pods[5 * hour - 1] in {5, 6}, "2 requests/s x 10 s / 4 at once"
    assert seen.pods[-1] == 0
    assert seen.left == 0, "and everything was done before the last pod went"
    assert seen.killed_while_loading == 0


HOUR = 3600
"""Of these: requests of 10 s, four at a time in a pod that loads for 120 s: 0.4 a second keep a pod busy."""


def seen(arrivals: list[float], first: int = 0) -> Trace:
    """What the chart's ScaledObject makes of requests in each second."""
    spec = spec_of(
        minReplicas=0, maxReplicas=32, targetBacklogSeconds=120, requestsAtOnce=4, loadSeconds=120, idleSeconds=600
    )
    return simulate(spec, arrivals, seconds=10.0, at_once=4, load_seconds=120, slots=128, first=first)


def needed(rate: float) -> int:
    """Pods that a rate keeps busy, within the HPA's tolerance."""
    return math.ceil(rate / 0.4 / (1 - TOLERANCE))


def test_a_load_that_rises_slowly_is_followed_without_overshoot() -> None:
    rates = [4.0 * min(1.0, second / (3 * HOUR)) for second in range(5 * HOUR)]
    trace = seen(rates)
    assert max(pods - needed(rate) for pods, rate in zip(trace.pods, rates, strict=True)) <= 2
    assert set(trace.pods[4 * HOUR :]) <= {10, needed(4.0)}, "4 requests/s x 10 s / 4 at once"
    assert max(trace.waits[HOUR:]) <= 120, "nobody waits longer than the target"
    assert trace.killed_while_loading == 0


def test_a_load_that_falls_is_followed_down_and_never_up() -> None:
    rates = [4.0 - 3.8 * min(1.0, second / (3 * HOUR)) for second in range(5 * HOUR)]
    trace = seen(rates, first=12)
    assert max(later - before for before, later in pairwise(trace.pods)) <= 0, "no pod comes back while the load falls"
    assert all(pods * 0.4 >= 0.9 * rate for pods, rate in zip(trace.pods, rates, strict=True)), "what is left is enough"
    assert set(trace.pods[4 * HOUR :]) == {1}, "0.2 requests/s keep half a pod busy"
    assert max(trace.waits) <= 120
    assert trace.killed_while_loading == 0


def test_a_sudden_load_starts_no_more_pods_than_what_waits_needs() -> None:
    """While the first pods load work piles up, which others then work off; after that there are as many as needed."""
    trace = seen([0.0] * 60 + [2.0] * (3 * HOUR))
    piled_up = max(wait * pods / 120 for wait, pods in zip(trace.waits, trace.pods, strict=True) if wait < math.inf)
    assert max(trace.pods) <= needed(2.0) + math.ceil(piled_up) + 1
    assert max(trace.pods[HOUR:]) <= needed(2.0)
    assert set(trace.pods[2 * HOUR :]) <= {5, needed(2.0)}
    assert trace.killed_while_loading == 0


def test_what_orchestrators_have_in_hand_starts_no_pods_beyond_what_waits() -> None:
    """They have room for 128 requests; counted as running, those would want 32 pods."""
    trace = seen([20.0] * 10 + [0.0] * HOUR)
    assert max(trace.pods) <= 8, "2,000 s of work are four pods for 120 s, and four that work keep four"
    assert (trace.left, trace.pods[-1]) == (0, 0)


def test_the_first_request_starts_one_pod_which_goes_when_nobody_asks() -> None:
    trace = seen([0.0] * 30 + [1.0] + [0.0] * HOUR)
    assert set(trace.pods) == {0, 1}
    assert trace.pods.index(1) - 30 <= 15, "at the next look"
    assert trace.left == 0, "it was served"
    came, stayed = trace.pods.index(1), trace.pods.count(1)
    assert 120 + 600 <= stayed <= 120 + 10 + 600 + 2 * 15, "loaded, worked, and idle for idleSeconds"
    assert trace.pods[came + stayed :] == [0] * (len(trace.pods) - came - stayed), "once"


def test_a_load_that_comes_and_goes_does_not_make_pods_come_and_go() -> None:
    trace = seen(([3.0] * 120 + [0.0] * 120) * 60)
    changes = sum(before != later for before, later in pairwise(trace.pods[HOUR:]))
    assert changes == 0
    assert trace.left == 0 or trace.waits[-1] <= 120


def test_what_was_wrong_is_found_by_the_simulation() -> None:
    """A wait divided by the pods, compared as AverageValue: eight pods at a wait of 100 s went down to seven."""
    spec = spec_of(maxReplicas=16, minReplicas=1)
    (trigger,) = spec["triggers"]
    trigger["metadata"]["threshold"] = "15"
    wait, pods = 100.0, 8
    assert math.ceil(wait / 15) == pods - 1
    work = wait * pods * 4  # what the chart measures instead
    trigger["metadata"]["threshold"] = str(15 * 4)
    assert math.ceil(work / (15 * 4)) > pods


def drain() -> ModuleType:
    """helm/imagegen/files/drain.py."""
    spec = importlib.util.spec_from_file_location("drain", CHART / "files" / "drain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_triton_waits_until_nobody_is_connected() -> None:
    script = drain()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert script.count_connections(port) == 0
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = server.accept()
        assert script.count_connections(port) == 1
        ended: list[bool] = []
        waiting = threading.Thread(target=lambda: ended.append(script.wait(port, 60, 0, 0.01)))
        waiting.start()
        time.sleep(0.2)  # longer than all looks together
        assert ended == []
        client.close()
        served.close()
        waiting.join(30)
        assert ended == [True]


def test_a_triton_does_not_wait_for_ever() -> None:
    script = drain()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            assert script.wait(port, 0.1, 0, 0.01) is False
