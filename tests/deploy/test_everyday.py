"""Values that charts usually have, tests/deploy/everyday.yaml: none is refused, and each does what it says."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.test_chart import CUSTOM, UNKNOWN, VERSIONS
from tests.deploy.tools import template

CASES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("everyday.yaml").read_text("utf-8"))


def difference(wanted: Any, found: Any, path: str = "") -> str:
    """Where something is not a part of what was found; empty if it is one."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        each = (difference(value, found.get(key), f"{path}.{key}") for key, value in wanted.items())
        return next(filter(None, each), "")
    if isinstance(wanted, list) and isinstance(found, list):
        missing = (item for item in wanted if all(difference(item, other) for other in found))
        return next((f"{path}: {item} is not in {found}" for item in missing), "")
    return "" if wanted == found else f"{path}: {found!r}, not {wanted!r}"


@pytest.mark.parametrize("name", CASES)
def test_everyday_values(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(case["values"]), "utf-8")
    found: dict[str, Any] = {}
    for each in yaml.safe_load_all(template("--values", str(tmp_path / "values.yaml"))):
        if each:
            found[f"{each['kind']}/{each['metadata']['name'].removeprefix('trial-')}"] = each
            if each["kind"] not in CUSTOM.keys() | UNKNOWN:
                kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
    for key, wanted in case["finds"].items():
        assert difference(wanted, found.get(key), key) == ""


def test_what_all_objects_have_is_on_every_object() -> None:
    """In the largest profile, on every kind of object; and no selector has it."""
    values = ("--set=commonLabels.team=pictures", "--set=commonAnnotations.owner=me", "--set=ingress.enabled=true")
    for more in ((), ("--values", "helm/imagegen/ci/gpu-fleet.yaml")):
        for each in yaml.safe_load_all(template(*more, *values)):
            if each:
                assert each["metadata"]["labels"]["team"] == "pictures", each["metadata"]["name"]
                assert each["metadata"]["annotations"]["owner"] == "me", each["metadata"]["name"]
                selector = each.get("spec", {}).get("selector", {})
                assert "team" not in str(selector), each["metadata"]["name"]


def test_engines_are_built_again_whenever_their_pod_is_another() -> None:
    """A Job's pod cannot be changed: helm upgrade would fail on a Job of the same name."""

    def jobs(*arguments: str) -> dict[str, str]:
        found = yaml.safe_load_all(template("--values", "helm/imagegen/ci/gpu-fleet.yaml", *arguments))
        return {each["metadata"]["name"]: str(each["spec"]) for each in found if each and each["kind"] == "Job"}

    first = jobs()
    for change in ("podLabels.a=b", "commonLabels.a=b", "image.tag=v2", "triton.groups.large.gpuResource=nvidia.com/x"):
        later = jobs(f"--set={change}")
        assert all(first[name] == later[name] for name in first.keys() & later.keys()), change
    assert jobs("--set=gateway.replicas=7") == first
