"""No row's answer depends on who shares its batch: the engine through the real Triton, in f32 and in bf16.

The tiny UNet and, as large as the embedded default gets, the starter's. Every batch from 1 to 8, at two sizes.
"""

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as sync_client
import tritonclient.grpc.aio as client

from local import triton
from local.settings import ROOT
from tests.conftest import TINY_REPOSITORY

Tensors = dict[str, npt.NDArray[np.float32]]

PRECISIONS = ("f32", "bf16")
SOURCES = {"tiny_unet": TINY_REPOSITORY, "starter_unet": ROOT / "model_repository"}
ROWS = 8
MOST_ROUNDS = 50
SIZES = ((16, 16), (8, 24))  # latent height and width; multiples of 4 for the starter's two downsamplings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.Server]:
    """A Triton that serves each UNet once for each precision, as NAME_PRECISION."""
    repository = tmp_path_factory.mktemp("models")
    for name, source in SOURCES.items():
        for precision in PRECISIONS:
            folder = shutil.copytree(source / name, repository / f"{name}_{precision}")
            text = (source / name / "config.pbtxt").read_text().replace(f'name: "{name}"\n', "")
            pattern = r'(key: "precision" value \{ string_value: ")\w+'
            text, count = re.subn(pattern, rf"\g<1>{precision}", text)
            assert count == 1
            (folder / "config.pbtxt").write_text(text)
    with triton.running([repository], tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.fixture(params=[f"{name}_{precision}" for name in SOURCES for precision in PRECISIONS])
def model(request: pytest.FixtureRequest) -> str:
    """Each model of `server`."""
    return str(request.param)


@pytest.fixture
def connection(server: triton.Server) -> Iterator[sync_client.InferenceServerClient]:
    """A blocking client of `server`."""
    with sync_client.InferenceServerClient(server.grpc_url) as connection:
        yield connection


def draw_rows(model: str, size: tuple[int, int]) -> Tensors:
    """Return ROWS rows of noise, each at its own timestep and for its own prompt.

    For the starter each steered by its own edges and likeness, too, at scales from 0 up to 7/8.
    """
    hidden = (77, 32) if model.startswith("tiny") else (48, 384)
    rng = np.random.default_rng(0)
    rows: Tensors = {
        "sample": rng.standard_normal((ROWS, 4 if model.startswith("tiny") else 8, *size), np.float32),
        "timestep": rng.uniform(0, 999, (ROWS, 1)).astype(np.float32),
        "encoder_hidden_states": rng.standard_normal((ROWS, *hidden), np.float32),
    }
    if model.startswith("tiny"):
        return rows
    scales = (np.arange(ROWS, dtype=np.float32) / np.float32(ROWS))[:, None]
    steering: Tensors = {
        "control_image": (rng.random((ROWS, 3, 8 * size[0], 8 * size[1])) > 0.9).astype(np.float32),
        "control_scale": scales,
        "image_embeds": rng.standard_normal((ROWS, 16, 384), np.float32),
        "image_scale": scales[::-1].copy(),
    }
    return rows | steering


def make_inputs(rows: Tensors, indices: npt.NDArray[np.intp] | list[int]) -> list[sync_client.InferInput]:
    inputs = []
    for name, array in rows.items():
        chosen = array[indices]
        inputs.append(sync_client.InferInput(name, list(chosen.shape), "FP32"))
        inputs[-1].set_data_from_numpy(chosen)
    return inputs


@pytest.mark.parametrize("size", SIZES)
def test_a_row_is_the_same_in_every_batch(
    connection: sync_client.InferenceServerClient, model: str, size: tuple[int, int]
) -> None:
    rows = draw_rows(model, size)

    def run(indices: list[int]) -> npt.NDArray[np.float32]:
        answer = connection.infer(model, make_inputs(rows, indices)).as_numpy("out_sample")
        return np.asarray(answer, np.float32)

    alone = np.concatenate([run([index]) for index in range(ROWS)])
    assert np.isfinite(alone).all()
    assert len({row.tobytes() for row in alone}) == ROWS
    rng = np.random.default_rng(1)
    for count in range(2, ROWS + 1):
        chosen = rng.permutation(ROWS)[:count].tolist()
        assert np.array_equal(run(chosen), alone[chosen]), f"batch of {count}"
    assert np.array_equal(run([0]), alone[:1]), "after larger batches"


async def test_requests_that_triton_merges_answer_as_if_alone(server: triton.Server, model: str) -> None:
    rows = draw_rows(model, SIZES[0])
    async with client.InferenceServerClient(server.grpc_url) as connection:

        async def run(index: int) -> npt.NDArray[np.float32]:
            answer = await connection.infer(model, make_inputs(rows, [index]))
            return np.asarray(answer.as_numpy("out_sample"), np.float32)

        alone = [await run(index) for index in range(ROWS)]
        before = await read_batches(connection, model)
        # Whether requests wait for each other, and so are merged, is a matter of moments: the tiny network is fast.
        for rounds in range(1, MOST_ROUNDS + 1):
            together = await asyncio.gather(*(run(index) for index in range(ROWS)))
            assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
            merged = {size: n - before.get(size, 0) for size, n in (await read_batches(connection, model)).items()}
            if rounds >= 3 and any(n for size, n in merged.items() if size > 2):
                break
    assert sum(n for size, n in merged.items() if size > 2) > 0, "or nothing was merged"
    assert sum(merged.values()) < rounds * ROWS


async def read_batches(connection: client.InferenceServerClient, model: str) -> dict[int, int]:
    """Return how often the model ran, by the rows of the batch."""
    statistics = await connection.get_inference_statistics(model)
    return {int(b.batch_size): int(b.compute_infer.count) for b in statistics.model_stats[0].batch_stats}


@pytest.mark.skipif("_bf16" not in Path("/proc/cpuinfo").read_text(), reason="OpenVINO may then compute in f32")
def test_bf16_and_f32_are_what_they_say(connection: sync_client.InferenceServerClient) -> None:
    """Close to each other, and not the same: so the parameter reached the engine."""
    rows = draw_rows("tiny", SIZES[0])
    f32, bf16 = (
        connection.infer(f"tiny_unet_{precision}", make_inputs(rows, [0])).as_numpy("out_sample")
        for precision in PRECISIONS
    )
    error = float(np.abs(f32 - bf16).max() / np.abs(f32).max())
    assert 0 < error < 0.05
