"""Three Tritons under one orchestrator: shapes keep together, and requests outlive a Triton that ends or freezes."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import tritonclient.grpc as tritonclient
from grpc_health.v1 import health_pb2

from imagegen.v1 import generation_pb2 as pb
from local import triton
from orchestrator.models.pool import TritonPool
from tests.integration import stubs
from tests.integration.stack import TINY, Client, serving, settings, text_to_image
from tests.integration.test_outages import until

STREAMS = 12
SIZES = ((64, 64), (64, 96), (96, 64))


@pytest.fixture
def tritons(tmp_path: Path) -> Iterator[list[triton.Server]]:
    """Three of the tiny networks."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(triton.running([TINY], tmp_path / f"triton{number}")) for number in range(3)]


def request(number: int, steps: int) -> pb.GenerateRequest:
    width, height = SIZES[number % len(SIZES)]
    return text_to_image(steps=steps, seed=number, size=pb.Size(width=width, height=height))


def urls(tritons: list[triton.Server]) -> str:
    return ", ".join(server.grpc_url for server in tritons)


async def test_no_request_fails_while_one_ends_one_loses_a_model_and_one_freezes(
    tritons: list[triton.Server], tmp_path: Path
) -> None:
    """Every picture is, bit for bit, the one that a single Triton gives."""
    quick = {"probe_seconds": 0.5, "probe_timeout_seconds": 3.0, "max_in_flight": STREAMS}
    async with serving(settings(tritons[0].grpc_port, tmp_path, **quick)) as (_, client):
        alone = [(await client.generate(request(number, 60))).data for number in range(STREAMS)]
    config = settings(0, tmp_path, triton_url=urls(tritons), **quick)
    async with serving(config) as (_, client):
        first, second, third = tritons
        work = [asyncio.create_task(client.generate(request(number, 60))) for number in range(STREAMS)]
        await stepped(client)
        stubs.send(first.process.pid, "tiny_unet", signal.SIGKILL)
        again = [asyncio.create_task(client.generate(request(number, 60))) for number in range(STREAMS)]
        await stepped(client)
        os.kill(second.process.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(120):
                seen = await asyncio.gather(*work, *again)
        finally:
            os.kill(second.process.pid, signal.SIGCONT)
        assert [each.data for each in seen] == alone * 2
        for dead in (first, third):
            os.killpg(dead.process.pid, signal.SIGKILL)
        assert await generate_when_ready(client), "the one that was frozen is back"


async def test_requests_of_one_shape_share_batches_in_one_triton(tritons: list[triton.Server], tmp_path: Path) -> None:
    """As many as a batch has room for keep together, though other Tritons have nothing to do; more go elsewhere."""
    config = settings(0, tmp_path, triton_url=urls(tritons), max_in_flight=STREAMS)
    async with serving(config) as (_, client):
        before = [rows_by_triton(server) for server in tritons]
        await asyncio.gather(*(client.generate(text_to_image(steps=40, seed=number)) for number in range(4)))
        after = [rows_by_triton(server) for server in tritons]
        worked = [now - then for now, then in zip(after, before, strict=True)]
        assert sorted(worked)[:2] == [0, 0], "four requests of two rows fill one batch of eight"
        assert sum(worked) == 4 * 40 * 2
        await asyncio.gather(*(client.generate(text_to_image(steps=40, seed=number)) for number in range(12)))
        full = [rows_by_triton(server) for server in tritons]
        assert all(now > then for now, then in zip(full, after, strict=True)), "twelve need three"


async def test_a_name_is_followed_to_its_addresses_of_one_version_of_ip(tiny_triton: int) -> None:
    """`localhost` has an IPv6 address as well on many machines: one Triton all the same."""
    pool = TritonPool(f"localhost:{tiny_triton}", 30.0)
    await pool.check({"tiny_unet"})
    assert [each.address for each in pool.endpoints] == [f"127.0.0.1:{tiny_triton}"]
    assert pool.find("tiny_unet") is not None
    await pool.close()


async def stepped(client: Client) -> None:
    """Until a further request has had a step."""
    async for event in client.generation.Generate(request(0, 2)):
        if event.HasField("progress"):
            return


async def generate_when_ready(client: Client) -> bytes:
    """A picture, as soon as there is one to be had."""
    async with asyncio.timeout(60):
        while True:
            try:
                return (await client.generate(request(0, 4))).data
            except grpc.aio.AioRpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - it is tried again
                await until(client, "", health_pb2.HealthCheckResponse.SERVING)


def rows_by_triton(server: triton.Server) -> int:
    """Rows of the UNet that this Triton has inferred, known tensors left out: those are of other sizes."""
    with contextlib.closing(tritonclient.InferenceServerClient(server.grpc_url)) as connection:
        (model,) = connection.get_inference_statistics("tiny_unet").model_stats
    return int(model.inference_count)
