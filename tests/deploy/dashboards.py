"""`.deploy/bin/python -m tests.deploy.dashboards`: the chart's Grafana dashboards, helm/imagegen/dashboards/*.json.

Each panel is a title, a unit of Grafana, and queries. $namespace is the release's. tests/integration/test_dashboards.py
asks a real Prometheus each query, over real metrics.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.deploy.tools import CHART

FOLDER = CHART / "dashboards"
NAMESPACE = 'namespace=~"$namespace"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 12, 8


@dataclass(frozen=True)
class Panel:
    """A graph: its queries by the names of their lines (`{{label}}` for a label's value); unit as Grafana names it."""

    title: str
    unit: str
    queries: dict[str, str]


def rate(metric: str, labels: str = "", by: str = "") -> str:
    """Increase each second, summed over pods."""
    selector = ",".join(filter(None, (NAMESPACE, labels)))
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{selector}}}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "", labels: str = "") -> str:
    """A quantile of a histogram over all pods."""
    groups = ",".join(filter(None, ("le", by)))
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', labels, groups)})"


def total(metric: str, by: str = "", function: str = "sum") -> str:
    """A gauge over all pods."""
    grouped = f" by ({by})" if by else ""
    return f"{function}{grouped} ({metric}{{{NAMESPACE}}})"


BATCHES, SECONDS = "imagegen_triton_batch_executions", "imagegen_engine_seconds_total"

DASHBOARDS = {
    "service": (
        Panel(
            "REST requests by status", "reqps", {"{{status}}": rate("imagegen_rest_request_seconds_count", by="status")}
        ),
        Panel("REST latency, 95 %", "s", {"{{route}}": quantile(0.95, "imagegen_rest_request_seconds", "route")}),
        Panel(
            "Refused by rate limits (429)",
            "reqps",
            {"{{route}}": rate("imagegen_rest_request_seconds_count", 'status="429"', "route")},
        ),
        Panel("REST requests that are open", "short", {"open": total("imagegen_rest_open_requests")}),
        Panel(
            "REST bytes",
            "Bps",
            {"received": rate("imagegen_rest_received_bytes_sum"), "sent": rate("imagegen_rest_sent_bytes_sum")},
        ),
        Panel("gRPC calls by code", "reqps", {"{{code}}": rate("imagegen_rpc_seconds_count", by="code")}),
        Panel("gRPC latency, 95 %", "s", {"{{method}}": quantile(0.95, "imagegen_rpc_seconds", "method")}),
        Panel("Pictures by outcome", "reqps", {"{{outcome}}": rate("imagegen_requests_total", by="outcome")}),
        Panel("Families that are ready", "short", {"{{family}}": total("imagegen_family_ready", "family", "max")}),
    ),
    "queue": (
        Panel("Wait of a new job", "s", {"wait": total("imagegen_backlog_seconds", function="max")}),
        Panel(
            "Work that waits",
            "s",
            {
                "jobs of {{family}}": total("imagegen_job_backlog_seconds", "family", "max"),
                "streams of {{family}}": total("imagegen_stream_backlog_seconds", "family"),
            },
        ),
        Panel("Jobs", "short", {"{{state}}": total("imagegen_jobs", "state", "max")}),
        Panel("Requests that run", "short", {"{{family}}": total("imagegen_running", "family")}),
        Panel("Streams that wait", "short", {"{{priority}}": total("imagegen_queue_depth", "priority")}),
        Panel(
            "Wait before the start, 95 %",
            "s",
            {"{{priority}}": quantile(0.95, "imagegen_queue_wait_seconds", "priority")},
        ),
        Panel("Oldest attempt", "s", {"age": total("imagegen_longest_attempt_seconds", function="max")}),
        Panel("Pictures of waiting jobs", "bytes", {"held": total("imagegen_job_bytes", function="max")}),
    ),
    "engines": (
        Panel("Stage, 95 %", "s", {"{{family}} {{stage}}": quantile(0.95, "imagegen_stage_seconds", "family,stage")}),
        Panel("Step, median", "s", {"{{family}}": quantile(0.5, "imagegen_denoising_step_seconds", "family")}),
        Panel("Steps", "cps", {"{{family}}": rate("imagegen_denoising_steps_total", by="family")}),
        Panel(
            "Executions of models by rows of the batch",
            "ops",
            {"{{model}}, {{rows}} rows": f"sum by (model, rows) (deriv({BATCHES}{{{NAMESPACE}}}[5m]))"},
        ),
        Panel("Tritons where a model infers", "short", {"{{model}}": total("imagegen_triton_serves", "model")}),
        Panel("Memory for pictures", "bytes", {"{{use}}": total("imagegen_picture_memory_bytes", "use")}),
    ),
    "accounts": (
        Panel("Pictures by account", "reqps", {"{{account}}": rate("imagegen_account_pictures_total", by="account")}),
        Panel(
            "Accounts with most time of Tritons, last day",
            "s",
            {"{{account}}": f"topk(10, sum by (account) (increase({SECONDS}{{{NAMESPACE}}}[1d])))"},
        ),
        Panel("Tritons that work for it, on average", "short", {"{{account}}": rate(SECONDS, by="account")}),
        Panel("Stored pictures", "bytes", {"stored": total("imagegen_results_stored_bytes", function="max")}),
    ),
    "cost": (
        Panel(
            "Seconds of Tritons for a picture",
            "s",
            {"{{family}}": f"{rate(SECONDS, by='family')} / {rate('imagegen_account_pictures_total', by='family')}"},
        ),
        Panel(
            "Seconds of Tritons by family, each hour",
            "s",
            {"{{family}}": f"3600 * {rate(SECONDS, by='family')}"},
        ),
        Panel(
            "Pictures each hour",
            "short",
            {"{{family}}": f"3600 * {rate('imagegen_account_pictures_total', by='family')}"},
        ),
        Panel(
            "Seconds of each group of Tritons, each hour",
            "s",
            {"{{engines}}": f"3600 * {rate(SECONDS, by='engines')}"},
        ),
        Panel(
            "Seconds of Tritons by account, each hour",
            "s",
            {"{{account}}": f"3600 * {rate(SECONDS, by='account')}"},
        ),
    ),
}


def dashboard(name: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    """A dashboard as Grafana reads it (schema 39, Grafana 10 and later)."""
    return {
        "uid": f"imagegen-{name}",
        "title": f"imagegen: {name}",
        "tags": ["imagegen"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["imagegen"], "asDropdown": False, "title": "", "includeVars": True}],
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "namespace",
                    "type": "query",
                    "datasource": DATASOURCE,
                    "query": "label_values(imagegen_in_flight, namespace)",
                    "includeAll": True,
                    "allValue": ".*",
                    "refresh": 2,
                },
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": DATASOURCE,
        "gridPos": {"x": WIDTH * (number % 2), "y": HEIGHT * (number // 2), "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "exemplar": "_bucket" in query}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def rendered() -> dict[str, str]:
    """The files by name."""
    return {f"{name}.json": json.dumps(dashboard(name, panels), indent=1) + "\n" for name, panels in DASHBOARDS.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, "utf-8")
