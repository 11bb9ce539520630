"""The chart: what helm renders of each profile, held against Kubernetes' schemas and our own rules."""

import json
import re
from collections.abc import Iterator
from typing import Any

import cloudcoil.models.keda.v1alpha1 as keda
import cloudcoil.models.prometheus_operator.v1 as prometheus
import kubernetes_validate
import pytest
import yaml

from tests.deploy.tools import CHART, PROFILES, ROOT, profile, run, template

VERSIONS = ("1.29", kubernetes_validate.latest_version())
"""The lowest that Chart.yaml allows, and the highest whose schemas are here."""
CUSTOM: dict[str, Any] = {
    "ServiceMonitor": prometheus.ServiceMonitor,
    "PodMonitor": prometheus.PodMonitor,
    "PrometheusRule": prometheus.PrometheusRule,
    "ScaledObject": keda.ScaledObject,
}
UNKNOWN = {"HTTPRoute", "GRPCRoute", "Certificate", "Issuer", "ExternalSecret"}
"""Kinds of the Gateway API, cert-manager and external-secrets, of which no package here carries schemas."""
UNMODELLED = {".spec.fallback.behavior"}
"""What is newer than the models: KEDA 2.17's."""
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
    done = run("helm", "lint", "--strict", str(CHART), "--set=database.trial.password=of-a-test")
    assert done.returncode == 0, done.stdout + done.stderr


@each_profile
@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_fits_kubernetes(name: str, version: str) -> None:
    for each in resources(name):
        if each["kind"] not in CUSTOM.keys() | UNKNOWN:
            kubernetes_validate.validate(each, version, strict=True)  # an unknown kind raises here


@each_profile
def test_custom_resources_fit_their_models(name: str) -> None:
    """A model drops what it does not know, so nothing may be missing after it."""
    for each in resources(name):
        if model := CUSTOM.get(each["kind"]):
            known = model.model_validate(each).model_dump(mode="json", by_alias=True, exclude_none=True)
            assert set(missing(each, known)) <= UNMODELLED, "these models are of KEDA 2.15"


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
        (["gatway.replicas=1"], "additional properties 'gatway' not allowed"),  # codespell:ignore gatway
        (["gateway.replicas=0"], "/gateway/replicas"),
        (["gateway.replicas=two"], "/gateway/replicas"),
        (["orchestrator.env.lower=1"], "invalid propertyName 'lower'"),
        (["image.pullPolicy=Sometimes"], "/image/pullPolicy"),
        (["models.source=floppy"], "/models/source"),
        (["models.source=pvc"], "/models/existingClaim"),
        (["models.source=objectStore"], "/models"),
        (["results.url=ftp://a"], "/results/url"),
        (["publicUrl=imagegen.example"], "/publicUrl"),
        (["database.url=mysql://a"], "/database/url"),
        (["triton.groups.Shared.gpus=1"], "invalid propertyName 'Shared'"),
        (["triton.groups.shared.engine=tpu"], "/triton/groups/shared/engine"),
        (["triton.defaults.autoscaling.kind=gpu"], "/triton/defaults/autoscaling/kind"),
        (["triton.groups.a.autoscaling.families={A B}"], "/triton/groups/a/autoscaling/families/0"),
        (["triton.groups.a.gpuResource=gpu"], "/triton/groups/a/gpuResource"),
        (["triton.groups.a.args={model-repository=/x}"], "/triton/groups/a/args/0"),
        (["orchestrator.autoscaling.enabled=true"], "results.url is a path without results.existingClaim"),
        (
            ["triton.defaults.autoscaling.kind=keda"],
            "4 jobs run at once, and the Triton groups may grow to room for 16",
        ),
        (["results.url=s3://bucket/a", "results.links=presigned"], "results.s3.existingSecret is empty"),
        (["results.url=az://container/a"], "results.azureAccount is empty"),
        (["models.source=imageVolume"], "/models/reference"),
        (["fullnameOverride=A"], "/fullnameOverride"),
        (["gateway.service.type=ExternalName"], "/gateway/service/type"),
        (["gateway.extraEnv[0].value=a"], "/gateway/extraEnv/0"),
        (["serviceAccount.annotation.a=b"], "additional properties 'annotation' not allowed"),
        (["externalSecrets.enabled=true"], "externalSecrets.enabled needs externalSecrets.storeRef"),
        (["database.trial.password="], "set database.trial.password to any text"),
        (["orchestrator.replicas=2"], "results.url is a path without results.existingClaim"),
        (["triton.use=shared"], "use"),
        (["triton.groups.shared.models[0]=a b"], "/triton/groups/shared/models/0"),
        (["triton.groups.shared.engine=gpu"], "triton.groups.shared.image is needed for engine gpu"),
        (["database.trial.enabled=false"], "set database.existingSecret, database.url, externalSecrets.database"),
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
    given = "--set=database.trial.password=of-a-test"
    done = run("helm", "template", "trial", str(CHART), given, *(f"--set={each}" for each in values))
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
    """By links to them: where Triton itself loads named models, whoever reaches it can load and unload models."""
    found = {(each["kind"], each["metadata"]["name"]): each for each in resources("gpu-fleet")}
    (small,) = found["Deployment", "trial-triton-small"]["spec"]["template"]["spec"]["containers"]
    (named,) = [word.removeprefix("--models=").split(",") for word in small["command"] if word.startswith("--models=")]
    assert "sd15_unet" in named
    assert not any("sdxl" in name for name in named)
    models = ("--set", "triton.groups.a.models={x,y}", "--set", "triton.groups.b.replicas=2")
    found = {(each["kind"], each["metadata"]["name"]): each for each in resources("cpu-trial", *models)}
    (container,) = found["Deployment", "trial-triton-a"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "IMAGEGEN_TRITON_MODELS", "value": "x,y"} in container["env"]
    assert found["Deployment", "trial-triton-b"]["spec"]["replicas"] == 2
    assert ("Deployment", "trial-triton-shared") not in found, "groups of one's own replace it"
    gpu = ("--set", "triton.groups.shared.models={x,y}", "--set", "engineBuild.enabled=false")
    found = {(each["kind"], each["metadata"]["name"]): each for each in resources("gpu-single", *gpu)}
    (container,) = found["Deployment", "trial-triton-shared"]["spec"]["template"]["spec"]["containers"]
    (script,) = [word for word in container["command"] if "tritonserver" in word]
    assert "for model in 'x' 'y' ; do" in script
    assert "--model-repository=/tmp/models --model-control-mode=none" in script


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
            command = specs[part]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
            assert command[-3:-1] == ["/probe/drain.py", "--seconds"]
            waits = int(command[-1])
            assert waits >= draining + 10  # the last orchestrator that stops next to it is done by then
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


def test_the_migration_comes_first() -> None:
    """In the first orchestrator that starts, with its identity and its database; and nothing is a hook but the test."""
    for name in PROFILES:
        found = resources(name)
        (spec,) = [spec for pod, _, spec in pods(found) if pod == "trial-orchestrator"]
        (migrate,) = [each for each in spec["initContainers"] if each["name"] == "migrate"]
        assert migrate["args"] == ["migrate"]
        assert migrate["env"][0] == spec["containers"][0]["env"][0]
        hooks = [each["metadata"]["name"] for each in found if "helm.sh/hook" in json.dumps(each["metadata"])]
        assert hooks == ["trial-test"], "helm leaves hooks behind"


@each_profile
def test_what_is_rendered_twice_is_the_same(name: str) -> None:
    """No random values, no lookups: Argo CD renders again and again, and sees no difference."""
    assert profile(name) == profile(name)
    for path in (CHART / "templates").iterdir():
        text = path.read_text("utf-8")
        assert not re.search(r"\b(rand\w+|gen\w*(Cert|CA|PrivateKey)\w*|uuidv4|now|lookup|htpasswd|bcrypt)\b", text), (
            path.name
        )
        assert ".Release.Revision" not in text, path.name
        assert ".Release.Is" not in text, path.name


def test_secrets_are_not_in_environments_or_arguments() -> None:
    text = profile("cpu-trial", "--set=database.trial.password=very secret+@/")
    with_it = [each for each in yaml.safe_load_all(text) if each and "very secret" in json.dumps(each)]
    (secret,) = with_it
    assert secret["kind"] == "Secret"
    assert secret["stringData"]["url"] == "postgresql://imagegen:very%20secret%2B%40%2F@trial-postgres:5432/imagegen"


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


def test_certificates_are_issued_by_one_authority() -> None:
    """For the names that the Services have, into the Secrets that pods mount."""
    found = resources("cpu-trial", "--set=tls.certManager.enabled=true")
    issued = {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "Certificate"}
    authority = issued.pop("trial-tls-ca")
    assert authority["isCA"] is True
    issuers = {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "Issuer"}
    assert issuers["trial-tls-ca"] == {"ca": {"secretName": authority["secretName"]}}
    assert issuers[authority["issuerRef"]["name"]] == {"selfSigned": {}}
    for name, certificate in issued.items():
        assert certificate["secretName"] == name
        assert certificate["issuerRef"] == {"kind": "Issuer", "name": "trial-tls-ca"}
        assert {name.replace("tls-", ""), "localhost"} <= set(certificate["dnsNames"])
    assert secret_volumes(found) == issued.keys() == {"trial-tls-gateway", "trial-tls-orchestrator", "trial-tls-client"}
    named = resources("cpu-trial", "--set=tls.certManager.enabled=true", "--set=tls.certManager.issuerRef.name=ours")
    assert not [each for each in named if each["kind"] == "Issuer"]
    assert all(each["spec"]["issuerRef"]["name"] == "ours" for each in named if each["kind"] == "Certificate")


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
        (job,) = [
            each["spec"]["template"]["spec"]
            for (kind, part), each in found.items()
            if kind == "Job" and re.fullmatch(rf"trial-engines-{group}-[0-9a-f]{{8}}", part)
        ]
        triton = found["Deployment", f"trial-triton-{group}"]["spec"]["template"]["spec"]
        assert job["nodeSelector"] == triton["nodeSelector"]
        assert job["tolerations"] == triton["tolerations"]
        assert job["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
        (container,) = triton["containers"]
        assert container["command"][:3] == ["python3", "/scripts/engines.py", "serve"]
        (claim,) = [each for each in triton["volumes"] if each["name"] == "models"]
        assert claim["persistentVolumeClaim"] == {"claimName": "imagegen-engines", "readOnly": True}
