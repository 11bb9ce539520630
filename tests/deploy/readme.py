"""`.deploy/bin/python -m tests.deploy.readme`: the chart's README, of the comments of its values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.tools import CHART

_LINE = re.compile(r"( *)([A-Za-z0-9_]+):(.*)")
HEAD = """# imagegen on Kubernetes

{description}

```
helm install pictures helm/imagegen --namespace pictures --create-namespace --values helm/imagegen/ci/cpu-trial.yaml \\
  --set database.trial.password=$(openssl rand -hex 16)
```

Profiles in [ci/](ci): `cpu-trial` (one of everything, no GPU), `gpu-single`, `gpu-fleet`, `air-gapped`. How it is
operated: [docs/operations.md](../../docs/operations.md). Wrong and misspelt values are refused by `values.schema.json`.
This page is generated from `values.yaml`: `.deploy/bin/python -m tests.deploy.readme`. What changed:
[CHANGELOG.md](CHANGELOG.md).

| Kubernetes | what works |
|---|---|
| 1.29 and later | everything but what follows; 1.29 and the newest are what `make test-deploy` validates against |
| 1.31 and later | `models.source: imageVolume` (feature gate ImageVolume; on by default from 1.35) |
| 1.34 and later | `resourceClaims` (dynamic resource allocation) |

| for | needs |
|---|---|
| `triton.groups.*.autoscaling` | KEDA 2.17, and a Prometheus that scrapes the orchestrators (`monitoring.enabled`) |
| `gateway.autoscaling`, `orchestrator.autoscaling` | metrics-server |
| `tls.certManager`, `externalSecrets`, `gatewayApi` | cert-manager 1.12, external-secrets 0.9, Gateway API 1.1 |

| value | default | meaning |
|---|---|---|
"""


def render() -> str:
    """The page."""
    text = (CHART / "values.yaml").read_text("utf-8")
    description = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["description"]
    values = yaml.safe_load(text)
    rows = [f"| `{path}` | {_shown(_at(values, path))} | {words} |" for path, words in _described(text)]
    return HEAD.format(description=description) + "\n".join(rows) + "\n"


def _described(text: str) -> list[tuple[str, str]]:
    """Every value that has a comment, and the comment."""
    found: list[tuple[str, str]] = []
    path: list[str] = []
    words = ""
    for line in text.splitlines():
        if line.strip().startswith("# --"):
            words = line.strip()[4:].strip()
        elif match := _LINE.match(line):
            depth = len(match[1]) // 2
            path = [*path[:depth], match[2]]
            if words:
                found.append((".".join(path), words.replace("|", "\\|")))
            words = ""
    return found


def _at(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def _shown(value: Any) -> str:
    if isinstance(value, dict) and value:
        return ""
    return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    Path(CHART / "README.md").write_text(render(), "utf-8")
