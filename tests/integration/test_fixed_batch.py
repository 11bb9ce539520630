"""A family whose engine's results depend on the batch: every request is padded to one size and runs alone."""

import asyncio
from pathlib import Path

import pytest
import tritonclient.grpc.aio as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.stack import TINY_FAMILIES, serving, settings, text_to_image


def families(folder: Path, fixed_batch: int) -> Path:
    """The tiny family with a fixed batch."""
    path = folder / "families.toml"
    text = TINY_FAMILIES.read_text().replace("../golden", str(TINY_FAMILIES.parents[1] / "golden"))
    path.write_text(text.replace("pad_id", f"fixed_batch = {fixed_batch}\npad_id"))
    return path


async def executions(port: int) -> dict[tuple[str, int], int]:
    """Executions by model and rows."""
    async with triton.InferenceServerClient(f"127.0.0.1:{port}") as server:
        answer = await server.get_inference_statistics()
    return {(s.name, int(b.batch_size)): int(b.compute_infer.count) for s in answer.model_stats for b in s.batch_stats}


async def test_every_request_runs_alone_at_the_same_batch(tiny_triton: int, tmp_path: Path) -> None:
    """Four prompts at once: all executions have eight rows, and each network ran as often as it was asked."""
    async with serving(settings(tiny_triton, tmp_path, families=families(tmp_path, 8))) as (_, client):
        before = await executions(tiny_triton)
        requests = [text_to_image(f"apple {seed}", seed=seed, steps=3) for seed in range(4)]
        together = await asyncio.gather(*(client.generate(request) for request in requests))
        after = await executions(tiny_triton)
        grown = {key: count - before.get(key, 0) for key, count in after.items() if count > before.get(key, 0)}
        assert grown == {("tiny_text_encoder", 8): 4, ("tiny_unet", 8): 12, ("tiny_vae_decoder", 8): 4}
        assert (await client.generate(requests[2])).data == together[2].data


@pytest.mark.parametrize("fixed_batch", [4, 1])
async def test_a_batch_that_triton_could_fill_up_is_refused(tiny_triton: int, tmp_path: Path, fixed_batch: int) -> None:
    """fixed_batch must be the models' max_batch_size, 8 here."""
    config = settings(tiny_triton, tmp_path, families=families(tmp_path, fixed_batch))
    async with serving(config) as (_, client):
        stub = health_pb2_grpc.HealthStub(client.channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service="text_to_image/tiny"))
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
