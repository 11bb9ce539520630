"""Every query of every panel of the chart's dashboards, asked of a real Prometheus over real metrics."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import prometheus_client
import pytest

from tests.integration.both_protocols import both_here
from tests.integration.stack import TINY_FAMILIES, text_to_image

PROMETHEUS = shutil.which("prometheus") or ""
DASHBOARDS = sorted((Path(__file__).parents[2] / "helm/imagegen/dashboards").glob("*.json"))
QUERIES = [
    (path.stem, panel["title"], target["expr"])
    for path in DASHBOARDS
    for panel in json.loads(path.read_text("utf-8"))["panels"]
    for target in panel["targets"]
]
SILENT = {"Refused by rate limits (429)"}
"""Panels without a line here: nothing was refused."""
BODY = {"width": 64, "height": 64, "background": {"generate": {"description": "a red apple"}}}

pytestmark = pytest.mark.skipif(not PROMETHEUS, reason="needs Debian's prometheus")


def free_port() -> int:
    """A port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
async def prometheus(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A Prometheus that scrapes this process, as the namespace `pictures`."""
    metrics, _ = prometheus_client.start_http_server(0, "127.0.0.1")
    target = {"targets": [f"127.0.0.1:{metrics.server_port}"], "labels": {"namespace": "pictures"}}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": "a", "static_configs": [target]}]}
    (tmp_path / "prometheus.yml").write_text(json.dumps(config), "utf-8")
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        PROMETHEUS,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address={address}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as client:
            yield client
    finally:
        process.terminate()
        await process.wait()
        metrics.shutdown()
        metrics.server_close()


async def ask(client: httpx.AsyncClient, query: str) -> list[object]:
    """The lines of a query now."""
    answer = (await client.get("/api/v1/query", params={"query": query})).json()
    assert answer["status"] == "success", (query, answer)
    lines: list[object] = answer["data"]["result"]
    return lines


async def until(client: httpx.AsyncClient, query: str) -> None:
    """Wait until a query has an answer."""
    async with asyncio.timeout(60):
        while True:
            try:
                if await ask(client, query):
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)


async def test_every_panel_has_its_metrics(tiny_triton: int, tmp_path: Path, prometheus: httpx.AsyncClient) -> None:
    async with both_here(tiny_triton, TINY_FAMILIES, tmp_path / "results") as ways:
        for _ in range(2):  # a rate needs a before
            assert (await ways.http.post("/rest_api/process_result", json=BODY)).json()["status"] == "complete"
            await ways.client.generate(text_to_image())
            await until(prometheus, "rate(imagegen_denoising_steps_total[30s]) >= 0")
        await until(prometheus, "imagegen_rest_request_seconds_count offset 2s")
        await until(prometheus, "imagegen_triton_batch_executions offset 2s")
        for dashboard, title, query in QUERIES:
            shown = query.replace("$namespace", "pictures").replace("$__rate_interval", "30s")
            assert await ask(prometheus, shown) or title in SILENT, (dashboard, title, shown)
