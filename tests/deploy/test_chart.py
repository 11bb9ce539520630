"""The chart: what helm renders of each profile, held against Kubernetes' schemas and our own rules."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import cloudcoil.models.keda.v1alpha1 as keda
import cloudcoil.models.prometheus_operator.v1 as prometheus
import kubernetes_validate
import pytest
import yaml
from cryptography.x509 import DNSName, SubjectAlternativeName, load_pem_x509_certificate

from tests.deploy.tools import CHART, PROFILES, ROOT, profile, run, template

VERSIONS = ("1.29", kubernetes_validate.latest_version())
"""The lowest that Chart.yaml allows, and the highest whose schemas are here."""
CUSTOM: dict[str, Any] = {
    "ServiceMonitor": prometheus.ServiceMonitor,
    "PodMonitor": prometheus.PodMonitor,
    "PrometheusRule": prometheus.PrometheusRule,
    "ScaledObject": keda.ScaledObject,
}
ROUTES = {"HTTPRoute", "GRPCRoute"}
"""Kinds of the Gateway API, of which no package carries schemas here."""
Resource = dict[str, Any]
each_profile = pytest.mark.parametrize("name", PROFILES)


def resources(name: str, *arguments: str) -> list[Resource]:
    """What a profile makes."""
    return [each for each in yaml.safe_load_all(profile(name, *arguments)) if each]


def pods(found: list[Resource]) -> Iterator[tuple[str, Resource, Resource]]:
    """Name, pod's metadata and pod's specification of all that makes pods."""
    for each in found:
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each["metadata"], each["spec"]
        elif "template" in each.get("spec", {}):
            yield each["metadata"]["name"], each["spec"]["template"]["metadata"], each["spec"]["template"]["spec"]


def containers(spec: Resource) -> list[Resource]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def test_lint() -> None:
    done = run("helm", "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


@each_profile
@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_fits_kubernetes(name: str, version: str) -> None:
    for each in resources(name):
        if each["kind"] not in CUSTOM.keys() | ROUTES:
            kubernetes_validate.validate(each, version, strict=True)  # an unknown kind raises here


@each_profile
def test_custom_resources_fit_their_models(name: str) -> None:
    """A model drops what it does not know, so nothing may be missing after it."""
    for each in resources(name):
        if model := CUSTOM.get(each["kind"]):
            known = model.model_validate(each).model_dump(mode="json", by_alias=True, exclude_none=True)
            assert missing(each, known) == []


def missing(sent: object, known: object, path: str = "") -> list[str]:
    """Paths that a model has dropped."""
    if isinstance(sent, dict):
        assert isinstance(known, dict), path
        gone = [f"{path}.{key}" for key in sent.keys() - known.keys()]
        there = sent.keys() & known.keys()
        return gone + [lost for key in there for lost in missing(sent[key], known[key], f"{path}.{key}")]
    if isinstance(sent, list):
        assert isinstance(known, list), path
        return [lost for number, each in enumerate(sent) for lost in missing(each, known[number], f"{path}[{number}]")]
    return []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["gatway.replicas=1"], "additional properties 'gatway' not allowed"),
        (["gateway.replicas=0"], "/gateway/replicas"),
        (["gateway.replicas=two"], "/gateway/replicas"),
        (["orchestrator.env.lower=1"], "/orchestrator/env"),
        (["image.pullPolicy=Sometimes"], "/image/pullPolicy"),
        (["models.source=floppy"], "/models/source"),
        (["models.source=pvc"], "/models/existingClaim"),
        (["models.source=objectStore"], "/models"),
        (["results.url=ftp://a"], "/results/url"),
        (["publicUrl=imagegen.example"], "/publicUrl"),
        (["database.url=mysql://a"], "/database/url"),
        (["triton.groups.Shared.gpus=1"], "invalid propertyName 'Shared'"),
        (["triton.groups.shared.engine=tpu"], "/triton/groups/shared/engine"),
        (["orchestrator.autoscaling.kind=gpu"], "/orchestrator/autoscaling/kind"),
        (["orchestrator.replicas=2"], "results.url is a path without results.existingClaim"),
        (["triton.use=shared"], "use"),
        (["triton.groups.shared.models[0]=a b"], "/triton/groups/shared/models/0"),
        (["triton.groups.shared.engine=gpu"], "triton.groups.shared.image is needed for engine gpu"),
        (["database.trial.enabled=false"], "set database.existingSecret, database.url, or database.trial.enabled"),
        (["engineBuild.enabled=true"], "engineBuild needs image"),
        (
            [
                "engineBuild.enabled=true",
                "engineBuild.image=a@b",
                "engineBuild.existingClaim=c",
                "engineBuild.groups={d}",
            ],
            "d, which is not a group",
        ),
    ],
)
def test_wrong_values_are_refused(values: list[str], said: str) -> None:
    done = run("helm", "template", "trial", str(CHART), *(f"--set={each}" for each in values))
    assert done.returncode != 0
    assert said in done.stderr


@each_profile
def test_pods_are_hardened(name: str) -> None:
    found = resources(name)
    assert len(list(pods(found))) >= 4
    for pod, metadata, spec in pods(found):
        assert spec["automountServiceAccountToken"] is False, pod
        assert spec["securityContext"]["runAsNonRoot"] is True, pod
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, pod
        assert metadata["labels"]["app.kubernetes.io/component"], pod
        for container in containers(spec):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, pod
            assert context["allowPrivilegeEscalation"] is False, pod
            assert context["capabilities"] == {"drop": ["ALL"]}, pod
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), pod
            assert "memory" in container["resources"]["limits"], pod
            assert ":" in container["image"], pod  # a tag or a digest
            assert not container["image"].endswith(":latest"), pod


@each_profile
def test_nothing_is_reached_that_no_policy_names(name: str) -> None:
    """Every pod is one that the default policy denies everything, and some other names as a goal or a source."""
    found = resources(name)
    policies = [each["spec"] for each in found if each["kind"] == "NetworkPolicy"]
    (deny,) = [each for each in policies if "ingress" not in each and set(each["policyTypes"]) == {"Ingress", "Egress"}]
    assert deny["podSelector"]["matchLabels"].keys() == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    for _, metadata, _ in pods(found):
        labels = metadata["labels"]
        assert deny["podSelector"]["matchLabels"].items() <= labels.items()
    into = {
        each["podSelector"]["matchLabels"].get("app.kubernetes.io/component", "triton")
        for each in policies
        if "ingress" in each
    }
    assert {"gateway", "orchestrator", "triton"} <= into


@each_profile
def test_every_triton_is_called_and_nothing_runs_that_nobody_calls(name: str) -> None:
    """The orchestrators' list is the headless services of all groups; each group is one that the profile names."""
    found = {(each["kind"], each["metadata"]["name"]): each for each in resources(name)}
    (orchestrator,) = found["Deployment", "trial-orchestrator"]["spec"]["template"]["spec"]["containers"]
    (url,) = [each["value"] for each in orchestrator["env"] if each["name"] == "IMAGEGEN_TRITON_URL"]
    called = {each.removesuffix(":8001") for each in url.split(",")}
    deployed = {part for kind, part in found if kind == "Deployment" and part.startswith("trial-triton-")}
    assert called == deployed
    assert all(found["Service", part]["spec"]["clusterIP"] == "None" for part in called)
    wanted = {"gpu-fleet": {"large", "small"}}.get(name, {"shared"})
    assert {part.removeprefix("trial-triton-") for part in called} == wanted


def test_a_group_loads_the_models_that_it_names() -> None:
    found = {(each["kind"], each["metadata"]["name"]): each for each in resources("gpu-fleet")}
    (small,) = found["Deployment", "trial-triton-small"]["spec"]["template"]["spec"]["containers"]
    loads = [word for word in small["command"] if "--load-model=" in word]
    assert "--model-control-mode=explicit" in small["command"]
    assert "--load-model=sd15_unet" in loads
    assert not any("sdxl" in word for word in loads)
    models = ("--set", "triton.groups.a.models={x,y}", "--set", "triton.groups.b.replicas=2")
    found = {(each["kind"], each["metadata"]["name"]): each for each in resources("cpu-trial", *models)}
    (container,) = found["Deployment", "trial-triton-a"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "IMAGEGEN_TRITON_MODELS", "value": "x,y"} in container["env"]
    assert found["Deployment", "trial-triton-b"]["spec"]["replicas"] == 2
    assert ("Deployment", "trial-triton-shared") not in found, "groups of one's own replace it"


@each_profile
def test_probes_mean_different_things(name: str) -> None:
    """Liveness looks at the program alone, Triton's at its models; readiness at what it needs; startup has patience."""
    found = resources(name)
    for pod, _, spec in pods(found):
        for container in spec["containers"]:
            if "livenessProbe" not in container:
                continue
            assert container["startupProbe"]["failureThreshold"] >= 60, pod
            if container["name"] == "gateway":
                assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
                assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
            if container["name"] == "triton":
                assert container["livenessProbe"]["exec"]["command"] == ["python3", "-I", "-S", "/probe/probe.py"]
                assert container["livenessProbe"]["terminationGracePeriodSeconds"] < 10, "no preStop in a restart"
                (mounted,) = [each for each in spec["volumes"] if each["name"] == "probe"]
                assert ("ConfigMap", mounted["configMap"]["name"]) in {
                    (each["kind"], each["metadata"]["name"]) for each in found
                }
            if container["name"] == "orchestrator" and "grpc" in container["livenessProbe"]:
                assert container["livenessProbe"]["grpc"]["service"] == "live"
                assert "service" not in container["readinessProbe"]["grpc"]


@each_profile
def test_drains_have_time_and_the_orchestrator_drains_before_its_triton(name: str) -> None:
    specs = {pod.removeprefix("trial-"): spec for pod, _, spec in pods(resources(name))}
    seconds = "terminationGracePeriodSeconds"
    grace = {part: spec[seconds] for part, spec in specs.items() if seconds in spec}
    environment = {each["name"]: each.get("value") for each in specs["orchestrator"]["containers"][0]["env"]}
    draining = int(environment["IMAGEGEN_GRACE_SECONDS"])
    assert grace["orchestrator"] >= draining + 30
    for part in specs:
        if part.startswith("triton-"):
            sleep = specs[part]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
            waits = int(sleep.rpartition("(")[2].rstrip(")"))
            assert waits >= draining + 10  # it stands until the last orchestrator that stops beside it is done
            assert grace[part] >= waits + 30


def test_clients_find_every_pod_of_the_orchestrator() -> None:
    """A headless Service, which round_robin of service_config.json takes turns over; connections come of age."""
    found = {(each["kind"], each["metadata"]["name"]): each for each in resources("gpu-fleet")}
    assert found["Service", "trial-orchestrator"]["spec"]["clusterIP"] == "None"
    environment = found["Deployment", "trial-orchestrator"]["spec"]["template"]["spec"]["containers"][0]["env"]
    ages = {each["name"]: each.get("value") for each in environment}
    assert int(ages["IMAGEGEN_MAX_CONNECTION_AGE_SECONDS"]) <= 600
    config = json.loads((ROOT / "proto/imagegen/service_config.json").read_text("utf-8"))
    assert {"round_robin": {}} in config["loadBalancingConfig"]


def test_scaling_is_by_backlog_and_not_by_gpu_use() -> None:
    found = resources("gpu-fleet")
    (scaled,) = [each for each in found if each["kind"] == "ScaledObject"]
    assert "imagegen_backlog_seconds" in scaled["spec"]["triggers"][0]["metadata"]["query"]
    (deployment,) = [
        each for each in found if (each["kind"], each["metadata"]["name"]) == ("Deployment", "trial-orchestrator")
    ]
    assert "replicas" not in deployment["spec"]  # or helm would undo what KEDA did
    assert scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


def test_the_migration_comes_first() -> None:
    for name, hook in (("gpu-single", "pre-install,pre-upgrade"), ("cpu-trial", "post-install,pre-upgrade")):
        named = [each for each in resources(name) if each["metadata"]["name"] == "trial-migrate"]
        (job,) = [each for each in named if each["kind"] == "Job"]
        assert job["metadata"]["annotations"]["helm.sh/hook"] == hook
        assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["migrate"]


def test_secrets_are_not_in_environments_or_arguments() -> None:
    text = profile("cpu-trial", "--set=database.trial.password=very-secret")
    with_it = [each for each in yaml.safe_load_all(text) if each and "very-secret" in json.dumps(each)]
    assert [each["kind"] for each in with_it] == ["Secret"]


def test_names_fit_whatever_the_release_is_called() -> None:
    name = "a" * 53
    for each in yaml.safe_load_all(template(release=name)):
        if each:
            assert len(each["metadata"]["name"]) <= 63


def test_environment_variables_are_those_of_the_programs() -> None:
    """A misspelt one would be ignored in silence."""
    known = (ROOT / "docs" / "settings.md").read_text("utf-8")
    for name in PROFILES:
        for _, _, spec in pods(resources(name)):
            for container in containers(spec):
                for each in container.get("env", []):
                    if each["name"].startswith("IMAGEGEN_"):
                        assert f"`{each['name']}`" in known, each["name"]


def secret_volumes(found: list[Resource]) -> set[str]:
    """Secrets that pods mount."""
    volumes = [volume for _, _, spec in pods(found) for volume in spec.get("volumes", [])]
    return {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}


def test_certificates_are_made_of_one_authority() -> None:
    """For the names that the Services have; the private parts of each are in one Secret alone."""
    found = resources("cpu-trial", "--set=tls.make=true")
    made = {each["metadata"]["name"]: each for each in found if each.get("type") == "kubernetes.io/tls"}
    assert made.keys() == {"trial-tls-gateway", "trial-tls-orchestrator", "trial-tls-client"}
    authorities = {each["data"]["ca.crt"] for each in made.values()}
    assert len(authorities) == 1
    (authority,) = (load_pem_x509_certificate(base64.b64decode(each)) for each in authorities)
    for name, secret in made.items():
        certificate = load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value.get_values_for_type(
            DNSName
        )
        assert name.replace("tls-", "") in names
    used = secret_volumes(found)
    assert used == made.keys()
    assert not any(each.get("type") == "kubernetes.io/tls" for each in resources("cpu-trial"))


def test_named_certificates_are_used_as_they_are() -> None:
    names = ["gatewaySecret=a", "orchestratorSecret=b", "clientSecret=c"]
    found = resources("cpu-trial", *(f"--set=tls.{each}" for each in names))
    used = secret_volumes(found)
    assert used == {"a", "b", "c"}


def test_engines_are_built_where_they_are_served() -> None:
    """On the nodes of each group, by one script, into one claim, which those who serve mount read-only."""
    found = {(each["kind"], each["metadata"]["name"]): each for each in resources("gpu-fleet")}
    script = found["ConfigMap", "trial-engines"]["data"]["engines.py"]
    assert script.strip() == (CHART / "files" / "engines.py").read_text("utf-8").strip()
    for group in ("large", "small"):
        job = found["Job", f"trial-engines-{group}-1"]["spec"]["template"]["spec"]
        triton = found["Deployment", f"trial-triton-{group}"]["spec"]["template"]["spec"]
        assert job["nodeSelector"] == triton["nodeSelector"]
        assert job["tolerations"] == triton["tolerations"]
        assert job["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
        (container,) = triton["containers"]
        assert container["command"][:3] == ["python3", "/scripts/engines.py", "serve"]
        (claim,) = [each for each in triton["volumes"] if each["name"] == "models"]
        assert claim["persistentVolumeClaim"] == {"claimName": "imagegen-engines", "readOnly": True}
