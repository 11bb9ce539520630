"""Everyday values of a cluster: each is accepted, and does what it says."""

import json
import tarfile
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.test_chart import UNKNOWN, VERSIONS, Resource, containers, pods
from tests.deploy.tools import CHART, run, template

PARTS = {"gateway": "gateway", "orchestrator": "orchestrator", "triton.defaults": "triton-shared"}
"""Values of a part, and what its pods are called."""


def rendered(**values: Any) -> dict[tuple[str, str], Resource]:
    """What the chart makes of values, by kind and name; dots in their names as helm has them, written __."""
    arguments = [f"--set-json={name.replace('__', '.')}={json.dumps(value)}" for name, value in values.items()]
    found = [each for each in yaml.safe_load_all(template(*arguments)) if each]
    for each in found:
        if each["kind"] not in UNKNOWN | {"ScaledObject"}:
            kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
    return {(each["kind"], each["metadata"]["name"].removeprefix("trial-")): each for each in found}


def spec_of(found: dict[tuple[str, str], Resource], part: str) -> Resource:
    """The specification of a part's pods."""
    answer: Resource = found["Deployment", part]["spec"]["template"]["spec"]
    return answer


@pytest.mark.parametrize("values", PARTS)
def test_a_part_is_fitted_to_its_cluster(values: str) -> None:
    secret = {"name": "PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}}
    volume = {"name": "ca", "configMap": {"name": "ca"}}
    wanted = {
        "extraEnv": [secret],
        "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
        "env": {"A_B": "c"},
        "extraVolumes": [volume],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
        "initContainers": [{"name": "first", "image": "a:1"}],
        "extraContainers": [{"name": "sidecar", "image": "b:1"}],
        "podLabels": {"team": "pictures"},
        "podAnnotations": {"a.b/c": "d"},
        "nodeSelector": {"pool": "blue"},
        "tolerations": [{"key": "blue", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "runtimeClassName": "nvidia",
    }
    found = rendered(**{f"{values.replace('.', '__')}__{name}": value for name, value in wanted.items()})
    part = PARTS[values]
    spec, metadata = spec_of(found, part), found["Deployment", part]["spec"]["template"]["metadata"]
    main = spec["containers"][0]
    assert secret in main["env"]
    assert {"name": "A_B", "value": "c"} in main["env"]
    assert main["envFrom"] == wanted["extraEnvFrom"]
    assert volume in spec["volumes"]
    assert {"name": "ca", "mountPath": "/etc/ca"} in main["volumeMounts"]
    assert spec["initContainers"][0]["name"] == "first"
    assert spec["containers"][1]["name"] == "sidecar"
    assert metadata["labels"]["team"] == "pictures"
    assert metadata["labels"]["app.kubernetes.io/component"] == part, "the chart's own labels stay"
    assert metadata["annotations"] == {"a.b/c": "d"}
    for name in ("nodeSelector", "tolerations", "affinity", "runtimeClassName"):
        assert spec[name] == wanted[name], name


def test_pods_bear_the_identity_of_a_cloud() -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}
    found = rendered(
        serviceAccount__annotations=role,
        results__url="s3://bucket/results",
        models={"source": "objectStore", "url": "s3://bucket/models"},
        networkPolicy__identityEndpoints=["169.254.170.23/32"],
    )
    assert found["ServiceAccount", "pods"]["metadata"]["annotations"] == role
    for part in ("orchestrator", "triton-shared"):
        spec = spec_of(found, part)
        assert spec["serviceAccountName"] == "trial-pods"
        for container in containers(spec):
            assert not [each for each in container.get("env", []) if each["name"].startswith("AWS_")], "no static keys"
        egress = found["NetworkPolicy", part.partition("-")[0]]["spec"]["egress"]
        assert {
            "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}],
            "ports": [{"protocol": "TCP", "port": 80}, {"protocol": "TCP", "port": 988}],
        } in egress
    own = rendered(serviceAccount={"create": False, "name": "given"})
    assert ("ServiceAccount", "pods") not in own
    assert spec_of(own, "gateway")["serviceAccountName"] == "given"


@pytest.mark.parametrize(
    "resource", ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "nvidia.com/gpu.shared", "amd.com/gpu"]
)
def test_a_gpu_may_be_a_slice(resource: str) -> None:
    group = {
        "engine": "gpu",
        "image": "a@b",
        "gpus": 1,
        "gpuResource": resource,
        "args": ["--log-verbose=1", "--a=b'c"],
    }
    container = spec_of(rendered(triton__groups={"slices": group}), "triton-slices")["containers"][0]
    assert container["resources"]["limits"][resource] == 1
    assert "--log-verbose=1" in container["command"][-1]


def test_a_gpu_may_be_claimed() -> None:
    claim = {"name": "gpu", "resourceClaimTemplateName": "h100"}
    found = rendered(triton__groups={"a": {"engine": "gpu", "image": "a@b", "resourceClaims": [claim]}})
    spec = spec_of(found, "triton-a")
    assert spec["resourceClaims"] == [claim]
    assert spec["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]
    assert found["Deployment", "triton-a"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0


def test_arguments_reach_the_triton_for_cpus() -> None:
    container = spec_of(rendered(triton__defaults__args=["--log-verbose=1"]), "triton-shared")["containers"][0]
    assert container["args"] == ["--log-verbose=1"]


def test_services_of_other_types() -> None:
    found = rendered(
        gateway__service={
            "type": "LoadBalancer",
            "port": 80,
            "annotations": {"a": "b"},
            "externalTrafficPolicy": "Local",
        },
        orchestrator__externalService={"type": "NodePort", "port": 50051},
    )
    service = found["Service", "gateway"]
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["ports"][0]["port"] == 80
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    assert service["metadata"]["annotations"] == {"a": "b"}
    assert found["Service", "grpc"]["spec"]["type"] == "NodePort"
    assert found["Service", "orchestrator"]["spec"]["clusterIP"] == "None"
    assert ":80/readyz" in found["Pod", "test"]["spec"]["containers"][0]["args"][0]


def test_names_are_overridden_everywhere() -> None:
    plain, other = rendered(), rendered(fullnameOverride="pictures")
    assert {(kind, f"pictures-{name}") for kind, name in plain} == other.keys()
    assert "trial-" not in json.dumps(list(other.values()))
    named = rendered(nameOverride="draw")
    assert {(kind, f"draw-{name}") for kind, name in plain} == named.keys()
    labels = {json.dumps(each["spec"]["podSelector"]) for (kind, _), each in named.items() if kind == "NetworkPolicy"}
    assert all('"app.kubernetes.io/name": "draw"' in each for each in labels)


def test_more_objects() -> None:
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-a"}, "data": {"a": "b"}},
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ include "imagegen.fullname" . }}-b}\n',
    ]
    found = rendered(extraObjects=objects)
    assert found["ConfigMap", "a"]["data"] == {"a": "b"}
    assert ("ConfigMap", "b") in found


def test_secrets_come_from_outside() -> None:
    found = rendered(
        externalSecrets={
            "enabled": True,
            "storeRef": {"name": "vault", "kind": "ClusterSecretStore"},
            "database": {"key": "imagegen", "property": "url"},
            "s3": {"key": "imagegen/s3"},
        },
        results={"url": "s3://bucket/results", "links": "presigned"},
    )
    assert ("Secret", "database") not in found
    assert ("StatefulSet", "postgres") not in found
    database, keys = found["ExternalSecret", "database"]["spec"], found["ExternalSecret", "s3"]["spec"]
    assert database["data"] == [{"secretKey": "url", "remoteRef": {"key": "imagegen", "property": "url"}}]
    environment = {each["name"]: each for each in spec_of(found, "orchestrator")["containers"][0]["env"]}
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert environment[variable]["valueFrom"]["secretKeyRef"]["name"] == keys["target"]["name"] == "trial-s3"
    assert environment["IMAGEGEN_DATABASE_URL"]["valueFrom"]["secretKeyRef"]["name"] == database["target"]["name"]


def test_models_are_a_volume_of_an_image() -> None:
    found = rendered(models={"source": "imageVolume", "reference": "registry.example/models@sha256:5"})
    spec = spec_of(found, "triton-shared")
    assert "initContainers" not in spec
    (volume,) = [each for each in spec["volumes"] if each["name"] == "models"]
    assert volume["image"] == {"reference": "registry.example/models@sha256:5", "pullPolicy": "IfNotPresent"}
    (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "models"]
    assert mount == {"name": "models", "mountPath": "/models", "readOnly": True, "subPath": "models"}


def test_a_node_keeps_models() -> None:
    """In a folder for each place that they come from; only the container that gives it away is root."""
    models = {"source": "objectStore", "url": "s3://bucket/1", "nodeCache": "/var/lib/imagegen"}
    folders = set()
    for url in ("s3://bucket/1", "s3://bucket/2"):
        spec = spec_of(rendered(models=models | {"url": url}), "triton-shared")
        folder, fetch = spec["initContainers"]
        assert folder["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN"]}
        assert "runAsUser" not in fetch["securityContext"]
        (volume,) = [each for each in spec["volumes"] if each["name"] == "models"]
        folders.add(volume["hostPath"]["path"])
    assert len(folders) == 2
    assert all(each.startswith("/var/lib/imagegen/") for each in folders)


def test_openshift_chooses_users() -> None:
    open_users = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    found = rendered(podSecurityContext=open_users)
    for _, _, spec in pods(list(found.values())):
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_uninstalling_leaves_nothing_behind() -> None:
    postgres = rendered()["StatefulSet", "postgres"]["spec"]
    assert postgres["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    kept = rendered(database__trial__keepVolume=True)["StatefulSet", "postgres"]["spec"]
    assert "persistentVolumeClaimRetentionPolicy" not in kept
    assert not any("keep" in each["metadata"].get("annotations", {}).values() for each in rendered().values())


def test_the_schema_names_every_value() -> None:
    """And no other: what values.yaml has is what may be set."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

    def resolve(node: Resource) -> Resource:
        if "$ref" in node:
            return resolve(schema["definitions"][node["$ref"].rpartition("/")[2]])
        return resolve(node["allOf"][0]) if "allOf" in node and "properties" not in node else node

    def walk(node: Resource, value: object, path: str) -> None:
        node = resolve(node)
        if node.get("additionalProperties") is False and isinstance(value, dict) and path:
            free = {"claims"} if path.endswith(".resources") else set()
            names = node["properties"].keys() - free
            assert value == {} or names == value.keys(), (path, names ^ value.keys())
        if isinstance(value, dict):
            for name, each in value.items():
                if name in node.get("properties", {}):
                    walk(node["properties"][name], each, f"{path}.{name}")

    assert schema["properties"].keys() - {"global"} == values.keys()
    walk(schema, values, "")


def test_the_package_holds_what_is_needed(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("package")
    done = run("helm", "package", str(CHART), "--destination", str(folder))
    assert done.returncode == 0, done.stderr
    (package,) = folder.iterdir()
    shown = run("helm", "template", "trial", str(package), "--set=database.trial.password=a")
    assert shown.returncode == 0, shown.stderr
    with tarfile.open(package) as archive:
        names = {name.removeprefix("imagegen/") for name in archive.getnames()}
    assert {"Chart.yaml", "values.schema.json", "files/probe.py", "files/drain.py", "README.md"} <= names
    assert not [name for name in names if name.startswith("ci/") or "__pycache__" in name]
