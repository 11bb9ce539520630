"""The stand-in for Triton is one that the orchestrator takes for a Triton."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from benchmarks import instant_triton
from benchmarks.workloads import REPO
from local.settings import HOST
from orchestrator.errors import EngineUnavailableError
from orchestrator.models.families import Families
from orchestrator.models.pool import TritonPool
from orchestrator.models.readiness import TritonNetworks


@pytest.fixture
async def triton() -> AsyncIterator[TritonPool]:
    """The orchestrator's connection to the stand-in."""
    server, port = await instant_triton.start(REPO / "model_repository", 0)
    connection = TritonPool(f"{HOST}:{port}", timeout_seconds=5)
    yield connection
    await connection.close()
    await server.stop(grace=None)


async def test_all_families_and_tools_are_ready(triton: TritonPool) -> None:
    families = Families.load(REPO / "families" / "families.toml")
    networks = TritonNetworks(triton, families)
    await networks.refresh()
    assert all(networks.is_ready(family.name) for family in families)
    assert not networks.tools().waiting


async def test_a_family_makes_pictures_of_zeros(triton: TritonPool) -> None:
    networks = TritonNetworks(triton, Families.load(REPO / "families" / "families.toml"))
    await networks.refresh()
    family = networks.networks("realistic")
    hidden_states = await family.text_encoder(np.ones((2, 48), np.int32))
    assert family.unet is not None
    sample = np.ones((2, 8, 32, 8), np.float32)
    latents = await family.unet(sample, np.ones((2, 1), np.float32), hidden_states)
    image = await family.vae_decoder(latents)
    assert (hidden_states.shape, latents.shape, image.shape) == ((2, 48, 384), (2, 8, 32, 8), (2, 3, 256, 64))
    assert not hidden_states.any()
    assert not latents.any()
    assert not image.any()


async def test_a_model_that_is_not_there(triton: TritonPool) -> None:
    await triton.check({"nobody"})
    assert triton.find("nobody") is None
    with pytest.raises(EngineUnavailableError):
        await triton.describe("nobody")


@pytest.mark.parametrize(
    ("name", "dims", "inputs", "expected"),
    [
        ("boxes", [896, 16], {"image": [3, 3, 256, 256]}, [3, 896, 16]),
        ("latents", [4, -1, -1], {"image": [1, 3, 64, 128]}, [1, 4, 8, 16]),
        ("upscaled", [3, -1, -1], {"image": [1, 3, 64, 128]}, [1, 3, 128, 256]),
    ],
)
def test_shapes(name: str, dims: list[int], inputs: dict[str, list[int]], expected: list[int]) -> None:
    assert instant_triton.find_shape(name, dims, inputs) == expected
