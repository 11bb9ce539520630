"""Who reaches what: the policies of the chart, held against the orchestrator's own table of addresses and ports."""

import json

import pytest
import yaml

from orchestrator.config import WEB_PORTS
from orchestrator.web.special_networks import CLOUDS, egress
from tests.deploy.test_chart import Resource, each_profile, pods, resources
from tests.deploy.tools import CHART

VALUES = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
PORTS = [{"protocol": "TCP", "port": port} for port in sorted(WEB_PORTS)]


def policy(found: list[Resource], part: str) -> Resource:
    """The rules of one part."""
    named = {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "NetworkPolicy"}
    return next(spec for name, spec in named.items() if name.endswith(f"-{part}"))


def blocks(spec: Resource) -> list[tuple[Resource, list[Resource] | None]]:
    """Networks that may be reached, each with its ports; None for any."""
    return [
        (to["ipBlock"], rule.get("ports")) for rule in spec.get("egress", []) for to in rule["to"] if "ipBlock" in to
    ]


@pytest.mark.promise(
    "an orchestrator that reaches them nevertheless",
    "the chart's NetworkPolicy names the same networks and ports",
    "helm/imagegen/templates/networkpolicy.yaml",
)
def test_egress_is_the_orchestrators_own_table() -> None:
    assert VALUES["networkPolicy"]["egress"] == egress()
    assert VALUES["orchestrator"]["fetchPorts"] == sorted(WEB_PORTS)
    assert VALUES["orchestrator"]["webhookPorts"] == sorted(WEB_PORTS)
    assert all(special.cidr for special in CLOUDS)
    rules = blocks(policy(resources("cpu-trial"), "orchestrator"))
    assert rules == [(block, PORTS) for block in egress()]


def test_ports_are_those_of_the_orchestrators_settings() -> None:
    found = resources("cpu-trial", "--set=orchestrator.fetchPorts={443}", "--set=orchestrator.webhookPorts={443,9443}")
    for _, ports in blocks(policy(found, "orchestrator")):
        assert ports == [{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 9443}]
    (environment,) = [
        {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
        for name, _, spec in pods(found)
        if name == "trial-orchestrator"
    ]
    assert environment["IMAGEGEN_FETCH_PORTS"] == "443"
    assert environment["IMAGEGEN_WEBHOOK_PORTS"] == "443,9443"


def test_an_external_database_is_reached_on_its_port_alone() -> None:
    rules = blocks(policy(resources("gpu-single"), "orchestrator"))
    assert ({"cidr": "0.0.0.0/0"}, [{"protocol": "TCP", "port": 5432}]) in rules
    for block, ports in rules:
        if "except" not in block:
            assert ports == [{"protocol": "TCP", "port": 5432}]


@each_profile
def test_every_port_but_private_networks_is_named(name: str) -> None:
    private = yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text("utf-8")).get("networkPolicy", {})
    for part in ("orchestrator", "triton"):
        for block, ports in blocks(policy(resources(name), part)):
            assert ports or block["cidr"] in private["egressPrivate"]


@pytest.mark.promise(
    "metrics read from other namespaces",
    "closed unless `networkPolicy.metricsFrom` names who reads them",
    "helm/imagegen/templates/networkpolicy.yaml",
)
@pytest.mark.parametrize("part", ["orchestrator", "triton"])
def test_metrics_are_closed_to_other_namespaces_unless_peers_are_named(part: str) -> None:
    numbers = {"orchestrator": 9090, "triton": 8002}
    rules = {rule["ports"][0]["port"]: rule for rule in policy(resources("cpu-trial"), part)["ingress"]}
    assert rules[numbers[part]]["from"] == [{"podSelector": {}}]
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    opened = resources("cpu-trial", "--set-json=networkPolicy.metricsFrom=" + json.dumps(peers))
    rules = {rule["ports"][0]["port"]: rule for rule in policy(opened, part)["ingress"]}
    assert rules[numbers[part]]["from"] == peers
