"""Dockerfiles, alerts and the chart's README by the tools of their trade."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy import dashboards
from tests.deploy.readme import render
from tests.deploy.tools import CHART, PROFILES, ROOT, profile, program, run

DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
CHECKOV_SKIPPED = {
    # Kubernetes
    "CKV_K8S_11": "no CPU limits: they throttle a process that has idle cores; requests share them",
    "CKV_K8S_15": "images have fixed tags; Always would make a pull needed for a restart",
    "CKV_K8S_35": "the database's URL and S3's keys are read from variables, as obstore and libpq do",
    "CKV_K8S_43": "digests are the operator's to set, by image.tag",
    "CKV_K8S_8": "hooks and init containers have no liveness probe",
    "CKV_K8S_9": "hooks and init containers have no readiness probe",
    "CKV_K8S_21": "the namespace is the release's",
}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint(path: Path) -> None:
    done = run("hadolint", "--failure-threshold=style", str(path))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "path", [each for each in DOCKERFILES if not each.stem.startswith("stand-in")], ids=lambda path: path.stem
)
def test_images_run_as_nobody_and_are_labelled(path: Path) -> None:
    text = path.read_text("utf-8")
    final = text.rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in final
    assert "org.opencontainers.image.licenses" in final
    assert "org.opencontainers.image.revision" in final
    for builder in ("apt-get", "gcc", "git "):
        assert builder not in final
    if "pip" in text and "model-tools" not in str(path):
        assert "--require-hashes --only-binary :all:" in " ".join(text.split())


@pytest.mark.parametrize("name", PROFILES)
def test_checkov(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("rendered")
    (folder / "all.yaml").write_text(profile(name), "utf-8")
    arguments = [
        "-d",
        str(folder),
        "--framework",
        "kubernetes",
        "--skip-download",
        "--quiet",
        "--compact",
        "-o",
        "json",
    ]
    done = run("checkov", *arguments, "--skip-check", ",".join(CHECKOV_SKIPPED))
    report = json.loads(done.stdout)
    failed = [
        f"{check['check_id']} {check['check_name']}: {check['resource']}"
        for part in (report if isinstance(report, list) else [report])
        for check in part.get("results", {}).get("failed_checks", [])
    ]
    assert failed == []
    assert done.returncode == 0


PROMTOOL = shutil.which("promtool") or ""


@pytest.mark.skipif(not PROMTOOL, reason="needs Debian's prometheus, which CI installs")
def test_alerts(tmp_path_factory: pytest.TempPathFactory) -> None:
    (rule,) = [each for each in yaml.safe_load_all(profile("gpu-fleet")) if each and each["kind"] == "PrometheusRule"]
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump(rule["spec"]), "utf-8")
    command = [PROMTOOL, "check", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - Debian's
    assert done.returncode == 0, done.stdout + done.stderr
    sources = [(ROOT / room / "metrics.py").read_text("utf-8") for room in ("orchestrator", "gateway")]
    known = set(re.findall(r'"(imagegen_[a-z_]+)"', "".join(sources)))
    for each in rule["spec"]["groups"][0]["rules"]:
        for metric in re.findall(r"imagegen_[a-z_]+", each["expr"]):
            assert re.sub("_(total|count|bucket)$", "", metric) in known, metric
    errors = (ROOT / "orchestrator/errors.py").read_text("utf-8")
    (failures,) = [each["expr"] for each in rule["spec"]["groups"][0]["rules"] if each["alert"] == "ImagegenFailures"]
    (outcomes,) = re.findall(r'outcome!~"([^"]+)"', failures)
    for outcome in outcomes.split("|"):
        assert outcome in {"succeeded", "cancelled"} or f"class {outcome}(" in errors, outcome


@pytest.mark.skipif(not PROMTOOL, reason="needs Debian's prometheus, which CI installs")
def test_budgets_burn(tmp_path_factory: pytest.TempPathFactory) -> None:
    """By promtool: one error in ten burns fast, one in twenty-five slowly, one in a thousand not."""
    (rule,) = [each for each in yaml.safe_load_all(profile("gpu-fleet")) if each and each["kind"] == "PrometheusRule"]
    folder = tmp_path_factory.mktemp("budgets")
    (folder / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]), "utf-8")
    count, labels = "imagegen_rest_request_seconds_count", 'namespace="pictures"'
    bad = {"fast": 100, "slow": 40, "fine": 1}

    def case(name: str) -> dict[str, object]:
        summary = {each["alert"]: each["annotations"] for each in rule["spec"]["groups"][0]["rules"]}
        severities = {"ImagegenErrorBudgetFast": "critical", "ImagegenErrorBudgetSlow": "warning"}
        firing = {"fast": list(severities), "slow": ["ImagegenErrorBudgetSlow"], "fine": []}[name]
        return {
            "interval": "1m",
            "input_series": [
                {"series": f'{count}{{{labels},status="500"}}', "values": f"0+{bad[name]}x480"},
                {"series": f'{count}{{{labels},status="200"}}', "values": f"0+{1000 - bad[name]}x480"},
            ],
            "alert_rule_test": [
                {
                    "eval_time": "7h",
                    "alertname": alert,
                    "exp_alerts": [
                        {
                            "exp_labels": {"namespace": "pictures", "severity": severity},
                            "exp_annotations": summary[alert],
                        }
                    ]
                    if alert in firing
                    else [],
                }
                for alert, severity in severities.items()
            ],
        }

    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [case(name) for name in bad]}
    (folder / "tests.yaml").write_text(yaml.safe_dump(tests), "utf-8")
    command = [PROMTOOL, "test", "rules", str(folder / "tests.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - Debian's
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_are_those_of_their_code_and_the_sidecar_finds_them() -> None:
    """`.deploy/bin/python -m tests.deploy.dashboards` writes them."""
    assert {path.name: path.read_text("utf-8") for path in dashboards.FOLDER.iterdir()} == dashboards.rendered()
    found = [each for each in yaml.safe_load_all(profile("gpu-fleet")) if each and each["kind"] == "ConfigMap"]
    shown = [each for each in found if each["metadata"]["labels"].get("grafana_dashboard") == "1"]
    names = {json.loads(text)["title"] for each in shown for text in each["data"].values()}
    assert names == {f"imagegen: {name}" for name in dashboards.DASHBOARDS}


def test_every_alert_has_its_runbook() -> None:
    alerts = yaml.safe_load((CHART / "alerts.yaml").read_text("utf-8"))["alerts"]
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for alert in alerts:
        assert f"### {alert['alert']}\n" in page


def test_the_readme_is_that_of_the_values() -> None:
    """`.deploy/bin/python -m tests.deploy.readme` writes it."""
    assert (CHART / "README.md").read_text("utf-8") == render()


def test_the_programs_are_there() -> None:
    for name in ("helm", "kubectl", "checkov", "hadolint"):
        assert shutil.which(program(name)), name
