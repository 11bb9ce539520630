"""Measures the systems one after the other; each gives rows of the table."""

import json
import statistics
import subprocess
from functools import partial
from pathlib import Path
from typing import TypedDict

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from benchmarks import clients, figures
from benchmarks.engine_job import Job, Result
from benchmarks.figures import Row, percentile
from benchmarks.load import Request, Run, run_clients
from benchmarks.observe import Executions, cpu_seconds, executions
from benchmarks.services import Stack
from benchmarks.workloads import REPO, Workload
from orchestrator.models.families import Family


def measure_engine(work: Workload, family: Family) -> list[Row]:
    """(a) The engine alone, in batches as the clients would fill them.

    Raises:
        subprocess.CalledProcessError: it failed; its output is in the terminal.
    """
    table = family.networks
    models = {"text_encoder": table.text_encoder, "unet": table.roles["unet"], "vae_decoder": table.vae_decoder}
    configs = {name: read_config(work.repository / model) for name, model in models.items()}
    fullest = configs["unet"].max_batch_size // 2  # pictures: guidance gives each two rows
    shares = [min(number, fullest) for number in work.images]
    job: Job = {
        "graphs": {
            name: (
                str(work.repository / model / "1" / "graph.onnx"),
                configs[name].parameters["precision"].string_value,
            )
            for name, model in models.items()
        },
        "unet": json_format.MessageToDict(configs["unet"], preserving_proto_field_name=True),
        "text_length": table.text_length,
        "latent": (table.latent_channels, work.height // table.latent_factor, work.width // table.latent_factor),
        "steps": family.default_steps,
        "measurements": [(n, -(-fewer // n)) for n, fewer in zip(shares, work.fewer.values(), strict=True)],
    }
    done = subprocess.run(  # noqa: S603  # our own program
        [REPO / ".triton" / "bin" / "python", "-m", "benchmarks.engine_alone"],
        input=json.dumps(job), stdout=subprocess.PIPE, text=True, check=True, cwd=REPO,
    )  # fmt: skip
    results: list[Result] = json.loads(done.stdout)
    return [engine_row(work, n, family, result) for n, result in zip(work.images, results, strict=True)]


def engine_row(work: Workload, number: int, family: Family, result: Result) -> Row:
    """The row of one measurement; `number` is the clients that would have filled its batches."""
    images = result["pictures"] * len(result["seconds"])
    return Row(
        model=work.name,
        system=figures.ENGINE,
        clients=number,
        images=images,
        rate=images / sum(result["seconds"]),
        p50=percentile(result["seconds"], 50),
        p95=percentile(result["seconds"], 95),
        engine_share=1.0,
        batch=2.0 * result["pictures"],
        step_ms=1e3 * statistics.fmean(result["unet_seconds"]) / family.default_steps,
    )


def read_config(folder: Path) -> model_config_pb2.ModelConfig:
    """The config.pbtxt of a model's folder."""
    text = (folder / "config.pbtxt").read_text("utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


async def measure_stack(work: Workload, family: Family, stack: Stack) -> list[Row]:
    """(b) Our whole stack over gRPC, and over REST where the workload wants it."""
    rows = []
    for number, images in work.images.items():
        async with clients.grpc_client(stack.grpc_address, work) as client:
            await _warm(partial(client.request, steps=1), number)
            client.step_seconds.clear()
            watch = _Watch(stack, family)
            run = await run_clients(client.request, number, images)
            rows.append(watch.row(figures.STACK, work, run, statistics.fmean(client.step_seconds)))
        if work.rest:
            async with clients.rest_client(stack.rest_url, stack.api_key, work) as request:
                await _warm(request, number)
                watch = _Watch(stack, family)
                rows.append(watch.row(figures.STACK_REST, work, await run_clients(request, number, images)))
    return rows


async def measure_diffusers(work: Workload, family: Family, url: str) -> list[Row]:
    """(c) diffusers behind FastAPI."""
    rows = []
    async with clients.diffusers_client(url, work, family) as request:
        await _warm(partial(request, steps=1), 1)  # it generates one picture at a time
        for number, images in work.fewer.items():
            run = await run_clients(request, number, images)
            rows.append(Row(system=figures.DIFFUSERS, **times(work, run)))
    return rows


async def _warm(request: Request, number: int) -> None:
    """One picture for each client, not timed: connections are opened, and engines have seen these shapes."""
    await run_clients(request, number, number)


class _Watch:
    """What the stack has used since this was created."""

    def __init__(self, stack: Stack, family: Family) -> None:
        self._stack, self._family = stack, family
        self._cpu, self._unet, self._all = self._read()

    def _read(self) -> tuple[float, Executions, Executions]:
        networks, url = self._family.networks, self._stack.triton_url
        cpu = cpu_seconds(self._stack.orchestrator_pid)
        return cpu, executions(url, [networks.roles["unet"]]), executions(url, networks.model_names)

    def row(self, system: str, work: Workload, run: Run, step_seconds: float | None = None) -> Row:
        cpu, unet, total = self._read()
        steps = len(run.latencies) * self._family.default_steps
        return Row(
            system=system,
            engine_share=(total - self._all).seconds / run.seconds,
            batch=(unet - self._unet).rows / (unet - self._unet).count,
            cpu_ms=1e3 * (cpu - self._cpu) / steps,
            step_ms=None if step_seconds is None else 1e3 * step_seconds,
            **times(work, run),
        )


class Times(TypedDict):
    """What is known of every run: fields of a Row."""

    model: str
    clients: int
    images: int
    rate: float
    p50: float
    p95: float


def times(work: Workload, run: Run) -> Times:
    """Throughput and latency of a run."""
    return {
        "model": work.name,
        "clients": run.clients,
        "images": len(run.latencies),
        "rate": len(run.latencies) / run.seconds,
        "p50": percentile(run.latencies, 50),
        "p95": percentile(run.latencies, 95),
    }
